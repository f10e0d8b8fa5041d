//! What this user may do, asked before it is tried: one review a namespace, and one a question where that leaves it open.

use std::collections::BTreeSet;
use std::time::Duration;

use http::Method;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{mpsc, watch};

use super::world::Change;
use crate::cluster::{Api, Served};
use crate::fleet::cluster::object::Kind;
use crate::fleet::cluster::plan::has_scale;
use crate::fleet::cluster::{ACTIVATOR, Need, Permit};

/// Roles change rarely; they are asked for again after this long.
const AGAIN: Duration = Duration::from_secs(60);
/// Of a server that only starts after this long.
const SOON: Duration = Duration::from_secs(2);
/// Namespaces that are asked for at most.
const MOST: usize = 64;

/// Kinds that operations patch.
const PATCHED: [Kind; 12] = [
    Kind::Deployment,
    Kind::StatefulSet,
    Kind::LeaderWorkerSet,
    Kind::InferenceSet,
    Kind::ScaledObject,
    Kind::HorizontalPodAutoscaler,
    Kind::HttpRoute,
    Kind::AiGatewayRoute,
    Kind::InferenceService,
    Kind::LlmInferenceService,
    Kind::Revision,
    Kind::Pod,
];

/// What operations do besides patching: they hold a lease, tell of themselves, and talk to engines; and whose logs are read.
const BESIDES: [(&str, Kind, Option<&str>); 9] = [
    ("create", Kind::Lease, None),
    ("get", Kind::Lease, None),
    ("update", Kind::Lease, None),
    ("create", Kind::Event, None),
    ("get", Kind::Pod, Some("proxy")),
    ("create", Kind::Pod, Some("proxy")),
    ("get", Kind::Service, Some("proxy")),
    ("create", Kind::Service, Some("proxy")),
    ("get", Kind::Pod, Some("log")),
];

/// A `SelfSubjectRulesReview`'s status.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rules {
    #[serde(default)]
    resource_rules: Vec<Rule>,
    #[serde(default)]
    incomplete: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    #[serde(default)]
    verbs: Vec<String>,
    #[serde(default)]
    api_groups: Vec<String>,
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    resource_names: Vec<String>,
}

/// Whether rules allow something; `None` where only a question can tell.
fn allowed_by(need: &Need, rules: &Rules) -> Option<bool> {
    let fits = |all: &[String], one: &str| all.iter().any(|it| it == "*" || it == one);
    // As rules name it: `deployments/scale`.
    let wanted = match need.sub {
        Some(sub) => format!("{}/{sub}", need.kind.plural()),
        None => need.kind.plural().to_owned(),
    };
    let mut that_fit = rules.resource_rules.iter().filter(|rule| {
        let any_sub = |sub: &str| rule.resources.iter().any(|it| *it == format!("*/{sub}"));
        fits(&rule.verbs, need.verb)
            && fits(&rule.api_groups, need.kind.group())
            && (fits(&rule.resources, &wanted) || need.sub.is_some_and(any_sub))
    });
    match that_fit.clone().next() {
        None if rules.incomplete => None,
        None => Some(false),
        // For some names only: each is asked for when it is meant.
        Some(_) => that_fit
            .any(|it| it.resource_names.is_empty())
            .then_some(true),
    }
}

/// Asks for every namespace that has backends, until nobody listens.
pub(super) async fn ask(
    api: Api,
    served: Served,
    mut namespaces: watch::Receiver<BTreeSet<Box<str>>>,
    out: mpsc::Sender<Vec<Change>>,
) {
    loop {
        let all: Vec<Box<str>> = namespaces
            .borrow_and_update()
            .iter()
            .take(MOST)
            .cloned()
            .collect();
        let mut permits = Vec::new();
        for namespace in &all {
            permits.extend(of(&api, &served, namespace).await);
        }
        if !permits.is_empty() && served.version(Kind::Revision).is_some() {
            permits.extend(activator(&api).await);
        }
        // A server that only starts has not read its roles yet, and allows nothing.
        let denies = permits.iter().any(|it| !it.allowed);
        if denies && api.is_starting().await {
            tokio::time::sleep(SOON).await;
            continue;
        }
        if !permits.is_empty() && out.send(vec![Change::Permits(permits)]).await.is_err() {
            return;
        }
        tokio::select! {
            changed = namespaces.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(AGAIN) => {}
        }
    }
}

async fn of(api: &Api, served: &Served, namespace: &str) -> Vec<Permit> {
    let need = |verb: &'static str, kind: Kind, sub: Option<&'static str>| Need {
        namespace: namespace.into(),
        verb,
        kind,
        sub,
        name: Box::default(),
        wished: false,
    };
    let patched = PATCHED
        .into_iter()
        .filter(|it| served.version(*it).is_some());
    let mut needs = Vec::new();
    for kind in patched {
        needs.extend([need("get", kind, None), need("patch", kind, None)]);
        if has_scale(kind) {
            let scale = Some("scale");
            needs.extend([need("get", kind, scale), need("update", kind, scale)]);
        }
    }
    let besides = BESIDES.into_iter();
    needs.extend(besides.map(|(verb, kind, sub)| need(verb, kind, sub)));
    let Some(rules) = rules(api, namespace).await else {
        // Nobody says: each is asked for when it is meant.
        return Vec::new();
    };
    let mut permits = Vec::new();
    for need in needs {
        match allowed_by(&need, &rules) {
            Some(allowed) => permits.push(need.answered(allowed, "")),
            None if rules.incomplete => {
                let answer = api.may(&need).await;
                permits.extend(
                    answer
                        .ok()
                        .map(|(allowed, why)| need.answered(allowed, &why)),
                );
            }
            None => {}
        }
    }
    permits
}

/// Whether Knative's activator may be asked: a revision of an old Knative wakes by that alone.
async fn activator(api: &Api) -> Option<Permit> {
    let (namespace, service) = ACTIVATOR;
    let need = Need {
        namespace: namespace.into(),
        verb: "get",
        kind: Kind::Service,
        sub: Some("proxy"),
        name: service.into(),
        wished: true,
    };
    let (allowed, why) = api.may(&need).await.ok()?;
    Some(need.answered(allowed, &why))
}

async fn rules(api: &Api, namespace: &str) -> Option<Rules> {
    let body = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": namespace},
    });
    let path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    let mut answer = api.send(Method::POST, path, &body).await.ok()?;
    serde_json::from_value(answer["status"].take()).ok()
}

/// Whether this user may list a kind everywhere; where nobody says it is tried.
pub(super) async fn lists_everywhere(api: &Api, kind: Kind) -> bool {
    let need = Need {
        namespace: Box::default(),
        verb: "list",
        kind,
        sub: None,
        name: Box::default(),
        wished: false,
    };
    api.may(&need).await.map_or(true, |(allowed, _)| allowed)
}
