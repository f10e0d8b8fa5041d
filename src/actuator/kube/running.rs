//! What this console does now: another order for the same backend ends the one before it, and begins when that has ended.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::fleet::BackendId;

/// The operations that run, by backend.
#[derive(Clone, Debug, Default)]
pub(super) struct Running(Arc<Mutex<HashMap<BackendId, Operation>>>);

/// One that runs.
#[derive(Clone, Debug)]
struct Operation {
    /// Somebody wants something else: cancelled, it ends at its next wait.
    stop: CancellationToken,
    /// Cancelled when it has ended.
    ended: CancellationToken,
}

/// Held while an operation runs.
#[derive(Debug)]
pub(super) struct Turn {
    all: Running,
    id: BackendId,
    operation: Operation,
}

impl Running {
    /// Has whatever runs for a backend end, and takes its place.
    pub(super) async fn next(&self, id: &BackendId) -> Turn {
        let operation = Operation {
            stop: CancellationToken::new(),
            ended: CancellationToken::new(),
        };
        let before = self.all().insert(id.clone(), operation.clone());
        if let Some(before) = before {
            before.stop.cancel();
            before.ended.cancelled().await;
        }
        Turn {
            all: self.clone(),
            id: id.clone(),
            operation,
        }
    }

    fn all(&self) -> std::sync::MutexGuard<'_, HashMap<BackendId, Operation>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// Until something else is wanted.
    pub(super) async fn is_over(&self) {
        self.operation.stop.cancelled().await;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut all = self.all.all();
        // Whoever came next is there already.
        if !self.operation.stop.is_cancelled() {
            all.remove(&self.id);
        }
        drop(all);
        self.operation.ended.cancel();
    }
}
