//! Routes, and what they lead to.

use serde::Deserialize;

use super::meta::{Meta, Words};
use super::pod::Condition;
use crate::web::clean;

/// An HTTPRoute or an AIGatewayRoute, trimmed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "RawRoute")]
pub(in crate::source::kube) struct Route {
    pub meta: Meta,
    pub annotated: bool,
    pub rules: Vec<RouteRule>,
    /// By gateway: whether it has the route as it stands, or why not.
    pub parents: Vec<Result<(), Unprogrammed>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::source::kube) struct RouteRule {
    #[serde(default)]
    pub name: Option<Box<str>>,
    #[serde(default)]
    pub matches: Vec<Match>,
    #[serde(default)]
    pub backend_refs: Vec<BackendRef>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(in crate::source::kube) struct Match {
    #[serde(default)]
    pub path: Option<Value>,
    #[serde(default)]
    pub headers: Vec<Header>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(in crate::source::kube) struct Value {
    #[serde(default)]
    pub value: Box<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(in crate::source::kube) struct Header {
    pub name: Box<str>,
    #[serde(default)]
    pub value: Box<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(in crate::source::kube) struct BackendRef {
    #[serde(default)]
    pub group: Box<str>,
    #[serde(default)]
    pub kind: Option<Box<str>>,
    pub name: Box<str>,
    #[serde(default)]
    pub namespace: Option<Box<str>>,
    #[serde(default)]
    pub weight: Option<u32>,
    /// Of an AIGatewayRoute: 0 comes first, others only when those before them fail.
    #[serde(default)]
    pub priority: Option<u32>,
}

/// The header that Envoy AI Gateway puts the model in.
const MODEL_HEADER: &str = "x-ai-eg-model";

impl RouteRule {
    /// The model that it is for, where it says so.
    pub(in crate::source::kube) fn model(&self) -> Option<&str> {
        let mut headers = self.matches.iter().flat_map(|it| &it.headers);
        let model = headers.find(|it| it.name.eq_ignore_ascii_case(MODEL_HEADER))?;
        Some(&model.value)
    }

    /// The priority of those that get requests first.
    pub(in crate::source::kube) fn first(&self) -> u32 {
        let all = self.backend_refs.iter().map(BackendRef::priority);
        all.min().unwrap_or(0)
    }

    /// What it matches, in words.
    pub(in crate::source::kube) fn words(&self) -> String {
        let mut said: Vec<String> = Vec::new();
        said.extend(self.name.as_deref().map(ToOwned::to_owned));
        for one in &self.matches {
            said.extend(one.path.as_ref().map(|it| it.value.to_string()));
            said.extend(
                one.headers
                    .iter()
                    .map(|it| format!("{}: {}", it.name, it.value)),
            );
        }
        said.dedup();
        said.join(", ")
    }
}

impl BackendRef {
    pub(in crate::source::kube) fn priority(&self) -> u32 {
        self.priority.unwrap_or(0)
    }
}

#[derive(Deserialize)]
struct RawRoute {
    metadata: RawMeta,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

/// As well as whether there are annotations at all: a patch that adds one must know.
#[derive(Deserialize)]
#[serde(from = "serde_json::Value")]
struct RawMeta {
    meta: Meta,
    annotated: bool,
}

impl From<serde_json::Value> for RawMeta {
    fn from(value: serde_json::Value) -> Self {
        Self {
            annotated: value["annotations"].is_object(),
            meta: serde_json::from_value(value).unwrap_or_default(),
        }
    }
}

#[derive(Default, Deserialize)]
struct Spec {
    #[serde(default)]
    rules: Vec<RouteRule>,
}

#[derive(Default, Deserialize)]
struct Status {
    #[serde(default)]
    parents: Vec<Parent>,
    /// AIGatewayRoute has no parents.
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Deserialize)]
struct Parent {
    #[serde(default)]
    conditions: Vec<Condition>,
}

/// Why a gateway does not have a route as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::source::kube) enum Unprogrammed {
    /// It has not come to it.
    NotYet(Box<str>),
    /// It does not take it.
    Refused(Box<str>),
}

impl From<RawRoute> for Route {
    fn from(raw: RawRoute) -> Self {
        let generation = raw.metadata.meta.generation;
        let judge = |conditions: &[Condition], dated: bool| -> Result<(), Unprogrammed> {
            let not_yet = |why: &str| Err(Unprogrammed::NotYet(why.into()));
            for kind in ["Accepted", "ResolvedRefs"] {
                let found = conditions.iter().find(|it| *it.kind == *kind);
                match found {
                    Some(it) if dated && it.observed_generation < generation => {
                        return not_yet("the gateway has not seen its newest version yet");
                    }
                    Some(it) if !it.is_true() => {
                        let why = clean(&format!("{kind}: {} {}", it.reason, it.message));
                        return Err(Unprogrammed::Refused(why.trim().into()));
                    }
                    None if dated => {
                        return not_yet("the gateway has not said anything of it yet");
                    }
                    Some(_) | None => {}
                }
            }
            if !dated && conditions.iter().any(|it| *it.kind == *"NotAccepted") {
                let why = "its controller did not accept it".into();
                return Err(Unprogrammed::Refused(why));
            }
            Ok(())
        };
        let mut parents: Vec<Result<(), Unprogrammed>> = raw
            .status
            .parents
            .iter()
            .map(|it| judge(&it.conditions, true))
            .collect();
        if !raw.status.conditions.is_empty() {
            parents.push(judge(&raw.status.conditions, false));
        }
        Self {
            meta: raw.metadata.meta,
            annotated: raw.metadata.annotated,
            rules: raw.spec.rules,
            parents,
        }
    }
}

impl Route {
    /// Whether every gateway has it as it stands, or why not.
    pub(in crate::source::kube) fn programmed(&self) -> Result<(), Box<str>> {
        if self.parents.is_empty() {
            return Err("no gateway has said anything of it yet".into());
        }
        let mut faults = self.parents.iter().filter_map(|it| it.as_ref().err());
        match faults.next() {
            Some(Unprogrammed::NotYet(why) | Unprogrammed::Refused(why)) => Err(why.clone()),
            None => Ok(()),
        }
    }

    /// Whether a gateway does not take it as it stands.
    pub(in crate::source::kube) fn is_refused(&self) -> bool {
        let mut faults = self.parents.iter().filter_map(|it| it.as_ref().err());
        faults.any(|it| matches!(it, Unprogrammed::Refused(_)))
    }
}

/// A Service, trimmed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(in crate::source::kube) struct Service {
    #[serde(rename = "metadata")]
    pub meta: Meta,
    #[serde(default)]
    pub spec: ServiceSpec,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::source::kube) struct ServiceSpec {
    #[serde(default, deserialize_with = "super::meta::all")]
    pub selector: Words,
    #[serde(default)]
    pub external_name: Option<Box<str>>,
    #[serde(default)]
    pub ports: Vec<ServicePort>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::source::kube) struct ServicePort {
    pub port: u16,
    /// A number or a name; without it the same as `port`.
    #[serde(default)]
    target_port: Option<TargetPort>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum TargetPort {
    Number(u16),
    Name(Box<str>),
}

impl ServicePort {
    /// Whether it is known to lead to that port of the pods.
    pub(in crate::source::kube) fn leads_to(&self, port: u16) -> bool {
        match self.target_port {
            Some(TargetPort::Number(to)) => to == port,
            Some(TargetPort::Name(_)) => false,
            None => self.port == port,
        }
    }
}

/// An InferencePool, trimmed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(in crate::source::kube) struct Pool {
    #[serde(rename = "metadata")]
    pub meta: Meta,
    #[serde(default)]
    pub spec: PoolSpec,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(in crate::source::kube) struct PoolSpec {
    #[serde(default)]
    pub selector: PoolSelector,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::source::kube) struct PoolSelector {
    #[serde(default, deserialize_with = "super::meta::all")]
    pub match_labels: Words,
}

/// An AIServiceBackend, trimmed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(in crate::source::kube) struct AiBackend {
    #[serde(rename = "metadata")]
    pub meta: Meta,
    #[serde(default)]
    pub spec: AiBackendSpec,
    /// Why its gateway does not take it.
    #[serde(default, rename = "status", deserialize_with = "refusal")]
    pub refused: Option<Box<str>>,
}

/// The reason in a status whose condition says `Accepted` is not, or `NotAccepted` is.
fn refusal<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Box<str>>, D::Error> {
    let status = Option::<Status>::deserialize(from)?.unwrap_or_default();
    let refuses = |it: &&Condition| match &*it.kind {
        "Accepted" => *it.status == *"False",
        "NotAccepted" => it.is_true(),
        _ => false,
    };
    let said = status.conditions.iter().find(refuses);
    Ok(said.map(|it| {
        let why = clean(&format!("{} {}", it.reason, it.message));
        why.trim().into()
    }))
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::source::kube) struct AiBackendSpec {
    #[serde(default)]
    pub schema: Schema,
    #[serde(default)]
    pub backend_ref: Option<BackendRef>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(in crate::source::kube) struct Schema {
    #[serde(default)]
    pub name: Box<str>,
}

/// An Envoy Gateway Backend, trimmed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(in crate::source::kube) struct Address {
    #[serde(rename = "metadata")]
    pub meta: Meta,
    #[serde(default)]
    pub spec: AddressSpec,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(in crate::source::kube) struct AddressSpec {
    #[serde(default)]
    pub endpoints: Vec<Endpoint>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(in crate::source::kube) struct Endpoint {
    #[serde(default)]
    pub fqdn: Option<Fqdn>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(in crate::source::kube) struct Fqdn {
    pub hostname: Box<str>,
}

impl Address {
    /// The name of the host that it stands for.
    pub(in crate::source::kube) fn host(&self) -> Option<&str> {
        let mut named = self.spec.endpoints.iter().filter_map(|it| it.fqdn.as_ref());
        Some(&named.next()?.hostname)
    }
}
