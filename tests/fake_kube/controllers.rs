//! The few controllers that tests need: deployments, stateful sets and leader worker sets get their pods.

mod pods;
mod workloads;

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::json;
use tokio::task::JoinHandle;

use super::FakeKube;
use super::answer;
use super::inner::Inner;
use super::object::{Key, OWNER, Object};
use super::resources::{self, Kind};
use super::store::{Change, Store};

pub(super) use self::pods::template_hash;

/// The kinds whose changes matter, owners first.
const WATCHED: [&str; 5] = [
    "deployments",
    "statefulsets",
    "leaderworkersets",
    "replicasets",
    "pods",
];

/// Controllers at work; dropped, they stop.
pub(crate) struct Controllers {
    task: JoinHandle<()>,
}

impl Drop for Controllers {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FakeKube {
    /// Switches the controllers on: they settle what is there, and then follow each change. Pods they make are pending
    /// until moved by hand.
    pub(crate) fn controllers(&self) -> Controllers {
        let inner = Arc::clone(&self.inner);
        Controllers {
            task: tokio::spawn(run(inner)),
        }
    }
}

fn kind(plural: &str) -> &'static Kind {
    resources::named(plural).unwrap_or_else(|| panic!("not in the table: {plural}"))
}

/// Follows the store.
async fn run(inner: Arc<Inner>) {
    let mut changes = inner.changes.subscribe();
    let mut told = inner.store().version();
    let mut due: Vec<(&'static Kind, Key)> = {
        let store = inner.store();
        let workloads = WATCHED.iter().take(4).map(|plural| kind(plural));
        workloads
            .flat_map(|k| store.objects(k).map(move |o| (k, o.key.clone())))
            .collect()
    };
    loop {
        for (kind, key) in due.drain(..) {
            let victims = inner.change(|store| workloads::reconcile(store, kind, &key));
            for pod in victims {
                let pods = resources::named("pods").unwrap_or(kind);
                answer::remove(&inner, pods, &pod, &json!({}), false).ok();
            }
        }
        let news: Vec<Arc<Change>> = {
            let store = inner.store();
            let from = std::mem::replace(&mut told, store.version());
            WATCHED
                .iter()
                .filter_map(|k| store.since(kind(k), from).ok())
                .flatten()
                .collect()
        };
        if news.is_empty() {
            if changes.changed().await.is_err() {
                return;
            }
            continue;
        }
        due = affected(&inner, &news);
    }
}

/// What has to be looked at again; dependents of what is gone are collected.
fn affected(inner: &Inner, news: &[Arc<Change>]) -> Vec<(&'static Kind, Key)> {
    let mut due = BTreeSet::new();
    for change in news {
        let Some(object) = change.after.as_ref().or(change.before.as_ref()) else {
            continue;
        };
        if change.after.is_none() {
            inner.change(|store| collect(store, object));
        }
        if object.kind.plural != "pods" {
            due.insert((object.kind.plural, object.key.clone()));
        }
        if object.fields.contains_key(OWNER) {
            let owner = &object.value()["metadata"]["ownerReferences"][0];
            let of = WATCHED
                .iter()
                .find(|plural| owner["kind"] == kind(plural).kind);
            if let (Some(plural), Some(name)) = (of, owner["name"].as_str()) {
                due.insert((*plural, (object.key.0.clone(), name.to_owned())));
            }
        }
    }
    due.into_iter()
        .map(|(plural, key)| (kind(plural), key))
        .collect()
}

/// Deletes what belonged to an object that is gone.
fn collect(store: &mut Store, gone: &Object) {
    let uid = gone.value()["metadata"]["uid"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    for plural in ["replicasets", "pods"] {
        for dependent in owned(store, kind(plural), &uid) {
            store.commit(dependent.kind, dependent.key.clone(), None);
        }
    }
}

/// The objects of a kind that belong to an owner.
fn owned(store: &Store, kind: &'static Kind, uid: &str) -> Vec<Arc<Object>> {
    let mine = |o: &&Arc<Object>| o.fields.get(OWNER).is_some_and(|u| u == uid);
    store.objects(kind).filter(mine).cloned().collect()
}
