//! Back in service on a cluster.

use super::decide::wakes_to;
use super::edit::{Edit, RuleEdit};
use super::hpa::{choosing, choosing_again};
use super::keda;
use super::mark::{Before, Mark};
use super::place::{Autoscaler, Place};
use super::plan::{Plan, Step, annotate, merge};
use super::rule::{Ref, Rule, Weighted};
use super::verify::{scaling, verify};
use super::wake;
use crate::fleet::Backend;

/// Back in service: a drain that has not scaled yet is rolled back; else it is woken, and gets its weights back once ready.
pub(super) fn undrain(
    plan: &mut Plan,
    b: &Backend,
    place: &Place,
    rules: &[&Rule],
) -> Result<(), (String, String)> {
    let marks = rules.iter().filter_map(|rule| rule.mark.as_ref());
    let drain = place
        .mark
        .as_ref()
        .into_iter()
        .chain(marks)
        .filter(|mark| mark.of == b.id.within(&place.cluster))
        // One that was begun and not ended, or taken back, leaves it drained.
        .filter(|mark| mark.op == "drain" && !mark.undone || mark.op == "undrain" && !mark.stands())
        .max_by_key(|mark| (mark.at, !mark.prev.weights.is_empty(), mark.done));
    let drain = drain.cloned();
    let Some(before) = drain.as_ref().map(|mark| mark.prev.clone()) else {
        return Err((
            "nothing says that it was drained from here".into(),
            "set its weights (r), and wake it (w)".into(),
        ));
    };
    plan.mark.prev = before.clone();
    let up = place.wanted > 0 && place.pods > 0 && !b.naps();
    let done = plan.mark.closed();
    let mut last = None;
    plan.holds_lease = true;
    if up {
        // Each of its steps is one towards what stood before.
        plan.kept_from = Some(0);
        if place.ready == 0 {
            plan.then(Step::Ready).then(Step::Answers);
        }
    } else {
        let mut at_least = before.replicas.unwrap_or(1).max(1);
        at_least = at_least.max(wakes_to(place));
        wake::wake(plan, b, place, at_least, true)?;
        verify(plan, place);
        // The autoscaler has it back only when there is traffic again.
        let answers = plan.steps.iter().position(|it| it.step == Step::Answers);
        last = answers.and_then(|at| plan.steps.drain(at + 1..).next());
    }
    weights(plan, b, &before, rules, &done);
    if let Some(revision) = place.revision() {
        plan.or_back(
            wake::release(revision, &before, &done),
            wake::keep(revision, &done),
        );
    } else if let Autoscaler::Hpa {
        object,
        down,
        plain,
        ..
    } = &place.autoscaler
        && down.as_deref() != before.policy.as_deref()
    {
        let body = choosing_again(before.policy.as_deref(), *plain);
        plan.or_back(
            merge(object, body, &done, "let it scale down again"),
            merge(object, choosing(down.as_deref()), &done, "as it was"),
        );
    } else if up || b.naps() {
        // A wake of ours that was to be lifted in the end; a pin stays.
        let forced = drain.as_ref().is_some_and(|it| it.op == "undrain");
        keda::unfreeze(plan, place, forced);
    }
    plan.steps.extend(last);
    plan.closes_last();
    plan.then(annotate(
        place.told_on(),
        &[],
        &done,
        "write down who did it",
    ));
    if !up {
        scaling(plan, place);
    }
    Ok(())
}

/// The weights of before: one patch a route, as far as its rules are still there.
fn weights(plan: &mut Plan, b: &Backend, before: &Before, rules: &[&Rule], done: &Mark) {
    let mut edits: Vec<Edit> = Vec::new();
    for old in &before.weights {
        let rule = rules
            .iter()
            .find(|rule| rule.route == old.route && rule.at == old.rule);
        let Some(rule) = rule else {
            plan.warnings.push(format!(
                "rule {} of {} is not what it was; its weights stay",
                old.rule, old.route
            ));
            continue;
        };
        let wanted = given_back(b, rule, old);
        match edits.iter_mut().find(|it| it.route == rule.route) {
            Some(known) => known.rules.push(RuleEdit::of(rule, &wanted)),
            None => edits.push(Edit::of(rule, &wanted, done)),
        }
    }
    for edit in edits {
        let route = edit.route.clone();
        plan.then(Step::Weights {
            edit: Box::new(edit),
            why: format!("give its weight back in {route}"),
        });
    }
}

/// What of the weights of before is a backend's own to have back: its own, and of the others' what they only got in its
/// place. What somebody changed meanwhile stays.
fn given_back(b: &Backend, rule: &Rule, before: &Weighted) -> Vec<Option<u32>> {
    let mine = |it: &Ref| it.backend.as_ref() == Some(&b.id);
    let all = || rule.refs.iter().enumerate();
    let stood = |i: usize, it: &Ref| before.of(i, &it.name);
    let had: u32 = all()
        .filter(|(_, it)| mine(it))
        .filter_map(|(i, it)| stood(i, it))
        .sum();
    let back = |i: usize, it: &Ref| {
        let weight = stood(i, it)?;
        let only_instead = weight == 0 && it.share() == had && had > 0;
        (mine(it) || only_instead).then_some(weight)
    };
    all().map(|(i, it)| back(i, it)).collect()
}
