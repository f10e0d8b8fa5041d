//! Pins on a cluster: kept warm against whatever scales it, and its pods against whoever consolidates machines.
//!
//! A pin has an annotation of its own ([`mark::PIN`]): what is done to the backend later does not forget it.

use serde_json::{Value, json};

use super::keda;
use super::mark::{self, Before, Mark};
use super::nap;
use super::object::{Kind, Object};
use super::place::{Autoscaler, LivePod, Owner, Place};
use super::plan::{Plan, Planned, Step};
use super::wake::{self, MIN_SCALE};
use crate::fleet::Backend;

/// Karpenter leaves a pod's machine alone.
const DO_NOT_DISRUPT: &str = "karpenter.sh/do-not-disrupt";
/// The cluster autoscaler does.
const SAFE_TO_EVICT: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict";

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
        annotations: match (place.revision(), &place.autoscaler) {
            (Some(revision), _) => wake::min_scale(revision),
            (None, Autoscaler::Keda { .. }) => keda::before_pin(place),
            (None, _) => Vec::new(),
        },
        ..Before::default()
    }
}

/// What a pin is held by: an object and what is written on it.
struct Hold {
    object: Object,
    /// What keeps it up.
    on: Value,
    /// What stands now.
    now: Value,
    /// The least number that it sets, where it sets one.
    least: Option<u32>,
    why: String,
}

/// Whether it can be held at exactly so many: only KEDA does that, and only where its ScaledObject is nobody's who makes
/// it anew.
fn exact(place: &Place, replicas: u32) -> Result<(), (String, String)> {
    if replicas == 0 {
        return Err((
            "a pin keeps it up: it needs at least 1".into(),
            "put it to sleep to have none".into(),
        ));
    }
    match (&place.owner, &place.autoscaler) {
        (Owner::Itself | Owner::InferenceSet(_), Autoscaler::Keda { object, max, .. }) => {
            if replicas > *max {
                return Err((
                    format!("{object} allows {max} at most"),
                    format!("pin at most {max}, or raise its maxReplicaCount"),
                ));
            }
            Ok(())
        }
        (Owner::InferenceService { object: it, .. }, _)
        | (_, Autoscaler::Hpa { object: it, .. } | Autoscaler::Keda { object: it, .. }) => Err((
            format!("{it} keeps a least number, not an exact one"),
            "pin it without a number: then it is kept at as many as there are, or more".into(),
        )),
        (_, Autoscaler::None | Autoscaler::Several(_)) => Err((
            "no autoscaler changes its number of replicas that could be held".into(),
            "pin it without a number; what scales it by hand is yours".into(),
        )),
    }
}

/// Whether a pin can hold it at a number.
pub fn holds_exactly(place: &Place) -> bool {
    exact(place, 1).is_ok()
}

/// How `replicas` are kept up.
fn hold(plan: &mut Plan, place: &Place, replicas: u32) -> Result<Hold, (String, String)> {
    if plan.mark.exactly.is_some() {
        exact(place, replicas)?;
    }
    if let Some(revision) = place.revision() {
        let annotations =
            |text: Option<&str>| json!({"metadata": {"annotations": {MIN_SCALE: text}}});
        return Ok(Hold {
            object: revision.object.clone(),
            on: annotations(Some(&replicas.to_string())),
            now: annotations(revision.min_scale.as_deref()),
            least: Some(replicas),
            why: format!("keep at least {replicas}"),
        });
    }
    match (&place.owner, &place.autoscaler) {
        (Owner::InferenceService { object, min, .. }, _) => {
            let set = |n: Option<u32>| json!({"spec": {"predictor": {"minReplicas": n}}});
            let replicas = replicas.max(min.unwrap_or(0));
            Ok(Hold {
                object: object.clone(),
                on: set(Some(replicas)),
                now: set(*min),
                least: Some(replicas),
                why: format!("keep at least {replicas}"),
            })
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
            Ok(Hold {
                object: object.clone(),
                on: set(replicas),
                now: set(*min),
                least: Some(replicas),
                why: format!("keep at least {replicas}"),
            })
        }
        (
            _,
            Autoscaler::Keda {
                object, version, ..
            },
        ) => {
            let (on, why) = keda::pin(plan, place, *version, replicas);
            Ok(Hold {
                object: object.clone(),
                on: json!({"metadata": {"annotations": on}}),
                now: json!({"metadata": {"annotations": keda::pinned_now(place, true)}}),
                least: None,
                why,
            })
        }
        // Nothing scales it down: what remains is to say so.
        (_, Autoscaler::None | Autoscaler::Several(_)) => Ok(Hold {
            object: place.told_on().clone(),
            on: json!({}),
            now: json!({}),
            least: None,
            why: "write down who keeps it".into(),
        }),
    }
}

/// Adds what keeps `replicas` up.
pub(super) fn pin(plan: &mut Plan, place: &Place, replicas: u32) -> Result<(), (String, String)> {
    let hold = hold(plan, place, replicas)?;
    plan.mark.set = hold.least;
    let done = plan.mark.closed();
    plan.steps.push(Planned {
        step: written(&hold.object, hold.on, Some(&done), &hold.why),
        back: Some(written(
            &hold.object,
            hold.now,
            place.pin.as_ref(),
            "as it was",
        )),
    });
    for LivePod { name, .. } in &place.live_pods {
        plan.or_back(protect(place, name, true), protect(place, name, false));
    }
    Ok(())
}

/// Adds what lifts the pin again. What somebody else changed meanwhile stays. `frozen`: and what holds it still for a drain.
pub(super) fn unpin(plan: &mut Plan, place: &Place, frozen: bool) {
    let pin = place.pin.as_ref();
    let before = pin.map(|it| it.prev.clone()).unwrap_or_default();
    // Restored only where it is still what the pin set.
    let is_ours = |now: Option<u32>| pin.is_some_and(|it| it.set.is_none() || it.set == now);
    let (object, off, now, is_ours) = if let (Some(revision), true) = (place.revision(), frozen) {
        // The same annotation keeps it up for the drain.
        (&revision.object, json!({}), json!({}), true)
    } else if let Some(revision) = place.revision() {
        let now = revision.min_scale.as_deref();
        let set = |text: Option<&str>| json!({"metadata": {"annotations": {MIN_SCALE: text}}});
        (
            &revision.object,
            set(before.annotation(MIN_SCALE)),
            set(now),
            is_ours(now.and_then(|it| it.parse().ok())),
        )
    } else {
        match (&place.owner, &place.autoscaler) {
            (Owner::InferenceService { object, min, .. }, _) => {
                let set = |n: Option<u32>| json!({"spec": {"predictor": {"minReplicas": n}}});
                (object, set(before.min), set(*min), is_ours(*min))
            }
            (_, Autoscaler::Hpa { object, min, .. }) => {
                let set = |n: Option<u32>| json!({"spec": {"minReplicas": n}});
                (
                    object,
                    set(before.min),
                    set(Some(*min)),
                    is_ours(Some(*min)),
                )
            }
            (_, Autoscaler::Keda { object, .. }) => {
                let now = json!({"metadata": {"annotations": keda::pinned_now(place, false)}});
                let off = json!({"metadata": {"annotations": keda::unpinned(&before, frozen)}});
                let exactly = pin.and_then(|it| it.exactly);
                (object, off, now, keda::is_held(place, exactly))
            }
            (_, Autoscaler::None | Autoscaler::Several(_)) => {
                (place.told_on(), json!({}), json!({}), true)
            }
        }
    };
    let (off, why) = if is_ours {
        (off, "as it was before the pin")
    } else {
        // Somebody else's number stays; only the record changes.
        plan.warnings
            .push(format!("{object} was changed since; it stays as it is"));
        (json!({}), "write down that it is over")
    };
    plan.steps.push(Planned {
        step: written(object, off, None, why),
        back: Some(written(object, now, pin, "pinned as before")),
    });
    for LivePod { name, .. } in &place.live_pods {
        plan.or_back(protect(place, name, false), protect(place, name, true));
    }
}

/// A patch with the pin's own annotation on it, or without.
fn written(object: &Object, mut body: Value, pin: Option<&Mark>, why: &str) -> Step {
    body["metadata"]["annotations"][mark::PIN] = pin.map_or(Value::Null, |it| it.text().into());
    Step::Merge {
        object: object.clone(),
        body,
        why: why.to_owned(),
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

/// A pin ends with what it kept up; `frozen`, where its autoscaler is held still for a drain.
pub(super) fn lift(plan: &mut Plan, b: &Backend, place: &Place, frozen: bool) {
    if let Some(pin) = &b.pin {
        plan.warnings
            .push(format!("the pin by {} is lifted: {}", pin.by, pin.reason));
        unpin(plan, place, frozen);
    }
}

/// A pin that has to wake: the autoscaler keeps it already, so only the replicas are missing.
pub(super) fn wake_up(
    plan: &mut Plan,
    b: &Backend,
    place: &Place,
    keep: u32,
) -> Result<(), (String, String)> {
    if b.naps() {
        nap::wake(plan, b, place, false);
        return Ok(());
    }
    match (&place.owner, &place.autoscaler) {
        (Owner::Itself | Owner::InferenceSet(_), _) => {
            let object = place.scaled.clone();
            plan.or_back(
                Step::Scale {
                    object: object.clone(),
                    to: keep,
                    from: None,
                    why: format!("scale {object} to {keep}"),
                },
                Step::Scale {
                    object: object.clone(),
                    to: place.wanted,
                    from: None,
                    why: format!("scale {object} to {}", place.wanted),
                },
            );
            Ok(())
        }
        (Owner::Revision(_), _) => Ok(()),
        _ => wake::wake(plan, b, place, keep, false),
    }
}
