//! Everything that is watched of one cluster, as it stands.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::events::Events;
use super::lost::Losses;
use super::object::{
    Address, AiBackend, Claim, Event, Hpa, InferenceService, InferenceSet, Key, LlmService, Meta,
    Node, Pod, Pool, Revision, Route, Scaled, Service, Workload, Workspace,
};
use super::watch::Watched;
use crate::fleet::cluster::object::Kind;
use crate::fleet::cluster::{Odd, PartState, Permit};

/// A workload: its kind and where it is.
pub(super) type Home = (Kind, Key);

/// Something that happened.
#[derive(Debug)]
pub(super) enum Change {
    /// It is new or changed.
    Put(Item),
    /// It is gone.
    Gone(Kind, Key),
    /// Of this kind and namespace there are these only.
    Only(Kind, Option<String>, HashSet<Key>),
    /// How a kind stands.
    State(Kind, Option<String>, PartState),
    /// What of a kind is not understood now.
    Odd(Kind, Option<String>, Option<Odd>),
    /// What this user may do.
    Permits(Vec<Permit>),
    /// Why a run of a pod's engine ended, as its log has it; which pod of that name, and which run.
    Reason(Key, (Box<str>, u32), String),
}

macro_rules! items {
    ($($variant:ident($type:ty) => $field:ident),+ $(,)?) => {
        /// An object of any kind.
        #[derive(Debug)]
        pub(super) enum Item {
            /// Of several kinds.
            Workload(Kind, Box<Workload>),
            /// Of two kinds.
            Route(Kind, Box<Route>),
            Pod(Box<Pod>),
            Event(Box<Event>),
            $($variant(Box<$type>)),+
        }

        /// Everything that is watched of one cluster.
        #[derive(Debug, Default)]
        pub(super) struct World {
            pub workloads: BTreeMap<Home, Workload>,
            pub routes: BTreeMap<Home, Route>,
            pub pods: HashMap<Key, Pod>,
            pub pods_of: HashMap<Home, BTreeSet<Key>>,
            pub pods_on: HashMap<Box<str>, BTreeSet<Key>>,
            pub events: Events,
            pub losses: Losses,
            pub parts: BTreeMap<(Kind, Option<String>), PartState>,
            pub odd: BTreeMap<(Kind, Option<String>), Odd>,
            /// What was listed to its end at least once: what is not there is not there.
            pub listed: HashSet<(Kind, Option<String>)>,
            pub permits: Vec<Permit>,
            pub reasons: HashMap<Key, (u32, String)>,
            $(pub $field: BTreeMap<Key, $type>),+
        }

        $(impl Watched for $type {
            fn meta(&self) -> &Meta {
                &self.meta
            }
            fn item(self, _: Kind) -> Item {
                Item::$variant(Box::new(self))
            }
        })+

        impl World {
            /// Takes an object of a kind that everything else may hang on; whether that changed anything.
            fn put_rest(&mut self, item: Item) -> bool {
                match item {
                    $(Item::$variant(it) => {
                        let key = it.meta.key();
                        let same = self.$field.get(&key).is_some_and(|old| *old == *it);
                        self.$field.insert(key, *it);
                        !same
                    })+
                    Item::Workload(..) | Item::Route(..) | Item::Pod(_) | Item::Event(_) => false,
                }
            }

            fn gone_rest(&mut self, kind: Kind, key: &Key) -> bool {
                match kind {
                    $(Kind::$variant => self.$field.remove(key).is_some(),)+
                    _ => false,
                }
            }

            fn keys_rest(&self, kind: Kind) -> Vec<Key> {
                match kind {
                    $(Kind::$variant => self.$field.keys().cloned().collect(),)+
                    _ => Vec::new(),
                }
            }
        }
    };
}

items! {
    Node(Node) => nodes,
    NodeClaim(Claim) => claims,
    Service(Service) => services,
    HorizontalPodAutoscaler(Hpa) => hpas,
    ScaledObject(Scaled) => scaled,
    Workspace(Workspace) => workspaces,
    InferenceSet(InferenceSet) => sets,
    InferenceService(InferenceService) => kserve,
    LlmInferenceService(LlmService) => llm,
    Revision(Revision) => revisions,
    InferencePool(Pool) => pools,
    AiServiceBackend(AiBackend) => ai_backends,
    Backend(Address) => addresses,
}

/// What a change touches.
#[derive(Debug, Default)]
pub(super) struct Touched {
    /// Workloads whose pods changed.
    pub homes: HashSet<Home>,
    /// Something that others hang on changed: everything is looked at again.
    pub structure: bool,
    /// How kinds stand changed.
    pub parts: bool,
}

impl World {
    pub(super) fn apply(&mut self, change: Change, touched: &mut Touched) {
        match change {
            Change::Put(Item::Pod(pod)) => self.put_pod(*pod, touched),
            Change::Put(Item::Event(event)) => self.put_event(*event, touched),
            Change::Put(Item::Workload(kind, it)) => {
                let home = (kind, it.meta.key());
                let old = self.workloads.get(&home);
                let same = old.is_some_and(|old| {
                    old.meta == it.meta && old.engine == it.engine && old.labels == it.labels
                });
                if old.is_none_or(|old| old.replicas != it.replicas || old.refused != it.refused) {
                    touched.homes.insert(home.clone());
                }
                if old.is_some_and(|old| (old.replicas == 0) != (it.replicas == 0)) {
                    // What was refused before is asked for anew.
                    self.events.forget(&home);
                }
                touched.structure |= !same;
                self.workloads.insert(home, *it);
            }
            Change::Put(Item::Route(kind, it)) => {
                let home = (kind, it.meta.key());
                // Only its version moves where a controller writes the same status again and again.
                touched.structure |= self.routes.get(&home) != Some(&*it);
                self.routes.insert(home, *it);
            }
            Change::Put(item) => touched.structure |= self.put_rest(item),
            Change::Permits(permits) => {
                touched.parts = true;
                self.permits = permits;
            }
            Change::Reason(key, (uid, run), why) => {
                if let Some(pod) = self.pods.get(&key).filter(|it| it.meta.uid == uid) {
                    touched.homes.extend(home(pod));
                    self.reasons.insert(key, (run, why));
                }
            }
            Change::Gone(kind, key) => self.gone(kind, &key, touched),
            Change::Only(kind, namespace, keys) => {
                let stale = self.keys(kind).into_iter().filter(|key| {
                    let here = namespace.as_ref().is_none_or(|it| **it == *key.namespace);
                    here && !keys.contains(key)
                });
                for key in stale.collect::<Vec<_>>() {
                    self.gone(kind, &key, touched);
                }
                self.listed.insert((kind, namespace));
            }
            Change::State(kind, namespace, state) => {
                touched.parts = true;
                // What belongs together shows once all of it is there.
                touched.structure |= state == PartState::Followed;
                if let PartState::Forbidden { .. } = state {
                    // From here on nobody tells what becomes of them.
                    self.listed.remove(&(kind, namespace.clone()));
                    touched.structure = true;
                }
                self.parts.insert((kind, namespace), state);
            }
            Change::Odd(kind, namespace, odd) => {
                touched.parts = true;
                match odd {
                    Some(odd) => self.odd.insert((kind, namespace), odd),
                    None => self.odd.remove(&(kind, namespace)),
                };
            }
        }
    }

    /// Whether everything of a kind in a namespace was told.
    pub(super) fn knows(&self, kind: Kind, namespace: &str) -> bool {
        let here = (kind, Some(namespace.to_owned()));
        self.listed.contains(&(kind, None)) || self.listed.contains(&here)
    }

    fn put_pod(&mut self, pod: Pod, touched: &mut Touched) {
        let key = pod.key();
        if let Some(old) = self.pods.get(&key) {
            if *old == pod {
                return;
            }
            if old.meta.uid != pod.meta.uid {
                // Another of that name, and nobody told of the end of this one.
                self.gone(Kind::Pod, &key, touched);
            }
        }
        // Whose pages tell of others is found with them.
        touched.structure |= super::tells_of_others(&pod);
        self.unplace(&key, touched);
        self.losses.note(home(&pod), &pod, &self.nodes);
        if let Some(home) = home(&pod) {
            self.pods_of
                .entry(home.clone())
                .or_default()
                .insert(key.clone());
            touched.homes.insert(home);
        }
        if !pod.node.is_empty() && pod.gpus > 0 {
            self.pods_on
                .entry(pod.node.clone())
                .or_default()
                .insert(key.clone());
        }
        self.pods.insert(key, pod);
    }

    /// Takes a pod out of the places where it is found.
    fn unplace(&mut self, key: &Key, touched: &mut Touched) {
        let Some(old) = self.pods.get(key) else {
            return;
        };
        if let Some(home) = home(old) {
            if let Some(all) = self.pods_of.get_mut(&home) {
                all.remove(key);
                if all.is_empty() {
                    self.pods_of.remove(&home);
                }
            }
            touched.homes.insert(home);
        }
        if let Some(all) = self.pods_on.get_mut(&old.node) {
            all.remove(key);
            if all.is_empty() {
                self.pods_on.remove(&old.node);
            }
        }
    }

    fn put_event(&mut self, event: Event, touched: &mut Touched) {
        if event.tells() {
            touched
                .homes
                .extend(self.pods.get(&event.regarding).and_then(home));
            self.events.put(event, &self.pods);
        } else if event.refuses() {
            touched
                .homes
                .extend(self.events.refuse(&event, &self.workloads));
        }
    }

    fn gone(&mut self, kind: Kind, key: &Key, touched: &mut Touched) {
        match kind {
            Kind::Pod => {
                self.unplace(key, touched);
                if let Some(pod) = self.pods.remove(key) {
                    self.losses.gone(home(&pod), &pod, &self.nodes);
                    self.events.gone(&pod);
                }
                self.reasons.remove(key);
            }
            Kind::Node => {
                if let Some(node) = self.nodes.remove(key) {
                    touched.structure = true;
                    // Its pods are found to be gone after it is.
                    if self.pods_on.contains_key(&key.name) {
                        self.losses.machine_gone(&node);
                    }
                }
            }
            // An event that expires did happen.
            Kind::Event => {}
            Kind::Deployment | Kind::StatefulSet | Kind::LeaderWorkerSet => {
                let home = (kind, key.clone());
                touched.structure |= self.workloads.remove(&home).is_some();
                self.events.forget(&home);
                self.losses.forget(&home);
                touched.homes.insert(home);
            }
            Kind::HttpRoute | Kind::AiGatewayRoute => {
                touched.structure |= self.routes.remove(&(kind, key.clone())).is_some();
            }
            other => touched.structure |= self.gone_rest(other, key),
        }
    }

    fn keys(&self, kind: Kind) -> Vec<Key> {
        let homes = |all: Vec<&Home>| {
            let of = all.into_iter().filter(|(it, _)| *it == kind);
            of.map(|(_, key)| key.clone()).collect()
        };
        match kind {
            Kind::Pod => self.pods.keys().cloned().collect(),
            Kind::Event => Vec::new(),
            Kind::Deployment | Kind::StatefulSet | Kind::LeaderWorkerSet => {
                homes(self.workloads.keys().collect())
            }
            Kind::HttpRoute | Kind::AiGatewayRoute => homes(self.routes.keys().collect()),
            other => self.keys_rest(other),
        }
    }

    /// The pods of a workload.
    pub(super) fn pods_of(&self, home: &Home) -> impl Iterator<Item = &Pod> {
        let keys = self.pods_of.get(home);
        keys.into_iter()
            .flatten()
            .filter_map(|key| self.pods.get(key))
    }
}

/// The workload that a pod is of.
fn home(pod: &Pod) -> Option<Home> {
    let namespace = &pod.meta.namespace;
    if let Some(name) = pod.meta.label("leaderworkerset.sigs.k8s.io/name") {
        return Some((Kind::LeaderWorkerSet, Key::new(namespace, name)));
    }
    match pod.meta.controller()? {
        ("StatefulSet", name) => Some((Kind::StatefulSet, Key::new(namespace, name))),
        // A Deployment's ReplicaSets are named after it and the template.
        ("ReplicaSet", name) => {
            let hash = pod.meta.label("pod-template-hash")?;
            let name = name.strip_suffix(hash)?.strip_suffix('-')?;
            Some((Kind::Deployment, Key::new(namespace, name)))
        }
        _ => None,
    }
}

impl Watched for Pod {
    fn meta(&self) -> &Meta {
        &self.meta
    }
    fn item(self, _: Kind) -> Item {
        Item::Pod(Box::new(self))
    }
}

impl Watched for Event {
    fn meta(&self) -> &Meta {
        &self.meta
    }
    fn item(self, _: Kind) -> Item {
        Item::Event(Box::new(self))
    }
}

impl Watched for Workload {
    fn meta(&self) -> &Meta {
        &self.meta
    }
    fn item(self, kind: Kind) -> Item {
        Item::Workload(kind, Box::new(self))
    }
}

impl Watched for Route {
    fn meta(&self) -> &Meta {
        &self.meta
    }
    fn item(self, kind: Kind) -> Item {
        Item::Route(kind, Box::new(self))
    }
}
