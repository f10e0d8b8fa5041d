//! What is new in a picture since the last one, as rows.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Store;
use super::rows::{Desired, Row};
use crate::fleet::ledger::{Ledger, Minute};
use crate::fleet::message::AuditEntry;
use crate::fleet::request::RequestRecord;
use crate::fleet::restore::Past;
use crate::fleet::wake::WakeRecord;
use crate::fleet::{Backend, BackendId, Fleet};

/// Clusters have thousands of backends, and decide themselves what is: their accounts are kept this often, by the hour.
const CLUSTERS_EVERY: Duration = Duration::from_secs(60);

/// Keeps a store in step with a fleet.
#[derive(Debug)]
pub struct Journal {
    store: Store,
    /// When the next rows of a fleet on clusters are due; `None` for any other fleet.
    due: Option<Instant>,
    /// What the store had of backends on clusters at the start.
    past: Arc<BTreeMap<BackendId, Arc<Past>>>,
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
            due: None,
            past: Arc::default(),
        }
    }

    /// The same for a fleet on clusters, whose backends are found one by one.
    pub fn of_clusters(store: Store, fleet: &Fleet) -> Self {
        let due = Some(Instant::now() + CLUSTERS_EVERY);
        Self {
            due,
            past: Arc::clone(&fleet.past),
            ..Self::new(store, fleet, HashMap::new())
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
        if self.due.is_some() {
            self.take_clusters(fleet);
        } else {
            self.take_backends(fleet);
        }
        self.take_audit(fleet);
    }

    /// Only accounts and wakes: what operators want stands on the clusters.
    fn take_clusters(&mut self, fleet: &Fleet) {
        self.store.record(Row::Started(fleet.started));
        for b in &fleet.backends {
            let known = self.seen.get(&b.id);
            if known.is_some_and(|it| Arc::ptr_eq(&it.picture, b)) {
                continue;
            }
            let past = self.past.get(&b.id);
            let (rows, wake) = match (known, past) {
                (Some(it), _) => (Some(&it.picture.ledger.minutes), it.wake.as_ref()),
                (None, Some(it)) => (it.ledger.as_ref().map(|it| &it.minutes), it.wakes.back()),
                (None, None) => (None, None),
            };
            let before = rows.map(|it| hours(it)).unwrap_or_default();
            for row in hours(&b.ledger.minutes) {
                let at = before.binary_search_by_key(&row.start, |it| it.start);
                if at.is_err() || at.is_ok_and(|at| before[at] != row) {
                    self.store.record(Row::Minute(b.id.clone(), row));
                }
            }
            record_wakes(&self.store, b, wake);
            record_ledger(&self.store, &b.id, &b.ledger);
            self.seen.insert(b.id.clone(), Seen::now(b, b.weight));
        }
        // The last of those that left.
        self.seen.retain(|id, _| {
            let past = fleet.past.get(id).and_then(|it| it.ledger.as_ref());
            if let Some(ledger) = past {
                for row in hours(&ledger.minutes) {
                    self.store.record(Row::Minute(id.clone(), row));
                }
                let until = Some(ledger.until.unwrap_or(fleet.now));
                let ledger = Ledger {
                    until,
                    ..ledger.clone()
                };
                record_ledger(&self.store, id, &ledger);
            }
            past.is_none()
        });
    }

    fn take_backends(&mut self, fleet: &Fleet) {
        for b in &fleet.backends {
            let configured = self.configured.get(&b.id).copied().unwrap_or(b.weight);
            let Some(seen) = self.seen.get_mut(&b.id) else {
                continue;
            };
            if !Arc::ptr_eq(&seen.picture, b) {
                seen.take(&self.store, b, configured);
            }
        }
    }

    fn take_audit(&mut self, fleet: &Fleet) {
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
        if let Some(due) = &mut self.due {
            let now = Instant::now();
            if now < *due {
                return;
            }
            *due = now + CLUSTERS_EVERY;
        }
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
        record_wakes(store, b, self.wake.as_ref());
        self.wake = b.wakes.back().cloned();
        let minutes = b.ledger.minutes.iter().rev();
        for minute in
            minutes.take_while(|minute| self.minute.is_none_or(|last| minute.start >= last))
        {
            store.record(Row::Minute(b.id.clone(), minute.clone()));
        }
        self.minute = b.ledger.minutes.back().map(|minute| minute.start);
        record_ledger(store, &b.id, &b.ledger);
        self.picture = Arc::clone(b);
    }
}

fn record_ledger(store: &Store, id: &BackendId, ledger: &Ledger) {
    let mut ledger = ledger.clone();
    ledger.minutes = Arc::default();
    store.record(Row::Ledger(id.clone(), Box::new(ledger)));
}

/// Records the wakes that came after `last`.
fn record_wakes(store: &Store, b: &Backend, last: Option<&Arc<WakeRecord>>) {
    let known = |wake: &Arc<WakeRecord>| last.is_some_and(|last| Arc::ptr_eq(last, wake));
    let new = b.wakes.iter().rev().take_while(|wake| !known(wake)).count();
    for wake in b.wakes.iter().skip(b.wakes.len() - new) {
        store.record(Row::Wake(b.id.clone(), Arc::clone(wake)));
    }
}

/// Rows by the hour.
fn hours(rows: &VecDeque<Minute>) -> VecDeque<Minute> {
    let hour = |at: DateTime<Utc>| at.duration_trunc(TimeDelta::hours(1)).unwrap_or(at);
    let mut out: VecDeque<Minute> = VecDeque::new();
    for row in rows {
        match out.back_mut() {
            Some(last) if last.start == hour(row.start) => last.add(row),
            _ => out.push_back(Minute {
                start: hour(row.start),
                ..row.clone()
            }),
        }
    }
    out
}
