//! Pods that somebody took away: remembered by their workload, for most of them are gone at once.
//!
//! The condition `DisruptionTarget` and its reasons: Kubernetes' documentation of disruptions. Karpenter and handlers of
//! spot evictions evict; where the machine went first, the garbage collector ends its pods.

use std::collections::{BTreeMap, HashMap, VecDeque};

use chrono::{DateTime, TimeDelta, Utc};

use super::object::{Key, Node, Pod};
use super::world::Home;

/// A pod that was taken away so long ago is no news: whatever starts now starts for reasons of its own.
pub(super) const LATELY: TimeDelta = TimeDelta::minutes(30);
/// Machines that are gone and still known to have been spot ones.
const MACHINES: usize = 256;

/// A pod that was taken away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Loss {
    /// `EvictionByEvictionAPI`, `DeletionByPodGC`, `Evicted`.
    pub reason: Box<str>,
    pub message: Box<str>,
    /// When; `None` where nothing says it.
    pub at: Option<DateTime<Utc>>,
    /// The machine that it was on, and whether that is a spot one; `None` where that is not seen.
    pub machine: Option<(Box<str>, bool)>,
}

/// The newest loss of each workload, until a successor is ready.
#[derive(Debug, Default)]
pub(super) struct Losses {
    of: HashMap<Home, Loss>,
    /// Spot machines that are gone, the newest last.
    spot: VecDeque<Box<str>>,
}

impl Losses {
    /// What became of a pod by what it says now.
    pub(super) fn note(&mut self, home: Option<Home>, pod: &Pod, nodes: &BTreeMap<Key, Node>) {
        let Some(home) = home else { return };
        if pod.is_ready() {
            let since = pod.meta.creation_timestamp;
            if self.of.get(&home).is_some_and(|it| it.at <= since) {
                self.of.remove(&home);
            }
        } else if pod.is_leaving() || pod.is_over() {
            self.gone(Some(home), pod, nodes);
        }
    }

    /// A pod is gone, or as good as that: whoever took it away is remembered.
    pub(super) fn gone(&mut self, home: Option<Home>, pod: &Pod, nodes: &BTreeMap<Key, Node>) {
        if let Some(home) = home
            && let Some(loss) = self.of_pod(pod, nodes)
            && loss.at.is_some()
            && self.of.get(&home).is_none_or(|it| it.at <= loss.at)
        {
            self.of.insert(home, loss);
        }
    }

    /// Who took a pod away: a machine that goes, the kubelet, the scheduler, an eviction. `None`: nobody.
    pub(super) fn of_pod(&self, pod: &Pod, nodes: &BTreeMap<Key, Node>) -> Option<Loss> {
        let failed = matches!(
            &*pod.reason,
            "Evicted" | "Preempting" | "NodeLost" | "Shutdown" | "Terminated"
        );
        let (reason, message) = if pod.is_over() && failed {
            (&pod.reason, &pod.message)
        } else {
            let told = pod.disruption()?;
            (&told.reason, &told.message)
        };
        let machine = || {
            if pod.node.is_empty() {
                return None;
            }
            let known = nodes.get(&Key::new("", &pod.node));
            let gone = || self.spot.contains(&pod.node).then_some(true);
            let spot = known.map(|it| it.made.spot).or_else(gone)?;
            Some((pod.node.clone(), spot))
        };
        Some(Loss {
            reason: reason.clone(),
            message: message.clone(),
            at: pod.ended(),
            machine: machine(),
        })
    }

    /// The newest loss of any of these.
    pub(super) fn newest<'a>(&self, homes: impl IntoIterator<Item = &'a Home>) -> Option<&Loss> {
        let all = homes.into_iter().filter_map(|it| self.of.get(it));
        all.max_by_key(|it| it.at)
    }

    /// A machine went before its pods did.
    pub(super) fn machine_gone(&mut self, node: &Node) {
        if node.made.spot {
            if self.spot.len() == MACHINES {
                self.spot.pop_front();
            }
            self.spot.push_back(node.meta.name.clone());
        }
    }

    /// The workload is gone.
    pub(super) fn forget(&mut self, home: &Home) {
        self.of.remove(home);
    }
}
