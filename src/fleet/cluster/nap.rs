//! vLLM's sleep mode in pods: the weights leave the GPUs, the pods and their machines stay, and stay billed.
//!
//! Paths and their order: vLLM's `docs/features/sleep_mode.md`. They exist where an engine was started with
//! `--enable-sleep-mode` and `VLLM_SERVER_DEV_MODE=1`. A production-stack router takes the same orders with the engine's id
//! (`src/vllm_router/services/request_service/request.py`).

use serde_json::{Value, json};

use super::mark::Mark;
use super::place::Place;
use super::plan::{Plan, Step, annotate};
use crate::fleet::Backend;

/// Weights to the host's memory; what runs ends first.
const SLEEP: &str = "/sleep?level=1&mode=wait";

/// Adds what puts the engines to sleep in their pods.
pub(super) fn sleep(plan: &mut Plan, place: &Place, mark: &Mark) -> Result<(), (String, String)> {
    if !place.can_nap {
        return Err((
            "its engines were not started with vLLM's sleep mode".into(),
            "start them with --enable-sleep-mode and VLLM_SERVER_DEV_MODE=1, or take `sleep` out of the config".into(),
        ));
    }
    let post = |path, why| post(place, path, why);
    plan.or_back(
        post(SLEEP, "put the engines to sleep, level 1"),
        post("/wake_up", "wake the engines again"),
    );
    plan.then(napping(place, true));
    plan.then(annotate(
        place.told_on(),
        &[],
        mark,
        "write down who did it",
    ));
    plan.warnings
        .push("its pods keep their GPUs: they stay billed while the engines sleep".into());
    Ok(())
}

/// Adds what wakes engines that sleep in their pods. `tell`: nothing else writes down who did it.
pub(super) fn wake(plan: &mut Plan, b: &Backend, place: &Place, tell: bool) {
    let done = plan.mark.closed();
    let post = |path, why| post(place, path, why);
    if b.sample.as_ref().and_then(|it| it.discarded) == Some(true) {
        // At level 2 the weights are gone: room for them first, then the weights, then the cache. Its router is told of the
        // last only: it sends requests from there.
        let room = "make room for the weights";
        let reload = json!({"method": "reload_weights"});
        plan.then(direct("/wake_up?tags=weights", None, room));
        plan.then(direct(
            "/collective_rpc",
            Some(reload),
            "load the weights anew",
        ));
        plan.then(post("/wake_up?tags=kv_cache", "make room for the cache"));
    } else {
        plan.or_back(
            post("/wake_up", "wake the engines"),
            post(SLEEP, "put the engines to sleep again"),
        );
    }
    plan.then(napping(place, false));
    if tell {
        let words = "write down who did it";
        plan.then(annotate(place.told_on(), &[], &done, words));
    }
}

/// Waits until the engines sleep, or do not.
fn napping(place: &Place, asleep: bool) -> Step {
    Step::Napping {
        asleep,
        by: place.router.clone(),
    }
}

/// An order to every engine, by way of their router where there is one.
fn post(place: &Place, path: &str, why: &str) -> Step {
    Step::Post {
        path: path.to_owned(),
        body: None,
        via: place.router.clone(),
        why: why.to_owned(),
    }
}

/// An order to every engine itself.
fn direct(path: &str, body: Option<Value>, why: &str) -> Step {
    Step::Post {
        path: path.to_owned(),
        body,
        via: None,
        why: why.to_owned(),
    }
}
