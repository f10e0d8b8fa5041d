//! The gateway: one OpenAI-compatible door to hosted and self-hosted models.
//!
//! Requests are routed by the published picture of the fleet alone: the gateway never asks an engine whether it is awake.
//! Bodies pass through as they came but for the model's name upstream and the usage that the accounting needs.

mod answer;
mod choose;
mod client;
mod forward;
#[cfg(fuzzing)]
pub mod fuzzing;
mod listen;
mod record;
mod serve;
#[cfg(test)]
mod tests;
mod upstream;
mod wait;
mod worker;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, RwLock};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
pub use crate::config::{Api, Auth, Gateway as Settings};
use crate::fleet::{BackendId, Fleet, ModelId, Observation};
use crate::handle;
use choose::desk::Desk;
use client::keys::Keys;
use record::access_log::AccessLog;
use record::metrics::Metrics;
use record::outbox::Outbox;
use upstream::slot::Slot;
use upstream::wire::Opener;

/// A backend's address and key. Secrets are not shown.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Which backend.
    pub backend: BackendId,
    /// Base address without `/v1`.
    pub url: String,
    /// The model's name there, where it differs.
    pub model: Option<String>,
    /// Sent to it and to nobody else.
    pub key: Option<Key>,
    /// How the key is sent.
    pub auth: Auth,
    /// The shape of its addresses.
    pub api: Api,
    /// With [`Api::Azure`]: the dated version.
    pub api_version: Option<String>,
    /// A stream that says nothing for this long has failed, fleet time.
    pub stall_after: TimeDelta,
    /// It is asked for usage in every event of a stream.
    pub continuous_usage: bool,
}

impl Upstream {
    /// A server at `url` that speaks OpenAI's API, asks for no key, and has the model under its own name.
    pub fn at(backend: impl Into<BackendId>, url: impl Into<String>) -> Self {
        Self {
            backend: backend.into(),
            url: url.into(),
            model: None,
            key: None,
            auth: Auth::Bearer,
            api: Api::Openai,
            api_version: None,
            stall_after: TimeDelta::minutes(2),
            continuous_usage: false,
        }
    }
}

/// Who may ask.
#[derive(Clone, Debug)]
pub struct Client {
    /// Whose key it is, for records.
    pub name: Arc<str>,
    /// The key.
    pub key: Key,
    /// What comes with it never goes to a hosted backend.
    pub self_only: bool,
    /// The models that it may ask for; `None`: all.
    pub models: Option<Vec<String>>,
}

/// A secret that is sent to an upstream and shown to nobody.
#[derive(Clone)]
pub struct Key(String);

impl Key {
    /// Takes the secret.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What the gateway needs of the rest.
#[derive(Debug)]
pub struct Door {
    /// Limits, heartbeat and access log.
    pub settings: Settings,
    /// Who may ask; empty: everybody.
    pub clients: Vec<Client>,
    /// How each backend is reached; one that is missing here gets no requests.
    pub upstreams: Vec<Upstream>,
    /// The newest picture.
    pub fleet: watch::Receiver<Arc<Fleet>>,
    /// Where wakes are asked for.
    pub orders: mpsc::Sender<handle::Order>,
    /// Where records and counts go.
    pub observations: mpsc::Sender<Observation>,
    /// Fleet time.
    pub clock: Clock,
}

/// The gateway's state, shared by every request.
#[derive(Debug)]
struct Gate {
    settings: Settings,
    keys: Keys,
    fleet: watch::Receiver<Arc<Fleet>>,
    orders: mpsc::Sender<handle::Order>,
    observations: mpsc::Sender<Observation>,
    outbox: Outbox,
    clock: Clock,
    started: DateTime<Utc>,
    slots: HashMap<BackendId, Arc<Slot>>,
    /// One a model: told when a backend of it has a place again.
    freed: HashMap<ModelId, Arc<Notify>>,
    desks: RwLock<HashMap<ModelId, Arc<Desk>>>,
    opener: Opener,
    metrics: Metrics,
    access_log: Option<AccessLog>,
    /// Places for client connections.
    places: Arc<Semaphore>,
    /// Everything that outlives its request: records on their way, keepers of waiting rooms.
    tasks: TaskTracker,
    runtime: tokio::runtime::Handle,
    shutdown: CancellationToken,
}

impl Gate {
    /// Must be called within a runtime.
    fn new(door: Door, shutdown: CancellationToken) -> Arc<Self> {
        let mut slots = HashMap::new();
        let mut freed: HashMap<ModelId, Arc<Notify>> = HashMap::new();
        let secure = door.upstreams.iter().any(|it| it.url.starts_with("https:"));
        let picture = Arc::clone(&door.fleet.borrow());
        for upstream in door.upstreams {
            let Some(backend) = picture.backend(&upstream.backend) else {
                continue;
            };
            let freed = freed.entry(backend.model.clone()).or_default();
            match Slot::new(upstream, Arc::clone(freed)) {
                Ok(slot) => {
                    slots.insert(slot.id.clone(), Arc::new(slot));
                }
                Err(what) => tracing::error!("{what}; it gets no requests"),
            }
        }
        let access_log = door.settings.access_log.as_deref().and_then(|path| {
            let opened = AccessLog::open(path);
            opened
                .inspect_err(|error| tracing::error!("access log {}: {error}", path.display()))
                .ok()
        });
        Arc::new(Self {
            keys: Keys::new(door.clients),
            fleet: door.fleet,
            orders: door.orders,
            observations: door.observations,
            outbox: Outbox::default(),
            clock: door.clock,
            started: Utc::now(),
            slots,
            freed,
            desks: RwLock::default(),
            opener: Opener::new(secure),
            metrics: Metrics::default(),
            access_log,
            places: Arc::new(Semaphore::new(door.settings.max_connections as usize)),
            settings: door.settings,
            tasks: TaskTracker::new(),
            runtime: tokio::runtime::Handle::current(),
            shutdown,
        })
    }

    /// The newest picture. Cheap.
    fn picture(&self) -> Arc<Fleet> {
        Arc::clone(&self.fleet.borrow())
    }

    /// Tells the fleet, in a moment. Nothing is lost.
    fn observe(&self, observation: Observation) {
        self.outbox.put(observation);
    }
}

/// Serves clients until `shutdown`; what runs then may finish within a short grace, and every record has been sent on return.
pub async fn run(listener: TcpListener, door: Door, shutdown: CancellationToken) {
    let gate = Gate::new(door, shutdown);
    gate.tasks.spawn(record::sampler::run(Arc::clone(&gate)));
    gate.tasks.spawn(record::outbox::run(Arc::clone(&gate)));
    match worker::Workers::start(&gate) {
        Ok(workers) => listen::run(listener, &gate, workers).await,
        Err(error) => tracing::error!("no threads to serve clients with: {error}"),
    }
    gate.tasks.close();
    if tokio::time::timeout(listen::GRACE * 2, gate.tasks.wait())
        .await
        .is_err()
    {
        tracing::warn!("{} tasks did not end in time", gate.tasks.len());
    }
    record::outbox::empty(&gate).await;
}
