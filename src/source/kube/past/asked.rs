//! The questions, and what came back.

use chrono::{DateTime, TimeDelta, Utc};

use crate::source::kube::page::Reader;
use crate::source::kube::tokens::SERIES;
use crate::source::prometheus::{Series, range};

/// Whether anybody looked at the cluster.
pub(super) const PRESENT: &str = "count(kube_pod_info)";
/// Whose a pod is.
const OWNED: &str = "on(namespace,pod) group_left(created_by_kind,created_by_name) max by (namespace,pod,created_by_kind,created_by_name) (kube_pod_info)";
/// GPUs that pods asked for which had not ended, by their nodes and owners.
const HELD: &str = "sum by (namespace,node,created_by_kind,created_by_name) ((sum by (namespace,pod,node) (kube_pod_container_resource_requests{resource=~\"nvidia_com_gpu|amd_com_gpu\",node!=\"\"}) and on(namespace,pod) (kube_pod_status_phase{phase=~\"Pending|Running\"} == 1)) * ";
/// GPUs of nodes.
const GPUS: &str =
    "sum by (node) (kube_node_status_allocatable{resource=~\"nvidia_com_gpu|amd_com_gpu\"})";
/// What nodes are, where kube-state-metrics was told to say so.
const NODES: &str = "max by (node,label_node_kubernetes_io_instance_type,label_topology_kubernetes_io_region,label_kubernetes_azure_com_scalesetpriority,label_karpenter_sh_capacity_type,label_eks_amazonaws_com_capacity_type) (kube_node_labels)";

/// All answers about one piece of time.
#[derive(Debug, Default)]
pub(super) struct Answers {
    pub present: Vec<Series>,
    pub held: Vec<Series>,
    pub gpus: Vec<Series>,
    pub nodes: Vec<Series>,
    pub load: Vec<Series>,
    pub requests: Vec<Series>,
    pub input: Vec<Series>,
    pub output: Vec<Series>,
    pub hosted: Vec<Series>,
}

impl Answers {
    pub(super) async fn ask(
        reader: &Reader,
        span: (DateTime<Utc>, DateTime<Utc>),
        step: TimeDelta,
    ) -> Result<Self, String> {
        let ask = |query: String| async move { series(reader, &query, span, step).await };
        let counter = |name: &str| {
            format!(
                "sum by (namespace,pod,created_by_kind,created_by_name) (sum by (namespace,pod) ({name}) * {OWNED})"
            )
        };
        Ok(Self {
            present: ask(PRESENT.into()).await?,
            held: ask(format!("{HELD}{OWNED})")).await?,
            gpus: ask(GPUS.into()).await?,
            nodes: ask(NODES.into()).await?,
            load: ask(counter(
                "{__name__=~\"vllm:num_requests_running|vllm:num_requests_waiting\"}",
            ))
            .await?,
            requests: ask(counter("vllm:request_success_total")).await?,
            input: ask(counter("vllm:prompt_tokens_total")).await?,
            output: ask(counter("vllm:generation_tokens_total")).await?,
            hosted: ask(SERIES.into()).await?,
        })
    }
}

/// Asks once.
pub(super) async fn series(
    reader: &Reader,
    query: &str,
    span: (DateTime<Utc>, DateTime<Utc>),
    step: TimeDelta,
) -> Result<Vec<Series>, String> {
    let base = reader.prometheus.as_deref().unwrap_or_default();
    range(&reader.http, base, query, span, step).await
}
