//! Objects of a cluster's API: which kinds there are, and where each is found.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A kind of object that fleetctl reads or writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// A pod.
    Pod,
    /// A machine of the cluster.
    Node,
    /// A name for pods.
    Service,
    /// A rollout of alike pods.
    Deployment,
    /// A rollout of numbered pods.
    StatefulSet,
    /// Groups of pods that serve as one replica each (LWS).
    LeaderWorkerSet,
    /// The autoscaler of Kubernetes itself.
    HorizontalPodAutoscaler,
    /// KEDA's.
    ScaledObject,
    /// KAITO: a model with its machines.
    Workspace,
    /// KAITO: several alike workspaces.
    InferenceSet,
    /// Karpenter: a machine that is asked for.
    NodeClaim,
    /// Gateway API: who gets what.
    #[serde(rename = "HTTPRoute")]
    HttpRoute,
    /// Inference Extension: pods that an endpoint picker chooses from.
    InferencePool,
    /// Envoy AI Gateway: who gets what, by model.
    #[serde(rename = "AIGatewayRoute")]
    AiGatewayRoute,
    /// Envoy AI Gateway: something that answers for models.
    #[serde(rename = "AIServiceBackend")]
    AiServiceBackend,
    /// Envoy Gateway: an address.
    Backend,
    /// KServe.
    InferenceService,
    /// KServe, for language models.
    #[serde(rename = "LLMInferenceService")]
    LlmInferenceService,
    /// Knative: one version of a service.
    Revision,
    /// What is told of an object.
    Event,
    /// Who does something now.
    Lease,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 21] = [
        Self::Pod,
        Self::Node,
        Self::Service,
        Self::Deployment,
        Self::StatefulSet,
        Self::LeaderWorkerSet,
        Self::HorizontalPodAutoscaler,
        Self::ScaledObject,
        Self::Workspace,
        Self::InferenceSet,
        Self::NodeClaim,
        Self::HttpRoute,
        Self::InferencePool,
        Self::AiGatewayRoute,
        Self::AiServiceBackend,
        Self::Backend,
        Self::InferenceService,
        Self::LlmInferenceService,
        Self::Revision,
        Self::Event,
        Self::Lease,
    ];

    /// Its name in the API.
    pub fn word(self) -> &'static str {
        self.facts().0
    }

    /// Its group; empty for the core's.
    pub fn group(self) -> &'static str {
        self.facts().1
    }

    /// Its name in paths.
    pub fn plural(self) -> &'static str {
        self.facts().2
    }

    /// The versions that are understood, the best first.
    pub fn versions(self) -> &'static [&'static str] {
        self.facts().3
    }

    /// Whether its objects are of the cluster rather than of a namespace.
    pub fn is_of_cluster(self) -> bool {
        matches!(self, Self::Node | Self::NodeClaim)
    }

    /// `deployments.apps`, as `kubectl` says it.
    pub fn resource(self) -> String {
        match self.group() {
            "" => self.plural().to_owned(),
            group => format!("{}.{group}", self.plural()),
        }
    }

    fn facts(
        self,
    ) -> (
        &'static str,
        &'static str,
        &'static str,
        &'static [&'static str],
    ) {
        match self {
            Self::Pod => ("Pod", "", "pods", &["v1"]),
            Self::Node => ("Node", "", "nodes", &["v1"]),
            Self::Service => ("Service", "", "services", &["v1"]),
            Self::Deployment => ("Deployment", "apps", "deployments", &["v1"]),
            Self::StatefulSet => ("StatefulSet", "apps", "statefulsets", &["v1"]),
            Self::LeaderWorkerSet => (
                "LeaderWorkerSet",
                "leaderworkerset.x-k8s.io",
                "leaderworkersets",
                &["v1"],
            ),
            Self::HorizontalPodAutoscaler => (
                "HorizontalPodAutoscaler",
                "autoscaling",
                "horizontalpodautoscalers",
                &["v2"],
            ),
            Self::ScaledObject => ("ScaledObject", "keda.sh", "scaledobjects", &["v1alpha1"]),
            Self::Workspace => (
                "Workspace",
                "kaito.sh",
                "workspaces",
                &["v1beta1", "v1alpha1"],
            ),
            Self::InferenceSet => (
                "InferenceSet",
                "kaito.sh",
                "inferencesets",
                &["v1beta1", "v1alpha1"],
            ),
            Self::NodeClaim => ("NodeClaim", "karpenter.sh", "nodeclaims", &["v1"]),
            Self::HttpRoute => (
                "HTTPRoute",
                "gateway.networking.k8s.io",
                "httproutes",
                &["v1", "v1beta1"],
            ),
            Self::InferencePool => (
                "InferencePool",
                "inference.networking.k8s.io",
                "inferencepools",
                &["v1"],
            ),
            Self::AiGatewayRoute => (
                "AIGatewayRoute",
                "aigateway.envoyproxy.io",
                "aigatewayroutes",
                &["v1beta1", "v1alpha1"],
            ),
            Self::AiServiceBackend => (
                "AIServiceBackend",
                "aigateway.envoyproxy.io",
                "aiservicebackends",
                &["v1beta1", "v1alpha1"],
            ),
            Self::Backend => (
                "Backend",
                "gateway.envoyproxy.io",
                "backends",
                &["v1alpha1"],
            ),
            Self::InferenceService => (
                "InferenceService",
                "serving.kserve.io",
                "inferenceservices",
                &["v1beta1"],
            ),
            Self::LlmInferenceService => (
                "LLMInferenceService",
                "serving.kserve.io",
                "llminferenceservices",
                &["v1alpha2", "v1alpha1"],
            ),
            Self::Revision => ("Revision", "serving.knative.dev", "revisions", &["v1"]),
            Self::Event => ("Event", "events.k8s.io", "events", &["v1"]),
            Self::Lease => ("Lease", "coordination.k8s.io", "leases", &["v1"]),
        }
    }
}

/// One object of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Object {
    /// What it is.
    pub kind: Kind,
    /// The version of its API that the cluster serves.
    pub version: Box<str>,
    /// Its namespace; empty for an object of the cluster.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
}

impl Object {
    /// The object of that name, in the best version that is understood.
    pub fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        Self {
            kind,
            version: kind.versions()[0].into(),
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// The same in the version that the cluster serves.
    #[must_use]
    pub fn at(mut self, version: &str) -> Self {
        self.version = version.into();
        self
    }

    /// Its place in the API.
    pub fn path(&self) -> String {
        format!(
            "{}/{}",
            collection(self.kind, &self.version, Some(&self.namespace)),
            self.name
        )
    }

    /// `keda.sh/v1alpha1`, as objects name it.
    pub fn api_version(&self) -> String {
        match self.kind.group() {
            "" => self.version.to_string(),
            group => format!("{group}/{}", self.version),
        }
    }
}

impl fmt::Display for Object {
    /// `ScaledObject llm/llama`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.word();
        if self.namespace.is_empty() {
            write!(f, "{kind} {}", self.name)
        } else {
            write!(f, "{kind} {}/{}", self.namespace, self.name)
        }
    }
}

/// Where the objects of a kind are listed: those of one namespace, or all of them.
pub fn collection(kind: Kind, version: &str, namespace: Option<&str>) -> String {
    let root = match kind.group() {
        "" => format!("/api/{version}"),
        group => format!("/apis/{group}/{version}"),
    };
    match namespace.filter(|it| !it.is_empty() && !kind.is_of_cluster()) {
        Some(namespace) => format!("{root}/namespaces/{namespace}/{}", kind.plural()),
        None => format!("{root}/{}", kind.plural()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_found_where_the_api_has_them() {
        let paths = [
            Object::new(Kind::Pod, "llm", "a-0").path(),
            Object::new(Kind::Node, "", "gpu-1").path(),
            Object::new(Kind::ScaledObject, "llm", "a").path(),
            Object::new(Kind::Workspace, "llm", "a")
                .at("v1alpha1")
                .path(),
        ];
        assert_eq!(
            paths,
            [
                "/api/v1/namespaces/llm/pods/a-0",
                "/api/v1/nodes/gpu-1",
                "/apis/keda.sh/v1alpha1/namespaces/llm/scaledobjects/a",
                "/apis/kaito.sh/v1alpha1/namespaces/llm/workspaces/a",
            ]
        );
        assert_eq!(
            collection(Kind::Deployment, "v1", None),
            "/apis/apps/v1/deployments"
        );
    }
}
