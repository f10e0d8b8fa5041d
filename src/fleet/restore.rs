//! A fleet that goes on where an earlier process left it.

use std::collections::VecDeque;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::backend::{DrainMark, Pin};
use super::ledger::Ledger;
use super::message::{Actor, AuditEntry};
use super::request::RequestRecord;
use super::wake::WakeRecord;
use super::{Backend, BackendId, Fleet};

/// What is kept of one backend.
#[derive(Clone, Debug, Default)]
pub struct Past {
    /// Its weight, where an operator changed it.
    pub weight: Option<u32>,
    /// Kept warm; `None` where the config decides.
    pub pin: Option<Option<Pin>>,
    /// When the hours began for which it was pinned last.
    pub scheduled: Option<DateTime<Utc>>,
    /// Out of service.
    pub drained: Option<DrainMark>,
    /// Its account.
    pub ledger: Option<Ledger>,
    /// Its past wakes, oldest first.
    pub wakes: VecDeque<Arc<WakeRecord>>,
}

impl Past {
    /// What is kept of a backend of a cluster that is gone: it costs nothing from now on.
    pub(super) fn of(gone: &Backend) -> Self {
        let mut ledger = gone.ledger.clone();
        // Should it come back, nothing was missed meanwhile.
        ledger.until = None;
        Self {
            ledger: Some(ledger),
            wakes: gone.wakes.clone(),
            ..Self::default()
        }
    }
}

impl Fleet {
    /// Goes on where an earlier process left the fleet: what nobody watched in between is marked as that.
    pub fn restore(
        &mut self,
        started: Option<DateTime<Utc>>,
        requests: VecDeque<Arc<RequestRecord>>,
        audit: VecDeque<Arc<AuditEntry>>,
    ) {
        self.started = started.unwrap_or(self.started);
        self.answered = 0;
        self.requests = requests;
        self.audit = audit;
        self.write(AuditEntry {
            at: self.now,
            by: Actor::Policy("fleet".into()),
            verb: "start".into(),
            target: self.name.clone(),
            result: "began to watch".into(),
            bad: false,
        });
    }

    /// The same for one backend.
    pub fn restore_backend(&mut self, id: &BackendId, past: Past) {
        let now = self.now;
        self.change(id, |b| {
            b.weight = past.weight.unwrap_or(b.weight);
            if let Some(pin) = past.pin {
                b.pin = pin;
            }
            b.scheduled = past.scheduled;
            b.drained = past.drained;
            b.wakes = past.wakes;
            if let Some(ledger) = past.ledger {
                b.resume(ledger, now);
            }
        });
    }
}
