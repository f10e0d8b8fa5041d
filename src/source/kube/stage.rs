//! How far a start is, from the conditions of its pods and what events tell.
//!
//! Conditions and their order: Kubernetes' documentation of the pod lifecycle. Events expire, so what they told is kept as
//! long as the pod is there.

use chrono::{DateTime, Utc};

use super::object::{Condition, Container, Event, Pod};
use crate::fleet::Stage;

/// A pod's way so far: each stage and when it began.
pub(super) fn stages(pod: &Pod, events: &[&Event], serving: &str) -> Vec<(Stage, DateTime<Utc>)> {
    let Some(created) = pod.meta.creation_timestamp else {
        return Vec::new();
    };
    let mut out = vec![(Stage::Queued, created)];
    let first = |reasons: &[&str]| {
        let mut of = events.iter().filter(|it| reasons.contains(&&*it.reason));
        of.find_map(|it| it.at)
    };
    let scheduled = since(pod.condition("PodScheduled"));
    if let Some(at) = first(&["TriggeredScaleUp", "Nominated"]) {
        out.push((Stage::Node, at));
    }
    let Some(scheduled) = scheduled else {
        return out;
    };
    let container = serving_of(pod, serving);
    let running = container.and_then(|it| it.state.running.as_ref()?.started_at);
    let init = pod
        .init
        .iter()
        .find_map(|it| it.state.running.as_ref()?.started_at);
    let there = events
        .iter()
        .any(|it| &*it.reason == "Pulled" && it.note.contains("already present"));
    let pulling = first(&["Pulling"]);
    match (pulling, there) {
        (Some(at), _) => out.push((Stage::Image, at.max(scheduled))),
        // Its machine has it: what remains is to set up its sandbox and volumes.
        (None, true) => out.push((Stage::Start, scheduled)),
        (None, false) if running.is_none() && init.is_none() => {
            out.push((
                Stage::Image,
                since(pod.condition("PodReadyToStartContainers")).unwrap_or(scheduled),
            ));
        }
        (None, false) => {}
    }
    if let Some(at) = init.or(running) {
        out.retain(|(stage, _)| *stage < Stage::Start);
        out.push((Stage::Start, at));
    }
    out.sort_by_key(|(stage, _)| *stage);
    out
}

/// The container that serves: the one of that name, or the first.
pub(super) fn serving_of<'a>(pod: &'a Pod, name: &str) -> Option<&'a Container> {
    let named = pod.containers.iter().find(|it| *it.name == *name);
    named.or(pod.containers.first())
}

/// Since when a condition is true.
fn since(condition: Option<&Condition>) -> Option<DateTime<Utc>> {
    condition.filter(|it| it.is_true())?.last_transition_time
}

/// A new machine is on its way for it, or has to be.
pub(super) fn needs_node(pod: &Pod, events: &[&Event]) -> bool {
    let unscheduled = pod.condition("PodScheduled").is_none_or(|it| !it.is_true());
    unscheduled
        && events
            .iter()
            .any(|it| matches!(&*it.reason, "TriggeredScaleUp" | "Nominated"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(status: &serde_json::Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "a-0", "namespace": "llm", "creationTimestamp": "2026-11-20T03:00:00Z"},
            "status": status,
        }))
        .unwrap()
    }

    fn event(reason: &str, at: &str, note: &str) -> Event {
        serde_json::from_value(json!({
            "metadata": {"name": "e", "uid": reason},
            "regarding": {"kind": "Pod", "namespace": "llm", "name": "a-0"},
            "reason": reason, "note": note, "eventTime": at,
        }))
        .unwrap()
    }

    fn all(events: &[Event]) -> Vec<&Event> {
        events.iter().collect()
    }

    fn said(stages: &[(Stage, DateTime<Utc>)]) -> Vec<String> {
        let one = |(stage, at): &(Stage, DateTime<Utc>)| {
            format!("{} {}", stage.word(), at.format("%M:%S"))
        };
        stages.iter().map(one).collect()
    }

    #[test]
    fn a_pod_that_waits_for_a_machine_says_so() {
        let pending = pod(&json!({"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "lastTransitionTime": "2026-11-20T03:00:00Z"},
        ]}));
        let events = [
            event(
                "FailedScheduling",
                "2026-11-20T03:00:01.000000Z",
                "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
            ),
            event(
                "TriggeredScaleUp",
                "2026-11-20T03:00:09Z",
                "pod triggered scale-up",
            ),
        ];
        assert_eq!(
            said(&stages(&pending, &all(&events), "vllm")),
            ["queued 00:00", "node 00:09"]
        );
        assert!(needs_node(&pending, &all(&events)));
    }

    #[test]
    fn a_pod_pulls_and_starts() {
        let status = json!({"phase": "Running", "conditions": [
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-20T03:00:02Z"},
        ], "containerStatuses": [
            {"name": "sidecar", "state": {"running": {"startedAt": "2026-11-20T03:00:05Z"}}},
            {"name": "vllm", "started": false, "state": {"running": {"startedAt": "2026-11-20T03:04:40Z"}}},
        ]});
        let events = [event(
            "Pulling",
            "2026-11-20T03:00:03Z",
            "Pulling image \"vllm/vllm-openai:v0.32.0\"",
        )];
        assert_eq!(
            said(&stages(&pod(&status), &all(&events), "vllm")),
            ["queued 00:00", "image 00:03", "start 04:40"]
        );
    }

    #[test]
    fn an_image_that_is_there_is_no_stage() {
        let status = json!({"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-20T03:00:02Z"},
        ]});
        let events = [event(
            "Pulled",
            "2026-11-20T03:00:03Z",
            "Container image \"x\" already present on machine",
        )];
        assert_eq!(
            said(&stages(&pod(&status), &all(&events), "vllm")),
            ["queued 00:00", "start 00:02"]
        );
    }
}
