//! The gateway: one OpenAI-compatible door to hosted and self-hosted models.
//!
//! Requests are routed by the published picture of the fleet alone: the gateway never asks an engine whether it is awake.
//! Bodies pass through as they came but for the model's name upstream and the usage that the accounting needs.

mod answer;
mod choose;
mod client;
mod record;
mod serve;
#[cfg(test)]
mod tests;
mod upstream;
mod wait;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
pub use crate::config::{Api, Auth, Gateway as Settings};
use crate::fleet::{BackendId, Fleet, ModelId, Observation};
use crate::handle;
use choose::desk::Desk;
use upstream::slot::Slot;

/// The largest body that is taken, in bytes.
pub const LARGEST_BODY: usize = 32 << 20;
/// The longest wait for the first event of a stream, fleet time.
const FIRST_EVENT: TimeDelta = TimeDelta::seconds(120);
/// The longest wait for an answer that comes in one piece, fleet time: its first byte is its last token's.
const FIRST_BYTE: TimeDelta = TimeDelta::minutes(10);
/// The longest wait for a connection to an upstream, wall time.
const CONNECT: Duration = Duration::from_secs(5);
/// An idle connection to an upstream is given up before uvicorn does that (5 s): no request meets a closing one.
const IDLE: Duration = Duration::from_secs(4);
/// What runs at a shutdown may take this long, wall time.
const GRACE: Duration = Duration::from_secs(5);

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
    fleet: watch::Receiver<Arc<Fleet>>,
    orders: mpsc::Sender<handle::Order>,
    observations: mpsc::Sender<Observation>,
    clock: Clock,
    started: DateTime<Utc>,
    slots: HashMap<BackendId, Arc<Slot>>,
    desks: RwLock<HashMap<ModelId, Arc<Desk>>>,
    client: Pool<HttpsConnector<HttpConnector>, Full<Bytes>>,
    /// Everything that outlives its request: records on their way, keepers of waiting rooms.
    tasks: TaskTracker,
    runtime: tokio::runtime::Handle,
    shutdown: CancellationToken,
}

impl Gate {
    /// Must be called within a runtime.
    fn new(door: Door, shutdown: CancellationToken) -> Arc<Self> {
        let mut slots = HashMap::new();
        let secure = door.upstreams.iter().any(|it| it.url.starts_with("https:"));
        for upstream in door.upstreams {
            match Slot::new(upstream) {
                Ok(slot) => {
                    slots.insert(slot.id.clone(), Arc::new(slot));
                }
                Err(what) => tracing::error!("{what}; it gets no requests"),
            }
        }
        Arc::new(Self {
            fleet: door.fleet,
            orders: door.orders,
            observations: door.observations,
            clock: door.clock,
            started: Utc::now(),
            slots,
            desks: RwLock::default(),
            client: client(secure),
            tasks: TaskTracker::new(),
            runtime: tokio::runtime::Handle::current(),
            shutdown,
        })
    }

    /// The newest picture. Cheap.
    fn picture(&self) -> Arc<Fleet> {
        Arc::clone(&self.fleet.borrow())
    }
}

/// Serves clients until `shutdown`; what runs then may finish within a short grace, and every record has been sent on return.
pub async fn run(listener: TcpListener, door: Door, shutdown: CancellationToken) {
    let gate = Gate::new(door, shutdown.clone());
    gate.tasks.spawn(record::sampler::run(Arc::clone(&gate)));
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                gate.tasks.spawn(converse(Arc::clone(&gate), stream));
            }
            Err(error) => {
                // Out of descriptors, most likely: give the ones that end a moment.
                tracing::warn!("no connection could be taken: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    gate.tasks.close();
    if tokio::time::timeout(GRACE * 2, gate.tasks.wait())
        .await
        .is_err()
    {
        tracing::warn!("{} tasks did not end in time", gate.tasks.len());
    }
}

/// One client's connection.
async fn converse(gate: Arc<Gate>, stream: TcpStream) {
    // Events are small: none waits for the next.
    let _ = stream.set_nodelay(true);
    let shutdown = gate.shutdown.clone();
    let service = service_fn(move |request| {
        let gate = Arc::clone(&gate);
        async move { Ok::<_, std::convert::Infallible>(serve::answer(gate, request).await) }
    });
    let mut connection =
        std::pin::pin!(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => Ok(ended),
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(GRACE, connection).await
        }
    };
    if let Ok(Err(error)) = ended {
        tracing::debug!("a client's connection ended: {error}");
    }
}

/// The connections to upstreams; `secure` where one of them is reached by TLS.
fn client(secure: bool) -> Pool<HttpsConnector<HttpConnector>, Full<Bytes>> {
    let mut http = HttpConnector::new();
    http.set_nodelay(true);
    http.enforce_http(false);
    http.set_connect_timeout(Some(CONNECT));
    // The operator's own authorities where the system has some, else Mozilla's. Reading the system's takes a while, which a
    // fleet without TLS need not spend at its start.
    let mozillas = || HttpsConnectorBuilder::new().with_webpki_roots();
    let roots = if secure {
        HttpsConnectorBuilder::new()
            .with_native_roots()
            .unwrap_or_else(|_| mozillas())
    } else {
        mozillas()
    };
    let https = roots.https_or_http().enable_http1().wrap_connector(http);
    Pool::builder(TokioExecutor::new())
        .pool_idle_timeout(IDLE)
        .pool_timer(TokioTimer::new())
        .build(https)
}
