//! Autoscalers.

use serde::Deserialize;

use super::meta::Meta;
use super::pod::Condition;
use crate::fleet::cluster::is_plain;

/// A HorizontalPodAutoscaler, trimmed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "RawHpa")]
pub(in crate::source::kube) struct Hpa {
    pub meta: Meta,
    pub target: Target,
    pub min: u32,
    pub max: u32,
    pub down: Option<Box<str>>,
    pub plain: bool,
    pub scaling: Option<Result<(), Box<str>>>,
}

/// A KEDA ScaledObject, trimmed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "RawScaled")]
pub(in crate::source::kube) struct Scaled {
    pub meta: Meta,
    pub target: Target,
    pub min: u32,
    pub max: u32,
    pub hpa: Option<Box<str>>,
}

/// What is scaled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(in crate::source::kube) struct Target {
    #[serde(default)]
    pub kind: Box<str>,
    #[serde(default)]
    pub name: Box<str>,
}

#[derive(Deserialize)]
struct RawHpa {
    metadata: Meta,
    #[serde(default)]
    spec: HpaSpec,
    #[serde(default)]
    status: HpaStatus,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct HpaSpec {
    #[serde(default)]
    scale_target_ref: Target,
    #[serde(default)]
    min_replicas: Option<u32>,
    #[serde(default)]
    max_replicas: u32,
    #[serde(default)]
    behavior: serde_json::Value,
}

#[derive(Default, Deserialize)]
struct HpaStatus {
    #[serde(default)]
    conditions: Option<Vec<Condition>>,
}

impl From<RawHpa> for Hpa {
    fn from(raw: RawHpa) -> Self {
        let conditions = raw.status.conditions.unwrap_or_default();
        let active = conditions
            .into_iter()
            .find(|it| *it.kind == *"ScalingActive");
        Self {
            meta: raw.metadata,
            target: raw.spec.scale_target_ref,
            min: raw.spec.min_replicas.unwrap_or(1),
            max: raw.spec.max_replicas,
            down: raw.spec.behavior["scaleDown"]["selectPolicy"]
                .as_str()
                .map(Into::into),
            plain: is_plain(&raw.spec.behavior),
            scaling: active.map(|it| if it.is_true() { Ok(()) } else { Err(it.reason) }),
        }
    }
}

#[derive(Deserialize)]
struct RawScaled {
    metadata: Meta,
    #[serde(default)]
    spec: ScaledSpec,
    #[serde(default)]
    status: ScaledStatus,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ScaledSpec {
    #[serde(default)]
    scale_target_ref: Target,
    #[serde(default)]
    min_replica_count: Option<u32>,
    #[serde(default)]
    max_replica_count: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ScaledStatus {
    #[serde(default)]
    hpa_name: Option<Box<str>>,
}

impl From<RawScaled> for Scaled {
    fn from(raw: RawScaled) -> Self {
        let mut target = raw.spec.scale_target_ref;
        if target.kind.is_empty() {
            target.kind = "Deployment".into();
        }
        Self {
            meta: raw.metadata,
            target,
            min: raw.spec.min_replica_count.unwrap_or(0),
            max: raw.spec.max_replica_count.unwrap_or(100),
            hpa: raw.status.hpa_name,
        }
    }
}
