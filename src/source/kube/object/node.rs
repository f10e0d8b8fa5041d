//! Machines: those that are there, and those that are asked for.

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::meta::{Meta, Words};
use super::pod::{Condition, gpus};

/// A Node, trimmed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "Raw")]
pub(in crate::source::kube) struct Node {
    pub meta: Meta,
    pub gpus: u32,
    pub ready: bool,
    /// Since when it is that, or is not.
    pub since: Option<DateTime<Utc>>,
    pub made: Made,
}

/// What it is, as its labels have it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::source::kube) struct Made {
    pub instance: Box<str>,
    pub region: Box<str>,
    pub spot: bool,
}

/// A NodeClaim, trimmed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "RawClaim")]
pub(in crate::source::kube) struct Claim {
    pub meta: Meta,
    pub made: Made,
    /// Its node, once it has one.
    pub node: Box<str>,
    pub conditions: Vec<Condition>,
}

impl Claim {
    /// When it got as far as that.
    pub(in crate::source::kube) fn since(&self, kind: &str) -> Option<DateTime<Utc>> {
        let found = self.conditions.iter().find(|it| *it.kind == *kind)?;
        found.last_transition_time.filter(|_| found.is_true())
    }

    /// Why it does not get its machine.
    pub(in crate::source::kube) fn failure(&self) -> Option<&str> {
        let launched = self.conditions.iter().find(|it| *it.kind == *"Launched")?;
        (*launched.status == *"False").then_some(&*launched.message)
    }
}

impl Made {
    fn of(meta: &Meta) -> Self {
        let label = |key: &str| meta.label(key).unwrap_or_default();
        let spot = [
            label("kubernetes.azure.com/scalesetpriority"),
            label("karpenter.sh/capacity-type"),
            label("eks.amazonaws.com/capacityType"),
        ];
        Self {
            instance: label("node.kubernetes.io/instance-type").into(),
            region: label("topology.kubernetes.io/region").into(),
            spot: spot.iter().any(|it| it.eq_ignore_ascii_case("spot"))
                || label("cloud.google.com/gke-spot") == "true",
        }
    }
}

#[derive(Deserialize)]
struct Raw {
    metadata: Meta,
    #[serde(default)]
    status: Status,
}

#[derive(Default, Deserialize)]
struct Status {
    #[serde(default, deserialize_with = "super::meta::all")]
    allocatable: Words,
    #[serde(default)]
    conditions: Vec<Condition>,
}

impl From<Raw> for Node {
    fn from(raw: Raw) -> Self {
        let mut conditions = raw.status.conditions.iter();
        let ready = conditions.find(|it| *it.kind == *"Ready");
        Self {
            gpus: gpus(&raw.status.allocatable),
            ready: ready.is_some_and(Condition::is_true),
            since: ready.and_then(|it| it.last_transition_time),
            made: Made::of(&raw.metadata),
            meta: raw.metadata,
        }
    }
}

#[derive(Deserialize)]
struct RawClaim {
    metadata: Meta,
    #[serde(default)]
    status: ClaimStatus,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClaimStatus {
    #[serde(default)]
    node_name: Box<str>,
    #[serde(default)]
    conditions: Vec<Condition>,
}

impl From<RawClaim> for Claim {
    fn from(raw: RawClaim) -> Self {
        Self {
            made: Made::of(&raw.metadata),
            meta: raw.metadata,
            node: raw.status.node_name,
            conditions: raw.status.conditions,
        }
    }
}
