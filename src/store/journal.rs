//! What is new in a picture since the last one, as rows.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::sync::oneshot;

use super::Store;
use super::rows::{Desired, Row};
use crate::fleet::message::AuditEntry;
use crate::fleet::request::RequestRecord;
use crate::fleet::wake::WakeRecord;
use crate::fleet::{Backend, BackendId, Fleet};

/// Keeps a store in step with a fleet.
#[derive(Debug)]
pub struct Journal {
    store: Store,
    configured: HashMap<BackendId, u32>,
    seen: HashMap<BackendId, Seen>,
    audit: Option<Arc<AuditEntry>>,
}

/// What the store has of a backend.
#[derive(Debug)]
struct Seen {
    picture: Arc<Backend>,
    desired: Desired,
    wake: Option<Arc<WakeRecord>>,
    minute: Option<DateTime<Utc>>,
}

impl Journal {
    /// Begins with a fleet whose past is in the store already. `configured`: the weights of the config.
    pub fn new(store: Store, fleet: &Fleet, configured: HashMap<BackendId, u32>) -> Self {
        store.record(Row::Started(fleet.started));
        let weight = |b: &Backend| configured.get(&b.id).copied().unwrap_or(b.weight);
        let seen = fleet
            .backends
            .iter()
            .map(|b| (b.id.clone(), Seen::now(b, weight(b))));
        Self {
            seen: seen.collect(),
            audit: fleet.audit.back().cloned(),
            configured,
            store,
        }
    }

    /// Goes on by a changed config: with the backends that are new, and the weights that stand in it.
    pub fn renew(&mut self, fleet: &Fleet, configured: HashMap<BackendId, u32>) {
        for b in &fleet.backends {
            let weight = configured.get(&b.id).copied().unwrap_or(b.weight);
            self.seen
                .entry(b.id.clone())
                .or_insert_with(|| Seen::now(b, weight));
        }
        self.seen.retain(|id, _| fleet.backend(id).is_some());
        self.configured = configured;
    }

    /// Why nothing is recorded now.
    pub fn trouble(&self) -> Option<String> {
        self.store.trouble.borrow().clone()
    }

    /// Keeps a finished request.
    pub fn request(&self, record: &Arc<RequestRecord>) {
        self.store.record(Row::Request(Arc::clone(record)));
    }

    fn take(&mut self, fleet: &Fleet) {
        for b in &fleet.backends {
            let configured = self.configured.get(&b.id).copied().unwrap_or(b.weight);
            let Some(seen) = self.seen.get_mut(&b.id) else {
                continue;
            };
            if !Arc::ptr_eq(&seen.picture, b) {
                seen.take(&self.store, b, configured);
            }
        }
        let known = |entry: &Arc<AuditEntry>| {
            self.audit
                .as_ref()
                .is_some_and(|last| Arc::ptr_eq(last, entry))
        };
        let new = fleet
            .audit
            .iter()
            .rev()
            .take_while(|entry| !known(entry))
            .count();
        for entry in fleet.audit.iter().skip(fleet.audit.len() - new) {
            self.store.record(Row::Audit(Arc::clone(entry)));
        }
        self.audit = fleet.audit.back().cloned();
    }

    /// Keeps what is new, and what was recorded before with it.
    pub fn seal(&mut self, fleet: &Fleet) {
        self.take(fleet);
        self.store.seal();
    }

    /// Resolves when all of it is on the disk.
    pub fn flush(&mut self, fleet: &Fleet) -> oneshot::Receiver<bool> {
        self.take(fleet);
        self.store.flush()
    }
}

impl Seen {
    /// Of a backend whose past is in the store already.
    fn now(b: &Arc<Backend>, configured: u32) -> Self {
        Self {
            desired: Desired::of(b, configured),
            wake: b.wakes.back().cloned(),
            minute: b.ledger.minutes.back().map(|minute| minute.start),
            picture: Arc::clone(b),
        }
    }

    fn take(&mut self, store: &Store, b: &Arc<Backend>, configured: u32) {
        let desired = Desired::of(b, configured);
        if desired != self.desired {
            store.record(Row::Desired(b.id.clone(), desired.clone()));
            self.desired = desired;
        }
        let known = |wake: &Arc<WakeRecord>| {
            self.wake
                .as_ref()
                .is_some_and(|last| Arc::ptr_eq(last, wake))
        };
        let new = b.wakes.iter().rev().take_while(|wake| !known(wake)).count();
        for wake in b.wakes.iter().skip(b.wakes.len() - new) {
            store.record(Row::Wake(b.id.clone(), Arc::clone(wake)));
        }
        self.wake = b.wakes.back().cloned();
        let minutes = b.ledger.minutes.iter().rev();
        for minute in
            minutes.take_while(|minute| self.minute.is_none_or(|last| minute.start >= last))
        {
            store.record(Row::Minute(b.id.clone(), minute.clone()));
        }
        self.minute = b.ledger.minutes.back().map(|minute| minute.start);
        let mut ledger = b.ledger.clone();
        ledger.minutes = Arc::default();
        store.record(Row::Ledger(b.id.clone(), Box::new(ledger)));
        self.picture = Arc::clone(b);
    }
}
