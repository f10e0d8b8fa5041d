//! What this user may do, asked before it is tried: one review a namespace, and one a question where that leaves it open.

use std::collections::BTreeSet;
use std::time::Duration;

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use super::world::Change;
use crate::cluster::{Api, Served};
use crate::fleet::cluster::Permit;
use crate::fleet::cluster::object::Kind;
use crate::fleet::cluster::plan::has_scale;

/// Roles change rarely; they are asked for again after this long.
const AGAIN: Duration = Duration::from_secs(60);
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
const BESIDES: [Question; 6] = [
    besides("create", Kind::Lease, None),
    besides("update", Kind::Lease, None),
    besides("create", Kind::Event, None),
    besides("get", Kind::Pod, Some("proxy")),
    besides("create", Kind::Pod, Some("proxy")),
    besides("get", Kind::Pod, Some("log")),
];

const fn besides(verb: &'static str, kind: Kind, sub: Option<&'static str>) -> Question {
    Question { verb, kind, sub }
}

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
}

/// A question: may I?
struct Question {
    verb: &'static str,
    kind: Kind,
    sub: Option<&'static str>,
}

impl Question {
    /// `deployments/scale`, as rules name it.
    fn rule(&self) -> String {
        match self.sub {
            Some(sub) => format!("{}/{sub}", self.kind.plural()),
            None => self.kind.plural().to_owned(),
        }
    }

    /// `deployments.apps/scale`, as people name it.
    fn resource(&self) -> String {
        match self.sub {
            Some(sub) => format!("{}/{sub}", self.kind.resource()),
            None => self.kind.resource(),
        }
    }

    fn allowed_by(&self, rules: &Rules) -> bool {
        let fits = |all: &[String], one: &str| all.iter().any(|it| it == "*" || it == one);
        let wanted = self.rule();
        rules.resource_rules.iter().any(|rule| {
            // One that is for some names only may be for this one: it is tried then.
            fits(&rule.verbs, self.verb)
                && fits(&rule.api_groups, self.kind.group())
                && (fits(&rule.resources, &wanted)
                    || self.sub.is_some_and(|sub| {
                        rule.resources.iter().any(|it| *it == format!("*/{sub}"))
                    }))
        })
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
    let is_served = |kind: &Kind| served.version(*kind).is_some();
    let patches = PATCHED.into_iter().filter(is_served).map(|kind| Question {
        verb: "patch",
        kind,
        sub: None,
    });
    let scales = PATCHED
        .into_iter()
        .filter(|kind| has_scale(*kind))
        .filter(is_served)
        .map(|kind| Question {
            verb: "update",
            kind,
            sub: Some("scale"),
        });
    let questions: Vec<Question> = patches.chain(scales).chain(BESIDES).collect();
    let Some(rules) = rules(api, namespace).await else {
        // Nobody says: it is tried then, and refused where it may not be.
        return Vec::new();
    };
    let mut permits = Vec::new();
    for question in questions {
        let mut allowed = question.allowed_by(&rules);
        let mut why = String::new();
        if !allowed && rules.incomplete {
            (allowed, why) = access(api, namespace, &question).await;
        }
        permits.push(Permit {
            namespace: namespace.into(),
            verb: question.verb.into(),
            resource: question.resource().into(),
            allowed,
            why: why.into(),
        });
    }
    permits
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
    access(api, "", &besides("list", kind, None)).await.0
}

async fn access(api: &Api, namespace: &str, question: &Question) -> (bool, String) {
    let body = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {
            "namespace": namespace,
            "verb": question.verb,
            "group": question.kind.group(),
            "resource": question.kind.plural(),
            "subresource": question.sub.unwrap_or_default(),
        }},
    });
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let answer: Value = match api.send(Method::POST, path, &body).await {
        Ok(answer) => answer,
        Err(_) => return (true, String::new()),
    };
    let reason = answer["status"]["reason"].as_str().unwrap_or_default();
    let why = if reason.is_empty() {
        String::new()
    } else {
        format!(" ({reason})")
    };
    (answer["status"]["allowed"].as_bool().unwrap_or(true), why)
}
