//! What is read besides the watches: pages, logs, and what this user may do; each told what is wanted of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use chrono::TimeDelta;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::task::AbortOnDropHandle;

use super::build;
use super::find::{Findings, Found};
use super::log::{Logs, Source, why_it_ended};
use super::object::{Key, Pod};
use super::page::{Proofs, Reader};
use super::past::Past;
use super::permit;
use super::pulse::feel;
use super::read::{Engine, Paged, Wanted, Way, read};
use super::serving;
use super::settings::Settings;
use super::tokens::{Counting, count};
use super::world::{Change, World};
use crate::clock::Clock;
use crate::cluster::{Api, Attention, Served};
use crate::fleet::cluster::place::Phase;
use crate::fleet::cluster::{PAGES, PAST, Part, PartState, SERVER, SeenBackend};
use crate::fleet::{BackendId, Observation};

/// An operation that left its mark open is waited for so long.
const WAITS: TimeDelta = TimeDelta::minutes(30);
/// Backends whose logs are followed for good; in a larger fleet only those of a start are.
const SMALL: usize = 16;

/// Logs of runs that ended that are asked for at once: hundreds may end together.
const ENDS_AT_ONCE: usize = 4;

/// The feeds of one cluster.
#[derive(Debug)]
pub(super) struct Feeds {
    api: Api,
    engines: BTreeMap<BackendId, Arc<Engine>>,
    wanted: watch::Sender<Arc<Wanted>>,
    way: watch::Receiver<Way>,
    logs: Logs,
    sources: BTreeMap<BackendId, (Source, bool)>,
    /// Runs whose end was asked for, and of which pod of that name.
    asked: HashMap<Key, (Box<str>, u32)>,
    turns: Arc<Semaphore>,
    answers: Option<mpsc::WeakSender<Vec<Change>>>,
    namespaces: watch::Sender<BTreeSet<Box<str>>>,
    exporters: Vec<Paged>,
    /// What operations wait for, and what of it was taken in.
    attended: watch::Receiver<BTreeMap<BackendId, u32>>,
    waited: BTreeSet<BackendId>,
    counting: watch::Sender<Arc<Counting>>,
    prefix: Option<Arc<str>>,
    /// Whoever asked before does no more.
    permits: Option<AbortOnDropHandle<()>>,
    tasks: Vec<AbortOnDropHandle<()>>,
    reader: Reader,
    past: watch::Receiver<Option<PartState>>,
    tell_past: watch::Sender<Option<PartState>>,
    /// How the API server stands, where it does not answer.
    pulse: watch::Receiver<Option<PartState>>,
}

impl Feeds {
    pub(super) fn new(
        api: &Api,
        http: reqwest::Client,
        settings: &Settings,
        out: &mpsc::Sender<Observation>,
        clock: Clock,
    ) -> Self {
        let (wanted, wants) = watch::channel(Arc::default());
        let (tell, way) = watch::channel(Way::default());
        let reader = Reader {
            api: api.clone(),
            http,
            prometheus: settings.prometheus.clone(),
            reach: settings.reach,
            proofs: Proofs::default(),
            out: out.clone(),
            clock,
            attention: settings.attention.clone(),
        };
        let (tell_past, told_past) = watch::channel(None);
        let (tell_pulse, pulse) = watch::channel(None);
        let pulsing = AbortOnDropHandle::new(tokio::spawn(feel(api.clone(), tell_pulse)));
        let (counting, counts) = watch::channel(Arc::default());
        let counter = AbortOnDropHandle::new(tokio::spawn(count(
            Reader {
                proofs: Proofs::default(),
                ..reader.clone()
            },
            counts,
        )));
        let reading = AbortOnDropHandle::new(tokio::spawn(read(reader.clone(), wants, tell)));
        Self {
            api: api.clone(),
            engines: BTreeMap::new(),
            wanted,
            way,
            logs: Logs::new(api.clone(), out.clone(), clock),
            sources: BTreeMap::new(),
            asked: HashMap::new(),
            turns: Arc::new(Semaphore::new(ENDS_AT_ONCE)),
            answers: None,
            namespaces: watch::channel(BTreeSet::new()).0,
            exporters: Vec::new(),
            attended: settings.attention.changes(),
            waited: BTreeSet::new(),
            counting,
            prefix: settings.prefix.clone(),
            tasks: vec![reading, counter, pulsing],
            pulse,
            reader,
            past: told_past,
            tell_past,
            permits: None,
        }
    }

    /// Has what this user may do asked for.
    pub(super) fn ask_permits(&mut self, served: Served, out: &mpsc::Sender<Vec<Change>>) {
        let asking = permit::ask(
            self.api.clone(),
            served,
            self.namespaces.subscribe(),
            out.clone(),
        );
        self.permits = Some(AbortOnDropHandle::new(tokio::spawn(asking)));
    }

    /// Where answers go that come late.
    pub(super) fn answer_to(&mut self, out: &mpsc::Sender<Vec<Change>>) {
        self.answers = Some(out.downgrade());
    }

    /// Has what nobody watched asked for, once.
    pub(super) fn ask_past(&mut self, settings: &Settings, findings: &Findings, world: &World) {
        if self.past.borrow().is_some() {
            return;
        }
        let Some(past) = Past::of(&self.reader, settings, findings, world) else {
            return;
        };
        self.tell_past.send_replace(Some(PartState::Loading));
        let tell = self.tell_past.clone();
        let asking = async move {
            let end = past.fill().await;
            tell.send_replace(Some(end));
        };
        self.tasks
            .push(AbortOnDropHandle::new(tokio::spawn(asking)));
    }

    /// What operations wait for.
    fn attention(&self) -> &Attention {
        &self.reader.attention
    }

    /// Until the way in which pages are read has changed, what is known of the past, whether the API server answers, or what
    /// operations wait for; which backends alone that is about, where it is not about all.
    pub(super) async fn changed(&mut self) -> Option<BTreeSet<BackendId>> {
        let gone = tokio::select! {
            way = self.way.changed() => way.is_err(),
            past = self.past.changed() => past.is_err(),
            pulse = self.pulse.changed() => pulse.is_err(),
            Ok(()) = self.attended.changed() => return Some(self.take_attended()),
        };
        if gone {
            // It never will again.
            std::future::pending::<()>().await;
        }
        None
    }

    /// The backends that operations wait for since, and those that they wait for no more.
    fn take_attended(&mut self) -> BTreeSet<BackendId> {
        let now: BTreeSet<BackendId> = self.attended.borrow_and_update().keys().cloned().collect();
        let before = std::mem::replace(&mut self.waited, now.clone());
        now.symmetric_difference(&before).cloned().collect()
    }

    /// How pages are read.
    pub(super) fn read_by(&self) -> Option<Box<str>> {
        self.way.borrow().words().map(Into::into)
    }

    /// How pages and the past stand, beside what is watched.
    pub(super) fn parts(&self) -> impl Iterator<Item = Part> {
        let told = |resource: &str, of: &watch::Receiver<Option<PartState>>| {
            of.borrow().clone().map(|state| Part {
                resource: resource.into(),
                state,
                odd: None,
            })
        };
        let past = told(PAST, &self.past);
        let server = told(SERVER, &self.pulse);
        self.pages().into_iter().chain(past).chain(server)
    }

    fn pages(&self) -> Option<Part> {
        let state = match &*self.way.borrow() {
            Way::Unknown => return None,
            Way::Direct | Way::Proxy | Way::Prometheus => PartState::Followed,
            Way::None(why) => PartState::Forbidden { why: why.clone() },
        };
        Some(Part {
            resource: PAGES.into(),
            state,
            odd: None,
        })
    }

    /// Takes in what one backend has to be read.
    pub(super) fn take(&mut self, found: &Found, seen: &SeenBackend, world: &World) {
        let Some(place) = &seen.place else { return };
        // Who left a mark and never came back waits no more.
        let open = place.mark.as_ref().filter(|it| it.is_open());
        let until = open.map(|it| it.at + WAITS);
        let until = until.filter(|it| self.reader.clock.now() < *it);
        let drains = until.is_some() || self.attention().is_watched(&found.id);
        match serving::pages(found, world, drains) {
            Some(engine) => {
                let engine = Engine { until, ..engine };
                let same = self.engines.get(&found.id).is_some_and(|it| **it == engine);
                if !same {
                    self.engines.insert(found.id.clone(), Arc::new(engine));
                }
            }
            None => {
                self.engines.remove(&found.id);
            }
        }
        let starts = matches!(place.phase, Phase::Coming { .. } | Phase::Broken { .. });
        match build::log(found, world) {
            Some(source) => {
                if starts && source.run > 0 {
                    self.ask_why(&source);
                }
                self.sources.insert(found.id.clone(), (source, starts));
            }
            None => {
                self.sources.remove(&found.id);
            }
        }
    }

    /// Has the log of a run that ended searched for the reason, once.
    fn ask_why(&mut self, source: &Source) {
        let key = Key::new(&source.namespace, &source.pod);
        let run = (source.uid.clone(), source.run);
        if self.asked.insert(key.clone(), run.clone()).as_ref() == Some(&run) {
            return;
        }
        let (api, source, answers) = (self.api.clone(), source.clone(), self.answers.clone());
        let turns = Arc::clone(&self.turns);
        tokio::spawn(async move {
            let _turn = turns.acquire().await;
            let why = why_it_ended(&api, &source).await;
            if let (Some(why), Some(answers)) = (why, answers.and_then(|it| it.upgrade())) {
                // Nobody listens any more: the end is near.
                let _ = answers.send(vec![Change::Reason(key, run, why)]).await;
            }
        });
    }

    /// Says what is wanted now.
    pub(super) fn tell(&mut self, findings: &Findings, structure: bool, world: &World) {
        if structure {
            let ids: BTreeSet<&BackendId> = findings.found.iter().map(|it| &it.id).collect();
            self.engines.retain(|id, _| ids.contains(id));
            self.sources.retain(|id, _| ids.contains(id));
            let of: BTreeSet<Box<str>> = findings
                .found
                .iter()
                .map(|it| it.namespace.clone())
                .collect();
            self.namespaces.send_if_modified(|now| {
                let changed = *now != of;
                *now = of;
                changed
            });
            self.asked.retain(|key, _| world.pods.contains_key(key));
            self.exporters = exporters(world);
            let prefix = self.prefix.as_deref().unwrap_or("");
            let counting = Counting::of(findings, world, prefix);
            self.counting.send_if_modified(|now| {
                let changed = **now != counting;
                if changed {
                    *now = Arc::new(counting);
                }
                changed
            });
        }
        let wanted = Wanted {
            engines: self.engines.values().cloned().collect(),
            exporters: self.exporters.clone(),
        };
        self.wanted.send_if_modified(|now| {
            let changed = **now != wanted;
            if changed {
                *now = Arc::new(wanted);
            }
            changed
        });
        let small = self.sources.len() <= SMALL;
        let followed = self.sources.values().filter(|(_, starts)| small || *starts);
        self.logs
            .follow(followed.map(|(source, _)| source.clone()).collect());
    }
}

pub(super) fn is_exporter(pod: &Pod) -> bool {
    pod.meta.name.contains("dcgm-exporter")
}

/// dcgm-exporter's pods.
fn exporters(world: &World) -> Vec<Paged> {
    let all = world
        .pods
        .values()
        .filter(|it| is_exporter(it) && it.is_ready());
    all.map(Paged::of).collect()
}
