//! The table of kinds the fake server serves.

/// One served resource: where it lives, and which parts of the API it has.
#[derive(Debug, Clone, Copy)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "a table of what each kind has"
)]
#[expect(clippy::struct_field_names, reason = "the names of the API")]
pub(crate) struct Kind {
    /// The API group, empty for core.
    pub(crate) group: &'static str,
    /// The served version.
    pub(crate) version: &'static str,
    /// The kind, such as `Pod`.
    pub(crate) kind: &'static str,
    /// The plural name in paths, such as `pods`.
    pub(crate) plural: &'static str,
    /// The names `kubectl` accepts in its place.
    pub(crate) short: &'static [&'static str],
    /// Whether its objects live in a namespace.
    pub(crate) namespaced: bool,
    /// Whether it is compiled into the API server, not a custom resource.
    pub(crate) builtin: bool,
    /// Whether `/status` is a subresource.
    pub(crate) status: bool,
    /// Whether `metadata.generation` counts changes of the wish.
    pub(crate) generation: bool,
    /// Where `/scale` finds the pod selector, for kinds that have it.
    pub(crate) scale: Option<&'static str>,
    /// Subresources with their own handling: name, kind of the answer, verbs.
    pub(crate) extra: &'static [(&'static str, &'static str, &'static [&'static str])],
}

impl Kind {
    const fn builtin(
        group: &'static str,
        version: &'static str,
        kind: &'static str,
        plural: &'static str,
    ) -> Self {
        Self {
            group,
            version,
            kind,
            plural,
            short: &[],
            namespaced: true,
            builtin: true,
            status: false,
            generation: false,
            scale: None,
            extra: &[],
        }
    }

    const fn custom(
        group: &'static str,
        version: &'static str,
        kind: &'static str,
        plural: &'static str,
    ) -> Self {
        let mut new = Self::builtin(group, version, kind, plural);
        new.builtin = false;
        new.status = true;
        new.generation = true;
        new
    }

    const fn short(mut self, short: &'static [&'static str]) -> Self {
        self.short = short;
        self
    }

    const fn cluster(mut self) -> Self {
        self.namespaced = false;
        self
    }

    const fn status(mut self) -> Self {
        self.status = true;
        self
    }

    const fn counted(mut self) -> Self {
        self.generation = true;
        self
    }

    const fn scale(mut self, selector: &'static str) -> Self {
        self.scale = Some(selector);
        self
    }

    const fn extra(
        mut self,
        extra: &'static [(&'static str, &'static str, &'static [&'static str])],
    ) -> Self {
        self.extra = extra;
        self
    }

    /// `v1`, or `apps/v1`.
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// `pods`, or `deployments.apps`, as error messages spell it.
    pub(crate) fn qualified(&self) -> String {
        if self.group.is_empty() {
            self.plural.to_owned()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// `Pod`, or `Deployment.apps`, as validation messages spell it.
    pub(crate) fn qualified_kind(&self) -> String {
        if self.group.is_empty() {
            self.kind.to_owned()
        } else {
            format!("{}.{}", self.kind, self.group)
        }
    }

    /// The lower-case singular.
    pub(crate) fn singular(&self) -> String {
        self.kind.to_lowercase()
    }

    /// The verbs discovery lists for it.
    pub(crate) fn verbs(&self) -> &'static [&'static str] {
        match self.group {
            "authorization.k8s.io" | "authentication.k8s.io" => &["create"],
            _ => &[
                "create",
                "delete",
                "deletecollection",
                "get",
                "list",
                "patch",
                "update",
                "watch",
            ],
        }
    }

    /// Whether it only answers a question and stores nothing.
    pub(crate) fn review(&self) -> bool {
        self.verbs().len() == 1
    }

    /// Its identity in maps.
    pub(super) fn id(&self) -> (&'static str, &'static str) {
        (self.group, self.plural)
    }
}

const PROXY: &[&str] = &["create", "delete", "get", "patch", "update"];
const KSERVE: &str = "serving.kserve.io";
const GATEWAY: &str = "gateway.networking.k8s.io";
const ENVOY_AI: &str = "aigateway.envoyproxy.io";

/// Every kind, in the order discovery lists them.
pub(crate) const KINDS: &[Kind] = &[
    Kind::builtin("", "v1", "Pod", "pods")
        .short(&["po"])
        .status()
        .extra(&[
            ("log", "Pod", &["get"]),
            ("proxy", "PodProxyOptions", PROXY),
            ("eviction", "Eviction", &["create"]),
        ]),
    Kind::builtin("", "v1", "Node", "nodes")
        .short(&["no"])
        .cluster()
        .status(),
    Kind::builtin("", "v1", "Service", "services")
        .short(&["svc"])
        .status()
        .extra(&[("proxy", "ServiceProxyOptions", PROXY)]),
    Kind::builtin("", "v1", "Event", "events").short(&["ev"]),
    Kind::builtin("", "v1", "Namespace", "namespaces")
        .short(&["ns"])
        .cluster()
        .status(),
    Kind::builtin("", "v1", "Endpoints", "endpoints").short(&["ep"]),
    Kind::builtin("", "v1", "ConfigMap", "configmaps").short(&["cm"]),
    Kind::builtin("apps", "v1", "Deployment", "deployments")
        .short(&["deploy"])
        .status()
        .counted()
        .scale("/spec/selector"),
    Kind::builtin("apps", "v1", "StatefulSet", "statefulsets")
        .short(&["sts"])
        .status()
        .counted()
        .scale("/spec/selector"),
    Kind::builtin("apps", "v1", "ReplicaSet", "replicasets")
        .short(&["rs"])
        .status()
        .counted()
        .scale("/spec/selector"),
    Kind::builtin(
        "autoscaling",
        "v2",
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
    )
    .short(&["hpa"])
    .status(),
    Kind::builtin("events.k8s.io", "v1", "Event", "events").short(&["ev"]),
    Kind::builtin("coordination.k8s.io", "v1", "Lease", "leases"),
    Kind::builtin(
        "authorization.k8s.io",
        "v1",
        "SelfSubjectAccessReview",
        "selfsubjectaccessreviews",
    )
    .cluster(),
    Kind::builtin(
        "authorization.k8s.io",
        "v1",
        "SelfSubjectRulesReview",
        "selfsubjectrulesreviews",
    )
    .cluster(),
    Kind::builtin(
        "authentication.k8s.io",
        "v1",
        "SelfSubjectReview",
        "selfsubjectreviews",
    )
    .cluster(),
    Kind::builtin("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices"),
    Kind::builtin(
        "policy",
        "v1",
        "PodDisruptionBudget",
        "poddisruptionbudgets",
    )
    .short(&["pdb"])
    .status()
    .counted(),
    Kind::custom("keda.sh", "v1alpha1", "ScaledObject", "scaledobjects").short(&["so"]),
    Kind::custom("kaito.sh", "v1beta1", "Workspace", "workspaces").short(&["wk"]),
    Kind::custom("kaito.sh", "v1beta1", "InferenceSet", "inferencesets")
        .short(&["is"])
        .scale("/status/selector"),
    Kind::custom("karpenter.sh", "v1", "NodeClaim", "nodeclaims").cluster(),
    Kind::custom(
        "leaderworkerset.x-k8s.io",
        "v1",
        "LeaderWorkerSet",
        "leaderworkersets",
    )
    .short(&["lws"])
    .scale("/status/hpaPodSelector"),
    Kind::custom(GATEWAY, "v1", "HTTPRoute", "httproutes"),
    Kind::custom(GATEWAY, "v1", "Gateway", "gateways").short(&["gtw"]),
    Kind::custom(
        "inference.networking.k8s.io",
        "v1",
        "InferencePool",
        "inferencepools",
    )
    .short(&["infpool"]),
    Kind::custom(ENVOY_AI, "v1beta1", "AIGatewayRoute", "aigatewayroutes").short(&["aigr"]),
    Kind::custom(ENVOY_AI, "v1beta1", "AIServiceBackend", "aiservicebackends").short(&["aisb"]),
    Kind::custom("gateway.envoyproxy.io", "v1alpha1", "Backend", "backends").short(&["be"]),
    Kind::custom(KSERVE, "v1beta1", "InferenceService", "inferenceservices").short(&["isvc"]),
    Kind::custom(
        KSERVE,
        "v1alpha2",
        "LLMInferenceService",
        "llminferenceservices",
    )
    .short(&["llmisvc"]),
    Kind::custom("serving.knative.dev", "v1", "Service", "services").short(&["ksvc"]),
    Kind::custom("serving.knative.dev", "v1", "Revision", "revisions").short(&["rev"]),
];

/// The kind an object says it is.
pub(crate) fn of(api_version: &str, kind: &str) -> Option<&'static Kind> {
    KINDS
        .iter()
        .find(|k| k.kind == kind && k.api_version() == api_version)
}

/// The kind served at a group, version and plural.
pub(crate) fn at(group: &str, version: &str, plural: &str) -> Option<&'static Kind> {
    KINDS
        .iter()
        .find(|k| k.group == group && k.version == version && k.plural == plural)
}

/// The kind of `pods` or `deployments.apps`.
pub(crate) fn named(resource: &str) -> Option<&'static Kind> {
    KINDS
        .iter()
        .find(|k| k.plural == resource || k.qualified() == resource)
}
