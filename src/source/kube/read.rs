//! Engines' and GPUs' pages: directly, through the API's own proxy to pods, or from Prometheus; whichever works.
//!
//! Only pods whose engine runs are read, and only their `/metrics`: no path here can wake anything. Rounds are spread out, so
//! that a large cluster's API server is asked for a bounded number of pages a second.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use super::meters::Meters;
use super::object::{Key, Pod};
use super::page::{NEAR, Reader};
use super::turns::{TICK, Turns, spread};
use crate::cluster::{Fault, Reach};
use crate::fleet::cluster::place::{BY_PROXY, DIRECTLY, FROM_PROMETHEUS};
use crate::fleet::request::Usage;
use crate::fleet::{BackendId, Observation};
use crate::source::{dcgm, vllm};

/// Where nothing works it is tried again this late.
const AGAIN: Duration = Duration::from_secs(60);
/// Where dcgm-exporter has its page.
const DCGM_PORT: u16 = 9400;
/// Between two rounds of the GPUs, at least.
const GPUS_EVERY: Duration = Duration::from_secs(10);

/// A pod that has a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Paged {
    pub namespace: Box<str>,
    pub name: Box<str>,
    pub ip: Box<str>,
    /// When it was made.
    pub born: Option<DateTime<Utc>>,
    /// Requests may run on it: it is ready, or was since its engine started. Of one that never was, silence says nothing.
    pub serves: bool,
}

impl Paged {
    pub(super) fn of(pod: &Pod) -> Self {
        Self {
            namespace: pod.meta.namespace.clone(),
            name: pod.meta.name.clone(),
            ip: pod.ip.clone(),
            born: pod.meta.creation_timestamp,
            serves: true,
        }
    }

    pub(super) fn key(&self) -> Key {
        Key::new(&self.namespace, &self.name)
    }
}

/// The pages of one backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Engine {
    pub id: BackendId,
    pub port: u16,
    pub pods: Vec<Paged>,
    /// Its other pods: they hold GPUs and have no page.
    pub workers: Vec<Key>,
    /// Until when somebody waits for what it says, as a mark on it has it.
    pub until: Option<DateTime<Utc>>,
}

impl Engine {
    fn keys(&self) -> impl Iterator<Item = Key> {
        self.pods.iter().map(Paged::key)
    }

    /// Every pod that may hold GPUs of it.
    fn holders(&self) -> impl Iterator<Item = Key> {
        self.keys().chain(self.workers.iter().cloned())
    }
}

/// Everything that is to be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub engines: Vec<Arc<Engine>>,
    /// dcgm-exporter's pods on the machines of these engines.
    pub exporters: Vec<Paged>,
}

/// How pages are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Way {
    /// Not found out yet, or nothing to read.
    #[default]
    Unknown,
    /// At the pods' own addresses.
    Direct,
    /// Through the API's proxy.
    Proxy,
    /// From Prometheus (`/federate`).
    Prometheus,
    /// Not at all, and why.
    None(String),
}

impl Way {
    /// In words; `None` where pages are not read.
    pub(super) fn words(&self) -> Option<&'static str> {
        match self {
            Self::Unknown | Self::None(_) => None,
            Self::Direct => Some(DIRECTLY),
            Self::Proxy => Some(BY_PROXY),
            Self::Prometheus => Some(FROM_PROMETHEUS),
        }
    }
}

/// Reads what is wanted for as long as somebody wants anything.
pub(super) async fn read(
    reader: Reader,
    mut wanted: watch::Receiver<Arc<Wanted>>,
    way: watch::Sender<Way>,
) {
    let reader = Arc::new(reader);
    let meters = Arc::new(Meters::new());
    let mut turns = Turns::default();
    let mut under_way: JoinSet<bool> = JoinSet::new();
    let mut of: HashMap<tokio::task::Id, BackendId> = HashMap::new();
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut gpus_at = Instant::now();
    let mut found_at: Option<Instant> = None;
    // When a page was last read.
    let mut heard = Instant::now();
    loop {
        // Nothing to read: nothing to do until there is.
        if wanted.borrow_and_update().engines.is_empty() && wanted.changed().await.is_err() {
            return;
        }
        ticks.tick().await;
        let now = Instant::now();
        let all = Arc::clone(&wanted.borrow_and_update());
        while let Some(done) = under_way.try_join_next_with_id() {
            let id = match done {
                Ok((id, read)) => {
                    if read {
                        heard = now;
                    }
                    id
                }
                Err(why) => why.id(),
            };
            if let Some(id) = of.remove(&id) {
                turns.ended(&id);
            }
        }
        // A way that leads nowhere any more, as a VPN that is gone, is looked for again.
        let lost = is_none(&way.borrow()) || now.duration_since(heard) >= AGAIN;
        if found_at.is_none_or(|at| now.duration_since(at) >= AGAIN && lost) {
            found_at = Some(now);
            let found = reader.find_way(&all).await;
            way.send_replace(found);
        }
        let by = way.borrow().clone();
        if by.words().is_none() {
            continue;
        }
        let at = reader.clock.now();
        let is_urgent = |it: &Engine| {
            it.until.is_some_and(|until| at < until) || reader.attention.is_watched(&it.id)
        };
        for engine in turns.next(&all.engines, is_urgent, now) {
            let (reader, meters, by) = (Arc::clone(&reader), Arc::clone(&meters), by.clone());
            let id = engine.id.clone();
            let task = under_way.spawn(async move { reader.engine(&engine, &by, &meters).await });
            of.insert(task.id(), id);
        }
        if now >= gpus_at && (!all.exporters.is_empty() || reader.prometheus.is_some()) {
            gpus_at = now + GPUS_EVERY.max(spread(all.exporters.len()));
            let (reader, all) = (Arc::clone(&reader), Arc::clone(&all));
            under_way.spawn(async move {
                reader.gpus(&all).await;
                false
            });
        }
        if turns.tidy(&all.engines) {
            let pods: HashSet<Key> = all.engines.iter().flat_map(|it| it.keys()).collect();
            meters.keep(|key| pods.contains(key));
            let exporters: HashSet<Key> = all.exporters.iter().map(Paged::key).collect();
            reader
                .proofs
                .keep(|key| pods.contains(key) || exporters.contains(key));
        }
    }
}

fn is_none(way: &Way) -> bool {
    matches!(way, Way::None(_) | Way::Unknown)
}

impl Reader {
    /// Tries a few pods: one may be down for reasons of its own.
    async fn find_way(&self, all: &Wanted) -> Way {
        let mut why = "no pod is ready".to_owned();
        let mut refused = false;
        for engine in all.engines.iter().take(3) {
            let Some(pod) = engine.pods.first() else {
                continue;
            };
            let direct = self.reach == Reach::Direct;
            if direct && self.direct(pod, engine.port, NEAR).await.is_ok() {
                return Way::Direct;
            }
            match self.proxied(pod, engine.port).await {
                Ok(page) if self.reach == Reach::Auto => {
                    let same = self.prove(pod, engine.port, &page).await;
                    return if same { Way::Direct } else { Way::Proxy };
                }
                Ok(_) => return Way::Proxy,
                Err(fault) => {
                    refused |= matches!(fault, Fault::Forbidden(_));
                    why = fault.to_string();
                }
            }
            if self
                .federated(engine)
                .await
                .is_ok_and(|page| !page.is_empty())
            {
                return Way::Prometheus;
            }
        }
        if refused && self.reach == Reach::Auto {
            why.push_str(
                "; where this machine reaches this cluster's pods at their own addresses, and no other cluster's, say pods = \"direct\" in its [[cluster]]",
            );
        }
        Way::None(why)
    }

    /// Reads a backend's pages and tells what they say; gives whether they were there.
    async fn engine(&self, engine: &Engine, by: &Way, meters: &Meters) -> bool {
        let at = self.clock.now();
        let (mut requests, mut usage) = (0, Usage::default());
        let mut whole = String::new();
        let mut failed = None;
        if *by == Way::Prometheus {
            match self.federated(engine).await {
                Ok(page) => whole = page,
                Err(why) => failed = Some(why),
            }
        } else {
            for pod in &engine.pods {
                match self.page(pod, engine.port).await {
                    Ok(page) => {
                        // Several are summed up as one engine, but each counts for itself.
                        if let Some(sample) = vllm::read(&page) {
                            let (more, used) = meters.since(pod, &sample);
                            requests += more;
                            usage.input += used.input;
                            usage.output += used.output;
                        }
                        whole.push_str(&page);
                        whole.push('\n');
                    }
                    // One that was never ready has no requests: its engine may still load.
                    Err(_) if !pod.serves => {}
                    Err(why) => failed = Some(why.to_string()),
                }
            }
        }
        let backend = engine.id.clone();
        let read = failed.is_none();
        let observation = match (failed, vllm::read(&whole)) {
            (Some(reason), _) => Observation::Unreachable {
                backend,
                reason: format!("its pods' pages cannot be read: {reason}"),
                at,
            },
            (None, Some(sample)) => Observation::Engine {
                backend,
                sample: Box::new(sample),
                at,
            },
            // It writes a page of another kind: nothing is known of it, which is no fault.
            (None, None) => return read,
        };
        // The hub may have stopped meanwhile; then nobody is left to tell.
        let _ = self.out.send(observation).await;
        if requests > 0 || usage != Usage::default() {
            let metered = Observation::Metered {
                backend: engine.id.clone(),
                requests,
                usage,
                counted: true,
                at,
            };
            let _ = self.out.send(metered).await;
        }
        read
    }

    /// GPUs by the pods that hold them: from the exporters' own pages, else from Prometheus.
    async fn gpus(&self, all: &Wanted) {
        let mut held: HashMap<BackendId, Vec<crate::fleet::gpu::Gpu>> = HashMap::new();
        let mut owner: HashMap<Key, &BackendId> = HashMap::new();
        for engine in &all.engines {
            owner.extend(engine.holders().map(|pod| (pod, &engine.id)));
        }
        for page in self.exported(all).await {
            for (pod, gpu) in dcgm::read_held(&page) {
                let id = pod.and_then(|(namespace, name)| owner.get(&Key::new(&namespace, &name)));
                if let Some(id) = id {
                    held.entry((*id).clone()).or_default().push(gpu);
                }
            }
        }
        for (backend, gpus) in held {
            let at = self.clock.now();
            // The hub may have stopped meanwhile; then nobody is left to tell.
            let _ = self.out.send(Observation::Gpus { backend, gpus, at }).await;
        }
    }

    /// What exporters say. One that runs on its machine and not in a pod, as AKS has it, is only in Prometheus.
    async fn exported(&self, all: &Wanted) -> Vec<String> {
        let mut pages = Vec::new();
        for exporter in &all.exporters {
            pages.extend(self.page(exporter, DCGM_PORT).await);
        }
        if pages.is_empty() && self.prometheus.is_some() {
            pages.extend(self.federate("{__name__=~\"DCGM_FI_.*\"}").await);
        }
        pages
    }
}
