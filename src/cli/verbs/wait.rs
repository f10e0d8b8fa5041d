//! Waits for the end of what a command began: with stages and a bar on a terminal, in plain lines elsewhere.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use anyhow::Result;
use chrono::{DateTime, Utc};

use super::super::exit::{Ended, Kind};
use super::look::ago;
use super::table;
use crate::fleet::{Actor, Backend, BackendId, Command, Fleet, Stage, State, clean};
use crate::handle::FleetHandle;

/// Columns of the bar.
const BAR: usize = 24;

/// Waits until an operation on a cluster has ended, and gives what came of it; says its steps meanwhile.
///
/// # Errors
/// What did not work out.
pub(super) async fn until_operated(
    handle: &mut FleetHandle,
    command: &Command,
    since: DateTime<Utc>,
    quiet: bool,
) -> Result<String> {
    let mut said = None;
    loop {
        let fleet = handle.snapshots.borrow_and_update().clone();
        let ended = fleet.audit.iter().rev().find(|it| {
            it.at >= since
                && it.by == Actor::Policy("cluster".into())
                && it.verb == command.inner().verb()
        });
        if let Some(entry) = ended {
            if entry.bad {
                let hint = "`fleetctl status` shows what stands now";
                return Err(Ended::new(Kind::Failed, entry.result.clone(), hint).into());
            }
            return Ok(entry.result.clone());
        }
        let doing = match command.backend() {
            Some(id) => fleet.backend(id).and_then(|b| b.doing.clone()),
            None => fleet.backends.iter().find_map(|b| b.doing.clone()),
        };
        if doing.is_some() && doing != said && !quiet {
            if let Some(step) = &doing {
                table::aside(&format!("  {step}"))?;
            }
            said = doing;
        }
        if handle.snapshots.changed().await.is_err() {
            return Err(Ended::new(Kind::Failed, "the fleet is gone", "").into());
        }
    }
}

/// Where a command leads.
enum End {
    Warm,
    Down,
}

/// Waits until the command's end.
pub(super) async fn until_done(
    handle: &mut FleetHandle,
    command: &Command,
    patience: Duration,
) -> Result<()> {
    let (id, end) = match command.inner() {
        Command::Wake { backend } | Command::Undrain { backend } => (backend, End::Warm),
        Command::Sleep { backend } | Command::Drain { backend } => (backend, End::Down),
        Command::Pin { .. }
        | Command::Unpin { .. }
        | Command::Weights { .. }
        | Command::Flip { .. }
        | Command::Undo
        | Command::Force { .. } => return Ok(()),
    };
    let mut line = Progress::default();
    let watched = async {
        loop {
            let fleet = handle.snapshots.borrow_and_update().clone();
            let Some(b) = fleet.backend(id) else {
                return Err(Ended::new(Kind::NotFound, format!("{id} is gone"), "").into());
            };
            // What went by between two pictures was a stage all the same.
            match &b.state {
                State::Waking(wake) => {
                    let before = wake.stages.len().saturating_sub(1);
                    let stages = wake.stages.iter().map(|it| it.stage);
                    line.pass(&b.id, stages.take(before))?;
                }
                State::Warm { .. } if line.stages > 0 => {
                    let last = b.wakes.back().map(|it| it.stages.clone());
                    let stages = last.unwrap_or_default();
                    line.pass(&b.id, stages.into_iter().map(|(stage, _)| stage))?;
                }
                _ => {}
            }
            match (&b.state, &end) {
                (State::Warm { .. } | State::Ready { .. }, End::Warm)
                | (State::Asleep { .. }, End::Down) => return Ok(()),
                // Out of service is all that can be done to what nothing here can stop.
                (State::Warm { .. } | State::Ready { .. }, End::Down) if b.drained.is_some() => {
                    return Ok(());
                }
                (State::Failed(failure), _) => {
                    let hint = format!("`fleetctl logs {id}` shows its log");
                    return Err(Ended::new(
                        Kind::Failed,
                        format!("{id}: {}", failure.reason),
                        hint,
                    )
                    .into());
                }
                _ => line.show(&told(&fleet, b))?,
            }
            if handle.snapshots.changed().await.is_err() {
                return Err(Ended::new(Kind::Failed, "the fleet is gone", "").into());
            }
        }
    };
    let watched = tokio::time::timeout(patience, watched).await;
    let done: Result<()> = watched.unwrap_or_else(|_| {
            let hint = if handle.snapshots.borrow().is_on_clusters() {
                "what was begun there stands and nobody finishes it now: the same again takes it up, `undo` (of a drain: `undrain`) rolls it back"
            } else {
                "it goes on by itself; `fleetctl status` shows how far it is"
            };
            let what = format!(
                "{id} is not there after {}",
                humantime::format_duration(patience)
            );
            Err(Ended::new(Kind::TimedOut, what, hint).into())
    });
    line.end();
    done?;
    let state = handle
        .snapshots
        .borrow()
        .backend(id)
        .map_or("gone", |b| b.state.word());
    table::say(&format!("{id}: {state}"))
}

/// What it does now: the stage, and what changes while it lasts.
fn told(fleet: &Fleet, b: &Backend) -> (String, String) {
    match &b.state {
        State::Waking(wake) => {
            let stage = wake.current();
            let word = stage.map_or("queued", |it| it.stage.word());
            let percent = stage
                .and_then(|it| it.percent)
                .map_or(String::new(), |percent| format!(" {percent:.0} %"));
            let elapsed = fleet.now - wake.since;
            let left = b.estimate(fleet.now).map(|estimate| estimate.left_median);
            let rest = left.map_or(String::new(), |left| format!(", about {} left", ago(left)));
            let whole = elapsed.num_milliseconds() + left.map_or(0, |left| left.num_milliseconds());
            let done = left.map_or(0.0, |_| {
                elapsed.num_milliseconds() as f64 / whole.max(1) as f64
            });
            let full = ((done * BAR as f64) as usize).min(BAR);
            let bar = format!("[{}{}]", "#".repeat(full), ".".repeat(BAR - full));
            (
                format!("{}: {word}", b.id),
                format!("{percent} {bar} {}{rest}", ago(elapsed)),
            )
        }
        State::Draining(_) => {
            let running = b.live.in_flight.max(b.live.running.unwrap_or(0));
            (
                format!("{}: draining", b.id),
                format!(", {running} running"),
            )
        }
        other => (format!("{}: {}", b.id, other.word()), String::new()),
    }
}

/// One line that is written over on a terminal; elsewhere a line for each thing that is new.
#[derive(Default)]
struct Progress {
    shown: String,
    open: bool,
    /// Stages that are over and were said.
    stages: usize,
}

impl Progress {
    /// Says which stages are over, where each has a line of its own.
    fn pass(&mut self, id: &BackendId, over: impl Iterator<Item = Stage>) -> Result<()> {
        let new: Vec<Stage> = over.skip(self.stages).collect();
        self.stages += new.len();
        if io::stderr().is_terminal() {
            return Ok(());
        }
        for stage in new {
            let what = format!("{id}: {}", stage.word());
            if self.shown != what {
                table::aside(&what)?;
                self.shown = what;
            }
        }
        Ok(())
    }

    fn show(&mut self, (what, more): &(String, String)) -> Result<()> {
        let mut out = io::stderr();
        if out.is_terminal() {
            write!(out, "\r\x1b[K{}", clean(&format!("{what}{more}")))?;
            out.flush()?;
            self.open = true;
        } else if self.shown != *what {
            table::aside(what)?;
            self.shown.clone_from(what);
        }
        Ok(())
    }

    fn end(&mut self) {
        if std::mem::take(&mut self.open) {
            // The terminal may be gone; the verb's end says all the same.
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
