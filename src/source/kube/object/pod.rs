//! Pods: what of them says where a start stands.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;

use super::meta::{Key, Meta, Words};

/// A pod, trimmed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "Raw")]
pub(in crate::source::kube) struct Pod {
    pub meta: Meta,
    pub node: Box<str>,
    /// GPUs that it asks for.
    pub gpus: u32,
    /// It asks for accelerators that are not counted: slices, other makes, or claims of devices.
    pub others: bool,
    /// `Pending`, `Running`, `Succeeded`, `Failed`.
    pub phase: Box<str>,
    /// Why it failed as a whole: `Evicted`, `Preempting`, `NodeLost`.
    pub reason: Box<str>,
    pub message: Box<str>,
    pub ip: Box<str>,
    pub conditions: Vec<Condition>,
    pub init: Vec<Container>,
    /// Init containers that go on beside the others (`restartPolicy: Always`): a proxy, a router.
    pub sidecars: Vec<Container>,
    pub containers: Vec<Container>,
}

/// One condition of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::source::kube) struct Condition {
    #[serde(rename = "type")]
    pub kind: Box<str>,
    pub status: Box<str>,
    #[serde(default)]
    pub reason: Box<str>,
    #[serde(default)]
    pub message: Box<str>,
    #[serde(default)]
    pub last_transition_time: Option<DateTime<Utc>>,
    #[serde(default)]
    pub observed_generation: i64,
}

impl Condition {
    pub(in crate::source::kube) fn is_true(&self) -> bool {
        *self.status == *"True"
    }
}

/// How one container stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::source::kube) struct Container {
    #[serde(default)]
    pub name: Box<str>,
    #[serde(default)]
    pub ready: bool,
    /// Its startup probe passed.
    #[serde(default)]
    pub started: Option<bool>,
    #[serde(default)]
    pub restart_count: u32,
    #[serde(default)]
    pub state: ContainerState,
    #[serde(default)]
    pub last_state: ContainerState,
}

/// Exactly one of the three is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(in crate::source::kube) struct ContainerState {
    #[serde(default)]
    pub waiting: Option<Waiting>,
    #[serde(default)]
    pub running: Option<Running>,
    #[serde(default)]
    pub terminated: Option<Terminated>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(in crate::source::kube) struct Waiting {
    #[serde(default)]
    pub reason: Box<str>,
    #[serde(default)]
    pub message: Box<str>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::source::kube) struct Running {
    #[serde(default)]
    pub started_at: Option<DateTime<Utc>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::source::kube) struct Terminated {
    #[serde(default)]
    pub reason: Box<str>,
    #[serde(default)]
    pub exit_code: i32,
    #[serde(default)]
    pub message: Box<str>,
    #[serde(default)]
    pub started_at: Option<DateTime<Utc>>,
    #[serde(default)]
    pub finished_at: Option<DateTime<Utc>>,
}

impl Terminated {
    /// The kubelet lost it: its machine or its container runtime began anew. It says nothing of what ran.
    pub(in crate::source::kube) fn was_lost(&self) -> bool {
        self.exit_code == 255 && *self.reason == *"Unknown"
    }

    /// How long it ran.
    pub(in crate::source::kube) fn lasted(&self) -> Option<TimeDelta> {
        Some(self.finished_at? - self.started_at?)
    }
}

impl Pod {
    pub(in crate::source::kube) fn condition(&self, kind: &str) -> Option<&Condition> {
        self.conditions.iter().find(|it| *it.kind == *kind)
    }

    /// It takes traffic.
    pub(in crate::source::kube) fn is_ready(&self) -> bool {
        self.meta.deletion_timestamp.is_none()
            && self.condition("Ready").is_some_and(Condition::is_true)
    }

    /// It was told to end.
    pub(in crate::source::kube) fn is_leaving(&self) -> bool {
        self.meta.deletion_timestamp.is_some()
    }

    /// It ended, and stays only to be read.
    pub(in crate::source::kube) fn is_over(&self) -> bool {
        matches!(&*self.phase, "Succeeded" | "Failed")
    }

    /// Why it was told to end by somebody else than its owner.
    pub(in crate::source::kube) fn disruption(&self) -> Option<&Condition> {
        self.condition("DisruptionTarget").filter(|it| it.is_true())
    }

    /// When it ended, as far as it says so.
    pub(in crate::source::kube) fn ended(&self) -> Option<DateTime<Utc>> {
        let told = self.disruption().and_then(|it| it.last_transition_time);
        let last = self
            .containers
            .iter()
            .filter_map(|it| it.state.terminated.as_ref()?.finished_at);
        last.chain(told).max()
    }

    pub(in crate::source::kube) fn key(&self) -> Key {
        self.meta.key()
    }
}

/// GPUs that a container asks for, whoever makes them.
pub(super) fn gpus(limits: &Words) -> u32 {
    ["nvidia.com/gpu", "amd.com/gpu"]
        .iter()
        .filter_map(|name| limits.get(*name)?.parse::<u32>().ok())
        .sum()
}

/// Whether a container asks for accelerators that are none of these.
fn asks_for_others(limits: &Words) -> bool {
    const PREFIXES: [&str; 4] = [
        "nvidia.com/mig-",
        "gpu.intel.com/",
        "habana.ai/",
        "google.com/tpu",
    ];
    let is = |name: &str| PREFIXES.iter().any(|it| name.starts_with(it));
    limits
        .iter()
        .any(|(name, asked)| is(name) && **asked != *"0")
}

#[derive(Deserialize)]
struct Raw {
    metadata: Meta,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(default)]
    node_name: Box<str>,
    #[serde(default)]
    containers: Vec<Asks>,
    #[serde(default)]
    init_containers: Vec<Init>,
    #[serde(default)]
    resource_claims: Vec<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Init {
    #[serde(default)]
    name: Box<str>,
    #[serde(default)]
    restart_policy: Box<str>,
}

#[derive(Deserialize)]
struct Asks {
    #[serde(default)]
    resources: Resources,
}

#[derive(Default, Deserialize)]
pub(super) struct Resources {
    #[serde(default, deserialize_with = "super::meta::all")]
    pub limits: Words,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[serde(default)]
    phase: Box<str>,
    #[serde(default)]
    reason: Box<str>,
    #[serde(default)]
    message: Box<str>,
    #[serde(default, rename = "podIP")]
    pod_ip: Box<str>,
    #[serde(default)]
    conditions: Vec<Condition>,
    #[serde(default)]
    init_container_statuses: Vec<Container>,
    #[serde(default)]
    container_statuses: Vec<Container>,
}

impl From<Raw> for Pod {
    fn from(raw: Raw) -> Self {
        let asks = raw.spec.containers.iter();
        let goes_on = |it: &Container| {
            let mut all = raw.spec.init_containers.iter();
            all.any(|init| init.name == it.name && *init.restart_policy == *"Always")
        };
        let (sidecars, init) = raw
            .status
            .init_container_statuses
            .into_iter()
            .partition(goes_on);
        Self {
            others: !raw.spec.resource_claims.is_empty()
                || asks.clone().any(|it| asks_for_others(&it.resources.limits)),
            gpus: asks.map(|it| gpus(&it.resources.limits)).sum(),
            meta: raw.metadata,
            node: raw.spec.node_name,
            phase: raw.status.phase,
            reason: raw.status.reason,
            message: raw.status.message,
            ip: raw.status.pod_ip,
            conditions: raw.status.conditions,
            init,
            sidecars,
            containers: raw.status.container_statuses,
        }
    }
}
