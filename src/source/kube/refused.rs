//! Pods that may not be made: a quota, a limit, a policy, a webhook. No pod tells of that, so what makes them does.
//!
//! What the API server says then: Kubernetes' documentation of ResourceQuota, LimitRange and admission control.

use chrono::{DateTime, TimeDelta, Utc};

use super::find::Found;
use super::lost::LATELY;
use super::object::{Key, Pod, Workload};
use super::trouble::{Wrong, quote, wrong};
use super::world::World;
use crate::fleet::cluster::object::Kind;

/// What is refused again after so long does not get better by itself.
const PERSISTS: TimeDelta = TimeDelta::minutes(5);

/// Why a backend's pods may not be made, where it has fewer than it wants.
pub(super) fn of(
    found: &Found,
    workloads: &[&Workload],
    heads: &[&Pod],
    world: &World,
    now: DateTime<Utc>,
) -> Option<Wrong> {
    let newest = heads
        .iter()
        .filter_map(|it| it.meta.creation_timestamp)
        .max();
    let events = found
        .homes
        .iter()
        .filter_map(|it| world.events.refusal(it))
        .filter(|it| it.at > newest && it.at.is_some_and(|at| now - at < LATELY));
    let event = events.max_by_key(|it| it.at);
    let condition = workloads
        .iter()
        .find_map(|it| it.refused.as_ref())
        .or_else(|| owners(found, world));
    let said = match (event, condition) {
        (Some(event), _) => &event.note,
        (None, Some(condition)) => &condition.message,
        (None, None) => return None,
    };
    let since = event.and_then(|it| it.first).into_iter();
    let since = since
        .chain(condition.and_then(|it| it.last_transition_time))
        .min();
    // A condition holds now; an event did when it was seen last.
    let until = condition.map_or_else(|| event.and_then(|it| it.at), |_| Some(now));
    let (why, hint, passes) = plainly(said);
    let persists = since
        .zip(until)
        .is_some_and(|(since, until)| until - since >= PERSISTS);
    Some(wrong(
        format!("its pods may not be made: {why}"),
        hint,
        persists && !passes,
    ))
}

/// What its owner says, where no workload could be made at all.
fn owners<'a>(found: &Found, world: &'a World) -> Option<&'a super::object::Condition> {
    found.marked.iter().find_map(|(kind, key): &(Kind, Key)| {
        let condition = match kind {
            Kind::InferenceService => &world.kserve.get(key)?.status.refused,
            Kind::LlmInferenceService => &world.llm.get(key)?.status.refused,
            _ => return None,
        };
        condition.as_ref()
    })
}

/// The reason without what is around it, what to do, and whether it may pass by itself.
fn plainly(said: &str) -> (String, &'static str, bool) {
    let said = said.lines().next().unwrap_or_default();
    let webhook = said
        .find("admission webhook")
        .or_else(|| said.find("failed calling webhook"));
    let why = match (said.split_once(" is forbidden: "), webhook) {
        (Some((_, why)), _) => why,
        (None, Some(at)) => &said[at..],
        (None, None) => said.split_once("rror creating: ").map_or(said, |it| it.1),
    };
    let has = |words: &str| why.contains(words);
    let (hint, passes) = if has("exceeded quota") {
        ("raise the quota or wait for another to sleep", true)
    } else if has("failed calling webhook") {
        (
            "that webhook does not answer: mend it, or ask whoever runs it",
            true,
        )
    } else if has("PodSecurity") {
        (
            "change the pod's securityContext, or what the namespace enforces",
            false,
        )
    } else if has("denied the request") {
        (
            "change what the policy objects to, or ask whoever runs it",
            false,
        )
    } else if has("usage per ") || has("ratio per ") {
        (
            "change what the pod asks for, or the namespace's LimitRange",
            false,
        )
    } else if has("service account") {
        ("make that service account, or name another", false)
    } else {
        ("its template or the namespace has to be changed", false)
    };
    (quote(&shorter(why)), hint, passes)
}

/// `used: requests.nvidia.com/gpu=8, limited: requests.nvidia.com/gpu=8` as `used 8, limited 8`, where one resource is
/// meant.
fn shorter(why: &str) -> String {
    let short = || {
        let (before, rest) = why.split_once("requested: ")?;
        let (requested, rest) = rest.split_once(", used: ")?;
        let (used, limited) = rest.split_once(", limited: ")?;
        let (resource, _) = requested.split_once('=')?;
        let of = |text: &str| Some(text.strip_prefix(resource)?.strip_prefix('=')?.to_owned());
        let (used, limited) = (of(used)?, of(limited)?);
        (!requested.contains(','))
            .then(|| format!("{before}requested: {requested}, used {used}, limited {limited}"))
    };
    short().unwrap_or_else(|| why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_api_server_says_is_said_plainly() {
        for (said, why, hint, passes) in [
            (
                "create Pod chat-0 in StatefulSet chat failed error: pods \"chat-0\" is forbidden: exceeded quota: gpu-quota, requested: requests.nvidia.com/gpu=4, used: requests.nvidia.com/gpu=8, limited: requests.nvidia.com/gpu=8",
                "exceeded quota: gpu-quota, requested: requests.nvidia.com/gpu=4, used 8, limited 8",
                "raise the quota or wait for another to sleep",
                true,
            ),
            (
                "Error creating: pods \"chat-x\" is forbidden: exceeded quota: all, requested: cpu=4,pods=1, used: cpu=8,pods=2, limited: cpu=8,pods=2",
                "exceeded quota: all, requested: cpu=4,pods=1, used: cpu=8,pods=2, limited: cpu=8,pods=2",
                "raise the quota or wait for another to sleep",
                true,
            ),
            (
                "Error creating: pods \"chat-x\" is forbidden: maximum memory usage per Container is 64Gi, but limit is 96Gi",
                "maximum memory usage per Container is 64Gi, but limit is 96Gi",
                "change what the pod asks for, or the namespace's LimitRange",
                false,
            ),
            (
                "Error creating: admission webhook \"validate.kyverno.svc-fail\" denied the request: images must come from registry.local",
                "admission webhook \"validate.kyverno.svc-fail\" denied the request: images must come from registry.local",
                "change what the policy objects to, or ask whoever runs it",
                false,
            ),
            (
                "Error creating: Internal error occurred: failed calling webhook \"mutate.istio.io\": no endpoints available",
                "failed calling webhook \"mutate.istio.io\": no endpoints available",
                "that webhook does not answer: mend it, or ask whoever runs it",
                true,
            ),
            (
                "Error creating: pods \"chat-x\" is forbidden: violates PodSecurity \"restricted:latest\": runAsNonRoot != true",
                "violates PodSecurity \"restricted:latest\": runAsNonRoot != true",
                "change the pod's securityContext, or what the namespace enforces",
                false,
            ),
            (
                "Error creating: pods \"chat-x\" is forbidden: error looking up service account llm/vllm: serviceaccount \"vllm\" not found",
                "error looking up service account llm/vllm: serviceaccount \"vllm\" not found",
                "make that service account, or name another",
                false,
            ),
        ] {
            assert_eq!(plainly(said), (why.to_owned(), hint, passes));
        }
    }
}
