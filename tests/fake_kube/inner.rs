//! The state that all connections share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;

use super::access::Access;
use super::faults::Faults;
use super::logs::Logs;
use super::object::{Key, Object};
use super::proxy::Far;
use super::record::{OpenWatch, Record};
use super::resources::{self, Kind};
use super::store::Store;
use super::watch::Orders;
use super::write;

/// How the server behaves.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) bookmark_every: Duration,
    /// Whether a version that is too old is refused with HTTP 410 instead of an event.
    pub(super) gone_as_http: bool,
    /// Whether `sendInitialEvents` is known.
    pub(super) streaming_lists: bool,
    /// How long a deleted pod takes to go; `None` until it is deleted by hand.
    pub(super) linger: Option<Duration>,
    /// Groups that are not installed.
    pub(super) without: Vec<String>,
}

pub(super) struct Inner {
    store: Mutex<Store>,
    /// The resource version, published after each change.
    pub(super) changes: watch::Sender<u64>,
    pub(super) orders: watch::Sender<Orders>,
    /// Moves with everything that happens.
    pub(super) activity: watch::Sender<u64>,
    record: Mutex<Record>,
    settings: Mutex<Settings>,
    access: Mutex<Access>,
    faults: Mutex<Faults>,
    logs: Mutex<Logs>,
    far: Mutex<Far>,
}

/// Locks, whatever became of the one who held it before.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inner {
    pub(super) fn new() -> Self {
        let store = Store::new();
        Self {
            changes: watch::Sender::new(store.version()),
            store: Mutex::new(store),
            orders: watch::Sender::new(Orders::default()),
            activity: watch::Sender::new(0),
            record: Mutex::default(),
            settings: Mutex::new(Settings {
                bookmark_every: Duration::from_secs(60),
                gone_as_http: false,
                streaming_lists: true,
                linger: Some(Duration::ZERO),
                without: Vec::new(),
            }),
            access: Mutex::default(),
            faults: Mutex::default(),
            logs: Mutex::default(),
            far: Mutex::default(),
        }
    }

    /// The store, to read.
    pub(super) fn store(&self) -> MutexGuard<'_, Store> {
        lock(&self.store)
    }

    /// Changes the store, and tells all watches.
    pub(super) fn change<T>(&self, with: impl FnOnce(&mut Store) -> T) -> T {
        let mut store = lock(&self.store);
        let before = store.version();
        let out = with(&mut store);
        let after = store.version();
        if after != before {
            self.changes.send_replace(after);
            drop(store);
            self.stir();
        }
        out
    }

    /// Wakes all who wait for something to happen.
    pub(super) fn stir(&self) {
        self.activity.send_modify(|n| *n += 1);
    }

    pub(super) fn record(&self) -> MutexGuard<'_, Record> {
        lock(&self.record)
    }

    pub(super) fn settings(&self) -> Settings {
        lock(&self.settings).clone()
    }

    pub(super) fn set(&self, with: impl FnOnce(&mut Settings)) {
        with(&mut lock(&self.settings));
    }

    pub(super) fn access(&self) -> MutexGuard<'_, Access> {
        lock(&self.access)
    }

    pub(super) fn faults(&self) -> MutexGuard<'_, Faults> {
        lock(&self.faults)
    }

    pub(super) fn logs(&self) -> MutexGuard<'_, Logs> {
        lock(&self.logs)
    }

    pub(super) fn far(&self) -> MutexGuard<'_, Far> {
        lock(&self.far)
    }

    pub(super) fn open_watch(self: &Arc<Self>, kind: &'static Kind) -> OpenWatch {
        OpenWatch::new(Arc::clone(self), kind)
    }

    /// Puts an object as the cluster does; its namespace comes with it.
    pub(super) fn put(&self, kind: &'static Kind, value: Value) -> Arc<Object> {
        self.change(|store| {
            if kind.namespaced
                && let Some(spaces) = resources::at("", "v1", "namespaces")
            {
                let name = value["metadata"]["namespace"]
                    .as_str()
                    .unwrap_or("default")
                    .to_owned();
                if store.get(spaces, &(String::new(), name.clone())).is_none() {
                    let space = serde_json::json!({
                        "metadata": {
                            "name": name,
                            "labels": { "kubernetes.io/metadata.name": name },
                        },
                        "spec": { "finalizers": ["kubernetes"] },
                        "status": { "phase": "Active" },
                    });
                    write::put(store, spaces, space);
                }
            }
            write::put(store, kind, value)
        })
    }

    /// Takes an object away at once; its logs end.
    pub(super) fn drop_object(&self, kind: &'static Kind, key: &Key) -> bool {
        let gone = self.change(|store| {
            store.get(kind, key).is_some() && store.commit(kind, key.clone(), None).is_some()
        });
        if gone && kind.kind == "Pod" {
            self.logs().end_pod(key);
        }
        gone
    }
}
