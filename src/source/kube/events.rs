//! What events told: of pods, and of workloads whose pods could not be made.

use std::collections::{BTreeMap, HashMap};

use super::object::{Event, Key, Pod, Workload};
use super::world::Home;
use crate::fleet::cluster::object::Kind;

/// Pods and workloads that may have events before they are known themselves.
const LATE: usize = 1000;
/// Events of one name that are kept.
const EACH: usize = 24;

/// Everything that was told. Events expire on the cluster; what they told is kept as long as what they regard is there.
#[derive(Debug, Default)]
pub(super) struct Events {
    of_pods: HashMap<Key, Vec<Event>>,
    /// The newest event that says that pods could not be made.
    refused: HashMap<Home, Event>,
}

impl Events {
    /// Takes an event of a pod.
    pub(super) fn put(&mut self, event: Event, pods: &HashMap<Key, Pod>) {
        if self.of_pods.len() > 2 * pods.len() + LATE {
            // Told of pods that were gone by then.
            self.of_pods.retain(|key, _| pods.contains_key(key));
        }
        let all = self.of_pods.entry(event.regarding.clone()).or_default();
        all.retain(|it| it.meta.uid != event.meta.uid);
        if all.len() == EACH {
            all.remove(0);
        }
        all.push(event);
        all.sort_by_key(|it| it.at);
    }

    /// Takes an event that says that pods could not be made; gives the workloads that it may regard.
    pub(super) fn refuse(
        &mut self,
        event: &Event,
        workloads: &BTreeMap<Home, Workload>,
    ) -> Vec<Home> {
        if self.refused.len() > 2 * workloads.len() + LATE {
            self.refused.retain(|home, _| workloads.contains_key(home));
        }
        let homes = homes(event);
        for home in &homes {
            let known = self.refused.get(home);
            if known.is_none_or(|it| it.at <= event.at) {
                self.refused.insert(home.clone(), event.clone());
            }
        }
        homes
    }

    /// What was told of a pod, the oldest first. Names are used again: what was told of a former one is left out.
    pub(super) fn of(&self, pod: &Pod) -> Vec<&Event> {
        let all = self.of_pods.get(&pod.key()).into_iter().flatten();
        all.filter(|it| it.is_of(&pod.meta)).collect()
    }

    /// The newest that says that a workload's pods could not be made.
    pub(super) fn refusal(&self, home: &Home) -> Option<&Event> {
        self.refused.get(home)
    }

    /// A pod is gone; its successor of the same name may have been told of before.
    pub(super) fn gone(&mut self, pod: &Pod) {
        let key = pod.key();
        if let Some(all) = self.of_pods.get_mut(&key) {
            all.retain(|it| !it.is_of(&pod.meta));
            if all.is_empty() {
                self.of_pods.remove(&key);
            }
        }
    }

    /// What a workload was refused is no news any more.
    pub(super) fn forget(&mut self, home: &Home) {
        self.refused.remove(home);
    }
}

/// The workloads that an event of what makes pods may regard. A Deployment's ReplicaSets are named after it and the
/// template, the StatefulSets of a LeaderWorkerSet after it, those of its workers with the group's number behind.
fn homes(event: &Event) -> Vec<Home> {
    let Key { namespace, name } = &event.regarding;
    let home = |kind: Kind, name: &str| (kind, Key::new(namespace, name));
    match &*event.kind {
        "ReplicaSet" => {
            let of = name.rsplit_once('-').map(|(of, _)| of);
            of.map(|of| home(Kind::Deployment, of))
                .into_iter()
                .collect()
        }
        "Deployment" => vec![home(Kind::Deployment, name)],
        "LeaderWorkerSet" => vec![home(Kind::LeaderWorkerSet, name)],
        _ => {
            let group = name
                .rsplit_once('-')
                .filter(|(_, n)| n.parse::<u32>().is_ok());
            let mut all = vec![
                home(Kind::StatefulSet, name),
                home(Kind::LeaderWorkerSet, name),
            ];
            all.extend(group.map(|(of, _)| home(Kind::LeaderWorkerSet, of)));
            all
        }
    }
}
