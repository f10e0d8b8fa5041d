//! Sleep and drain on a cluster.
//!
//! Weight 0 is no drain, and an engine aborts what runs when it is told to end: so a drain freezes the autoscaler, takes
//! the weight off, waits until the gateways have it and every pod was idle twice, and only then scales to zero.

use serde_json::json;

use super::edit::{Edit, RuleEdit};
use super::hpa::choosing;
use super::keda;
use super::mark::Mark;
use super::nap;
use super::pin;
use super::place::{Autoscaler, Owner, Place};
use super::plan::{Plan, Step, annotate, merge};
use super::rule::Rule;
use super::wake::{MIN_SCALE, STOP, scale};
use crate::fleet::Backend;
use crate::fleet::id::BackendId;

/// Adds what puts a backend to sleep once nothing runs on it.
pub(super) fn to_zero(plan: &mut Plan, place: &Place, force: bool) -> Result<(), (String, String)> {
    if let (Owner::Workspace(object), false, false) = (&place.owner, place.naps, force) {
        return Err((
            format!("{object} has no replicas: its engine can be unloaded, and its machine stays billed"),
            "delete the Workspace to give the machine back, make it an InferenceSet; or unload it with --force".into(),
        ));
    }
    let done = plan.mark.closed();
    if place.naps {
        return nap::sleep(plan, place, &done);
    }
    match &place.owner {
        Owner::InferenceService {
            revision: Some(revision),
            ..
        }
        | Owner::Revision(revision) => {
            plan.or_back(
                annotate(
                    &revision.object,
                    &[(MIN_SCALE, Some("0"))],
                    &done,
                    "let Knative scale it to zero",
                ),
                annotate(
                    &revision.object,
                    &[(MIN_SCALE, revision.min_scale.as_deref())],
                    &done,
                    "as it was",
                ),
            );
        }
        Owner::InferenceService { object, .. } => {
            plan.or_back(
                annotate(
                    object,
                    &[(STOP, Some("true"))],
                    &done,
                    "set the stop switch",
                ),
                annotate(object, &[(STOP, None)], &done, "take the stop switch off"),
            );
            plan.warnings
                .push("the stop switch also takes its route away".into());
        }
        Owner::LlmInferenceService {
            object,
            scaled: false,
        } => {
            let set = |n: u32| json!({"spec": {"replicas": n}});
            plan.or_back(
                merge(object, set(0), &done, "ask for none"),
                merge(object, set(place.wanted), &done, "as it was"),
            );
        }
        Owner::Workspace(object) => {
            plan.warnings.push(format!(
                "{object} keeps its machine, which stays billed: only the engine is unloaded"
            ));
            scale(plan, place, 0, &done);
        }
        Owner::Itself | Owner::InferenceSet(_) | Owner::LlmInferenceService { .. } => {
            if let Autoscaler::Keda { .. } = &place.autoscaler {
                keda::sleep(plan, place, &done);
            } else {
                scale(plan, place, 0, &done);
            }
        }
    }
    if matches!(place.owner, Owner::InferenceSet(_)) {
        plan.warnings
            .push("its machines stay billed until KAITO has given them back".into());
    }
    Ok(())
}

/// Adds what takes a backend out of traffic and puts it to sleep.
pub(super) fn drain(
    plan: &mut Plan,
    b: &Backend,
    place: &Place,
    rules: &[&Rule],
    healthy: impl Fn(&BackendId) -> bool,
    force: bool,
) -> Result<(), (String, String)> {
    plan.holds_lease = true;
    // A pin is lifted once nothing scales down any more; but what KServe makes it makes anew when its least number changes.
    let remade = matches!(&place.owner, Owner::InferenceService { revision: None, .. });
    if remade {
        pin::lift(plan, b, place, false);
    }
    freeze(plan, place);
    if !remade {
        pin::lift(plan, b, place, true);
    }
    for edit in without(plan, &b.id, rules, healthy, force)? {
        let route = edit.route.clone();
        let back = edit.back_to(&plan.mark.prev.weights);
        plan.or_back(
            Step::Weights {
                edit: Box::new(edit),
                why: format!("take its weight off in {route}"),
            },
            Step::Weights {
                edit: Box::new(back),
                why: format!("give its weight back in {route}"),
            },
        );
        plan.then(Step::Programmed { route });
    }
    if waits(place, force) {
        plan.then(Step::Silent).then(Step::Idle);
    }
    to_zero(plan, place, force)?;
    // Its pods end: weight that came back now would lead to nobody.
    plan.stands_from = Some(plan.steps.len());
    unfreeze(plan, place);
    // Until the autoscaler has it back it is not done: whoever finds it so goes on from there.
    plan.closes_last();
    ended(plan, place);
    Ok(())
}

/// Waits for what ends: the pods of a drain, and the machines that KAITO made for it.
pub(super) fn ended(plan: &mut Plan, place: &Place) {
    if place.naps {
        return;
    }
    // Knative waits for its window before it scales.
    if plan.mark.op == "drain" || place.revision().is_some() {
        plan.then(Step::Gone);
    }
    if matches!(place.owner, Owner::InferenceSet(_)) {
        plan.then(Step::Released);
    }
}

/// Whether what runs is waited for. A Workspace is only ever unloaded by force, which is no wish to end what runs there.
pub(super) fn waits(place: &Place, force: bool) -> bool {
    place.pods > 0 && (!force || matches!(place.owner, Owner::Workspace(_)))
}

/// Else falling load has the autoscaler end pods that are busy.
fn freeze(plan: &mut Plan, place: &Place) {
    let mark = plan.mark.clone();
    // What stood before the first of those who drain it, not what stands now.
    let before = mark.prev.policy.clone();
    if let Some(revision) = place.revision() {
        let text = place.pods.to_string();
        plan.or_back(
            annotate(
                &revision.object,
                &[(MIN_SCALE, Some(&text))],
                &mark,
                "hold Knative where it is",
            ),
            annotate(
                &revision.object,
                &[(MIN_SCALE, mark.prev.annotation(MIN_SCALE))],
                &mark,
                "as it was",
            ),
        );
        return;
    }
    match &place.autoscaler {
        Autoscaler::Keda { .. } => keda::freeze(plan, place),
        Autoscaler::Hpa { object, .. } => {
            plan.or_back(
                merge(
                    object,
                    choosing(Some("Disabled")),
                    &mark,
                    "stop it from scaling down",
                ),
                merge(
                    object,
                    choosing(before.as_deref()),
                    &mark,
                    "let it scale down again",
                ),
            );
        }
        Autoscaler::None | Autoscaler::Several(_) => {}
    }
}

/// The autoscaler as it was; KEDA's hold at 0 stays, and what KServe made goes with its stop switch.
fn unfreeze(plan: &mut Plan, place: &Place) {
    if matches!(place.owner, Owner::InferenceService { .. }) {
        return;
    }
    if let Autoscaler::Hpa { object, .. } = &place.autoscaler {
        let done = plan.mark.closed();
        plan.then(merge(
            object,
            choosing(done.prev.policy.as_deref()),
            &done,
            "let it scale down again",
        ));
    }
}

/// Edits that leave `backend` nothing, one for each route. What it had goes to the others of its rule: in their own
/// proportions, or all to the first healthy one where they had nothing.
fn without(
    plan: &mut Plan,
    backend: &BackendId,
    rules: &[&Rule],
    healthy: impl Fn(&BackendId) -> bool,
    force: bool,
) -> Result<Vec<Edit>, (String, String)> {
    let mut edits: Vec<Edit> = Vec::new();
    for rule in rules {
        if let (true, Err(why), false) = (rule.refused, &rule.programmed, force) {
            return Err((
                format!(
                    "{} is refused by its gateway ({why}): new weights would not be in force",
                    rule.route
                ),
                "mend the route first; or drain with --force".into(),
            ));
        }
        let mine = |it: &super::rule::Ref| it.backend.as_ref() == Some(backend);
        let had: u32 = rule
            .refs
            .iter()
            .filter(|it| mine(it))
            .map(super::rule::Ref::share)
            .sum();
        if had == 0 {
            // Whoever drained it before took it off already: it is taken over as it is.
            if plan.mark.prev.names(rule) {
                add(&mut edits, rule, &[], &plan.mark);
            }
            continue;
        }
        let able = |it: &&super::rule::Ref| !mine(it) && it.backend.as_ref().is_some_and(&healthy);
        let others: u32 = rule
            .refs
            .iter()
            .filter(able)
            .map(super::rule::Ref::share)
            .sum();
        let first = rule.refs.iter().position(|it| able(&it));
        let Some(first) = first else {
            if force {
                // Weight 0 on the only target means something else with every gateway: it is left as it is.
                continue;
            }
            let alone = rule.refs.iter().all(mine);
            let (route, at) = (&rule.route, rule.at);
            return Err((
                if alone {
                    format!("nothing else answers in rule {at} of {route}: its requests would fail")
                } else {
                    format!("no other target of rule {at} of {route} is healthy")
                },
                "add a healthy hosted backend to the rule, or drain with --force".into(),
            ));
        };
        let mut wanted: Vec<Option<u32>> =
            rule.refs.iter().map(|it| mine(it).then_some(0)).collect();
        if others == 0 {
            wanted[first] = Some(had);
        } else {
            let unknown = rule
                .refs
                .iter()
                .filter(|it| it.backend.is_none() && it.share() > 0);
            plan.warnings.extend(unknown.map(|it| {
                format!(
                    "{} in rule {} of {} is not known here: its share of the requests grows",
                    it.name, rule.at, rule.route
                )
            }));
        }
        if others > 0 && !force {
            let dead = rule.refs.iter().find(|it| {
                let known = it.backend.as_ref();
                !mine(it) && it.share() > 0 && known.is_some_and(|id| !healthy(id))
            });
            if let Some(dead) = dead {
                let (route, at) = (&rule.route, rule.at);
                return Err((
                    format!(
                        "{} has weight in rule {at} of {route} and does not answer: its share of the requests would grow",
                        dead.name
                    ),
                    "wake it or take its weight off first (r); or drain with --force".into(),
                ));
            }
        }
        add(&mut edits, rule, &wanted, &plan.mark);
    }
    Ok(edits)
}

/// One more rule to edit: one patch a route.
fn add(edits: &mut Vec<Edit>, rule: &Rule, wanted: &[Option<u32>], mark: &Mark) {
    match edits.iter_mut().find(|it| it.route == rule.route) {
        Some(known) => known.rules.push(RuleEdit::of(rule, wanted)),
        None => edits.push(Edit::of(rule, wanted, mark)),
    }
}
