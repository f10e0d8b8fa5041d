//! Clusters that are looked at, and what their machines and tokens cost.

use std::path::PathBuf;

use chrono::NaiveDate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::model::{Money, Price};

/// A Kubernetes cluster. Several stand together in one table, with their names before their backends'.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// Its name here; the context's where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The context of the kubeconfig; the current one where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// The kubeconfig; `$KUBECONFIG` or `~/.kube/config` where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubeconfig: Option<PathBuf>,
    /// Whom to act as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_user: Option<String>,
    /// Of which groups that one is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub as_groups: Vec<String>,
    /// The namespaces that are looked at; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// Labels that workloads and pods must have: `team=ml`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// A Prometheus that has what pods say: `http://127.0.0.1:9090`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<String>,
    /// How its pods are reached.
    #[serde(default, skip_serializing_if = "Pods::is_auto")]
    pub pods: Pods,
    /// Workloads that are called otherwise, or are not found by themselves.
    #[serde(default, rename = "workload", skip_serializing_if = "Vec::is_empty")]
    pub workloads: Vec<Workload>,
}

/// How pods are reached: two clusters may number their pods alike, so an address alone says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Pods {
    /// Through the API's own proxy; pages at a pod's own address once it was seen to be that pod's (default).
    #[default]
    Auto,
    /// At their own addresses first: these lead to this cluster's pods and to no other's.
    Direct,
    /// Through the API's own proxy only.
    Proxy,
}

impl Pods {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
    fn is_auto(&self) -> bool {
        *self == Self::Auto
    }
}

/// A workload by name.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The model that it answers for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// It is none of this fleet's.
    #[serde(default)]
    pub ignore: bool,
    /// How it sleeps: `release` (default): scaled to zero; `level1`: its engines sleep in their pods (vLLM's sleep mode), which
    /// keep their GPUs and are billed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sleep: Option<PodSleep>,
}

/// How a workload on a cluster sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PodSleep {
    /// Scaled to zero.
    Release,
    /// vLLM's sleep mode, level 1.
    Level1,
}

/// What machines cost, and of when that is.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodePrices {
    /// The date of the table: it is shown beside what it leads to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<NaiveDate>,
    /// Its lines; the first that fits counts.
    #[serde(default, rename = "machine", skip_serializing_if = "Vec::is_empty")]
    pub machines: Vec<NodePrice>,
}

/// A line of the table.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodePrice {
    /// The label `node.kubernetes.io/instance-type`.
    pub instance: String,
    /// The label `topology.kubernetes.io/region`; wherever where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Dollars an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_demand: Option<Money>,
    /// Dollars an hour for one that may be taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spot: Option<Money>,
}

/// What tokens of a hosted backend cost.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenPrice {
    /// The name of the backend in the routes: `aoai-4o-mini`, or with its namespace `llm/aoai-4o-mini`.
    pub backend: String,
    /// Dollars per million tokens.
    pub price: Price,
}
