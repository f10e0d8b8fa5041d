//! What changed from one picture to the next, so that whoever has the one gets the other.
//!
//! Backends that did not change are shared between pictures, and queues only grow at their end: both are told without
//! looking at what is in them.

use std::collections::VecDeque;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::backend::LogLine;
use super::engine::EngineSample;
use super::history::Point;
use super::ledger::Minute;
use super::message::{AuditEntry, Undoable};
use super::model::Model;
use super::request::RequestRecord;
use super::wake::WakeRecord;
use super::{Backend, Fleet};

type Page = (DateTime<Utc>, Arc<EngineSample>);

/// From one picture to another.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Change {
    /// What is small, as it is now; its queues are empty.
    head: Box<Fleet>,
    models: Part<Vec<Arc<Model>>>,
    /// By place, as far as they changed.
    backends: Vec<(usize, BackendChange)>,
    /// How many backends there are now.
    count: usize,
    requests: Tail<Arc<RequestRecord>>,
    audit: Tail<Arc<AuditEntry>>,
    undo: Tail<Arc<Undoable>>,
    history: Tail<Arc<Point>>,
}

/// From one state of a backend to another.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct BackendChange {
    /// What is small, as it is now.
    head: Box<Backend>,
    sample: Part<Option<Arc<EngineSample>>>,
    log: Tail<Arc<LogLine>>,
    wakes: Tail<Arc<WakeRecord>>,
    minutes: Tail<Minute>,
    pages: Tail<Page>,
    gpu_history: Tail<u8>,
}

/// Something that is as it was, or not.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Part<T> {
    Same,
    Now(T),
}

/// A queue: so many are gone at its beginning, so many stay, and these are new.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Tail<T> {
    skip: usize,
    keep: usize,
    new: Vec<T>,
}

/// A change that does not fit the picture that it is applied to: whoever has that picture needs a whole one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the change does not fit the picture")]
pub struct Misfit;

impl Change {
    /// What leads from `old` to `new`.
    pub fn between(old: &Fleet, new: &Fleet) -> Self {
        let changed = |at: &usize| {
            old.backends
                .get(*at)
                .is_none_or(|before| !Arc::ptr_eq(before, &new.backends[*at]))
        };
        let same_models = old.models.len() == new.models.len()
            && old
                .models
                .iter()
                .zip(&new.models)
                .all(|(a, b)| Arc::ptr_eq(a, b));
        let mut head = new.clone();
        head.models.clear();
        head.backends.clear();
        head.requests = VecDeque::new();
        head.audit = VecDeque::new();
        head.undo = VecDeque::new();
        head.history = Arc::default();
        Self {
            head: Box::new(head),
            models: if same_models {
                Part::Same
            } else {
                Part::Now(new.models.clone())
            },
            backends: (0..new.backends.len())
                .filter(changed)
                .map(|at| {
                    let before = old.backends.get(at).map(Arc::as_ref);
                    (at, BackendChange::between(before, &new.backends[at]))
                })
                .collect(),
            count: new.backends.len(),
            requests: Tail::between(&old.requests, &new.requests, Arc::ptr_eq),
            audit: Tail::between(&old.audit, &new.audit, Arc::ptr_eq),
            undo: Tail::between(&old.undo, &new.undo, Arc::ptr_eq),
            history: Tail::shared(&old.history, &new.history, |a, b| {
                Arc::ptr_eq(a, b) || a == b
            }),
        }
    }

    /// The picture after `old`.
    ///
    /// # Errors
    /// Where it was made for another one.
    pub fn apply(self, old: &Fleet) -> Result<Fleet, Misfit> {
        let mut fleet = *self.head;
        fleet.models = match self.models {
            Part::Same => old.models.clone(),
            Part::Now(models) => models,
        };
        fleet.backends.clone_from(&old.backends);
        fleet.backends.truncate(self.count);
        for (at, change) in self.backends {
            let before = old.backends.get(at).map(Arc::as_ref);
            let after = Arc::new(change.apply(before)?);
            let known = fleet.backends.len();
            match fleet.backends.get_mut(at) {
                Some(place) => *place = after,
                None if at == known => fleet.backends.push(after),
                None => return Err(Misfit),
            }
        }
        if fleet.backends.len() != self.count {
            return Err(Misfit);
        }
        fleet.requests = self.requests.apply(Some(&old.requests))?;
        fleet.audit = self.audit.apply(Some(&old.audit))?;
        fleet.undo = self.undo.apply(Some(&old.undo))?;
        fleet.history = self.history.apply_shared(Some(&old.history))?;
        Ok(fleet)
    }
}

impl BackendChange {
    fn between(old: Option<&Backend>, new: &Backend) -> Self {
        let none = Backend::clone(new).without_queues();
        let before = old.unwrap_or(&none);
        let same_sample = match (&before.sample, &new.sample) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (None, None) => true,
            (None, Some(_)) | (Some(_), None) => false,
        };
        Self {
            sample: if same_sample {
                Part::Same
            } else {
                Part::Now(new.sample.clone())
            },
            log: Tail::between(&before.log, &new.log, Arc::ptr_eq),
            wakes: Tail::between(&before.wakes, &new.wakes, Arc::ptr_eq),
            minutes: Tail::shared(&before.ledger.minutes, &new.ledger.minutes, PartialEq::eq),
            pages: Tail::shared(&before.live.pages, &new.live.pages, |a, b| {
                a.0 == b.0 && Arc::ptr_eq(&a.1, &b.1)
            }),
            gpu_history: Tail::shared(
                &before.live.gpu_history,
                &new.live.gpu_history,
                PartialEq::eq,
            ),
            head: Box::new(none),
        }
    }

    fn apply(self, old: Option<&Backend>) -> Result<Backend, Misfit> {
        let mut backend = *self.head;
        backend.sample = match self.sample {
            Part::Same => old.and_then(|old| old.sample.clone()),
            Part::Now(sample) => sample,
        };
        backend.log = self.log.apply(old.map(|old| &old.log))?;
        backend.wakes = self.wakes.apply(old.map(|old| &old.wakes))?;
        backend.ledger.minutes = self
            .minutes
            .apply_shared(old.map(|old| &old.ledger.minutes))?;
        backend.live.pages = self.pages.apply_shared(old.map(|old| &old.live.pages))?;
        backend.live.gpu_history = self
            .gpu_history
            .apply_shared(old.map(|old| &old.live.gpu_history))?;
        Ok(backend)
    }
}

impl Backend {
    fn without_queues(mut self) -> Self {
        self.sample = None;
        self.log = VecDeque::new();
        self.wakes = VecDeque::new();
        self.ledger.minutes = Arc::default();
        self.live.pages = Arc::default();
        self.live.gpu_history = Arc::default();
        self
    }
}

impl<T: Clone> Tail<T> {
    fn between(old: &VecDeque<T>, new: &VecDeque<T>, same: impl Fn(&T, &T) -> bool) -> Self {
        let skip = match new.front() {
            Some(first) => old.iter().position(|it| same(it, first)),
            None => None,
        }
        .unwrap_or(old.len());
        let keep = old
            .iter()
            .skip(skip)
            .zip(new)
            .take_while(|(a, b)| same(a, b))
            .count();
        Self {
            skip,
            keep,
            new: new.iter().skip(keep).cloned().collect(),
        }
    }

    /// The same for queues that two pictures may share.
    fn shared(
        old: &Arc<VecDeque<T>>,
        new: &Arc<VecDeque<T>>,
        same: impl Fn(&T, &T) -> bool,
    ) -> Self {
        if Arc::ptr_eq(old, new) {
            return Self {
                skip: 0,
                keep: old.len(),
                new: Vec::new(),
            };
        }
        Self::between(old, new, same)
    }

    fn apply(self, old: Option<&VecDeque<T>>) -> Result<VecDeque<T>, Misfit> {
        let nothing = VecDeque::new();
        let old = old.unwrap_or(&nothing);
        if self
            .skip
            .checked_add(self.keep)
            .is_none_or(|to| to > old.len())
        {
            return Err(Misfit);
        }
        let kept = old.iter().skip(self.skip).take(self.keep).cloned();
        Ok(kept.chain(self.new).collect())
    }

    fn apply_shared(self, old: Option<&Arc<VecDeque<T>>>) -> Result<Arc<VecDeque<T>>, Misfit> {
        match old {
            Some(old) if self.skip == 0 && self.keep == old.len() && self.new.is_empty() => {
                Ok(Arc::clone(old))
            }
            old => self.apply(old.map(Arc::as_ref)).map(Arc::new),
        }
    }
}
