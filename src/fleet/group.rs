//! Backends that cannot all have their GPUs at once: who waits, who leaves for whom, and who is in whose way.

use std::cmp::Reverse;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::Fleet;
use super::backend::Backend;
use super::id::BackendId;
use super::machine::{Input, span};
use super::message::{Action, Actor, AuditEntry};
use super::wake::State;

/// Nothing to do for this long is idle enough to leave for another: a moment between two requests is not.
const QUIET: TimeDelta = TimeDelta::seconds(2);

/// Backends that share GPUs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Its name.
    pub name: Arc<str>,
    /// How many of its backends fit at once.
    pub fits: u32,
}

impl Backend {
    fn group(&self) -> Option<&Group> {
        self.self_hosted()?.group.as_ref()
    }

    /// Whether it has its GPUs now, or is about to.
    fn holds(&self) -> bool {
        match &self.state {
            State::Waking(wake) => wake.begun,
            State::Warm { .. } | State::Draining(_) => true,
            State::Failed(failure) => failure.allocated,
            State::Unknown { .. }
            | State::Asleep { .. }
            | State::Ready { .. }
            | State::Limited { .. }
            | State::Down { .. } => false,
        }
    }

    /// Since when it waits for room in its group; `None` where it does not.
    fn waits_since(&self) -> Option<DateTime<Utc>> {
        match &self.state {
            State::Waking(wake) if !wake.begun => Some(wake.since),
            _ => None,
        }
    }

    /// Why it stays where it is although another wants its GPUs; `None` where it may leave.
    fn stays(&self, now: DateTime<Utc>) -> Option<String> {
        let running = self.live.running.unwrap_or(0).max(self.live.in_flight)
            + self.live.waiting.unwrap_or(0);
        let quiet_since = self
            .live
            .active_at
            .unwrap_or(self.state.since())
            .max(self.state.since());
        match &self.state {
            _ if self.pin.is_some() => Some("pinned".to_owned()),
            State::Waking(_) => Some("waking".to_owned()),
            State::Failed(_) => Some("failed, and holds its GPUs".to_owned()),
            State::Warm { .. } if running + self.live.held > 0 => {
                Some(format!("{} running", running + self.live.held))
            }
            State::Warm { .. } if now - quiet_since < QUIET => {
                Some("was busy a moment ago".to_owned())
            }
            State::Draining(_) => Some("leaving".to_owned()),
            _ => None,
        }
    }
}

impl Fleet {
    /// The others of its group that have their GPUs.
    fn holders<'f>(&'f self, b: &'f Backend) -> impl Iterator<Item = &'f Arc<Backend>> {
        let group = b.group();
        self.backends.iter().filter(move |other| {
            other.id != b.id && group.is_some() && other.group() == group && other.holds()
        })
    }

    /// Whether its group has no room for it: others have it, or came before it and wait for it.
    pub(super) fn is_crowded(&self, b: &Backend) -> bool {
        let Some(group) = b.group() else { return false };
        let mine = b.waits_since();
        let ahead = self.backends.iter().filter(|other| {
            let before = |since| mine.is_none_or(|mine| since < mine);
            other.id != b.id
                && other.group() == Some(group)
                && other.waits_since().is_some_and(before)
        });
        self.holders(b).count() + ahead.count() >= group.fits as usize
    }

    /// Who is in the way of one that waits for room, and why they stay.
    pub fn in_the_way_of(&self, b: &Backend) -> Vec<(BackendId, String)> {
        if b.waits_since().is_none() {
            return Vec::new();
        }
        self.holders(b)
            .map(|other| {
                let why = other
                    .stays(self.now)
                    .unwrap_or_else(|| "leaving".to_owned());
                (other.id.clone(), why)
            })
            .collect()
    }

    /// Begins the wakes that waited for room as far as there is some, and has the idle leave for the others: never who
    /// is pinned or busy, who has been idle longest first, and of these who is back soonest.
    pub(super) fn make_room(&mut self, now: DateTime<Utc>) -> Vec<Action> {
        let mut waiting: Vec<(DateTime<Utc>, BackendId)> = self
            .backends
            .iter()
            .filter_map(|b| Some((b.waits_since()?, b.id.clone())))
            .collect();
        waiting.sort_by_key(|(since, _)| *since);
        let mut actions = Vec::new();
        for (_, id) in waiting {
            let Some(b) = self.backend(&id).cloned() else {
                continue;
            };
            if !self.is_crowded(&b) {
                self.change(&id, |b| {
                    if let State::Waking(wake) = &mut b.state {
                        wake.begun = true;
                    }
                });
                actions.push(Action::Start { backend: id });
                continue;
            }
            actions.extend(self.evict_for(&b, now));
        }
        actions
    }

    /// Who leaves so that `wanted` can go, as far as they may, and for how long each has been idle.
    fn leavers(&self, wanted: &Backend, now: DateTime<Utc>) -> Vec<(BackendId, TimeDelta)> {
        let fits = wanted.group().map_or(1, |group| group.fits as usize);
        let leaving = self
            .holders(wanted)
            .filter(|b| matches!(b.state, State::Draining(_)))
            .count();
        let need = (self.holders(wanted).count() + 1).saturating_sub(fits + leaving);
        let mut able: Vec<_> = self
            .holders(wanted)
            .filter(|b| b.stays(now).is_none())
            .map(|b| {
                let idle = now - b.live.active_at.unwrap_or(b.state.since());
                let back = b.estimate(now).map(|estimate| estimate.whole());
                (Reverse(idle), back, b.id.clone())
            })
            .collect();
        able.sort();
        let leavers = able.into_iter().take(need);
        leavers.map(|(Reverse(idle), _, id)| (id, idle)).collect()
    }

    /// What a wake of `b` does to the others of its group, and what it waits for: a sentence each.
    pub(super) fn room_for(&self, b: &Backend) -> Vec<String> {
        if !self.is_crowded(b) {
            return Vec::new();
        }
        let leavers = self.leavers(b, self.now);
        let mut said: Vec<_> = leavers
            .iter()
            .map(|(id, idle)| {
                let idle = span(*idle);
                format!("{id}, idle for {idle}, makes room for it: put to sleep first")
            })
            .collect();
        if leavers.is_empty() {
            let stay = self.holders(b).map(|other| {
                let why = other.stays(self.now).unwrap_or_default();
                format!("{} ({why})", other.id)
            });
            let stay: Vec<_> = stay.collect();
            said.push(format!(
                "It waits for its GPUs: {} has them",
                stay.join(", ")
            ));
        }
        said
    }

    /// Has as many leave as `wanted` needs to go, as far as they may.
    fn evict_for(&mut self, wanted: &Backend, now: DateTime<Utc>) -> Vec<Action> {
        let mut actions = Vec::new();
        for (id, idle) in self.leavers(wanted, now) {
            let name = self
                .backend(&id)
                .map_or_else(|| id.to_string(), |b| b.full_name());
            self.write(AuditEntry {
                at: now,
                by: Actor::Policy("group".into()),
                verb: "sleep".into(),
                target: name,
                result: format!("makes room for {}; idle for {}", wanted.id, span(idle)),
                bad: false,
            });
            let by = "its group".to_owned();
            actions.extend(self.feed(&id, Input::Drain { by }, now));
        }
        actions
    }
}
