//! One backend's place, from what was found and its pods.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::find::Found;
use super::log::Source;
use super::machines::{machines, region};
use super::object::{Key, Meta, Node, Workload};
use super::phase::{phase, short_probe};
use super::serving::{live_pods, names_of_serving};
use super::settings::Settings;
use super::stage::serving_of;
use super::stand::{Stand, is_head};
use super::world::World;
use crate::fleet::backend::{Capacity, Kind as Sort, SelfHosted, SleepWay};
use crate::fleet::cluster::mark::{KEY, Mark, PIN};
use crate::fleet::cluster::object::{Kind, Object};
use crate::fleet::cluster::place::{Autoscaler, LogOf, Owner, Phase, Place, Told};
use crate::fleet::cluster::rule::Rule;
use crate::fleet::cluster::{SeenBackend, wakes_to};
use crate::source::engine_log::clean;

/// Events of one backend that are shown, at most.
const TOLD: usize = 64;
/// A wake that was asked for longer ago is not what comes now.
const LATELY: TimeDelta = TimeDelta::hours(1);

/// When it is looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub now: DateTime<Utc>,
    /// Since when nothing is seen of it, where it ought to come.
    pub since: Option<DateTime<Utc>>,
}

/// The backend as it stands now.
pub(super) fn build(
    found: &Found,
    rules: &[Rule],
    world: &World,
    settings: &Settings,
    read_by: Option<Box<str>>,
    Times { now, since }: Times,
) -> SeenBackend {
    let stand = Stand::of(found, world);
    let engine = stand.first().map(|it| &it.engine);
    let nodes = machines(found, &stand.pods, world, settings);
    let allows = engine.and_then(|it| it.probe_allows);
    let wrong = stand.wrong(found, world, now);
    let metas = marked(found, world);
    let of = found.id.within(&settings.cluster);
    let mark = newest_mark(rules, &metas, of);
    let asked = mark.as_ref().filter(|it| it.op == "wake").map(|it| it.at);
    let asked = asked.filter(|at| now - *at < LATELY);
    let since = since.or(asked).unwrap_or(now);
    let phase = phase(&stand, wrong.as_ref(), found, world, now).unwrap_or(Phase::Coming {
        since,
        stages: Vec::new(),
        new_node: false,
    });
    let price = nodes
        .iter()
        .find_map(|it| it.price)
        .or_else(|| settings.prices.of(&found.instance, region(world), false));
    let mut place = Place {
        cluster: Arc::clone(&settings.cluster),
        workload: found.homes.first().map_or_else(
            || found.scaled.clone(),
            |(kind, key)| Object::new(*kind, &key.namespace, &key.name),
        ),
        uid: Box::default(),
        scaled: found.scaled.clone(),
        wanted: stand.wanted,
        pods: stand.pods.len() as u32,
        ready: stand.ready,
        pods_a_replica: stand.size,
        owner: found.owner.clone(),
        autoscaler: found.autoscaler.clone(),
        live_pods: live_pods(&stand.heads),
        serving: names_of_serving(&stand.heads, stand.serving()),
        port: port(found, stand.first()),
        can_nap: engine.is_some_and(|it| it.can_nap),
        naps: found.naps,
        router: found.router.clone(),
        gitops: found.gitops.clone(),
        mark,
        pin: pin(&metas, of),
        read_by,
        told: told(found, world),
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
    let told_on = place.told_on();
    let key = Key::new(&told_on.namespace, &told_on.name);
    if let Some(meta) = meta(world, told_on.kind, &key) {
        place.uid = meta.uid.clone();
    }
    SeenBackend {
        id: found.id.clone(),
        model: found.model.clone(),
        weight: found.weight,
        kind: Sort::SelfHosted(facts(
            &place,
            found,
            price,
            stand.gpus(found),
            settings,
            world,
        )),
        place: Some(Arc::new(place)),
        down: None,
    }
}

/// What was told of its pods, and of why some could not be made.
fn told(found: &Found, world: &World) -> Arc<[Told]> {
    let pods = found.homes.iter().flat_map(|it| world.pods_of(it));
    let of_pods = pods.flat_map(|it| world.events.of(it));
    let refused = found.homes.iter().filter_map(|it| world.events.refusal(it));
    let all = of_pods.chain(refused).filter_map(|it| {
        Some(Told {
            at: it.at?,
            of: clean(&it.regarding.name).into(),
            reason: clean(&it.reason).into(),
            note: clean(&it.note).into(),
            warning: it.warning,
        })
    });
    let mut all: Vec<Told> = all.collect();
    all.sort_by_key(|it| it.at);
    let first = all.len().saturating_sub(TOLD);
    all.split_off(first).into()
}

/// Whatever of it may be written on.
fn marked<'a>(found: &Found, world: &'a World) -> Vec<&'a Meta> {
    let owned = found.marked.iter();
    let owned = owned.filter_map(|(kind, key)| meta(world, *kind, key));
    let scaler = match &found.autoscaler {
        Autoscaler::Hpa { object, .. } | Autoscaler::Keda { object, .. } => meta(
            world,
            object.kind,
            &Key::new(&object.namespace, &object.name),
        ),
        Autoscaler::None | Autoscaler::Several(_) => None,
    };
    owned.chain(scaler).collect()
}

/// What all objects have, of one that operations change.
fn meta<'a>(world: &'a World, kind: Kind, key: &Key) -> Option<&'a Meta> {
    match kind {
        Kind::InferenceSet => world.sets.get(key).map(|it| &it.meta),
        Kind::InferenceService => world.kserve.get(key).map(|it| &it.meta),
        Kind::LlmInferenceService => world.llm.get(key).map(|it| &it.meta),
        Kind::Revision => world.revisions.get(key).map(|it| &it.meta),
        Kind::HorizontalPodAutoscaler => world.hpas.get(key).map(|it| &it.meta),
        Kind::ScaledObject => world.scaled.get(key).map(|it| &it.meta),
        other => {
            let home = (other, key.clone());
            world.workloads.get(&home).map(|it| &it.meta)
        }
    }
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
        .max_by_key(|it| (it.at, !it.prev.weights.is_empty(), it.done))?;
    let mut mark = newest.clone();
    // Taken back is only what was taken back everywhere: what stands on one of its objects still stands.
    mark.undone = !any(&newest.id, |it| !it.undone);
    mark.done = any(&newest.id, Mark::stands) || mark.undone && any(&newest.id, |it| it.done);
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
        grace: place.patience(),
        group: None,
        hardware,
        expected: Vec::new(),
        ceiling: None,
    }
}

/// Where its engines listen.
pub(super) fn port(found: &Found, workload: Option<&Workload>) -> u16 {
    let usual = match found.owner {
        Owner::Workspace(_) | Owner::InferenceSet(_) => 5000,
        _ => 8000,
    };
    workload.and_then(|it| it.engine.port).unwrap_or(usual)
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
        uid: pod.meta.uid.clone(),
        container: container.name.clone(),
        run: container.restart_count,
    })
}
