//! Machines: those that exist for a backend, and those that exist for nobody.

use std::collections::{BTreeMap, BTreeSet};

use super::find::Found;
use super::object::{Claim, Key, Made, Meta, Pod};
use super::settings::Settings;
use super::world::World;
use crate::fleet::cluster::machine::Machine;
use crate::fleet::cluster::place::Owner;

/// Where the cluster is, as far as its machines say so alike.
pub(super) fn region(world: &World) -> &str {
    world
        .nodes
        .values()
        .map(|it| &*it.made.region)
        .find(|it| !it.is_empty())
        .unwrap_or_default()
}

/// Machines with GPUs that nobody's pod has, and that were made for nobody.
pub(super) fn spare(world: &World, settings: &Settings) -> Vec<Machine> {
    let free = world.nodes.values().filter(|node| {
        let made_for = ["kaito.sh/workspace", "karpenter.kaito.sh/workspace-name"];
        node.gpus > 0
            && !world.pods_on.contains_key(&node.meta.name)
            && made_for
                .iter()
                .all(|label| node.meta.label(label).is_none())
    });
    free.map(|node| Machine {
        name: node.meta.name.clone(),
        instance: node.made.instance.clone(),
        region: node.made.region.clone(),
        spot: node.made.spot,
        gpus: node.gpus,
        held: 0,
        price: settings
            .prices
            .of(&node.made.instance, &node.made.region, node.made.spot),
        ready: node.ready,
        idle: true,
    })
    .collect()
}

/// Claims of its machines that have no node yet.
pub(super) fn claims<'a>(found: &'a Found, world: &'a World) -> impl Iterator<Item = &'a Claim> {
    world
        .claims
        .values()
        .filter(|it| it.node.is_empty() && is_of(found, &it.meta))
}

/// Whether a machine was made for it.
fn is_of(found: &Found, meta: &Meta) -> bool {
    let name = meta
        .label("kaito.sh/workspace")
        .or_else(|| meta.label("karpenter.kaito.sh/workspace-name"));
    let here = meta
        .label("kaito.sh/workspacenamespace")
        .or_else(|| meta.label("karpenter.kaito.sh/workspace-namespace"))
        .is_none_or(|it| it == &*found.namespace);
    let set = meta.label("karpenter.kaito.sh/inferenceset");
    let of_set = matches!(&found.owner, Owner::InferenceSet(object) if set == Some(&*object.name));
    here && (of_set || name.is_some_and(|name| found.workspaces.iter().any(|it| **it == *name)))
}

/// The machines that exist for it: those that its pods are on, and those that were made for it.
pub(super) fn machines(
    found: &Found,
    pods: &[&Pod],
    world: &World,
    settings: &Settings,
) -> Vec<Machine> {
    let mut held: BTreeMap<&str, u32> = BTreeMap::new();
    for pod in pods
        .iter()
        .filter(|it| it.gpus > 0 && !it.node.is_empty() && !it.is_over())
    {
        *held.entry(&pod.node).or_default() += pod.gpus;
    }
    let machine = |name: &str, made: &Made, gpus: u32, held: u32, ready: bool| Machine {
        name: name.into(),
        instance: made.instance.clone(),
        region: made.region.clone(),
        spot: made.spot,
        gpus,
        held,
        price: settings.prices.of(&made.instance, &made.region, made.spot),
        ready,
        idle: false,
    };
    let mut out: Vec<Machine> = Vec::new();
    for (name, held) in &held {
        let node = world.nodes.get(&Key::new("", name));
        out.push(match node {
            Some(node) => machine(name, &node.made, node.gpus, *held, node.ready),
            // Seen by its pods alone: what it is is not for this user to know.
            None => machine(name, &Made::default(), *held, *held, true),
        });
    }
    // Of accelerators that are not counted nobody knows which share of its machine a pod has.
    let uncounted = pods
        .iter()
        .filter(|it| it.others && !it.node.is_empty() && !it.is_over());
    let uncounted: BTreeSet<&str> = uncounted.map(|it| &*it.node).collect();
    for name in uncounted.iter().filter(|it| !held.contains_key(*it)) {
        let node = world.nodes.get(&Key::new("", name));
        let made = node.map_or_else(Made::default, |it| it.made.clone());
        let mut one = machine(name, &made, 0, 0, node.is_none_or(|it| it.ready));
        one.price = None;
        out.push(one);
    }
    if !found.workspaces.is_empty() || matches!(found.owner, Owner::InferenceSet(_)) {
        for node in world.nodes.values().filter(|it| is_of(found, &it.meta)) {
            let name = &*node.meta.name;
            if !held.contains_key(name) && !uncounted.contains(name) {
                let mut one = machine(&node.meta.name, &node.made, node.gpus, 0, node.ready);
                one.idle = true;
                out.push(one);
            }
        }
        for claim in claims(found, world).filter(|it| it.since("Launched").is_some()) {
            let mut one = machine(&claim.meta.name, &claim.made, 0, 0, false);
            one.idle = true;
            out.push(one);
        }
    }
    out
}
