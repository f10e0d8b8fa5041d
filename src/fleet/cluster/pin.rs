//! Pins on a cluster: kept warm against whatever scales it, and its pods against whoever consolidates machines.

use serde_json::json;

use super::keda;
use super::mark::{Before, Mark};
use super::object::{Kind, Object};
use super::place::{Autoscaler, Owner, Place};
use super::plan::{Plan, Step, annotate, merge};
use super::wake::MIN_SCALE;

/// Karpenter leaves a pod's machine alone.
const DO_NOT_DISRUPT: &str = "karpenter.sh/do-not-disrupt";
/// The cluster autoscaler does.
const SAFE_TO_EVICT: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict";

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
            plan.mark.prev.min = *min;
            let done = Mark {
                done: true,
                ..plan.mark.clone()
            };
            plan.or_back(
                merge(
                    object,
                    set(Some(replicas.max(min.unwrap_or(0)))),
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
            plan.mark.prev = Before {
                min: Some(*min),
                ..plan.mark.prev.clone()
            };
            let done = Mark {
                done: true,
                ..plan.mark.clone()
            };
            plan.or_back(
                merge(
                    object,
                    set(replicas.max(*min)),
                    &done,
                    format!("keep at least {}", replicas.max(*min)),
                ),
                merge(object, set(*min), &done, "as it was"),
            );
        }
        (_, Autoscaler::Keda { .. }) => keda::pin(plan, place, replicas),
        // Nothing scales it down: what remains is to say so.
        (_, Autoscaler::None | Autoscaler::Several(_)) => {
            plan.or_back(
                annotate(&place.scaled, &[], &done, "write down who keeps it"),
                annotate(
                    &place.scaled,
                    &[(super::mark::KEY, None)],
                    &Mark::default(),
                    "as it was",
                ),
            );
        }
    }
    for pod in &place.live_pods {
        plan.or_back(protect(place, pod, true), protect(place, pod, false));
    }
    Ok(())
}

/// Adds what lifts the pin again. What somebody else changed meanwhile stays.
pub(super) fn unpin(plan: &mut Plan, place: &Place) {
    let done = Mark {
        done: true,
        ..plan.mark.clone()
    };
    let before = place.mark.as_ref().filter(|it| it.op == "pin");
    let before = before.and_then(|it| it.prev.min);
    match (&place.owner, &place.autoscaler) {
        (
            Owner::InferenceService {
                revision: Some(revision),
                ..
            }
            | Owner::Revision(revision),
            _,
        ) => {
            plan.then(annotate(
                &revision.object,
                &[(MIN_SCALE, None)],
                &done,
                "leave it to Knative again",
            ));
        }
        (Owner::InferenceService { object, .. }, _) => {
            let body = json!({"spec": {"predictor": {"minReplicas": before}}});
            plan.then(merge(object, body, &done, "as it was before the pin"));
        }
        (_, Autoscaler::Hpa { object, .. }) => {
            let body = match before {
                Some(min) => json!({"spec": {"minReplicas": min}}),
                None => json!({}),
            };
            plan.then(merge(object, body, &done, "as it was before the pin"));
        }
        (_, Autoscaler::Keda { .. }) => keda::release(plan, place, "leave it to KEDA again"),
        (_, Autoscaler::None | Autoscaler::Several(_)) => {
            plan.then(annotate(
                &place.scaled,
                &[],
                &done,
                "write down that it is over",
            ));
        }
    }
    for pod in &place.live_pods {
        plan.then(protect(place, pod, false));
    }
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
