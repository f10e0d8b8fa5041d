//! KEDA: its own annotations are the way; what is written elsewhere it takes back.
//!
//! Keys and their meaning: KEDA's `apis/keda/v1alpha1/scaledobject_types.go` and its documentation of ScaledObject.

use serde_json::{Value, json};

use super::mark::Mark;
use super::place::{Autoscaler, Place};
use super::plan::{Plan, Step, annotate, merge};

/// Its triggers count as active: it wakes, and cannot be put to sleep by its scaler (2.18 and later).
pub(super) const FORCE: &str = "autoscaling.keda.sh/force-activation";
/// It does nothing.
pub(super) const PAUSED: &str = "autoscaling.keda.sh/paused";
/// It sets this many replicas and does nothing more; its presence alone pauses.
pub(super) const PAUSED_REPLICAS: &str = "autoscaling.keda.sh/paused-replicas";
/// It does not scale down (2.18 and later).
pub(super) const PAUSED_IN: &str = "autoscaling.keda.sh/paused-scale-in";
/// It does not scale up (2.18 and later).
pub(super) const PAUSED_OUT: &str = "autoscaling.keda.sh/paused-scale-out";
/// What a pin may set.
const PINS: [&str; 4] = [FORCE, PAUSED_IN, PAUSED_REPLICAS, PAUSED];
/// What all of them begin with.
pub const PREFIX: &str = "autoscaling.keda.sh/";

/// Before this version there is neither forced activation nor a pause in one direction.
const FORCES_SINCE: (u32, u32) = (2, 18);

/// Whether this operator knows forced activation. One that is not seen is taken to be recent.
pub(super) fn can_force(version: Option<(u32, u32)>) -> bool {
    version.is_none_or(|version| version >= FORCES_SINCE)
}

/// What one of its annotations is set to now.
fn now<'a>(place: &'a Place, key: &str) -> Option<&'a str> {
    let Autoscaler::Keda { set, .. } = &place.autoscaler else {
        return None;
    };
    let key = key.strip_prefix(PREFIX)?;
    let found = set.iter().find(|(it, _)| **it == *key);
    found.map(|(_, value)| &**value)
}

/// `keys` as they are set now, for taking something back.
fn as_now<'a>(place: &'a Place, keys: &[&'a str]) -> Vec<(&'a str, Option<&'a str>)> {
    keys.iter().map(|key| (*key, now(place, key))).collect()
}

/// What a drain replaces.
pub(super) fn before(place: &Place) -> Vec<(String, Option<String>)> {
    let now = now(place, PAUSED).map(ToOwned::to_owned);
    vec![(PAUSED.to_owned(), now)]
}

/// Wakes: forced first, then scaled, so that the next poll is not waited for and does not take it back.
pub(super) fn wake(plan: &mut Plan, place: &Place, replicas: u32, tail: bool) {
    let Autoscaler::Keda {
        object,
        min,
        version,
        ..
    } = &place.autoscaler
    else {
        return;
    };
    // Whoever finds it half done knows what it was; one that goes on from there has it from whoever began.
    let min = if can_force(*version) {
        *min
    } else {
        *plan.mark.prev.min.get_or_insert(*min)
    };
    let mark = plan.mark.clone();
    let done = Mark {
        done: true,
        ..mark.clone()
    };
    let to = replicas.max(min.max(1));
    let scale = |replicas: u32| {
        let to = place.scale_for(replicas);
        Step::Scale {
            object: place.scaled.clone(),
            to,
            why: format!("scale {} to {to}", place.scaled),
        }
    };
    if !can_force(*version) {
        warn_of_pause(plan, place);
        let least = |n: u32| json!({"spec": {"minReplicaCount": n}, "metadata": {"annotations": {PAUSED: null, PAUSED_REPLICAS: null}}});
        plan.or_back(
            merge(
                object,
                least(to),
                &mark,
                format!("keep at least {to} (this KEDA knows no forced activation)"),
            ),
            merge(
                object,
                json!({"spec": {"minReplicaCount": min}, "metadata": {"annotations": {
                    PAUSED: now(place, PAUSED),
                    PAUSED_REPLICAS: now(place, PAUSED_REPLICAS),
                }}}),
                &done,
                "as it was",
            ),
        );
        if tail {
            plan.holds_lease = true;
            plan.then(Step::Ready);
            plan.then(merge(
                object,
                json!({"spec": {"minReplicaCount": min}}),
                &done,
                "leave it to KEDA again",
            ));
        }
        return;
    }
    warn_of_pause(plan, place);
    if version.is_none() {
        plan.warnings.push(
            "KEDA's version is not seen from here; before 2.18 it takes this wake back".into(),
        );
    }
    let keys = [FORCE, PAUSED, PAUSED_REPLICAS, PAUSED_OUT];
    plan.or_back(
        annotate(
            object,
            &[
                (FORCE, Some("true")),
                (PAUSED, None),
                (PAUSED_REPLICAS, None),
                (PAUSED_OUT, None),
            ],
            if tail { &mark } else { &done },
            "have KEDA keep it up",
        ),
        annotate(object, &as_now(place, &keys), &done, "as it was"),
    );
    plan.or_back(scale(to), scale(place.wanted));
    if tail {
        plan.holds_lease = true;
        plan.then(Step::Ready);
        // What somebody forced for reasons of their own stays forced.
        let left = place.mark.as_ref();
        let ours = left.is_some_and(|it| it.op == "wake" && it.is_open());
        let before = now(place, FORCE).filter(|_| !ours);
        plan.then(annotate(
            object,
            &[(FORCE, before)],
            &done,
            "leave it to KEDA again",
        ));
    }
}

/// Somebody has paused it for a reason of their own: that ends with this.
fn warn_of_pause(plan: &mut Plan, place: &Place) {
    let ours = place.mark.as_ref().is_some_and(|it| !it.undone);
    let paused = [PAUSED_REPLICAS, PAUSED, PAUSED_OUT]
        .into_iter()
        .find_map(|key| Some((key, now(place, key)?)));
    if let (false, Some((key, value))) = (ours, paused) {
        plan.warnings.push(format!(
            "somebody paused KEDA by hand ({}={value}): this lifts it",
            key.trim_start_matches(PREFIX)
        ));
    }
}

/// Puts it to sleep, whatever its triggers say.
pub(super) fn sleep(plan: &mut Plan, place: &Place, mark: &Mark) {
    let Autoscaler::Keda { object, .. } = &place.autoscaler else {
        return;
    };
    let keys = [PAUSED_REPLICAS, PAUSED, FORCE];
    plan.or_back(
        annotate(
            object,
            &[(PAUSED_REPLICAS, Some("0")), (PAUSED, None), (FORCE, None)],
            mark,
            "have KEDA hold it at 0",
        ),
        annotate(object, &as_now(place, &keys), mark, "as it was"),
    );
}

/// Has it do nothing while requests end.
pub(super) fn freeze(plan: &mut Plan, place: &Place) {
    let Autoscaler::Keda { object, .. } = &place.autoscaler else {
        return;
    };
    let mark = plan.mark.clone();
    let before = mark.prev.annotation(PAUSED).map(ToOwned::to_owned);
    plan.or_back(
        annotate(object, &[(PAUSED, Some("true"))], &mark, "freeze KEDA"),
        annotate(
            object,
            &[(PAUSED, before.as_deref())],
            &Mark {
                done: true,
                ..mark.clone()
            },
            "unfreeze KEDA",
        ),
    );
}

/// Has it work again after [`freeze`] or [`sleep`], with `forced` also after a wake; else what a pin set stays.
pub(super) fn unfreeze(plan: &mut Plan, place: &Place, forced: bool) {
    let Autoscaler::Keda { object, .. } = &place.autoscaler else {
        return;
    };
    let mark = plan.mark.closed();
    let mut off = vec![(PAUSED, None), (PAUSED_REPLICAS, None)];
    if forced {
        off.push((FORCE, None));
    }
    plan.then(annotate(object, &off, &mark, "unfreeze KEDA"));
}

/// What a pin of so many sets, and in a few words: one, or as many as there are, and always free to grow.
pub(super) fn pin(plan: &mut Plan, version: Option<(u32, u32)>, replicas: u32) -> (Value, String) {
    if !can_force(version) {
        plan.warnings.push(
            "this KEDA can only hold a number: it scales neither up nor down meanwhile".into(),
        );
        return (
            json!({PAUSED_REPLICAS: replicas.to_string()}),
            format!("have KEDA hold it at {replicas}"),
        );
    }
    let mut set = json!({FORCE: "true", PAUSED: null, PAUSED_REPLICAS: null});
    if replicas > 1 {
        set[PAUSED_IN] = "true".into();
    }
    (set, format!("have KEDA keep at least {replicas}"))
}

/// What a pin may set, as it stands now.
pub(super) fn pinned_now(place: &Place) -> Value {
    PINS.iter()
        .map(|key| {
            (
                (*key).to_owned(),
                now(place, key).map_or(Value::Null, Value::from),
            )
        })
        .collect()
}

/// The same without a pin.
pub(super) fn unpinned() -> Value {
    PINS.iter()
        .map(|key| ((*key).to_owned(), Value::Null))
        .collect()
}
