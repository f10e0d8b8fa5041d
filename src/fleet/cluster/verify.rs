//! When a wake is done, and what it will run into.

use super::decide::has_weight;
use super::place::{Autoscaler, Owner, Place};
use super::plan::{Plan, Planned, Step};
use super::rule::Rule;
use crate::fleet::Backend;

/// What a wake will run into, and who waits for it meanwhile.
pub(super) fn troubles(b: &Backend, place: &Place, rules: &[&Rule]) -> Vec<String> {
    let trouble = place.trouble.as_ref();
    let trouble = trouble.map(|it| format!("{}: {}", it.what, it.hint));
    let alone = rules.iter().filter(|rule| {
        let mut refs = rule.refs.iter().filter(|it| it.share() > 0);
        has_weight(rule, &b.id) && refs.all(|it| it.backend.as_ref() == Some(&b.id))
    });
    let alone = alone.map(|rule| {
        let (at, route) = (rule.at, &rule.route);
        format!(
            "nothing else has weight in rule {at} of {route}: its requests fail until it is ready"
        )
    });
    trouble.into_iter().chain(alone).collect()
}

/// Has a wake end when the engine answers: after the wait for a pod, where there is one.
pub(super) fn verify(plan: &mut Plan, place: &Place) {
    let ready = |it: &Planned| matches!(it.step, Step::Ready | Step::Napping { .. });
    let after = plan.steps.iter().position(ready);
    let mut at = after.unwrap_or_else(|| {
        plan.then(Step::Ready);
        plan.steps.len() - 1
    });
    if let (Some(revision), Step::Ready) = (place.revision(), &plan.steps[at].step) {
        let step = Step::Nudge {
            revision: revision.object.clone(),
        };
        plan.steps.insert(at, Planned { step, back: None });
        at += 1;
    }
    let answers = Planned {
        step: Step::Answers,
        back: None,
    };
    plan.steps.insert(at + 1, answers);
    // It is up and answers: what is left to do does not take it down again.
    plan.kept_from = Some(at + 2);
}

/// Has what wakes it end when its HorizontalPodAutoscaler has it again: that stops where there are no replicas.
pub(super) fn scaling(plan: &mut Plan, place: &Place) {
    let owner = &place.owner;
    let made = matches!(owner, Owner::InferenceService { class, .. } if **class == *"hpa");
    let made = made && place.revision().is_none();
    if made || matches!(place.autoscaler, Autoscaler::Hpa { .. }) {
        plan.then(Step::Scaling);
    }
}
