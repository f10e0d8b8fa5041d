//! What the gateway tells the fleet, on its way: gathered for a moment, so that no request wakes the fleet's owner by itself.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;

use crate::fleet::Observation;
use crate::gateway::Gate;
use crate::gateway::upstream::slot::lock;

/// How long is gathered, wall time.
const GATHER: Duration = Duration::from_millis(5);
/// With so many on their way, new requests wait until the fleet keeps up.
const FULL: usize = 8192;

/// Observations that are on their way. Nothing put in is lost.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    inside: Mutex<Vec<Observation>>,
    filled: Notify,
    emptied: Notify,
}

impl Outbox {
    /// Puts one in.
    pub(crate) fn put(&self, observation: Observation) {
        let mut inside = lock(&self.inside);
        inside.push(observation);
        let first = inside.len() == 1;
        drop(inside);
        if first {
            self.filled.notify_one();
        }
    }

    /// Waits while it is full.
    pub(crate) async fn has_room(&self) {
        loop {
            // Asked for before the look, so that an emptying in between is not missed.
            let emptied = self.emptied.notified();
            if lock(&self.inside).len() < FULL {
                return;
            }
            emptied.await;
        }
    }

    fn take(&self) -> Vec<Observation> {
        std::mem::take(&mut *lock(&self.inside))
    }
}

/// Sends what is put in, until the shutdown.
pub(in crate::gateway) async fn run(gate: Arc<Gate>) {
    loop {
        tokio::select! {
            () = gate.shutdown.cancelled() => return,
            () = gate.outbox.filled.notified() => {}
        }
        tokio::time::sleep(GATHER).await;
        empty(&gate).await;
    }
}

/// Sends what is in it now.
pub(in crate::gateway) async fn empty(gate: &Gate) {
    for observation in gate.outbox.take() {
        // Closed: the fleet is gone, and nobody is left to tell.
        if gate.observations.send(observation).await.is_err() {
            break;
        }
    }
    gate.outbox.emptied.notify_waiters();
}
