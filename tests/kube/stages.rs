//! How far a start is and what stands in its way, as the API tells it: pods' conditions and events.

use fleetctl::fleet::{Backend, State};
use serde_json::{Value, json};

use super::bench::{Bench, Open};
use super::yard::{HERE, deployment, put};
use crate::fake_kube::fixtures;

pub(super) const POD: &str = "chat-0";

/// A model that was asked for a replica, whose one pod was just created.
pub(super) async fn begun() -> (Bench, Open) {
    let bench = Bench::start().await;
    put(&bench.fake, "node gpu-0");
    let owner = bench.fake.put(deployment("chat", 1));
    let set = bench.fake.put(fixtures::vllm_replica_set(&owner));
    let mut pod = fixtures::vllm_pod(&set, POD, "gpu-0");
    pod["metadata"]["creationTimestamp"] = at("03:00:00").into();
    pod["spec"].as_object_mut().unwrap().remove("nodeName");
    pod["status"] = json!({"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
         "message": "0/1 nodes are available", "lastTransitionTime": at("03:00:00")},
    ]});
    bench.fake.put(pod);
    let open = bench.fleet().await;
    (bench, open)
}

pub(super) fn at(time: &str) -> String {
    format!("2026-11-20T{time}Z")
}

pub(super) fn event(bench: &Bench, reason: &str, note: &str, time: &str) {
    let pod = bench.fake.get(&format!("pods/{HERE}/{POD}")).unwrap();
    let mut event = fixtures::event(&pod, reason, note);
    event["eventTime"] = format!("2026-11-20T{time}.000000Z").into();
    bench.fake.put(event);
}

/// The pod was bound at 03:05:00; its container is in this state, with this many restarts and this end before.
pub(super) fn container(bench: &Bench, state: &Value, restarts: u32, last: &Value, ready: bool) {
    let holds = if ready { "True" } else { "False" };
    let status = json!({
        "spec": {"nodeName": "gpu-0"},
        "status": {
            "phase": if state["running"].is_null() { "Pending" } else { "Running" },
            "conditions": [
                {"type": "PodScheduled", "status": "True", "lastTransitionTime": at("03:05:00")},
                {"type": "PodReadyToStartContainers", "status": "True", "lastTransitionTime": at("03:05:10")},
                {"type": "Ready", "status": holds, "lastTransitionTime": at("03:20:00")},
            ],
            "containerStatuses": [{
                "name": "vllm", "ready": ready, "started": ready, "restartCount": restarts,
                "state": state, "lastState": last,
            }],
        },
    });
    bench.fake.merge(&format!("pods/{HERE}/{POD}"), &status);
}

fn stages(b: &Backend) -> Vec<String> {
    let State::Waking(wake) = &b.state else {
        return vec![b.state.word().to_owned()];
    };
    let one = |it: &fleetctl::fleet::wake::StageSpan| {
        let ended = it.ended.map(|it| format!(" to {}", it.format("%H:%M:%S")));
        format!(
            "{} {}{}",
            it.stage.word(),
            it.began.format("%H:%M:%S"),
            ended.unwrap_or_default()
        )
    };
    wake.stages.iter().map(one).collect()
}

pub(super) async fn sees_stages(open: &Open, wanted: &[&str]) {
    sees_stages_of(open, "llm/chat", wanted).await;
}

pub(super) async fn sees_stages_of(open: &Open, id: &str, wanted: &[&str]) {
    open.sees(id, &format!("{wanted:?}"), |b| stages(b) == wanted)
        .await;
}

fn trouble(b: &Backend) -> String {
    let State::Failed(failure) = &b.state else {
        let found = b.place.as_ref().and_then(|it| it.trouble.as_ref());
        return found.map_or_else(String::new, |it| format!("{} ({})", it.what, it.hint));
    };
    format!("failed: {}", failure.reason)
}

pub(super) async fn sees_trouble(open: &Open, wanted: &str) {
    open.sees("llm/chat", wanted, |b| trouble(b) == wanted)
        .await;
}

#[tokio::test]
async fn a_start_is_told_stage_by_stage_with_its_times() {
    let (bench, open) = begun().await;
    sees_stages(&open, &["queued 03:00:00"]).await;
    event(
        &bench,
        "TriggeredScaleUp",
        "pod triggered scale-up: [{gpu 0->1 (max: 4)}]",
        "03:00:09",
    );
    sees_stages(&open, &["queued 03:00:00 to 03:00:09", "node 03:00:09"]).await;
    let told = open.now().backends[0].place.as_ref().unwrap().told.clone();
    let told: Vec<String> = told
        .iter()
        .map(|it| format!("{} {} {}", it.reason, it.of, it.note))
        .collect();
    let note = "pod triggered scale-up: [{gpu 0->1 (max: 4)}]";
    assert_eq!(told, [format!("TriggeredScaleUp {POD} {note}")]);
    container(
        &bench,
        &json!({"waiting": {"reason": "ContainerCreating"}}),
        0,
        &json!({}),
        false,
    );
    event(
        &bench,
        "Pulling",
        "Pulling image \"vllm/vllm-openai:v0.14.1\"",
        "03:05:12",
    );
    sees_stages(
        &open,
        &[
            "queued 03:00:00 to 03:00:09",
            "node 03:00:09 to 03:05:12",
            "image 03:05:12",
        ],
    )
    .await;
    let note = "Successfully pulled image \"vllm/vllm-openai:v0.14.1\" in 3m1s (3m1s including waiting). Image size: 9871231004 bytes.";
    event(&bench, "Pulled", note, "03:08:13");
    container(
        &bench,
        &json!({"running": {"startedAt": at("03:08:20")}}),
        0,
        &json!({}),
        false,
    );
    sees_stages(
        &open,
        &[
            "queued 03:00:00 to 03:00:09",
            "node 03:00:09 to 03:05:12",
            "image 03:05:12 to 03:08:20",
            "start 03:08:20",
        ],
    )
    .await;
    // Startup probes that fail meanwhile are how it is.
    event(
        &bench,
        "Unhealthy",
        "Startup probe failed: connection refused",
        "03:09:00",
    );
    sees_trouble(&open, "").await;
    container(
        &bench,
        &json!({"running": {"startedAt": at("03:08:20")}}),
        0,
        &json!({}),
        true,
    );
    sees_stages(&open, &["warm"]).await;
}

#[tokio::test]
async fn a_pod_that_no_machine_has_room_for_says_so() {
    let (bench, open) = begun().await;
    let note = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu. preemption: 0/3 nodes are available.";
    event(&bench, "FailedScheduling", note, "03:00:01");
    sees_trouble(
        &open,
        &format!("no machine has room (FailedScheduling): {note} (wait for a machine to be made, or free one; `kubectl describe pod` has the whole list)"),
    )
    .await;
    event(
        &bench,
        "NotTriggerScaleUp",
        "pod didn't trigger scale-up: 1 max node group size reached",
        "03:00:12",
    );
    sees_trouble(
        &open,
        "no machine fits and none will come: pod didn't trigger scale-up: 1 max node group size reached (check the node pool's limits, its quota, taints and the pod's node selector)",
    )
    .await;
    event(
        &bench,
        "TriggeredScaleUp",
        "pod triggered scale-up",
        "03:01:00",
    );
    sees_trouble(&open, "").await;
}

#[tokio::test]
async fn what_a_container_waits_for_is_said_in_plain_words() {
    let (bench, open) = begun().await;
    let waits =
        |reason: &str, message: &str| json!({"waiting": {"reason": reason, "message": message}});
    container(
        &bench,
        &waits(
            "ImagePullBackOff",
            "Back-off pulling image \"vllm/vllm-openai:nope\"",
        ),
        0,
        &json!({}),
        false,
    );
    sees_trouble(
        &open,
        "its image cannot be pulled (ImagePullBackOff): Back-off pulling image \"vllm/vllm-openai:nope\" (check the image's name and tag, and the pull secret)",
    )
    .await;
    container(
        &bench,
        &waits(
            "CreateContainerConfigError",
            "secret \"huggingface\" not found",
        ),
        0,
        &json!({}),
        false,
    );
    sees_trouble(
        &open,
        "its container cannot be made (CreateContainerConfigError): secret \"huggingface\" not found (check the Secrets, ConfigMaps and volumes that it names)",
    )
    .await;
    let end = |code: i32, reason: &str| json!({"terminated": {"exitCode": code, "reason": reason, "finishedAt": at("03:10:00")}});
    container(
        &bench,
        &waits("CrashLoopBackOff", "back-off 10s"),
        1,
        &end(1, "Error"),
        false,
    );
    sees_trouble(
        &open,
        "its engine ended with status 1 (Error), once (its log says why (l))",
    )
    .await;
    container(
        &bench,
        &json!({"running": {"startedAt": at("03:11:00")}}),
        1,
        &end(137, "OOMKilled"),
        false,
    );
    sees_trouble(
        &open,
        "its engine was killed for want of memory (OOMKilled), once (raise the memory limit: weights pass through it on their way to the GPU)",
    )
    .await;
    // Twice is no accident.
    container(
        &bench,
        &waits("CrashLoopBackOff", "back-off 20s"),
        2,
        &end(137, "OOMKilled"),
        false,
    );
    sees_trouble(
        &open,
        "failed: its engine was killed for want of memory (OOMKilled), 2 times; raise the memory limit: weights pass through it on their way to the GPU",
    )
    .await;
}

#[tokio::test]
async fn a_startup_probe_that_is_too_short_is_named_as_the_cause() {
    let (bench, open) = begun().await;
    let probe = json!({"initialDelaySeconds": 0, "periodSeconds": 10, "failureThreshold": 6, "httpGet": {"path": "/health", "port": 8000}});
    let mut owner = bench.fake.get("deployments/llm/chat").unwrap();
    owner["spec"]["template"]["spec"]["containers"][0]["startupProbe"] = probe;
    bench.fake.put(owner);
    container(
        &bench,
        &json!({"running": {"startedAt": at("03:08:20")}}),
        0,
        &json!({}),
        false,
    );
    sees_trouble(
        &open,
        "its startup probe ends it after 1:00, before its budget does (raise startupProbe.failureThreshold × periodSeconds)",
    )
    .await;
    event(
        &bench,
        "Killing",
        "Container vllm failed startup probe, will be restarted",
        "03:09:20",
    );
    let end =
        json!({"terminated": {"exitCode": 137, "reason": "Error", "finishedAt": at("03:09:50")}});
    container(
        &bench,
        &json!({"running": {"startedAt": at("03:09:51")}}),
        1,
        &end,
        false,
    );
    sees_trouble(
        &open,
        "its startup probe kills it after 1:00, once: it needs longer than that to load (raise startupProbe.failureThreshold × periodSeconds past the time a start takes)",
    )
    .await;
}

#[tokio::test]
async fn a_pod_that_was_taken_away_says_who_took_it() {
    let (bench, open) = begun().await;
    let gone = json!({"status": {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}});
    bench.fake.merge(&format!("pods/{HERE}/{POD}"), &gone);
    sees_trouble(
        &open,
        "its pod was taken away (Evicted): The node was low on resource: memory. (on spot machines this happens; the hosted side carries on until a new pod is ready)",
    )
    .await;
    // The next one is made at once: why there is one stays said for as long as it is not ready.
    let ended = chrono::Utc::now().to_rfc3339();
    let taken = json!({"status": {"conditions": [
        {"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet", "lastTransitionTime": ended},
    ]}});
    bench.fake.merge(&format!("pods/{HERE}/{POD}"), &taken);
    let mut next = bench.fake.get(&format!("pods/{HERE}/{POD}")).unwrap();
    next["metadata"]["name"] = "chat-1".into();
    next["metadata"]["uid"] = "chat-1".into();
    next["metadata"]["creationTimestamp"] = ended.into();
    next["status"] = json!({"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes are available"},
    ]});
    let next = bench.fake.put(next);
    let note = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.";
    bench
        .fake
        .put(fixtures::event(&next, "FailedScheduling", note));
    sees_trouble(
        &open,
        &format!("no machine has room (FailedScheduling): {note}; its pod was taken away (Evicted): The node was low on resource: memory. (wait for a machine to be made, or free one; `kubectl describe pod` has the whole list)"),
    )
    .await;
}

#[tokio::test]
async fn what_was_lost_with_its_machine_is_no_failure_of_the_engine() {
    let (bench, open) = begun().await;
    let runs = json!({"running": {"startedAt": at("03:11:00")}});
    let lost = json!({"terminated": {"exitCode": 255, "reason": "Unknown", "startedAt": at("03:06:00"), "finishedAt": at("03:11:00")}});
    container(&bench, &runs, 5, &lost, false);
    sees_trouble(
        &open,
        "its engine was lost with its machine or the container runtime there, and starts anew (nothing, where that was meant: its stages say how far it is)",
    )
    .await;
    // Five times in its life, and it ran for days since: no loop.
    let ended = json!({"terminated": {"exitCode": 1, "reason": "Error", "startedAt": "2026-11-18T03:00:00Z", "finishedAt": at("03:11:00")}});
    container(&bench, &runs, 5, &ended, false);
    sees_trouble(
        &open,
        "its engine ended with status 1 (Error), 5 times (its log says why (l))",
    )
    .await;
}

#[tokio::test]
async fn a_machine_that_does_not_answer_is_named() {
    let (bench, open) = begun().await;
    let runs = json!({"running": {"startedAt": at("03:11:00")}});
    container(&bench, &runs, 0, &json!({}), true);
    open.sees("llm/chat", "is warm", |b| b.state.word() == "warm")
        .await;
    // As the node controller writes it, to the node and then to its pods.
    let silent = json!({"status": {"conditions": [{"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown", "lastTransitionTime": at("04:00:00")}]}});
    bench.fake.merge("nodes/gpu-0", &silent).unwrap();
    container(&bench, &runs, 0, &json!({}), false);
    sees_trouble(
        &open,
        "failed: its machine gpu-0 is NotReady since 04:00:00; take its weight off (r): its pods are made elsewhere about 5 minutes after that, where there is room",
    )
    .await;
    let well = json!({"status": {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": at("04:02:00")}]}});
    bench.fake.merge("nodes/gpu-0", &well).unwrap();
    container(&bench, &runs, 0, &json!({}), true);
    open.sees("llm/chat", "is warm again", |b| b.state.word() == "warm")
        .await;
}
