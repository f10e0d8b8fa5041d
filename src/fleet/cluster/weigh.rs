//! New weights on a cluster: a patch a route, guarded by what was looked at.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::decide::{has_weight, marked, refusal};
use super::place::{Ref, Rule, Weighted};
use super::plan::{Edit, Plan, RuleEdit, Step};
use crate::fleet::Fleet;
use crate::fleet::id::{BackendId, ModelId};
use crate::fleet::message::{Actor, Command, Refusal};

impl Fleet {
    pub(super) fn plan_weights(
        &self,
        model: &ModelId,
        weights: &[(BackendId, u32)],
        command: &Command,
        by: &Actor,
        now: DateTime<Utc>,
        force: bool,
    ) -> Result<Plan, Refusal> {
        let rules: Vec<&Rule> = self
            .rules_of(model)
            .filter(|rule| rule.refs.iter().filter(|it| it.backend.is_some()).count() > 1)
            .collect();
        let (rules, cluster) = on_one_cluster(model, rules, weights)?;
        let Some(first) = rules.first() else {
            return Err(refusal(
                format!("no route of {model} has more than one target"),
                "weights are those of an HTTPRoute's or an AIGatewayRoute's rule",
            ));
        };
        for (id, weight) in weights {
            let Some(b) = self.backend(id) else { continue };
            if *weight > b.weight && !b.takes_traffic() && !force {
                return Err(refusal(
                    format!(
                        "{id} is {}: its share of the requests would fail",
                        b.state.word()
                    ),
                    "wake it first (w), or use --force",
                ));
            }
        }
        let mut plan = Plan {
            command: command.clone(),
            backend: None,
            cluster,
            steps: Vec::new(),
            mark: marked(command, model.as_str(), by, now),
            regarding: first.route.clone(),
            regarding_uid: Box::default(),
            holds_lease: false,
            stands_from: None,
            kept_from: None,
            warnings: Vec::new(),
        };
        plan.mark.prev.weights = rules.iter().map(|rule| weighted(rule)).collect();
        plan.mark.done = true;
        let mut edits: Vec<Edit> = Vec::new();
        for rule in rules {
            let wanted: Vec<(Box<str>, u32)> = rule
                .refs
                .iter()
                .filter_map(|it| {
                    let new = weights
                        .iter()
                        .find(|(id, _)| it.backend.as_ref() == Some(id))?;
                    Some((it.name.clone(), new.1))
                })
                .collect();
            let edit = RuleEdit::of(rule, &wanted);
            if edit.refs.iter().all(|(_, _, is)| *is == 0) {
                return Err(refusal(
                    format!(
                        "every weight of rule {} of {} would be zero",
                        rule.at, rule.route
                    ),
                    "leave at least one above zero; gateways differ in what zero for all means",
                ));
            }
            if edit.refs.iter().all(|(_, was, is)| was.unwrap_or(1) == *is) {
                continue;
            }
            match edits.iter_mut().find(|it| it.route == rule.route) {
                Some(known) => known.rules.push(edit),
                None => edits.push(Edit::of(rule, &wanted, &plan.mark)),
            }
        }
        if edits.is_empty() {
            return Err(refusal("these weights stand already", "nothing to do"));
        }
        for edit in edits {
            let (route, back) = (edit.route.clone(), edit.back());
            plan.or_back(
                Step::Weights {
                    edit: Box::new(edit),
                    why: format!("new weights in {route}"),
                },
                Step::Weights {
                    edit: Box::new(back),
                    why: format!("the weights of before in {route}"),
                },
            );
            plan.then(Step::Programmed { route });
        }
        Ok(plan)
    }
}

/// The rules that new weights are about: a patch goes to one cluster.
fn on_one_cluster<'a>(
    model: &ModelId,
    rules: Vec<&'a Rule>,
    weights: &[(BackendId, u32)],
) -> Result<(Vec<&'a Rule>, Arc<str>), Refusal> {
    let changes = |it: &Ref| {
        let new = weights
            .iter()
            .find(|(id, _)| it.backend.as_ref() == Some(id));
        new.is_some_and(|(_, new)| *new != it.share())
    };
    let mut clusters: Vec<&Arc<str>> = Vec::new();
    for rule in &rules {
        if rule.refs.iter().any(changes) && !clusters.contains(&&rule.cluster) {
            clusters.push(&rule.cluster);
        }
    }
    if let [_, _, ..] = clusters[..] {
        let names: Vec<&str> = clusters.iter().map(|it| &***it).collect();
        return Err(refusal(
            format!(
                "{model} is routed on several clusters: {}",
                names.join(", ")
            ),
            "change the weights of one cluster at a time: r, and only its backends",
        ));
    }
    let first = clusters.first().map(|it| Arc::clone(it));
    let cluster = first
        .or_else(|| rules.first().map(|it| Arc::clone(&it.cluster)))
        .unwrap_or_default();
    let here = |it: &&Rule| it.cluster == cluster;
    Ok((rules.into_iter().filter(here).collect(), cluster))
}

pub(super) fn weighted(rule: &Rule) -> Weighted {
    Weighted {
        route: rule.route.clone(),
        rule: rule.at,
        weights: rule
            .refs
            .iter()
            .map(|it| (it.name.clone(), it.share()))
            .collect(),
    }
}

pub(super) fn weights_now(rules: &[&Rule], id: &BackendId) -> Vec<Weighted> {
    let with = rules.iter().filter(|rule| has_weight(rule, id));
    with.map(|rule| weighted(rule)).collect()
}
