//! A config that changes while the fleet runs.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::message::{Actor, AuditEntry, Command};
use super::restore::Past;
use super::{Backend, BackendId, Fleet};

/// Differences that are told one by one; of more, how many they are.
const TOLD: usize = 20;

/// A changed config, as what it describes.
#[derive(Debug)]
pub struct Reload {
    /// The fleet that the config of before describes, untouched by time and operators.
    pub before: Arc<Fleet>,
    /// The fleet that the new one describes.
    pub after: Arc<Fleet>,
    /// What is known of backends that come back.
    pub pasts: HashMap<BackendId, Past>,
    /// What differs, in words: where, and what.
    pub differences: Vec<(String, String)>,
}

impl Fleet {
    /// Goes on as a changed config describes it. What an operator changed stays unless the config changed it too.
    /// Gives back the backends that are gone.
    pub fn reload(&mut self, reload: Reload, now: DateTime<Utc>) -> Vec<Arc<Backend>> {
        let Reload {
            before,
            after,
            mut pasts,
            differences,
        } = reload;
        let known = std::mem::take(&mut self.backends);
        let same = |one: &Backend, other: &Backend| {
            one.id == other.id && one.model == other.model && one.is_hosted() == other.is_hosted()
        };
        for new in &after.backends {
            let Some(old) = known.iter().find(|old| same(old, new)) else {
                self.backends.push(Arc::clone(new));
                if let Some(past) = pasts.remove(&new.id) {
                    self.restore_backend(&new.id, past);
                }
                continue;
            };
            let mut b = Backend::clone(old);
            b.kind = new.kind.clone();
            b.max_running = new.max_running;
            if let Some(was) = before.backend(&new.id) {
                if was.weight != new.weight {
                    b.weight = new.weight;
                }
                if was.pin != new.pin {
                    b.pin.clone_from(&new.pin);
                }
            }
            self.backends.push(Arc::new(b));
        }
        self.models.clone_from(&after.models);
        self.fixed_per_month = after.fixed_per_month;
        self.config_refused = None;
        let ids: Vec<_> = self.backends.iter().map(|b| b.id.clone()).collect();
        self.undo.retain(|undoable| {
            let mut restore = undoable.restore.iter();
            restore.all(|command| is_there(command, &after))
        });
        self.tell_differences(&differences, now);
        self.review();
        known
            .into_iter()
            .filter(|old| !ids.contains(&old.id))
            .collect()
    }

    /// Says that the config on disk is wrong; the fleet goes on by the one before.
    pub fn refuse_config(&mut self, why: &str, now: DateTime<Utc>) {
        self.tell_config(
            "refused; the one before stays in force",
            why.to_owned(),
            true,
            now,
        );
        self.config_refused = Some(why.lines().next().unwrap_or_default().to_owned());
        self.review();
    }

    /// One line of the audit a difference.
    fn tell_differences(&mut self, differences: &[(String, String)], now: DateTime<Utc>) {
        if differences.is_empty() {
            let said = "read again; nothing in it changed".to_owned();
            self.tell_config("", said, false, now);
        }
        for (place, what) in differences.iter().take(TOLD) {
            self.tell_config(place, what.clone(), false, now);
        }
        if differences.len() > TOLD {
            let more = format!("and {} more differences", differences.len() - TOLD);
            self.tell_config("", more, false, now);
        }
    }

    fn tell_config(&mut self, place: &str, what: String, bad: bool, now: DateTime<Utc>) {
        let target = if place.is_empty() { &self.name } else { place };
        self.write(AuditEntry {
            at: now,
            by: Actor::Policy("config".into()),
            verb: "reload".into(),
            target: target.to_owned(),
            result: what,
            bad,
        });
    }
}

/// Whether all that a command is about is in this fleet.
fn is_there(command: &Command, fleet: &Fleet) -> bool {
    match command {
        Command::Wake { backend }
        | Command::Sleep { backend }
        | Command::Drain { backend }
        | Command::Undrain { backend }
        | Command::Pin { backend, .. }
        | Command::Unpin { backend } => fleet.backend(backend).is_some(),
        Command::Weights { model, weights } => {
            let of_model = |id: &BackendId| fleet.backend(id).is_some_and(|b| b.model == *model);
            weights.iter().all(|(id, _)| of_model(id))
        }
        Command::Flip { model } => fleet.models.iter().any(|it| it.id == *model),
        Command::Undo => true,
        Command::Force { command } => is_there(command, fleet),
    }
}
