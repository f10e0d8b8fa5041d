//! What is in reach and what is missing, each with what to do about it.

use anyhow::Result;
use serde_json::json;

use super::super::exit::{Ended, Kind};
use super::super::kube::Open;
use super::{Output, table};
use crate::fleet::cluster::{PAGES, PAST, PartState};
use crate::fleet::{Fleet, Severity};

/// One thing that was looked at.
struct Check {
    /// `ok`, `note` or `bad`.
    word: &'static str,
    what: String,
    said: String,
    hint: String,
}

impl Check {
    fn new(word: &'static str, what: impl Into<String>, said: impl Into<String>) -> Self {
        Self {
            word,
            what: what.into(),
            said: said.into(),
            hint: String::new(),
        }
    }

    fn hint(mut self, hint: &str) -> Self {
        hint.clone_into(&mut self.hint);
        self
    }
}

/// Looks, says what it found, and fails where something is bad.
pub(super) async fn examine(
    fleet: &Fleet,
    clusters: Option<&Open>,
    seen: Result<()>,
    output: Output,
) -> Result<()> {
    let mut checks = Vec::new();
    if let Some(clusters) = clusters {
        for (name, said) in clusters.versions().await {
            let what = format!("API server of {name}");
            checks.push(match said {
                Ok(version) => Check::new("ok", what, version),
                Err(why) => Check::new("bad", what, why.to_string())
                    .hint("see whether it is reached at all: kubectl version"),
            });
        }
        of_clusters(fleet, &mut checks);
    } else {
        checks.push(Check::new("ok", "fleet", format!("{} answers", fleet.name)));
    }
    prices(fleet, &mut checks);
    if let Err(why) = seen {
        checks.push(Check::new("bad", "seen whole", why.to_string()));
    }
    if let Some(why) = &fleet.not_recorded {
        checks.push(Check::new("note", "record", why));
    }
    for finding in &fleet.findings {
        if finding.severity == Severity::Critical {
            let what = finding.backend.as_ref();
            let what = what.map_or_else(|| "fleet".to_owned(), ToString::to_string);
            checks.push(Check::new("note", what, &finding.what));
        }
    }
    say(&checks, output)?;
    let bad = checks.iter().filter(|it| it.word == "bad").count();
    if bad == 0 {
        return Ok(());
    }
    Err(Ended::new(Kind::Failed, format!("{bad} of it is bad"), "").into())
}

fn say(checks: &[Check], output: Output) -> Result<()> {
    if output == Output::Json {
        let told: Vec<_> = checks
            .iter()
            .map(|it| json!({"state": it.word, "what": it.what, "said": it.said, "hint": it.hint}))
            .collect();
        return table::document(json!({"checks": told}));
    }
    let rows: Vec<Vec<String>> = checks
        .iter()
        .map(|it| {
            vec![
                it.word.to_owned(),
                it.what.clone(),
                it.said.clone(),
                it.hint.clone(),
            ]
        })
        .collect();
    table::print(&["STATE", "WHAT", "IS", "WHAT TO DO"], &rows)
}

/// What is watched, and what may be done.
fn of_clusters(fleet: &Fleet, checks: &mut Vec<Check>) {
    for cluster in &fleet.clusters {
        if let Some(user) = &cluster.user {
            checks.push(Check::new("ok", format!("user of {}", cluster.name), user));
        }
        for part in &cluster.parts {
            let what = part.resource.clone();
            checks.push(match &part.state {
                PartState::Followed => Check::new("ok", what, "followed"),
                PartState::Absent => Check::new("ok", what, "the cluster does not have it"),
                PartState::Loading => Check::new("bad", what, "not all of it has come"),
                PartState::Forbidden { why } => {
                    let needed = matches!(&*what, "pods" | "deployments.apps" | "nodes");
                    Check::new(if needed { "bad" } else { "note" }, what, why)
                        .hint("ask for a role like examples/kubernetes/read-only.yaml")
                }
                PartState::Stale { why, .. } => {
                    Check::new("bad", what, why).hint("it is tried again by itself")
                }
            });
        }
        let has = |what: &str| cluster.parts.iter().any(|it| it.resource == what);
        if !has(PAGES) {
            let said = "nobody knows yet how engines' pages are read";
            checks.push(Check::new("note", PAGES, said).hint("they are read once a pod is ready"));
        }
        if !has(PAST) {
            let said = "no Prometheus tells what it cost before it was watched from here";
            checks.push(Check::new("note", PAST, said).hint("give [[cluster]] a prometheus"));
        }
        for permit in cluster.permits.iter().filter(|it| !it.allowed) {
            let what = format!("{} {}", permit.verb, permit.resource);
            let said = format!("not allowed in {}{}", permit.namespace, permit.why);
            checks.push(
                Check::new("note", what, said)
                    .hint("to operate, ask for a role like examples/kubernetes/operator.yaml"),
            );
        }
    }
}

/// What has no price.
fn prices(fleet: &Fleet, checks: &mut Vec<Check>) {
    for b in &fleet.backends {
        let (missing, hint) = match (b.self_hosted(), b.hosted()) {
            (Some(facts), _) => (
                facts.rate.is_none(),
                "give its machines a price: [[node_prices.machine]] (or `rate`)",
            ),
            (_, Some(facts)) => (
                facts.price.is_none(),
                "give its tokens a price: [[token_price]] (or `price`)",
            ),
            (None, None) => continue,
        };
        if missing {
            let what = format!("price of {}", b.id);
            checks.push(Check::new("note", what, "not known").hint(hint));
        }
    }
}
