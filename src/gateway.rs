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
mod plan;
mod record;
mod serve;
#[cfg(test)]
mod tests;
mod upstream;
mod wait;
mod worker;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
pub use crate::config::{Api, Auth, Gateway as Settings};
use crate::fleet::{BackendId, Fleet, ModelId, Observation};
use crate::handle;
use choose::desk::Desk;
use plan::{Past, Plan};
use record::access_log::AccessLog;
use record::metrics::Metrics;
use record::outbox::Outbox;

/// A backend's address and key. Secrets are not shown.
#[derive(Clone, Debug, PartialEq, Eq)]
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
#[derive(Clone, PartialEq, Eq)]
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
    /// What follows the config.
    plan: RwLock<Arc<Plan>>,
    /// What earlier plans have under way.
    past: Mutex<Past>,
    fleet: watch::Receiver<Arc<Fleet>>,
    orders: mpsc::Sender<handle::Order>,
    observations: mpsc::Sender<Observation>,
    outbox: Outbox,
    clock: Clock,
    started: DateTime<Utc>,
    desks: RwLock<HashMap<ModelId, Arc<Desk>>>,
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
        let picture = Arc::clone(&door.fleet.borrow());
        let connections = door.settings.max_connections as usize;
        let access_log = door.settings.access_log.as_deref().and_then(|path| {
            let opened = AccessLog::open(path);
            opened
                .inspect_err(|error| tracing::error!("access log {}: {error}", path.display()))
                .ok()
        });
        let plan = Plan::new(door.settings, door.clients, door.upstreams, &picture, None);
        Arc::new(Self {
            plan: RwLock::new(Arc::new(plan)),
            past: Mutex::default(),
            fleet: door.fleet,
            orders: door.orders,
            observations: door.observations,
            outbox: Outbox::default(),
            clock: door.clock,
            started: Utc::now(),
            desks: RwLock::default(),
            metrics: Metrics::default(),
            access_log,
            places: Arc::new(Semaphore::new(connections)),
            tasks: TaskTracker::new(),
            runtime: tokio::runtime::Handle::current(),
            shutdown,
        })
    }

    /// The config as it is now.
    fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.plan.read().unwrap_or_else(PoisonError::into_inner))
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

/// A gateway that is ready to serve.
#[derive(Clone, Debug)]
pub struct Gateway(Arc<Gate>);

impl Gateway {
    /// Prepares it; it ends with `shutdown`. Must be called within a runtime.
    pub fn new(door: Door, shutdown: CancellationToken) -> Self {
        Self(Gate::new(door, shutdown))
    }

    /// Goes on by a changed config. What is under way ends as it began: by the addresses, keys and rules of before.
    ///
    /// To be called when the picture has the new models and backends.
    pub fn renew(&self, settings: Settings, clients: Vec<Client>, upstreams: Vec<Upstream>) {
        self.0.renew(settings, clients, upstreams);
    }

    /// Requests that a backend has under way, one that is no longer in the config as well.
    pub fn in_flight(&self, backend: &BackendId) -> u32 {
        self.0.in_flight_of(backend)
    }

    /// Serves clients until the shutdown; what runs then may finish within a short grace, and every record has been sent on return.
    pub async fn serve(self, listener: TcpListener) {
        let gate = self.0;
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
}

/// Serves clients until `shutdown`, by one config: see [`Gateway`].
pub async fn run(listener: TcpListener, door: Door, shutdown: CancellationToken) {
    Gateway::new(door, shutdown).serve(listener).await;
}
