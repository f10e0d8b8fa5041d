//! Where readings go: stamped with fleet time, and counted where they are lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::clock::Clock;
use crate::fleet::backend::LogLine;
use crate::fleet::engine::EngineSample;
use crate::fleet::gpu::Gpu;
use crate::fleet::message::StageMark;
use crate::fleet::{BackendId, Observation};

/// How long a reading that may be lost waits for a place, on the wall.
const INSTANT: Duration = Duration::from_millis(50);

/// The way out for one backend's readings. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Outlet {
    backend: BackendId,
    out: mpsc::Sender<Observation>,
    clock: Clock,
    lost: Arc<AtomicU64>,
}

impl Outlet {
    pub(super) fn new(backend: BackendId, out: mpsc::Sender<Observation>, clock: Clock) -> Self {
        Self {
            backend,
            out,
            clock,
            lost: Arc::default(),
        }
    }

    pub(super) fn backend(&self) -> &BackendId {
        &self.backend
    }

    /// Until nobody reads any more.
    pub(super) async fn closed(&self) {
        self.out.closed().await;
    }

    pub(super) async fn engine(&self, sample: EngineSample) {
        self.send_or_lose(Observation::Engine {
            backend: self.backend.clone(),
            sample: Box::new(sample),
            at: self.clock.now(),
        })
        .await;
    }

    pub(super) async fn gpus(&self, gpus: Vec<Gpu>) {
        self.send_or_lose(Observation::Gpus {
            backend: self.backend.clone(),
            gpus,
            at: self.clock.now(),
        })
        .await;
    }

    pub(super) async fn health(&self, ok: bool) {
        self.send(Observation::Health {
            backend: self.backend.clone(),
            ok,
            at: self.clock.now(),
        })
        .await;
    }

    pub(super) async fn sleeping(&self, asleep: bool) {
        self.send(Observation::Sleeping {
            backend: self.backend.clone(),
            asleep,
            at: self.clock.now(),
        })
        .await;
    }

    pub(super) async fn unreachable(&self, reason: String) {
        self.send(Observation::Unreachable {
            backend: self.backend.clone(),
            reason,
            at: self.clock.now(),
        })
        .await;
    }

    /// `text` is clean.
    pub(super) async fn log(&self, text: String, stage: Option<StageMark>) {
        let at = self.clock.now();
        self.send(Observation::Log {
            backend: self.backend.clone(),
            line: LogLine { at, text },
            stage,
        })
        .await;
    }

    pub(super) async fn runs(&self) {
        self.send(Observation::Runs {
            backend: self.backend.clone(),
            at: self.clock.now(),
        })
        .await;
    }

    pub(super) async fn exited(&self, status: Option<i32>, reason: String) {
        self.send(Observation::Exited {
            backend: self.backend.clone(),
            status,
            reason,
            at: self.clock.now(),
        })
        .await;
    }

    /// Waits for a place. Fails only when nobody reads any more, and then [`Self::closed`] ends the watch.
    async fn send(&self, observation: Observation) {
        let _ = self.out.send(observation).await;
    }

    async fn send_or_lose(&self, observation: Observation) {
        if self.out.send_timeout(observation, INSTANT).await.is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let count = self.lost.swap(0, Ordering::Relaxed);
        if count > 0 {
            self.send(Observation::Dropped {
                what: "readings",
                count,
            })
            .await;
        }
    }
}
