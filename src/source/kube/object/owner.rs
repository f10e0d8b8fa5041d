//! What owns workloads: KAITO, KServe, Knative.

use serde::{Deserialize, Deserializer};

use super::meta::Meta;
use super::pod::Condition;

/// A KAITO Workspace, trimmed. It has no `spec`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(in crate::source::kube) struct Workspace {
    #[serde(rename = "metadata")]
    pub meta: Meta,
    #[serde(default)]
    pub resource: Machine,
    #[serde(default)]
    pub inference: Option<Inference>,
    #[serde(default)]
    pub status: WorkspaceStatus,
}

impl Workspace {
    /// Machines that its one engine is spread over.
    pub(in crate::source::kube) fn machines(&self) -> u32 {
        let asked = self.status.target_node_count.max(self.resource.count);
        asked.unwrap_or(1).max(1)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::source::kube) struct WorkspaceStatus {
    #[serde(default)]
    pub target_node_count: Option<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::source::kube) struct Machine {
    #[serde(default)]
    pub instance_type: Box<str>,
    #[serde(default)]
    pub count: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(in crate::source::kube) struct Inference {
    #[serde(default)]
    pub preset: Option<Preset>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(in crate::source::kube) struct Preset {
    #[serde(default)]
    pub name: Box<str>,
}

/// A KAITO InferenceSet, trimmed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(in crate::source::kube) struct InferenceSet {
    #[serde(rename = "metadata")]
    pub meta: Meta,
    #[serde(default)]
    pub spec: SetSpec,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(in crate::source::kube) struct SetSpec {
    #[serde(default)]
    pub replicas: Option<u32>,
    #[serde(default)]
    pub template: SetTemplate,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(in crate::source::kube) struct SetTemplate {
    #[serde(default)]
    pub resource: Machine,
}

/// A KServe InferenceService, trimmed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(in crate::source::kube) struct InferenceService {
    #[serde(rename = "metadata")]
    pub meta: Meta,
    #[serde(default)]
    pub spec: ServiceSpec,
    #[serde(default)]
    pub status: ServiceStatus,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(in crate::source::kube) struct ServiceSpec {
    #[serde(default)]
    pub predictor: Predictor,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::source::kube) struct Predictor {
    #[serde(default)]
    pub min_replicas: Option<u32>,
    #[serde(default)]
    pub max_replicas: Option<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::source::kube) struct ServiceStatus {
    #[serde(default)]
    pub deployment_mode: Box<str>,
    #[serde(default, rename = "conditions", deserialize_with = "refusal")]
    pub refused: Option<Condition>,
}

/// The condition that says that its pods could not be made; the others come and go with every replica.
fn refusal<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Condition>, D::Error> {
    const WORDS: [&str; 3] = ["exceeded quota", "is forbidden", "denied the request"];
    let all = Option::<Vec<Condition>>::deserialize(from)?;
    let says = |it: &Condition| {
        *it.status == *"False" && WORDS.iter().any(|words| it.message.contains(words))
    };
    Ok(all.into_iter().flatten().find(says))
}

/// A KServe LLMInferenceService, trimmed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(in crate::source::kube) struct LlmService {
    #[serde(rename = "metadata")]
    pub meta: Meta,
    #[serde(default)]
    pub spec: LlmSpec,
    #[serde(default)]
    pub status: LlmStatus,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(in crate::source::kube) struct LlmStatus {
    #[serde(default, rename = "conditions", deserialize_with = "refusal")]
    pub refused: Option<Condition>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(in crate::source::kube) struct LlmSpec {
    #[serde(default)]
    pub replicas: Option<u32>,
    #[serde(default, deserialize_with = "is_there")]
    pub scaling: bool,
    #[serde(default)]
    pub model: Option<Preset>,
}

fn is_there<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    Option::<serde::de::IgnoredAny>::deserialize(from).map(|it| it.is_some())
}

/// A Knative Revision, trimmed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(in crate::source::kube) struct Revision {
    #[serde(rename = "metadata")]
    pub meta: Meta,
}
