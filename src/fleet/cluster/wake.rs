//! Waking on a cluster: what owns the replicas is told, so that nobody reverts it.

use serde_json::json;

use super::decide::wakes_to;
use super::keda;
use super::mark::{Before, Mark};
use super::nap;
use super::object::{Kind, Object};
use super::place::{Autoscaler, Owner, Place, Revision};
use super::plan::{Plan, Step, annotate, merge};
use crate::fleet::Backend;

/// The switch that takes a KServe service down and up.
pub const STOP: &str = "serving.kserve.io/stop";
/// Knative's activator: the namespace of its Service, and the Service with its port.
pub const ACTIVATOR: (&str, &str) = ("knative-serving", "activator-service:80");
/// Knative's least number of replicas.
pub const MIN_SCALE: &str = "autoscaling.knative.dev/min-scale";

/// Adds what wakes a backend to `replicas`. `tail`: also what is lifted again once it is ready.
///
/// # Errors
/// In plain words: what stands in the way, and what to do.
pub(super) fn wake(
    plan: &mut Plan,
    b: &Backend,
    place: &Place,
    replicas: u32,
    tail: bool,
) -> Result<(), (String, String)> {
    if b.naps() {
        nap::wake(plan, b, place, plan.mark.op == "wake");
        return Ok(());
    }
    if by_owner(plan, place, replicas)? {
        if let Owner::InferenceService {
            makes: Some(made), ..
        } = &place.owner
        {
            by_made(plan, place, made, tail);
        }
        return Ok(());
    }
    if let Autoscaler::Keda { .. } = &place.autoscaler {
        keda::wake(plan, place, replicas, tail);
        return Ok(());
    }
    let done = plan.mark.closed();
    scale(plan, place, replicas, &done);
    Ok(())
}

/// A ScaledObject that is made again begins with nothing that is active: it is forced, else KEDA takes back what KServe
/// starts.
fn by_made(plan: &mut Plan, place: &Place, made: &Autoscaler, tail: bool) {
    let Autoscaler::Keda { object, .. } = made else {
        return;
    };
    plan.then(Step::Made {
        object: object.clone(),
    });
    let then = Place {
        autoscaler: made.clone(),
        scaled: Object::new(Kind::Deployment, &object.namespace, &object.name),
        ..place.clone()
    };
    keda::wake(plan, &then, wakes_to(&then), tail);
}

/// Has what owns the workload ask for `replicas`, and whether anything but the workload does.
fn by_owner(plan: &mut Plan, place: &Place, replicas: u32) -> Result<bool, (String, String)> {
    let done = plan.mark.closed();
    match &place.owner {
        Owner::InferenceService {
            object,
            stopped: true,
            ..
        } => {
            if !place.mark.as_ref().is_some_and(Mark::keeps_down) {
                let words = "somebody set its stop switch by hand: this takes it off";
                plan.warnings.push(words.into());
            }
            plan.or_back(
                annotate(object, &[(STOP, None)], &done, "take the stop switch off"),
                annotate(
                    object,
                    &[(STOP, Some("true"))],
                    &done,
                    "set the stop switch again",
                ),
            );
        }
        Owner::InferenceService {
            revision: Some(revision),
            ..
        }
        | Owner::Revision(revision) => {
            let text = replicas.to_string();
            plan.or_back(
                annotate(
                    &revision.object,
                    &[(MIN_SCALE, Some(&text))],
                    &done,
                    format!("keep at least {replicas} of the revision that serves"),
                ),
                annotate(
                    &revision.object,
                    &[(MIN_SCALE, revision.min_scale.as_deref())],
                    &done,
                    "as it was",
                ),
            );
        }
        Owner::InferenceService {
            object, class, min, ..
        } if **class == *"none" => {
            let set = |n: Option<u32>| json!({"spec": {"predictor": {"minReplicas": n}}});
            plan.or_back(
                merge(
                    object,
                    set(Some(replicas)),
                    &done,
                    format!("ask for {replicas}"),
                ),
                merge(object, set(*min), &done, "as it was"),
            );
        }
        Owner::LlmInferenceService {
            object,
            scaled: false,
        } => {
            let set = |n: u32| json!({"spec": {"replicas": n}});
            plan.or_back(
                merge(object, set(replicas), &done, format!("ask for {replicas}")),
                merge(object, set(place.wanted), &done, "as it was"),
            );
        }
        Owner::Workspace(object) if !was_unloaded(place) => {
            return Err((
                format!("{object} has no replicas: it would have to be created again"),
                "create it again from its manifest, or use an InferenceSet".into(),
            ));
        }
        Owner::Itself
        | Owner::InferenceSet(_)
        | Owner::Workspace(_)
        | Owner::InferenceService { .. }
        | Owner::LlmInferenceService { .. } => return Ok(false),
    }
    Ok(true)
}

/// The replicas of a workload, with the mark on what was scaled.
pub(super) fn scale(plan: &mut Plan, place: &Place, to: u32, mark: &Mark) {
    let object = place.scaled.clone();
    let (to, before) = (place.scale_for(to), place.scale_for(place.wanted));
    let why = |n: u32| format!("scale {object} to {n}");
    // Nobody counted on what is taken away; what is asked for besides stays, see the writing.
    let alone = matches!(place.autoscaler, Autoscaler::None) && to == 0;
    plan.or_back(
        Step::Scale {
            object: object.clone(),
            to,
            from: (alone && before > 0).then_some(before),
            why: why(to),
        },
        Step::Scale {
            object: object.clone(),
            to: before,
            from: None,
            why: why(before),
        },
    );
    let tell = annotate(place.told_on(), &[], mark, "write down who did it");
    plan.or_back(tell.clone(), tell);
}

/// What a revision keeps now, for giving it back.
pub(super) fn min_scale(revision: &Revision) -> Vec<(String, Option<String>)> {
    vec![(
        MIN_SCALE.to_owned(),
        revision.min_scale.as_deref().map(ToOwned::to_owned),
    )]
}

/// A revision with what it keeps now.
pub(super) fn keep(revision: &Revision, mark: &Mark) -> Step {
    annotate(
        &revision.object,
        &[(MIN_SCALE, revision.min_scale.as_deref())],
        mark,
        "as it was",
    )
}

/// Leaves a revision to Knative with what it kept before.
pub(super) fn release(revision: &Revision, before: &Before, done: &Mark) -> Step {
    let kept = before.annotations.iter().find(|(key, _)| key == MIN_SCALE);
    let kept = kept.and_then(|(_, value)| value.as_deref());
    annotate(
        &revision.object,
        &[(MIN_SCALE, kept)],
        done,
        "leave it to Knative again",
    )
}

/// Its pods were taken away by us, and its machine was kept.
fn was_unloaded(place: &Place) -> bool {
    let mark = place.mark.as_ref();
    place.wanted == 0 && mark.is_some_and(|mark| matches!(&*mark.op, "sleep" | "drain"))
}
