//! New weights on a cluster: a patch a route, guarded by what was looked at.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::decide::{has_weight, marked, refusal};
use super::edit::{Edit, RuleEdit};
use super::plan::{Plan, Step};
use super::rule::{Ref, Rule, Weighted};
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
        let (fixed, rules): (Vec<&Rule>, Vec<&Rule>) =
            rules.into_iter().partition(|it| it.fixed.is_some());
        if let (Some(first), true) = (fixed.first(), rules.is_empty()) {
            let why = first.fixed.as_deref().unwrap_or_default();
            return Err(refusal(
                format!("the weights of {} are not edited here: {why}", first.route),
                "change them there",
            ));
        }
        let (rules, cluster) = on_one_cluster(model, rules, weights)?;
        let Some(first) = rules.first() else {
            return Err(refusal(
                format!("no route of {model} has more than one target"),
                "weights are those of an HTTPRoute's or an AIGatewayRoute's rule",
            ));
        };
        if !force {
            self.nobody_weighs(weights, now)?;
        }
        let mut plan = Plan {
            command: command.clone(),
            backend: None,
            mark: marked(command, model.as_str(), by, self.user_of(&cluster), now),
            cluster,
            steps: Vec::new(),
            regarding: first.route.clone(),
            regarding_uid: Box::default(),
            holds_lease: false,
            stands_from: None,
            kept_from: None,
            warnings: Vec::new(),
        };
        plan.warnings.extend(fixed.iter().map(|it| {
            let why = it.fixed.as_deref().unwrap_or_default();
            format!("rule {} of {} stays as it is: {why}", it.at, it.route)
        }));
        let rules = self.as_shown(rules, &mut plan.warnings, force);
        if rules.is_empty() {
            return Err(refusal(
                format!("no rule of {model} has the weights that are shown"),
                "use --force to give all of them the same",
            ));
        }
        plan.mark.prev.weights = rules.iter().map(|rule| weighted(rule)).collect();
        plan.mark.to = rules
            .iter()
            .map(|rule| RuleEdit::of(rule, &wanted_of(rule, weights)).weighted(rule))
            .collect();
        plan.mark.done = true;
        let mut edits: Vec<Edit> = Vec::new();
        for rule in rules {
            let wanted = wanted_of(rule, weights);
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
            self.growing(rule, &edit, &mut plan.warnings, force)?;
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

impl Fleet {
    /// The rules whose weights are those that the fleet shows: what somebody gave a rule of its own is left to it.
    fn as_shown<'a>(
        &self,
        rules: Vec<&'a Rule>,
        warnings: &mut Vec<String>,
        force: bool,
    ) -> Vec<&'a Rule> {
        let mut out = Vec::new();
        for rule in rules {
            let shown = rule.refs.iter().all(|it| {
                let b = it.backend.as_ref().and_then(|id| self.backend(id));
                b.is_none_or(|b| b.weight == it.share())
            });
            if !shown {
                let what = if force {
                    "gets the same as the others, and undo does not bring its own back"
                } else {
                    "has weights of its own and keeps them; with --force it gets the same"
                };
                let shares: Vec<String> =
                    rule.refs.iter().map(|it| it.share().to_string()).collect();
                warnings.push(format!(
                    "rule {} of {} ({}) {what}",
                    rule.at,
                    rule.route,
                    shares.join("/")
                ));
            }
            if shown || force {
                out.push(rule);
            }
        }
        out
    }

    /// Who gets a larger share of a rule's requests must be able to answer them.
    fn growing(
        &self,
        rule: &Rule,
        edit: &RuleEdit,
        warnings: &mut Vec<String>,
        force: bool,
    ) -> Result<(), Refusal> {
        let changes: Vec<(u64, u64)> = edit
            .refs
            .iter()
            .map(|(_, was, is)| (was.unwrap_or(1).into(), (*is).into()))
            .collect();
        let all_was: u64 = changes.iter().map(|(was, _)| was).sum();
        let all_is: u64 = changes.iter().map(|(_, is)| is).sum();
        for (it, (before, after)) in rule.refs.iter().zip(changes) {
            // A share grows by a weight of its own, or by what others lose.
            let grows = after > 0 && (all_was == 0 || after * all_was > before * all_is);
            if !grows {
                continue;
            }
            let of = format!("rule {} of {}", rule.at, rule.route);
            let percent = |part: u64, all: u64| (part * 100).checked_div(all).unwrap_or(0);
            let (from, to) = (percent(before, all_was), percent(after, all_is));
            let Some(b) = it.backend.as_ref().and_then(|id| self.backend(id)) else {
                warnings.push(format!(
                    "{} in {of} is not known here: its share goes from {from} % to {to} %",
                    it.name
                ));
                continue;
            };
            if !b.takes_traffic() && !force {
                return Err(refusal(
                    format!(
                        "{} is {} and would get {to} % of {of} instead of {from} %: those requests would fail",
                        b.id,
                        b.state.word()
                    ),
                    "wake it first (w), take its weight off (r), or use --force",
                ));
            }
        }
        Ok(())
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

/// What a rule's targets are to weigh, in order.
fn wanted_of(rule: &Rule, weights: &[(BackendId, u32)]) -> Vec<Option<u32>> {
    let of = |it: &Ref| {
        let mut all = weights.iter();
        let new = all.find(|(id, _)| it.backend.as_ref() == Some(id));
        new.map(|(_, weight)| *weight)
    };
    rule.refs.iter().map(of).collect()
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
