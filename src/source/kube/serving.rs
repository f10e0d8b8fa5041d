//! Which pods may have requests, and so have to be read.

use chrono::{DateTime, Utc};

use super::build::port;
use super::find::Found;
use super::object::Pod;
use super::read::{Engine, Paged};
use super::stage::serving_of;
use super::stand::is_head;
use super::world::World;
use crate::fleet::cluster::place::LivePod;

/// The pods that are ready.
pub(super) fn live_pods(heads: &[&Pod]) -> Vec<LivePod> {
    let ready = heads.iter().filter(|it| it.is_ready());
    let live = ready.map(|it| LivePod {
        name: it.meta.name.clone(),
        ip: it.ip.clone(),
        left_out: it.meta.label("sleeping") == Some("true"),
    });
    live.collect()
}

/// The names of those on which requests may run, in an order that does not change.
pub(super) fn names_of_serving(heads: &[&Pod], serving: &str) -> Vec<Box<str>> {
    let all = heads.iter().filter(|it| may_serve(it, serving));
    let mut names: Vec<Box<str>> = all.map(|it| it.meta.name.clone()).collect();
    names.sort_unstable();
    names
}

/// Whether requests may run on a pod: it is ready, or was since its engine started. Who is too busy to answer a probe is
/// busy all the same.
fn may_serve(pod: &Pod, serving: &str) -> bool {
    if pod.is_leaving() || pod.is_over() {
        return false;
    }
    let since = running_since(pod, serving);
    let told = pod
        .condition("Ready")
        .and_then(|it| it.last_transition_time);
    pod.is_ready() || since.zip(told).is_some_and(|(since, told)| told > since)
}

/// When its engine started; `None` where it does not run.
fn running_since(pod: &Pod, serving: &str) -> Option<DateTime<Utc>> {
    let running = serving_of(pod, serving)?.state.running.as_ref()?;
    running.started_at
}

/// The pages of its engines; `None` where none runs. In a drain also those that were never ready: whoever answers there
/// is heard.
pub(super) fn pages(found: &Found, world: &World, drains: bool) -> Option<Engine> {
    let workload = found.homes.iter().find_map(|it| world.workloads.get(it));
    let serving = workload.map_or("", |it| &*it.engine.container);
    let all = found.homes.iter().flat_map(|it| world.pods_of(it));
    let here = all.filter(|it| !it.is_leaving() && !it.is_over());
    let (heads, others): (Vec<&Pod>, Vec<&Pod>) = here.partition(|it| is_head(it));
    let pods: Vec<Paged> = heads
        .into_iter()
        .filter_map(|it| {
            let serves = may_serve(it, serving);
            let runs = drains && running_since(it, serving).is_some();
            (serves || runs).then(|| Paged {
                serves,
                ..Paged::of(it)
            })
        })
        .collect();
    (!pods.is_empty()).then(|| Engine {
        id: found.id.clone(),
        port: port(found, workload),
        pods,
        workers: others.iter().map(|it| it.meta.key()).collect(),
        until: None,
    })
}
