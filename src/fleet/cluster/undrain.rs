//! Back in service on a cluster.

use super::decide::replicas;
use super::keda;
use super::mark::Mark;
use super::place::{Autoscaler, Owner, Place, Rule};
use super::plan::{Edit, Plan, Step, annotate, merge};
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
        .filter(|mark| mark.op == "drain" && mark.of == b.id.as_str())
        .max_by_key(|mark| (mark.at, !mark.prev.weights.is_empty()));
    let Some(before) = drain.map(|mark| mark.prev.clone()) else {
        return Err((
            "nothing says that it was drained from here".into(),
            "set its weights (r), and wake it (w)".into(),
        ));
    };
    let up = place.wanted > 0 && place.pods > 0;
    let done = Mark {
        done: true,
        ..plan.mark.clone()
    };
    if !up {
        plan.holds_lease = true;
        let mut at_least = before.replicas.unwrap_or(1).max(1);
        at_least = at_least.max(replicas(place));
        // The autoscaler has it back only when there is traffic again.
        wake::wake(plan, place, at_least, true)?;
        if !plan.steps.iter().any(|it| it.step == Step::Ready) {
            plan.then(Step::Ready);
        }
    }
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
        let mut edit = Edit::of(rule, &old.weights, &done);
        edit.mark = done.clone();
        let route = edit.route.clone();
        plan.then(Step::Weights {
            edit: Box::new(edit),
            why: format!("give its weight back in {route}"),
        });
    }
    if up {
        match (&place.owner, &place.autoscaler) {
            (
                Owner::Revision(revision)
                | Owner::InferenceService {
                    revision: Some(revision),
                    ..
                },
                _,
            ) => {
                plan.then(annotate(
                    &revision.object,
                    &[(wake::MIN_SCALE, None)],
                    &done,
                    "leave it to Knative again",
                ));
            }
            (_, Autoscaler::Keda { .. }) => keda::release(plan, place, "unfreeze KEDA"),
            (_, Autoscaler::Hpa { object, .. }) => {
                let body = serde_json::json!({"spec": {"behavior": {"scaleDown": {"selectPolicy": before.policy}}}});
                plan.then(merge(object, body, &done, "let it scale down again"));
            }
            (_, Autoscaler::None | Autoscaler::Several(_)) => {}
        }
    }
    plan.then(annotate(&place.scaled, &[], &done, "write down who did it"));
    Ok(())
}
