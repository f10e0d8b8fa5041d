//! A Kubernetes cluster, read: one shared watch a kind, and what it means to a fleet.
//!
//! Only GET: lists, watches, logs and pages through the API's own proxy. Nothing here wakes anything.

mod build;
mod events;
mod feeds;
mod find;
mod following;
mod log;
mod lost;
mod machines;
mod meters;
mod object;
mod page;
mod past;
mod permit;
mod phase;
mod pulse;
mod read;
mod refused;
mod serving;
mod settings;
mod stage;
mod stand;
mod tokens;
mod trouble;
mod turns;
mod watch;
mod world;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use self::feeds::Feeds;
use self::find::Findings;
use self::object::Pod;
use self::world::{Change, Touched, World};
use crate::clock::Clock;
use crate::cluster::{Api, Fault, Served};
use crate::fleet::Observation;
use crate::fleet::cluster::object::Kind;
use crate::fleet::cluster::place::Phase;
use crate::fleet::cluster::{Cluster, Part, PartState, SERVER, Seen};

pub use settings::{Named, NodePrice, Prices, Settings};
pub(in crate::source) use watch::form as encoded;

/// Batches of changes on their way; a list of thousands comes in pages of hundreds.
const CHANGES: usize = 64;
/// What comes within this long is told at once: pods change several times as they start.
const GATHER: Duration = Duration::from_millis(200);
/// Between two tries to ask what a cluster serves.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// A pod whose page tells of others: a counter of GPUs or of a gateway's tokens.
fn tells_of_others(pod: &Pod) -> bool {
    feeds::is_exporter(pod) || tokens::counts_at(pod).is_some()
}

/// Reads a cluster until `shutdown`.
pub async fn watch_cluster(
    api: Api,
    mut settings: Settings,
    http: reqwest::Client,
    out: mpsc::Sender<Observation>,
    clock: Clock,
    shutdown: CancellationToken,
) {
    settings.reach = settings.reach.on(&api);
    let feeds = Feeds::new(&api, http, &settings, &out, clock);
    let reading = Reading {
        api,
        settings,
        out,
        clock,
        world: World::default(),
        findings: Findings::default(),
        told: HashSet::new(),
        awaited: HashMap::new(),
        cluster: Cluster::default(),
        bounded: None,
        served: Served::default(),
        missed: HashSet::new(),
        followed: HashMap::new(),
        feeds,
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = reading.run() => {}
    }
}

struct Reading {
    api: Api,
    settings: Settings,
    out: mpsc::Sender<Observation>,
    clock: Clock,
    world: World,
    findings: Findings,
    /// Backends that were told of.
    told: HashSet<crate::fleet::BackendId>,
    /// Since when nothing is seen of those that ought to come.
    awaited: HashMap<crate::fleet::BackendId, DateTime<Utc>>,
    cluster: Cluster,
    /// Why only the namespace of the context is looked at.
    bounded: Option<String>,
    served: Served,
    /// Kinds that the last answer left out.
    missed: HashSet<Kind>,
    /// Dropped, they end.
    followed: HashMap<Kind, Vec<AbortOnDropHandle<()>>>,
    feeds: Feeds,
}

impl Reading {
    async fn run(mut self) {
        self.cluster.name = Arc::clone(&self.settings.cluster);
        self.cluster.priced = self.settings.prices.date;
        self.served = self.ask().await;
        self.settle_namespaces().await;
        self.ask_who().await;
        let (send, mut changes) = mpsc::channel(CHANGES);
        for kind in Kind::ALL {
            self.follow(kind, &send);
        }
        self.feeds.ask_permits(self.served.clone(), &send);
        self.feeds.answer_to(&send);
        self.tell_parts().await;
        let mut asks = tokio::time::interval(self.settings.served_every);
        asks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        asks.reset();
        let mut asking: JoinSet<Result<Served, Fault>> = JoinSet::new();
        let mut touched = Touched::default();
        let mut due: Option<Instant> = None;
        loop {
            tokio::select! {
                batch = changes.recv() => {
                    let Some(batch) = batch else { return };
                    for change in batch {
                        if let Change::State(kind, _, PartState::Absent) = &change
                            && self.served.version(*kind).is_some()
                        {
                            // It was there a moment ago: what is served has changed.
                            asks.reset_after(GATHER);
                        }
                        self.world.apply(change, &mut touched);
                    }
                    due.get_or_insert_with(|| Instant::now() + GATHER);
                }
                _ = asks.tick(), if asking.is_empty() => {
                    let api = self.api.clone();
                    asking.spawn(async move { Served::ask(&api).await });
                }
                Some(Ok(Ok(served))) = asking.join_next() => {
                    if self.cluster.user.is_none() {
                        self.ask_who().await;
                        touched.parts = true;
                    }
                    self.serves(served, &send, &mut touched);
                    due.get_or_insert_with(|| Instant::now() + GATHER);
                }
                of = self.feeds.changed() => {
                    if let Some(ids) = of {
                        let found = self.findings.found.iter();
                        let of = found.filter(|it| ids.contains(&it.id));
                        touched.homes.extend(of.flat_map(|it| it.homes.iter().cloned()));
                    } else {
                        touched.parts = true;
                        touched.structure = true;
                    }
                    due.get_or_insert_with(|| Instant::now() + GATHER);
                }
                () = sleep_until(due), if due.is_some() => {
                    due = None;
                    let touched = std::mem::take(&mut touched);
                    if self.tell(touched).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// What the cluster serves; asked until it answers.
    async fn ask(&mut self) -> Served {
        loop {
            match Served::ask(&self.api).await {
                Ok(served) => return served,
                Err(fault) => {
                    self.api.renew().await;
                    let since = Utc::now();
                    self.cluster.parts =
                        vec![Part {
                            resource: SERVER.into(),
                            odd: None,
                            state: PartState::Stale {
                                since: self.cluster.parts.first().map_or(since, |it| {
                                    match &it.state {
                                        PartState::Stale { since, .. } => *since,
                                        _ => since,
                                    }
                                }),
                                why: fault.to_string(),
                            },
                        }];
                    self.send(Seen {
                        facts: Some(Box::new(self.cluster.clone())),
                        ..Seen::default()
                    })
                    .await;
                    tokio::time::sleep(ASK_AGAIN).await;
                }
            }
        }
    }

    /// Says what changed.
    async fn tell(&mut self, touched: Touched) -> Result<(), ()> {
        let mut seen = Seen::default();
        let now = self.clock.now();
        // Rows show as soon as workloads are known; that what they have is absent is said when all has come.
        let ready = |kind: Kind| {
            let mut of = self.world.parts.iter().filter(|((it, _), _)| *it == kind);
            of.all(|(_, state)| *state != PartState::Loading)
        };
        let pods_known = ready(Kind::Pod);
        let nodes_known = ready(Kind::Node) && ready(Kind::AiGatewayRoute);
        // Whose a machine is, only one who sees all pods can say.
        let sees_all = self.settings.namespaces.is_empty() && self.settings.selector.is_none();
        let spare = if sees_all && pods_known {
            machines::spare(&self.world, &self.settings)
        } else {
            Vec::new()
        };
        if touched.parts || spare != self.cluster.spare {
            self.cluster.spare = spare;
            self.take_parts();
            seen.facts = Some(Box::new(self.cluster.clone()));
        }
        let structure = touched.structure || self.told.is_empty();
        if structure {
            let served = self.served.clone();
            let version = move |kind: Kind| -> Box<str> {
                served.version(kind).unwrap_or(kind.versions()[0]).into()
            };
            self.findings = find::find(&self.world, &self.settings, &version);
            seen.models = Some(self.findings.models.clone());
            seen.backends = self.findings.hosted.clone();
        }
        let all = 0..self.findings.found.len();
        let which: Vec<usize> = if structure {
            all.collect()
        } else {
            let mut some: Vec<usize> = touched
                .homes
                .iter()
                .filter_map(|home| self.findings.by_home.get(home).copied())
                .collect();
            some.sort_unstable();
            some.dedup();
            some
        };
        for at in which {
            let found = &self.findings.found[at];
            let model = self.findings.models.iter().find(|it| it.id == found.model);
            let rules = model.map_or(&[][..], |it| &it.routes);
            let read_by = self.feeds.read_by();
            let since = self.awaited.get(&found.id).copied();
            let times = build::Times { now, since };
            let mut one = build::build(found, rules, &self.world, &self.settings, read_by, times);
            match one.place.as_deref().map(|it| &it.phase) {
                Some(Phase::Coming { since, stages, .. }) if stages.is_empty() => {
                    self.awaited.insert(found.id.clone(), *since);
                }
                _ => {
                    self.awaited.remove(&found.id);
                }
            }
            self.feeds.take(found, &one, &self.world);
            if !self.world.knows(Kind::Pod, &found.namespace) {
                // Whether it runs is not known before its pods are.
                one.place = None;
            }
            seen.backends.push(one);
        }
        self.feeds.tell(&self.findings, structure, &self.world);
        self.told = self.findings.found.iter().map(|it| it.id.clone()).collect();
        self.awaited.retain(|id, _| self.told.contains(id));
        seen.whole = pods_known;
        self.send(seen).await;
        if pods_known && nodes_known {
            self.feeds
                .ask_past(&self.settings, &self.findings, &self.world);
        }
        if self.out.is_closed() {
            Err(())
        } else {
            Ok(())
        }
    }

    async fn tell_parts(&mut self) {
        self.take_parts();
        self.send(Seen {
            facts: Some(Box::new(self.cluster.clone())),
            ..Seen::default()
        })
        .await;
    }

    /// How each kind stands: the worst of its namespaces, and what is not understood in any of them.
    fn take_parts(&mut self) {
        let mut parts: Vec<Part> = Vec::new();
        for (of, state) in &self.world.parts {
            let resource = of.0.resource();
            let odd = self.world.odd.get(of);
            let Some(known) = parts.last_mut().filter(|it| it.resource == resource) else {
                parts.push(Part {
                    resource,
                    state: state.clone(),
                    odd: odd.cloned(),
                });
                continue;
            };
            if rank(state) > rank(&known.state) {
                known.state = state.clone();
            }
            match (&mut known.odd, odd) {
                (Some(all), Some(more)) => all.count += more.count,
                (all @ None, more) => *all = more.cloned(),
                (Some(_), None) => {}
            }
        }
        parts.extend(self.feeds.parts());
        parts.extend(self.bounded.clone().map(|why| Part {
            resource: "namespaces".into(),
            state: PartState::Forbidden { why },
            odd: None,
        }));
        self.cluster.parts = parts;
        self.cluster.permits.clone_from(&self.world.permits);
    }

    async fn send(&self, mut seen: Seen) {
        seen.cluster = Arc::clone(&self.settings.cluster);
        let observation = Observation::Cluster {
            seen: Box::new(seen),
            at: self.clock.now(),
        };
        // The hub may have stopped meanwhile; then nobody is left to tell.
        let _ = self.out.send(observation).await;
    }
}

fn rank(state: &PartState) -> u8 {
    match state {
        PartState::Absent => 0,
        PartState::Followed => 1,
        PartState::Loading => 2,
        PartState::Forbidden { .. } => 3,
        PartState::Stale { .. } => 4,
    }
}

async fn sleep_until(due: Option<Instant>) {
    if let Some(due) = due {
        tokio::time::sleep_until(due).await;
    }
}
