//! A fake Kubernetes API server: the wire format, the order of events and the refusals of the real one, with no
//! cluster behind it.
//!
//! Objects are named by a path: `pods/llm/chat-0`, `deployments/llm/chat`, `nodes/gpu-1`,
//! `services.serving.knative.dev/llm/chat`, or as in a URL, `/apis/apps/v1/namespaces/llm/deployments/chat`.

#![expect(dead_code, unused_imports, reason = "each user needs a part of it")]
#![expect(
    clippy::panic,
    reason = "a test that asks for what is not served is wrong"
)]

mod access;
mod activator;
mod answer;
mod control;
mod controllers;
mod discovery;
mod events;
mod failure;
mod faults;
pub(crate) mod fixtures;
mod inner;
mod kubelet;
mod list;
mod logs;
mod object;
mod patch;
mod proxy;
mod record;
mod recording;
mod request;
mod resources;
mod routes;
mod scale;
mod select;
mod serve;
mod stamp;
mod store;
mod watch;
mod write;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) use self::control::FaultGuard;
pub(crate) use self::controllers::Controllers;
pub(crate) use self::faults::{on, watching};
pub(crate) use self::request::Call;
pub(crate) use self::resources::{KINDS, Kind};

use self::inner::Inner;
use self::object::Key;
use self::request::Target;

/// A server that runs; dropped, it stops.
pub(crate) struct FakeKube {
    inner: Arc<Inner>,
    address: SocketAddr,
    server: Mutex<Option<Server>>,
}

struct Server {
    _stop: DropGuard,
    task: JoinHandle<()>,
}

impl FakeKube {
    /// Starts a server at a free port of this machine.
    pub(crate) async fn start() -> Self {
        Self::start_at(([127, 0, 0, 1], 0).into())
            .await
            .unwrap_or_else(|e| panic!("no port for the fake API server: {e}"))
    }

    /// Starts a server at an address.
    pub(crate) async fn start_at(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let new = Self {
            inner: Arc::new(Inner::new()),
            address: listener.local_addr()?,
            server: Mutex::default(),
        };
        new.run(listener);
        Ok(new)
    }

    fn run(&self, listener: TcpListener) {
        let stop = CancellationToken::new();
        let task = tokio::spawn(serve::serve(
            listener,
            Arc::clone(&self.inner),
            stop.clone(),
        ));
        *self.slot() = Some(Server {
            _stop: stop.drop_guard(),
            task,
        });
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Server>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops: all connections break, and new ones are refused. What is stored stays.
    pub(crate) async fn stop(&self) {
        let server = self.slot().take();
        if let Some(Server { _stop: stop, task }) = server {
            drop(stop);
            task.await.ok();
        }
    }

    /// Starts again at the same port, stopping first if need be.
    pub(crate) async fn restart(&self) {
        self.stop().await;
        match TcpListener::bind(self.address).await {
            Ok(listener) => self.run(listener),
            Err(e) => panic!("the port of the fake API server is taken: {e}"),
        }
    }

    /// The address as a URL, without a slash at its end.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A kubeconfig with one context, `fake`.
    pub(crate) fn kubeconfig(&self) -> String {
        let (url, access) = (self.url(), self.inner.access());
        let user = match &access.token {
            Some(token) => format!("{{token: \"{token}\"}}"),
            None => "{}".to_owned(),
        };
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: fake\nclusters:\n- name: fake\n  \
             cluster: {{server: \"{url}\"}}\ncontexts:\n- name: fake\n  context: {{cluster: fake, \
             user: fake, namespace: default}}\nusers:\n- name: fake\n  user: {user}\n"
        )
    }

    /// Puts an object as the cluster itself does, with its status, and sends the event.
    pub(crate) fn put(&self, object: Value) -> Value {
        let text = |name: &str| object[name].as_str().unwrap_or_default().to_owned();
        let kind = resources::of(&text("apiVersion"), &text("kind"))
            .unwrap_or_else(|| panic!("not served: {} {}", text("apiVersion"), text("kind")));
        self.inner.put(kind, object).value()
    }

    /// Takes an object away at once, and says whether it was there.
    pub(crate) fn delete(&self, path: &str) -> bool {
        let (kind, key) = locate(path);
        self.inner.drop_object(kind, &key)
    }

    /// Merges into an object as the cluster itself does, its status included; returns the outcome.
    pub(crate) fn merge(&self, path: &str, change: &Value) -> Option<Value> {
        let (kind, key) = locate(path);
        self.inner.change(|store| {
            let mut value = store.get(kind, &key)?.value();
            patch::merge(&mut value, change);
            Some(write::put(store, kind, value).value())
        })
    }

    /// An object as it is now.
    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        let (kind, key) = locate(path);
        self.inner.store().get(kind, &key).map(|o| o.value())
    }

    /// All objects of a resource such as `pods`.
    pub(crate) fn all(&self, resource: &str) -> Vec<Value> {
        let kind = resources::named(resource).unwrap_or_else(|| panic!("not served: {resource}"));
        self.inner
            .store()
            .objects(kind)
            .map(|o| o.value())
            .collect()
    }

    /// How many objects of a resource there are.
    pub(crate) fn count(&self, resource: &str) -> usize {
        let kind = resources::named(resource).unwrap_or_else(|| panic!("not served: {resource}"));
        self.inner.store().objects(kind).count()
    }

    /// The current resource version.
    pub(crate) fn version(&self) -> u64 {
        self.inner.store().version()
    }

    /// Brings a group, as who installs its CRDs; or takes it away.
    pub(crate) fn install(&self, group: &str, so: bool) {
        self.inner.set(|s| {
            s.without.retain(|it| it != group);
            if !so {
                s.without.push(group.to_owned());
            }
        });
    }

    /// Takes a group away, as where its CRDs are not installed.
    #[must_use]
    pub(crate) fn without(self, group: &str) -> Self {
        self.inner.set(|s| s.without.push(group.to_owned()));
        self
    }
}

/// The kind and the key a path means.
fn locate(path: &str) -> (&'static Kind, Key) {
    let found = if path.starts_with('/') {
        Target::parse(path).map(|t| (t.kind, t.key()))
    } else {
        let parts: Vec<&str> = path.split('/').collect();
        resources::named(parts[0]).and_then(|kind| match (&parts[1..], kind.namespaced) {
            ([name], false) => Some((kind, (String::new(), (*name).to_owned()))),
            ([space, name], true) => Some((kind, ((*space).to_owned(), (*name).to_owned()))),
            _ => None,
        })
    };
    found.unwrap_or_else(|| panic!("no path of an object: {path}"))
}
