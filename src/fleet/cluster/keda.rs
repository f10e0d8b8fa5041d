//! KEDA: its own annotations are the way; what is written elsewhere it takes back.
//!
//! Keys and their meaning: KEDA's `apis/keda/v1alpha1/scaledobject_types.go` and its documentation of ScaledObject.

use serde_json::{Value, json};

use super::mark::{Before, Mark};
use super::place::{Autoscaler, Owner, Place};
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
/// What a pin may set; the last of them it only lifts.
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
    let stands = |key: &str| now(place, key).map(ToOwned::to_owned);
    let mut all = vec![(PAUSED.to_owned(), stands(PAUSED))];
    // Nothing to give back is not written down; and what a pin holds goes with the pin.
    if let (Some(held), None) = (stands(PAUSED_REPLICAS), &place.pin) {
        all.push((PAUSED_REPLICAS.to_owned(), Some(held)));
    }
    all
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
    let done = mark.closed();
    let to = replicas.max(min.max(1));
    let scale = |replicas: u32| {
        let to = place.scale_for(replicas);
        Step::Scale {
            object: place.scaled.clone(),
            to,
            from: None,
            why: format!("scale {} to {to}", place.scaled),
        }
    };
    if let Some(number) = pinned_at(place) {
        // The pin goes on: only what is missing is asked for.
        super::wake::scale(plan, place, number, &done);
        return;
    }
    warn_of_pause(plan, place, &[PAUSED_REPLICAS, PAUSED, PAUSED_OUT]);
    if !can_force(*version) && has_maker(place) {
        held(plan, place, to, tail);
        return;
    }
    if !can_force(*version) {
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
            until_ready(plan);
            plan.then(merge(
                object,
                json!({"spec": {"minReplicaCount": min}}),
                &done,
                "leave it to KEDA again",
            ));
        }
        return;
    }
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
        until_ready(plan);
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

/// The number that a pin holds it at now.
fn pinned_at(place: &Place) -> Option<u32> {
    let held = now(place, PAUSED_REPLICAS).filter(|_| place.pin.is_some());
    held.and_then(|it| it.parse().ok()).filter(|it| *it > 0)
}

/// Whether what it is scaled by is made by an owner of the workload, who takes back what is written into its spec.
fn has_maker(place: &Place) -> bool {
    match place.owner {
        Owner::InferenceSet(_)
        | Owner::InferenceService { .. }
        | Owner::LlmInferenceService { .. } => true,
        Owner::Itself | Owner::Workspace(_) | Owner::Revision(_) => false,
    }
}

/// Wakes where neither forced activation is known nor the spec is ours: KEDA holds a number until it is ready.
fn held(plan: &mut Plan, place: &Place, to: u32, tail: bool) {
    let Autoscaler::Keda { object, .. } = &place.autoscaler else {
        return;
    };
    let done = plan.mark.closed();
    let mark = if tail {
        plan.mark.clone()
    } else {
        done.clone()
    };
    let text = to.to_string();
    plan.or_back(
        annotate(
            object,
            &[(PAUSED_REPLICAS, Some(&text)), (PAUSED, None)],
            &mark,
            format!("have KEDA hold it at {to} (this KEDA knows no forced activation)"),
        ),
        annotate(
            object,
            &as_now(place, &[PAUSED_REPLICAS, PAUSED]),
            &done,
            "as it was",
        ),
    );
    if tail {
        until_ready(plan);
        plan.then(annotate(
            object,
            &[(PAUSED_REPLICAS, None)],
            &done,
            "leave it to KEDA again",
        ));
    }
}

/// What is set for a wake is lifted again under a lease, once a pod is ready.
fn until_ready(plan: &mut Plan) {
    plan.holds_lease = true;
    plan.then(Step::Ready);
}

/// Whether a pause is what an operation of ours left, which still stands.
fn is_ours(place: &Place, key: &str, value: &str) -> bool {
    let left = place.mark.as_ref().filter(|it| it.keeps_down());
    match key {
        PAUSED_REPLICAS => place.pin.is_some() || value == "0" && left.is_some(),
        // A drain lifts that again when it scales, and may have found it.
        PAUSED => left.is_some_and(|it| {
            it.op != "sleep" && !it.stands() && it.prev.annotation(PAUSED).is_none()
        }),
        _ => false,
    }
}

/// Somebody has paused it for a reason of their own, by one of `keys`: that ends with this.
fn warn_of_pause(plan: &mut Plan, place: &Place, keys: &[&str]) {
    let paused = keys.iter().find_map(|key| {
        let value = now(place, key)?;
        (!is_ours(place, key, value)).then_some((key, value))
    });
    if let Some((key, value)) = paused {
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
            &mark.closed(),
            "unfreeze KEDA",
        ),
    );
}

/// Has it work again after [`freeze`] or [`sleep`] as it did before, with `forced` also after a wake; else what a pin set
/// stays.
pub(super) fn unfreeze(plan: &mut Plan, place: &Place, forced: bool) {
    let Autoscaler::Keda { object, .. } = &place.autoscaler else {
        return;
    };
    let mark = plan.mark.closed();
    let before = |key| (key, mark.prev.annotation(key));
    let mut off = vec![before(PAUSED)];
    // What holds it now may be a pin of since then.
    if place.pin.is_none() {
        off.push(before(PAUSED_REPLICAS));
    }
    if forced {
        off.push((FORCE, None));
    }
    let keys: Vec<&str> = off.iter().map(|(key, _)| *key).collect();
    plan.or_back(
        annotate(object, &off, &mark, "unfreeze KEDA"),
        annotate(object, &as_now(place, &keys), &mark, "as it was"),
    );
}

/// What a pin of so many sets, and in a few words: one, or as many as there are, and always free to grow.
pub(super) fn pin(
    plan: &mut Plan,
    place: &Place,
    version: Option<(u32, u32)>,
    replicas: u32,
) -> (Value, String) {
    if plan.mark.exactly.is_some() {
        warn_of_pause(plan, place, &[PAUSED_REPLICAS]);
        return exactly(plan, place, replicas);
    }
    if version.is_none() {
        plan.warnings.push(
            "KEDA's version is not seen from here; before 2.18 this pin holds nothing".into(),
        );
    }
    if !can_force(version) {
        warn_of_pause(plan, place, &[PAUSED_REPLICAS]);
        plan.warnings.push(
            "this KEDA can only hold a number: it scales neither up nor down meanwhile".into(),
        );
        return (
            json!({PAUSED_REPLICAS: replicas.to_string()}),
            format!("have KEDA hold it at {replicas}"),
        );
    }
    warn_of_pause(plan, place, &[PAUSED_REPLICAS, PAUSED]);
    let mut set = json!({FORCE: "true", PAUSED: null, PAUSED_REPLICAS: null});
    if replicas > 1 {
        set[PAUSED_IN] = "true".into();
    }
    (set, format!("have KEDA keep at least {replicas}"))
}

/// The same of a pin at exactly so many: no autoscaling at all.
fn exactly(plan: &mut Plan, place: &Place, replicas: u32) -> (Value, String) {
    plan.warnings
        .push("KEDA scales it neither up nor down while it is pinned at a number".into());
    if replicas < place.ready {
        let less = place.ready - replicas;
        let ends = if less == 1 { "ends" } else { "end" };
        let cut = if place.ends_gently {
            "what runs there ends first, as far as its grace period goes"
        } else {
            "what runs there is cut"
        };
        plan.warnings.push(format!(
            "{less} of its {} replicas {ends}: {cut}",
            place.ready
        ));
    }
    let mut set = json!({PAUSED_REPLICAS: replicas.to_string()});
    // What an earlier pin set, this one replaces.
    if place.pin.is_some() {
        set[FORCE] = Value::Null;
        set[PAUSED_IN] = Value::Null;
    }
    (set, format!("have KEDA hold it at {replicas}"))
}

/// What a pin may set, as it stands now: all of it, or without what it only lifts, a pause.
pub(super) fn pinned_now(place: &Place, paused: bool) -> Value {
    let keys = if paused { &PINS[..] } else { &PINS[..3] };
    let stands = |key: &&str| now(place, key).map_or(Value::Null, Value::from);
    keys.iter()
        .map(|key| ((*key).to_owned(), stands(key)))
        .collect()
}

/// What somebody had set of that before the first pin.
pub(super) fn before_pin(place: &Place) -> Vec<(String, Option<String>)> {
    let set = |key: &&str| Some(((*key).to_owned(), Some(now(place, key)?.to_owned())));
    PINS.iter().filter_map(set).collect()
}

/// The same without a pin: as somebody had it before, else without. A pause of since then is somebody else's, or a drain's.
pub(super) fn unpinned(before: &Before, frozen: bool) -> Value {
    let stood = |key: &&str| {
        let stood = before.annotation(key);
        (**key != *PAUSED || stood.is_some() && !frozen)
            .then(|| ((*key).to_owned(), stood.map_or(Value::Null, Value::from)))
    };
    PINS.iter().filter_map(stood).collect()
}

/// Whether it is still held at the number that a pin wrote; one that holds none is.
pub(super) fn is_held(place: &Place, exactly: Option<u32>) -> bool {
    let held = now(place, PAUSED_REPLICAS).and_then(|it| it.parse().ok());
    exactly.is_none() || held == exactly
}
