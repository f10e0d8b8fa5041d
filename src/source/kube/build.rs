//! One backend's place, from what was found and its pods.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::find::Found;
use super::log::Source;
use super::machines::{claims, machines, region};
use super::object::{Event, Key, Meta, Node, Pod, Workload};
use super::read::{Engine, Paged};
use super::settings::Settings;
use super::stage::{needs_node, serving_of, stages};
use super::trouble::{self, Wrong};
use super::world::World;
use crate::fleet::backend::{Capacity, Kind as Sort, SelfHosted, SleepWay};
use crate::fleet::cluster::mark::{KEY, Mark, PIN};
use crate::fleet::cluster::object::{Kind, Object};
use crate::fleet::cluster::place::{
    Autoscaler, LivePod, LogOf, Owner, Phase, Place, Rule, Trouble,
};
use crate::fleet::cluster::{SeenBackend, wakes_to};

/// The backend as it stands now.
pub(super) fn build(
    found: &Found,
    rules: &[Rule],
    world: &World,
    settings: &Settings,
    read_by: Option<Box<str>>,
    now: DateTime<Utc>,
) -> SeenBackend {
    let workloads: Vec<&Workload> = found
        .homes
        .iter()
        .filter_map(|it| world.workloads.get(it))
        .collect();
    let first = workloads.first().copied();
    let engine = first.map(|it| &it.engine);
    let serving = engine.map_or("", |it| &*it.container);
    // What is over is kept by its owner, and only tells what became of it.
    let (over, pods): (Vec<&Pod>, Vec<&Pod>) = found
        .homes
        .iter()
        .flat_map(|it| world.pods_of(it))
        .partition(|it| it.is_over());
    let size = first.map_or(1, |it| it.size.max(1));
    let wanted = found
        .wanted
        .unwrap_or_else(|| workloads.iter().map(|it| it.replicas).sum());
    let heads: Vec<&Pod> = pods.iter().copied().filter(|it| is_head(it)).collect();
    let ready = heads.iter().filter(|it| it.is_ready()).count() as u32;
    let nodes = machines(found, &pods, world, settings);
    let allows = engine.and_then(|it| it.probe_allows);
    let none = Vec::new();
    let events = |pod: &Pod| -> &Vec<Event> { world.events.get(&pod.key()).unwrap_or(&none) };
    let wrong = heads
        .iter()
        .copied()
        .filter(|it| !it.is_ready() && !it.is_leaving())
        .chain(taken_away(&over, &heads).filter(|_| wanted > 0 && ready == 0))
        .filter_map(|it| {
            let run = serving_of(it, serving).map_or(0, |it| it.restart_count);
            let said = world.reasons.get(&it.key()).filter(|(of, _)| *of == run);
            trouble::of(it, events(it), serving, allows, said.map(|(_, why)| &**why))
        })
        .chain(claims(found, world).filter_map(trouble::of_claim))
        .max_by_key(|it| it.hopeless);
    // Why it starts again at all, as long as it does.
    let lost = over
        .iter()
        .filter(|it| wanted > 0 && ready == 0 && is_head(it))
        .filter(|it| it.ended().is_some_and(|at| now - at < LATELY))
        .max_by_key(|it| it.ended())
        .and_then(|it| trouble::taken_away(it));
    let wrong = trouble::after(lost, wrong);
    let phase = phase(&heads, wanted, ready, wrong.as_ref(), serving, &events, now);
    let price = nodes
        .iter()
        .find_map(|it| it.price)
        .or_else(|| settings.prices.of(&found.instance, region(world), false));
    let metas = marked(found, world);
    let of = found.id.within(&settings.cluster);
    let place = Place {
        cluster: Arc::clone(&settings.cluster),
        workload: found.homes.first().map_or_else(
            || found.scaled.clone(),
            |(kind, key)| Object::new(*kind, &key.namespace, &key.name),
        ),
        uid: first.map(|it| it.meta.uid.clone()).unwrap_or_default(),
        scaled: found.scaled.clone(),
        wanted,
        pods: pods.len() as u32,
        ready,
        pods_a_replica: size,
        owner: found.owner.clone(),
        autoscaler: found.autoscaler.clone(),
        live_pods: live(&heads),
        port: port(found, first),
        can_nap: engine.is_some_and(|it| it.can_nap),
        naps: found.naps,
        gitops: found.gitops.clone(),
        mark: newest_mark(rules, &metas, of),
        pin: pin(&metas, of),
        read_by,
        trouble: wrong
            .map(|it| it.trouble)
            .or_else(|| short_probe(&phase, allows, settings.budget)),
        phase,
        probe_allows: allows,
        log: log(found, world).map(|it| LogOf {
            pod: it.pod,
            container: it.container,
        }),
        ends_gently: engine.is_some_and(|it| it.gentle),
        nodes,
    };
    SeenBackend {
        id: found.id.clone(),
        model: found.model.clone(),
        weight: found.weight,
        kind: Sort::SelfHosted(facts(
            &place,
            found,
            price,
            engine.map_or(0, |it| it.gpus),
            settings,
            world,
        )),
        place: Some(Arc::new(place)),
    }
}

/// A pod that was taken away so long ago is no news: whatever starts now starts for reasons of its own.
const LATELY: TimeDelta = TimeDelta::minutes(30);

/// Pods that are over, and that none came after yet.
fn taken_away<'a>(over: &'a [&'a Pod], heads: &'a [&'a Pod]) -> impl Iterator<Item = &'a Pod> {
    let newest = heads
        .iter()
        .map(|it| it.meta.creation_timestamp)
        .max()
        .flatten();
    let left = over.iter().copied();
    left.filter(move |it| is_head(it) && it.meta.creation_timestamp >= newest)
}

/// A startup probe that ends before the budget does kills what would have worked.
fn short_probe(phase: &Phase, allows: Option<u32>, budget: TimeDelta) -> Option<Trouble> {
    let allows = allows.filter(|it| i64::from(*it) < budget.num_seconds())?;
    matches!(phase, Phase::Coming { .. }).then(|| Trouble {
        what: format!(
            "its startup probe ends it after {}:{:02}, before its budget does",
            allows / 60,
            allows % 60
        )
        .into(),
        hint: "raise startupProbe.failureThreshold × periodSeconds".into(),
    })
}

/// Of a group of pods only the first serves; what only prefills answers nobody.
fn is_head(pod: &Pod) -> bool {
    let label = |key: &str| pod.meta.label(key);
    label("leaderworkerset.sigs.k8s.io/worker-index").is_none_or(|it| it == "0")
        && label("app.kubernetes.io/component").is_none_or(|it| !it.ends_with("-prefill"))
}

fn phase<'a>(
    heads: &[&'a Pod],
    wanted: u32,
    ready: u32,
    wrong: Option<&Wrong>,
    serving: &str,
    events: &dyn Fn(&'a Pod) -> &'a Vec<Event>,
    now: DateTime<Utc>,
) -> Phase {
    if ready > 0 {
        let since = heads
            .iter()
            .filter(|it| it.is_ready())
            .filter_map(|it| it.condition("Ready").and_then(|it| it.last_transition_time));
        return Phase::Ready {
            since: since.min().unwrap_or(now),
        };
    }
    let staying: Vec<&Pod> = heads
        .iter()
        .copied()
        .filter(|it| !it.is_leaving())
        .collect();
    if wanted == 0 {
        return if heads.is_empty() {
            Phase::Absent
        } else {
            Phase::Leaving
        };
    }
    if let Some(wrong) = wrong.filter(|it| it.hopeless) {
        return Phase::Broken {
            reason: format!("{}; {}", wrong.trouble.what, wrong.trouble.hint).into(),
        };
    }
    // The pod that is furthest says how far it is.
    let furthest = staying
        .iter()
        .map(|it| (stages(it, events(it), serving), *it))
        .max_by_key(|(stages, _)| stages.last().map(|(stage, _)| *stage));
    match furthest {
        Some((stages, pod)) => Phase::Coming {
            since: stages.first().map_or(now, |(_, at)| *at),
            new_node: needs_node(pod, events(pod)),
            stages,
        },
        None => Phase::Coming {
            since: now,
            stages: Vec::new(),
            new_node: false,
        },
    }
}

/// Whatever of it may be written on.
fn marked<'a>(found: &Found, world: &'a World) -> Vec<&'a Meta> {
    let owned = found.marked.iter().filter_map(|(kind, key)| match kind {
        Kind::InferenceSet => world.sets.get(key).map(|it| &it.meta),
        Kind::InferenceService => world.kserve.get(key).map(|it| &it.meta),
        Kind::LlmInferenceService => world.llm.get(key).map(|it| &it.meta),
        Kind::Revision => world.revisions.get(key).map(|it| &it.meta),
        other => world
            .workloads
            .get(&(*other, key.clone()))
            .map(|it| &it.meta),
    });
    let scaler = match &found.autoscaler {
        Autoscaler::Hpa { object, .. } => {
            let key = Key::new(&object.namespace, &object.name);
            world.hpas.get(&key).map(|it| &it.meta)
        }
        Autoscaler::Keda { object, .. } => {
            let key = Key::new(&object.namespace, &object.name);
            world.scaled.get(&key).map(|it| &it.meta)
        }
        Autoscaler::None | Autoscaler::Several(_) => None,
    };
    owned.chain(scaler).collect()
}

/// Who keeps it up.
fn pin(metas: &[&Meta], of: &str) -> Option<Mark> {
    let all = metas
        .iter()
        .filter_map(|it| it.annotation(PIN).and_then(Mark::read));
    all.filter(|it| it.of == of && it.stands())
        .max_by_key(|it| it.at)
}

/// What was done last to anything that belongs to it.
fn newest_mark(rules: &[Rule], metas: &[&Meta], of: &str) -> Option<Mark> {
    let on_routes = rules.iter().filter_map(|it| it.mark.clone());
    let all = metas
        .iter()
        .filter_map(|it| it.annotation(KEY).and_then(Mark::read));
    let all: Vec<Mark> = all.chain(on_routes).filter(|it| it.of == of).collect();
    let any = |id: &str, is: fn(&Mark) -> bool| all.iter().any(|it| it.id == id && is(it));
    let newest = all
        .iter()
        .max_by_key(|it| (it.at, !it.prev.weights.is_empty()))?;
    let mut mark = newest.clone();
    mark.done = any(&newest.id, |it| it.done);
    mark.undone = any(&newest.id, |it| it.undone);
    Some(mark)
}

fn facts(
    place: &Place,
    found: &Found,
    price: Option<crate::fleet::Usd>,
    gpus: u32,
    settings: &Settings,
    world: &World,
) -> SelfHosted {
    let node = place.nodes.first();
    let instance = node.map_or(&*found.instance, |it| &*it.instance);
    let instance = if instance.is_empty() { "–" } else { instance };
    let hardware = match gpus {
        0 => instance.to_owned(),
        n => format!("{n} GPU{} {instance}", if n == 1 { "" } else { "s" }),
    };
    // What one more replica would cost: its GPUs' share of machines like that, or as many machines as it has pods.
    let like = |of: &&Node| *of.made.instance == *instance && of.gpus > 0;
    let has = node.map(|it| it.gpus).filter(|gpus| *gpus > 0);
    let has = has.or_else(|| Some(world.nodes.values().find(like)?.gpus));
    let rate = price.and_then(|price| match has {
        Some(has) if gpus > 0 => price.times(gpus.into()).split(has.into()),
        _ => Some(price.times(place.pods_a_replica.into())),
    });
    SelfHosted {
        rate,
        capacity: if node.is_some_and(|it| it.spot) {
            Capacity::Spot
        } else {
            Capacity::OnDemand
        },
        replicas: wakes_to(place),
        sleep: match place.owner {
            _ if place.naps => SleepWay::Level1,
            Owner::Workspace(_) => SleepWay::Level2,
            _ => SleepWay::Release,
        },
        startable: false,
        idle_after: None,
        schedule: None,
        budget: settings.budget,
        cap: settings.cap,
        grace: crate::fleet::cluster::DRAIN_PATIENCE,
        group: None,
        hardware,
        expected: Vec::new(),
        ceiling: None,
    }
}

/// Where its engines listen.
fn port(found: &Found, workload: Option<&Workload>) -> u16 {
    let usual = match found.owner {
        Owner::Workspace(_) | Owner::InferenceSet(_) => 5000,
        _ => 8000,
    };
    workload.and_then(|it| it.engine.port).unwrap_or(usual)
}

/// The pages of its engines; `None` where no pod is ready.
pub(super) fn pages(found: &Found, world: &World, urgent: bool) -> Option<Engine> {
    let workload = found.homes.iter().find_map(|it| world.workloads.get(it));
    let heads = found.homes.iter().flat_map(|it| world.pods_of(it));
    let pods: Vec<Paged> = heads
        .filter(|it| is_head(it) && it.is_ready())
        .map(Paged::of)
        .collect();
    (!pods.is_empty()).then(|| Engine {
        id: found.id.clone(),
        port: port(found, workload),
        pods,
        urgent,
    })
}

fn live(heads: &[&Pod]) -> Vec<LivePod> {
    let ready = heads.iter().filter(|it| it.is_ready());
    let live = ready.map(|it| LivePod {
        name: it.meta.name.clone(),
        ip: it.ip.clone(),
    });
    live.collect()
}

/// The log of the pod that is furthest; `None` where none runs yet.
pub(super) fn log(found: &Found, world: &World) -> Option<Source> {
    let workload = found.homes.iter().find_map(|it| world.workloads.get(it));
    let serving = workload.map_or("", |it| &*it.engine.container);
    let heads = found.homes.iter().flat_map(|it| world.pods_of(it));
    let (pod, container) = heads
        .filter(|it| is_head(it) && !it.is_leaving() && !it.is_over())
        .filter_map(|it| Some((it, serving_of(it, serving)?)))
        .filter(|(_, it)| it.state.running.is_some() || it.restart_count > 0)
        .min_by_key(|(it, _)| it.meta.creation_timestamp)?;
    Some(Source {
        backend: found.id.clone(),
        namespace: pod.meta.namespace.clone(),
        pod: pod.meta.name.clone(),
        container: container.name.clone(),
        run: container.restart_count,
    })
}
