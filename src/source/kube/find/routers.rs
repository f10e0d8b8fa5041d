//! Routers of vLLM's production-stack, and whose engines each of them sends to.

use super::Found;
use crate::fleet::cluster::object::{Kind, Object};
use crate::fleet::cluster::place::Router;
use crate::source::kube::object::{Key, Workload};
use crate::source::kube::world::World;

/// Says of each backend which router sends to it, and through which Service that is reached.
pub(super) fn routers(world: &World, found: &mut [Found]) {
    let here = world.workloads.iter();
    let routers: Vec<(&Key, &Workload)> = here
        .filter(|(_, it)| it.router.is_some() && it.replicas > 0)
        .map(|((_, key), it)| (key, it))
        .collect();
    if routers.is_empty() {
        return;
    }
    for one in found {
        let home = one.homes.iter().find_map(|it| world.workloads.get(it));
        let Some(home) = home else { continue };
        let mut mine = routers.iter().filter(|(_, it)| {
            let router = it.router.as_ref();
            router.is_some_and(|router| router.sends_to(&one.namespace, &home.labels))
        });
        one.router = mine.find_map(|(key, it)| service(world, key, it));
    }
}

/// The Service of a router.
fn service(world: &World, key: &Key, workload: &Workload) -> Option<Router> {
    let listens = workload.router.as_ref()?.port;
    let mut all = world.services.iter().filter(|(at, it)| {
        let selector = &it.spec.selector;
        let mut wanted = selector.iter();
        at.namespace == key.namespace
            && !selector.is_empty()
            && wanted.all(|(name, value)| workload.labels.get(name) == Some(value))
    });
    all.find_map(|(at, it)| {
        let ports = &it.spec.ports;
        let named = ports.iter().find(|it| it.leads_to(listens));
        // One whose port has a name leads there all the same, where it is the only one.
        let port = named.or(match &ports[..] {
            [only] => Some(only),
            _ => None,
        })?;
        Some(Router {
            service: Object::new(Kind::Service, &at.namespace, &at.name),
            port: port.port,
        })
    })
}
