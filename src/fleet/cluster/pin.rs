//! Pins on a cluster: kept warm against whatever scales it, and its pods against whoever consolidates machines.

use serde_json::json;

use super::keda;
use super::mark::{Before, Mark};
use super::object::{Kind, Object};
use super::place::{Autoscaler, LivePod, Owner, Place};
use super::plan::{Plan, Step, annotate, merge};
use super::wake::{self, MIN_SCALE};

/// Karpenter leaves a pod's machine alone.
const DO_NOT_DISRUPT: &str = "karpenter.sh/do-not-disrupt";
/// The cluster autoscaler does.
const SAFE_TO_EVICT: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict";

/// Said where only the record changes.
const OVER: &str = "write down that it is over";

/// What stands before a pin, for lifting it again.
pub(super) fn before(place: &Place) -> Before {
    let min = match (&place.owner, &place.autoscaler) {
        (Owner::InferenceService { min, .. }, _) => *min,
        (_, Autoscaler::Hpa { min, .. }) => Some(*min),
        (_, Autoscaler::Keda { .. } | Autoscaler::None | Autoscaler::Several(_)) => None,
    };
    Before {
        replicas: Some(place.wanted),
        min,
        annotations: place.revision().map(wake::min_scale).unwrap_or_default(),
        ..Before::default()
    }
}

/// The mark of a pin that sets a least number.
fn sets(plan: &mut Plan, least: u32) -> Mark {
    plan.mark.set = Some(least);
    Mark {
        done: true,
        ..plan.mark.clone()
    }
}

/// Adds what keeps `replicas` up.
pub(super) fn pin(plan: &mut Plan, place: &Place, replicas: u32) -> Result<(), (String, String)> {
    let done = Mark {
        done: true,
        ..plan.mark.clone()
    };
    match (&place.owner, &place.autoscaler) {
        (
            Owner::InferenceService {
                revision: Some(revision),
                ..
            }
            | Owner::Revision(revision),
            _,
        ) => {
            let text = replicas.to_string();
            let done = sets(plan, replicas);
            plan.or_back(
                annotate(
                    &revision.object,
                    &[(MIN_SCALE, Some(&text))],
                    &done,
                    format!("keep at least {replicas}"),
                ),
                annotate(
                    &revision.object,
                    &[(MIN_SCALE, revision.min_scale.as_deref())],
                    &done,
                    "as it was",
                ),
            );
        }
        (Owner::InferenceService { object, min, .. }, _) => {
            let set = |n: Option<u32>| json!({"spec": {"predictor": {"minReplicas": n}}});
            let replicas = replicas.max(min.unwrap_or(0));
            let done = sets(plan, replicas);
            plan.or_back(
                merge(
                    object,
                    set(Some(replicas)),
                    &done,
                    format!("keep at least {replicas}"),
                ),
                merge(object, set(*min), &done, "as it was"),
            );
        }
        (
            _,
            Autoscaler::Hpa {
                object, min, max, ..
            },
        ) => {
            if replicas > *max {
                return Err((
                    format!("{object} allows {max} at most"),
                    format!("pin at most {max}, or raise its maxReplicas"),
                ));
            }
            let set = |n: u32| json!({"spec": {"minReplicas": n}});
            let replicas = replicas.max(*min);
            let done = sets(plan, replicas);
            plan.or_back(
                merge(
                    object,
                    set(replicas),
                    &done,
                    format!("keep at least {replicas}"),
                ),
                merge(object, set(*min), &done, "as it was"),
            );
        }
        (_, Autoscaler::Keda { .. }) => keda::pin(plan, place, replicas),
        // Nothing scales it down: what remains is to say so.
        (_, Autoscaler::None | Autoscaler::Several(_)) => {
            let tell = annotate(place.told_on(), &[], &done, "write down who keeps it");
            plan.or_back(tell.clone(), tell);
        }
    }
    for LivePod { name, .. } in &place.live_pods {
        plan.or_back(protect(place, name, true), protect(place, name, false));
    }
    Ok(())
}

/// Adds what lifts the pin again. What somebody else changed meanwhile stays.
pub(super) fn unpin(plan: &mut Plan, place: &Place) {
    let done = Mark {
        done: true,
        ..plan.mark.clone()
    };
    let pin = place.mark.as_ref().filter(|it| it.op == "pin");
    let before = pin.map(|it| it.prev.clone()).unwrap_or_default();
    // Restored only where it is still what the pin set.
    let is_ours = |now: Option<u32>| pin.is_some_and(|it| it.set.is_none() || it.set == now);
    let why = "as it was before the pin";
    if let Some(revision) = place.revision() {
        let now = revision.min_scale.as_deref().and_then(|it| it.parse().ok());
        if is_ours(now) {
            plan.then(wake::release(revision, &before, &done));
        } else {
            leave(plan, &revision.object, &done);
        }
    } else {
        match (&place.owner, &place.autoscaler) {
            (Owner::InferenceService { object, min, .. }, _) => {
                let body = json!({"spec": {"predictor": {"minReplicas": before.min}}});
                if is_ours(*min) {
                    plan.then(merge(object, body, &done, why));
                } else {
                    leave(plan, object, &done);
                }
            }
            (_, Autoscaler::Hpa { object, min, .. }) => {
                let body = json!({"spec": {"minReplicas": before.min}});
                if is_ours(Some(*min)) {
                    plan.then(merge(object, body, &done, why));
                } else {
                    leave(plan, object, &done);
                }
            }
            (_, Autoscaler::Keda { .. }) => keda::release(plan, place, "leave it to KEDA again"),
            (_, Autoscaler::None | Autoscaler::Several(_)) => {
                plan.then(annotate(place.told_on(), &[], &done, OVER));
            }
        }
    }
    for LivePod { name, .. } in &place.live_pods {
        plan.then(protect(place, name, false));
    }
}

/// Somebody else's number stays; only the record changes.
fn leave(plan: &mut Plan, object: &Object, done: &Mark) {
    plan.warnings
        .push(format!("{object} was changed since; it stays as it is"));
    plan.then(annotate(object, &[], done, OVER));
}

/// Live pods only: in the template it would start them anew.
fn protect(place: &Place, pod: &str, on: bool) -> Step {
    let object = Object::new(Kind::Pod, &place.workload.namespace, pod);
    let (disrupt, evict) = if on {
        (json!("true"), json!("false"))
    } else {
        (json!(null), json!(null))
    };
    Step::Merge {
        object,
        body: json!({"metadata": {"annotations": {DO_NOT_DISRUPT: disrupt, SAFE_TO_EVICT: evict}}}),
        why: if on {
            format!("keep the machine of {pod}")
        } else {
            format!("give the machine of {pod} free again")
        },
    }
}
