//! An engine that ends while it serves is started again: soon at first, later and later, and not at all in a crash loop.

use chrono::{DateTime, TimeDelta, Utc};

use super::backend::Backend;
use super::machine::{Input, span};
use super::message::{Action, Actor, AuditEntry};
use super::wake::State;
use super::{BackendId, Fleet};

/// The first pause; it doubles with each end within [`RECENT`].
const FIRST: TimeDelta = TimeDelta::seconds(1);
/// The longest pause, before up to a quarter is added so that not all come at once.
const LONGEST: TimeDelta = TimeDelta::seconds(60);
/// Ends that are longer ago than this are forgotten.
const RECENT: TimeDelta = TimeDelta::minutes(15);
/// So many ends within [`RECENT`] are a crash loop.
const LOOP: usize = 5;
/// Ends that are remembered.
const KEPT: usize = 8;

impl Backend {
    /// Remembers that it ended while it served.
    pub(super) fn crashed(&mut self, now: DateTime<Utc>) {
        let crashes = &mut self.live.crashes;
        if crashes.len() == KEPT {
            crashes.remove(0);
        }
        crashes.push(now);
    }

    /// Its recent ends, where the newest of them is what it failed of and it can be started.
    fn recent_crashes(&self) -> Option<&[DateTime<Utc>]> {
        let State::Failed(failure) = &self.state else {
            return None;
        };
        let newest = *self.live.crashes.last()?;
        if newest != failure.since
            || self.drained.is_some()
            || self.self_hosted().is_none_or(|facts| !facts.startable)
        {
            return None;
        }
        let from = self
            .live
            .crashes
            .partition_point(|at| newest - *at > RECENT);
        self.live.crashes.get(from..)
    }

    /// When it is started again by itself; `None` where it is not.
    pub fn starts_again(&self) -> Option<DateTime<Utc>> {
        let crashes = self.recent_crashes()?;
        if crashes.len() >= LOOP {
            return None;
        }
        let pause = (FIRST * (1 << (crashes.len() - 1))).min(LONGEST);
        // Different for each of them and each time, and the same whoever computes it.
        let seed = self.id.as_str().bytes().map(usize::from).sum::<usize>() + crashes.len() * 7;
        let more = pause * (seed % 26) as i32 / 100;
        Some(*crashes.last()? + pause + more)
    }

    /// How often it ended in how long, where that is a crash loop.
    pub fn crash_loop(&self) -> Option<(usize, TimeDelta)> {
        let crashes = self.recent_crashes()?;
        (crashes.len() >= LOOP).then(|| {
            (
                crashes.len(),
                *crashes.last().unwrap_or(&crashes[0]) - crashes[0],
            )
        })
    }
}

impl Fleet {
    /// Starts one again whose pause is over.
    pub(super) fn start_again(&mut self, id: &BackendId, now: DateTime<Utc>) -> Vec<Action> {
        let Some(b) = self.backend(id) else {
            return Vec::new();
        };
        if b.starts_again().is_none_or(|at| now < at) {
            return Vec::new();
        }
        let entry = AuditEntry {
            at: now,
            by: Actor::Policy("restart".into()),
            verb: "wake".into(),
            target: b.full_name(),
            result: format!(
                "ended while it served, {} ago; started again",
                span(now - b.state.since())
            ),
            bad: false,
        };
        self.write(entry);
        self.feed(
            id,
            Input::Wake {
                by: "restart".into(),
            },
            now,
        )
    }
}
