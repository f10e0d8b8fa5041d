//! How a backend stands: its pods, how many there ought to be, and what is in their way.

use chrono::{DateTime, Utc};

use super::find::Found;
use super::lost::LATELY;
use super::machines::claims;
use super::object::{Key, Pod, Workload};
use super::refused;
use super::stage::serving_of;
use super::trouble::{self, Wrong};
use super::world::World;

/// The pods of a backend.
pub(super) struct Stand<'a> {
    pub workloads: Vec<&'a Workload>,
    /// What is over is kept by its owner, and only tells what became of it.
    pub over: Vec<&'a Pod>,
    /// All others.
    pub pods: Vec<&'a Pod>,
    /// Of these, the ones that serve.
    pub heads: Vec<&'a Pod>,
    /// Pods that a replica is made of.
    pub size: u32,
    /// Replicas asked for.
    pub wanted: u32,
    /// Replicas that are ready.
    pub ready: u32,
}

impl<'a> Stand<'a> {
    pub(super) fn of(found: &Found, world: &'a World) -> Self {
        let homes = found.homes.iter();
        let workloads: Vec<&Workload> = homes.filter_map(|it| world.workloads.get(it)).collect();
        let homes = found.homes.iter();
        let (over, pods): (Vec<&Pod>, Vec<&Pod>) = homes
            .flat_map(|it| world.pods_of(it))
            .partition(|it| it.is_over());
        let heads: Vec<&Pod> = pods.iter().copied().filter(|it| is_head(it)).collect();
        let replicas = || workloads.iter().map(|it| it.replicas);
        let (size, asked) = match found.spread {
            Some(machines) => (
                replicas().fold(machines, u32::max),
                u32::from(replicas().any(|it| it > 0)),
            ),
            None => (
                workloads.first().map_or(1, |it| it.size.max(1)),
                replicas().sum(),
            ),
        };
        Self {
            wanted: found.wanted.unwrap_or(asked),
            ready: heads.iter().filter(|it| it.is_ready()).count() as u32,
            workloads,
            over,
            pods,
            heads,
            size,
        }
    }

    /// The workload that speaks for all of them.
    pub(super) fn first(&self) -> Option<&'a Workload> {
        self.workloads.first().copied()
    }

    /// The container that serves, by its name.
    pub(super) fn serving(&self) -> &'a str {
        self.first().map_or("", |it| &*it.engine.container)
    }

    /// GPUs of a replica. Of a group's workers its workload knows; what KAITO spreads has one template for all.
    pub(super) fn gpus(&self, found: &Found) -> u32 {
        let gpus = self.first().map_or(0, |it| it.engine.gpus);
        let pods = found.spread.map_or(1, |_| self.size);
        gpus.saturating_mul(pods)
    }

    /// There are fewer pods than there ought to be.
    fn lacks(&self) -> bool {
        let staying = |pods: &[&Pod]| pods.iter().filter(|it| !it.is_leaving()).count() as u32;
        let all = self.wanted.saturating_mul(self.size);
        staying(&self.heads) < self.wanted || self.size > 1 && staying(&self.pods) < all
    }

    /// What stands in its way, and what that came of.
    pub(super) fn wrong(&self, found: &Found, world: &World, now: DateTime<Utc>) -> Option<Wrong> {
        let down = self.wanted > 0 && self.ready == 0;
        let refused = self
            .lacks()
            .then(|| refused::of(found, &self.workloads, &self.heads, world, now));
        let unready = self.heads.iter().copied();
        let unready = unready.filter(|it| !it.is_ready() && !it.is_leaving());
        let over = left_over(&self.over, &self.heads).filter(|_| down);
        let wrong = refused
            .flatten()
            .into_iter()
            .chain(unready.chain(over).filter_map(|it| self.of_pod(it, world)))
            .chain(claims(found, world).filter_map(trouble::of_claim))
            .max_by_key(|it| it.hopeless);
        // Why it starts again at all, as long as it does.
        let lost = world.losses.newest(&found.homes).filter(|_| down);
        let lost = lost.filter(|it| it.at.is_some_and(|at| now - at < LATELY));
        trouble::after(lost.map(trouble::taken_away), wrong)
    }

    fn of_pod(&self, pod: &Pod, world: &World) -> Option<Wrong> {
        if pod.is_over()
            && let Some(loss) = world.losses.of_pod(pod, &world.nodes)
        {
            return Some(trouble::taken_away(&loss));
        }
        // What a machine that does not answer says of its pods is old.
        let node = world.nodes.get(&Key::new("", &pod.node));
        if let Some(node) = node.filter(|it| !it.ready && it.since.is_some()) {
            return Some(trouble::unanswered(node));
        }
        let serving = self.serving();
        let run = serving_of(pod, serving).map_or(0, |it| it.restart_count);
        let said = world.reasons.get(&pod.key()).filter(|(of, _)| *of == run);
        let said = said.map(|(_, why)| &**why);
        let allows = self.first().and_then(|it| it.engine.probe_allows);
        trouble::of(pod, &world.events.of(pod), serving, allows, said)
    }
}

/// Pods that are over, and that none came after yet.
fn left_over<'a>(over: &[&'a Pod], heads: &[&'a Pod]) -> impl Iterator<Item = &'a Pod> {
    let newest = heads
        .iter()
        .map(|it| it.meta.creation_timestamp)
        .max()
        .flatten();
    let left = over.iter().copied();
    left.filter(move |it| is_head(it) && it.meta.creation_timestamp >= newest)
}

/// Of a group of pods only the first serves; what only prefills answers nobody.
pub(super) fn is_head(pod: &Pod) -> bool {
    let label = |key: &str| pod.meta.label(key);
    label("leaderworkerset.sigs.k8s.io/worker-index").is_none_or(|it| it == "0")
        && label("app.kubernetes.io/component").is_none_or(|it| !it.ends_with("-prefill"))
        && !is_kaito_worker(pod)
}

/// KAITO spreads one engine over the pods of a StatefulSet, and its Service leads to the first alone.
fn is_kaito_worker(pod: &Pod) -> bool {
    let Some(("StatefulSet", set)) = pod.meta.controller() else {
        return false;
    };
    let number = pod.meta.name.strip_prefix(set);
    pod.meta.label("kaito.sh/workspace").is_some() && number != Some("-0")
}
