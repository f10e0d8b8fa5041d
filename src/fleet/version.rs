//! What a command was decided on by: where two act at once, one wins and the other is told what changed.

use chrono::{DateTime, Utc};

use super::message::{Actor, AuditEntry, Command, Refusal, RefusalKind};
use super::order::Ordered;
use super::wake::State;
use super::{BackendId, Fleet};

impl Fleet {
    /// Carries out a command that was decided on by looking at `expected`, see [`Self::version`]; refused where what it is
    /// meant for has changed since.
    pub fn order_if(
        &mut self,
        command: &Command,
        by: &Actor,
        expected: Option<&str>,
        now: DateTime<Utc>,
    ) -> Ordered {
        let is = self.version(command);
        if expected.is_none_or(|expected| expected == is) {
            return self.order(command, by, now);
        }
        let refusal = Refusal {
            kind: RefusalKind::Changed,
            what: format!(
                "{} has changed since you looked: {}",
                self.target_of(command),
                self.stands(command, State::word)
            ),
            hint: "look again, and repeat it if it still is what you want".to_owned(),
        };
        self.write(AuditEntry {
            at: now,
            by: by.clone(),
            verb: command.verb().into(),
            target: self.target_of(command),
            result: format!("refused: {}", refusal.what),
            bad: true,
        });
        (Err(refusal), Vec::new())
    }

    /// What stands of that which `command` would change, in short: the same as long as nobody changed it.
    pub fn version(&self, command: &Command) -> String {
        // FNV-1a: it tells apart what operators did, and is nobody's secret.
        let hash = self
            .stands(command, |state| match state {
                // A fleet moves on by itself; what counts is whether it runs.
                State::Unknown { .. } | State::Asleep { .. } | State::Failed(_) => "down",
                State::Waking(_) | State::Warm { .. } | State::Draining(_) => "up",
                State::Ready { .. } | State::Limited { .. } | State::Down { .. } => "hosted",
            })
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
        format!("{hash:016x}")
    }

    /// What stands of it, in words.
    fn stands(&self, command: &Command, of: impl Fn(&State) -> &'static str) -> String {
        let of_backend = |id: &BackendId| {
            let Some(b) = self.backend(id) else {
                return "it is gone".to_owned();
            };
            let state = of(&b.state);
            let drained = b.drained.as_ref().map_or(String::new(), |drained| {
                format!(", out of service by {}", drained.by)
            });
            let pin = b.pin.as_ref().map_or(String::new(), |pin| {
                let until = pin.until.map_or(String::new(), |until| {
                    format!(" until {}", until.format("%a %H:%M:%S"))
                });
                format!(
                    ", pinned{} by {}{until}: {}",
                    pin.exact(),
                    pin.by,
                    pin.reason
                )
            });
            format!("{state}{drained}{pin}")
        };
        match command {
            Command::Wake { backend }
            | Command::Sleep { backend }
            | Command::Drain { backend }
            | Command::Undrain { backend }
            | Command::Pin { backend, .. }
            | Command::Unpin { backend } => of_backend(backend),
            Command::Weights { model, .. } | Command::Flip { model } => {
                let weights: Vec<String> = self
                    .backends_of(model)
                    .map(|b| format!("{} {}", b.id, b.weight))
                    .collect();
                weights.join(", ")
            }
            Command::Force { command } => self.stands(command, of),
            Command::Undo => self.undo.back().map_or_else(
                || "nothing to undo".to_owned(),
                |entry| {
                    format!(
                        "the newest is {} of {}",
                        entry.what,
                        entry.at.format("%H:%M:%S%.3f")
                    )
                },
            ),
        }
    }
}
