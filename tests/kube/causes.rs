//! Why a backend has no pod, or a pod no engine: what belongs to the pod, and what does not.

use chrono::{SecondsFormat, TimeDelta, Utc};
use fleetctl::fleet::Command;
use serde_json::{Value, json};

use super::bench::{Bench, Open};
use super::stages::{POD, at, begun, container, event, sees_stages, sees_trouble};
use super::yard::{HERE, deployment, put};
use crate::fake_kube::fixtures;

/// So many seconds ago.
fn ago(seconds: i64) -> String {
    let at = Utc::now() - TimeDelta::seconds(seconds);
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[tokio::test]
async fn what_a_former_pod_of_the_same_name_was_told_is_not_told_of_it() {
    let (bench, _) = begun().await;
    event(
        &bench,
        "TriggeredScaleUp",
        "pod triggered scale-up",
        "03:00:09",
    );
    let probe = "Container vllm failed startup probe, will be restarted";
    event(&bench, "Killing", probe, "03:09:20");
    // Something that does not say which it regards, before there was this one.
    let path = format!("pods/{HERE}/{POD}");
    let former = bench.fake.get(&path).unwrap();
    let unnamed = |reason: &str, time: &str| {
        let mut it = fixtures::event(&former, reason, "a new machine");
        it["regarding"].as_object_mut().unwrap().remove("uid");
        it["eventTime"] = at(time).into();
        bench.fake.put(it);
    };
    unnamed("Nominated", "03:00:10");
    bench.fake.delete(&path);
    let mut next = former.clone();
    next["metadata"]["uid"] = "another".into();
    next["metadata"]["creationTimestamp"] = at("03:04:00").into();
    bench.fake.put(next);
    let open = bench.fleet().await;
    sees_stages(&open, &["queued 03:04:00"]).await;
    unnamed("TriggeredScaleUp", "03:04:09");
    sees_stages(&open, &["queued 03:04:00 to 03:04:09", "node 03:04:09"]).await;
    let ended =
        json!({"terminated": {"exitCode": 1, "reason": "Error", "finishedAt": at("03:10:00")}});
    let running = json!({"running": {"startedAt": at("03:11:00")}});
    container(&bench, &running, 1, &ended, false);
    sees_trouble(
        &open,
        "its engine ended with status 1 (Error), once (its log says why (l))",
    )
    .await;
}

#[tokio::test]
async fn why_an_engine_ended_is_read_for_each_pod_of_a_name() {
    let (bench, open) = begun().await;
    let (path, pod) = (format!("pods/{HERE}/{POD}"), format!("{HERE}/{POD}"));
    let first = bench.fake.get(&path).unwrap();
    let crashed = |said: &str| {
        bench.fake.log(&pod, said);
        bench.fake.restart_log(&pod);
        let ended =
            json!({"terminated": {"exitCode": 1, "reason": "Error", "finishedAt": at("03:10:00")}});
        let running = json!({"running": {"startedAt": at("03:11:00")}});
        container(&bench, &running, 1, &ended, false);
    };
    crashed("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.");
    sees_trouble(
        &open,
        "the GPU's memory does not suffice, once: CUDA out of memory; lower --gpu-memory-utilization or --max-num-seqs, or take more or larger GPUs (lower --gpu-memory-utilization or --max-model-len, or use more GPUs)",
    )
    .await;
    // Nobody hears of its end: a watch that was too old is listed anew, and there is another.
    bench.fake.stop().await;
    bench.fake.delete(&path);
    let mut next = first.clone();
    next["metadata"]["uid"] = "another".into();
    bench.fake.put(next);
    crashed("OSError: You are trying to access a gated repo.");
    bench.fake.expire_everything();
    bench.fake.restart().await;
    open.sees("llm/chat", "has another reason", |b| {
        let trouble = b.place.as_ref().and_then(|it| it.trouble.as_ref());
        trouble.is_some_and(|it| it.what.starts_with("its engine ended, once: "))
    })
    .await;
}

#[tokio::test]
async fn a_sidecar_is_no_stage_of_a_start_and_no_part_of_the_engine() {
    let (bench, open) = begun().await;
    let waits = json!({"waiting": {"reason": "PodInitializing"}});
    container(&bench, &waits, 0, &json!({}), false);
    let init = |sidecar: &Value, weights: &Value| {
        let ended = json!({"terminated": {"exitCode": 1, "reason": "Error"}});
        let change = json!({
            "spec": {"initContainers": [
                {"name": "istio-proxy", "restartPolicy": "Always"},
                {"name": "weights"},
            ]},
            "status": {"initContainerStatuses": [
                {"name": "istio-proxy", "restartCount": 1, "state": sidecar, "lastState": ended},
                {"name": "weights", "restartCount": 0, "state": weights},
            ]},
        });
        bench.fake.merge(&format!("pods/{HERE}/{POD}"), &change);
    };
    let back_off =
        json!({"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling"}});
    init(&back_off, &waits);
    sees_trouble(
        &open,
        "its sidecar istio-proxy: its image cannot be pulled (ImagePullBackOff): Back-off pulling (check the image's name and tag, and the pull secret)",
    )
    .await;
    // It runs, after a restart of its own: that is no crash of the engine, nor its start.
    let running = |time: &str| json!({"running": {"startedAt": at(time)}});
    init(&running("03:05:11"), &waits);
    sees_trouble(&open, "").await;
    sees_stages(&open, &["queued 03:00:00 to 03:05:10", "image 03:05:10"]).await;
    init(&running("03:05:11"), &running("03:06:00"));
    let started = ["queued 03:00:00 to 03:06:00", "start 03:06:00"];
    sees_stages(&open, &started).await;
    sees_trouble(&open, "").await;
}

const QUOTA: &str = "is forbidden: exceeded quota: gpu-quota, requested: requests.nvidia.com/gpu=4, used: requests.nvidia.com/gpu=8, limited: requests.nvidia.com/gpu=8";
const PLAINLY: &str = "its pods may not be made: exceeded quota: gpu-quota, requested: requests.nvidia.com/gpu=4, used 8, limited 8 (raise the quota or wait for another to sleep)";

/// What makes pods says that it could not.
fn refused(bench: &Bench, by: &Value, note: &str, first: i64, last: i64) {
    let mut it = fixtures::event(by, "FailedCreate", note);
    it["eventTime"] = Value::Null;
    it["deprecatedFirstTimestamp"] = ago(first).into();
    it["deprecatedLastTimestamp"] = ago(last).into();
    bench.fake.put(it);
}

#[tokio::test]
async fn pods_that_may_not_be_made_say_why() {
    let bench = Bench::start().await;
    put(&bench.fake, "node gpu-0");
    let owner = bench.fake.put(deployment("chat", 1));
    let set = bench.fake.put(fixtures::vllm_replica_set(&owner));
    let open = bench.fleet().await;
    sees_trouble(&open, "").await;
    let name = set["metadata"]["name"].as_str().unwrap();
    let quota = format!("Error creating: pods \"{name}-x\" {QUOTA}");
    // A quota is free again once another sleeps, however long that takes.
    refused(&bench, &set, &quota, 1200, 5);
    sees_trouble(&open, PLAINLY).await;
    // What was asked for anew was not refused yet.
    put(
        &bench.fake,
        "merge deployments/llm/chat {\"spec\":{\"replicas\":0}}",
    );
    sees_trouble(&open, "").await;
    put(
        &bench.fake,
        "merge deployments/llm/chat {\"spec\":{\"replicas\":1}}",
    );
    open.sees("llm/chat", "is asked for", |b| {
        b.place
            .as_ref()
            .is_some_and(|it| it.wanted == 1 && it.trouble.is_none())
    })
    .await;
    // A policy does not change by itself.
    let policy = format!(
        "pods \"{name}-x\" is forbidden: violates PodSecurity \"restricted:latest\": runAsNonRoot != true"
    );
    let condition = json!({"status": {"conditions": [{
        "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate",
        "message": policy, "lastTransitionTime": ago(600),
    }]}});
    bench.fake.merge("deployments/llm/chat", &condition);
    sees_trouble(
        &open,
        "failed: its pods may not be made: violates PodSecurity \"restricted:latest\": runAsNonRoot != true; change the pod's securityContext, or what the namespace enforces",
    )
    .await;
    let again = Command::Wake {
        backend: "llm/chat".into(),
    };
    let refusal = open.ask(again).await.unwrap_err();
    assert!(
        refusal
            .what
            .starts_with("it is asked for already: its pods may not be made"),
        "{refusal:?}"
    );
    let none = json!({"status": {"conditions": []}});
    bench.fake.merge("deployments/llm/chat", &none);
    bench.fake.put(fixtures::vllm_pod(&set, POD, "gpu-0"));
    sees_trouble(&open, "").await;
}

#[tokio::test]
async fn whatever_makes_pods_says_why_it_may_not() {
    let bench = Bench::start().await;
    put(&bench.fake, "statefulset chat 1");
    let set = bench.fake.get("statefulsets/llm/chat").unwrap();
    let note =
        format!("create Pod chat-0 in StatefulSet chat failed error: pods \"chat-0\" {QUOTA}");
    refused(&bench, &set, &note, 5, 5);
    let open = bench.fleet().await;
    sees_trouble(&open, PLAINLY).await;
    // The workers of a group of a LeaderWorkerSet, whose leader is there.
    let bench = Bench::start().await;
    put(&bench.fake, "lws chat 1 2");
    let mut leader = fixtures::vllm_pod(&set, "chat-0", "gpu-0");
    leader["metadata"]["labels"] = json!({
        "leaderworkerset.sigs.k8s.io/name": "chat", "leaderworkerset.sigs.k8s.io/worker-index": "0",
    });
    bench.fake.put(leader);
    let mut set = set;
    set["metadata"]["name"] = "chat-0".into();
    refused(&bench, &set, &note, 5, 5);
    let open = bench.fleet().await;
    sees_trouble(&open, PLAINLY).await;
    // KServe, where not even the Deployment could be made.
    let bench = Bench::start().await;
    put(&bench.fake, "llm chat 1");
    bench.fake.delete("deployments/llm/chat-kserve");
    let status = json!({"status": {"conditions": [
        {"type": "Ready", "status": "False", "reason": "MinimumReplicasUnavailable", "message": "no"},
        {"type": "MainWorkloadReady", "status": "False", "reason": "ReconcileError",
         "message": format!("failed to create: deployments.apps \"chat-kserve\" {QUOTA}"),
         "lastTransitionTime": ago(5)},
    ]}});
    bench.fake.merge("llminferenceservices/llm/chat", &status);
    let open = bench.fleet().await;
    sees_trouble(&open, PLAINLY).await;
}

/// A model whose one pod is ready on a spot machine.
async fn on_spot() -> (Bench, Open, Value) {
    let bench = Bench::start().await;
    let kind = "Standard_NC40ads_H100_v5";
    let node = fixtures::gpu_node("gpu-0", kind, "swedencentral", 8, true);
    bench.fake.put(node);
    let owner = bench.fake.put(deployment("chat", 1));
    let set = bench.fake.put(fixtures::vllm_replica_set(&owner));
    bench.fake.put(fixtures::vllm_pod(&set, POD, "gpu-0"));
    let open = bench.fleet().await;
    sees_stages(&open, &["warm"]).await;
    (bench, open, set)
}

fn disrupt(bench: &Bench, reason: &str, message: &str) {
    let change = json!({"status": {"conditions": [
        {"type": "DisruptionTarget", "status": "True", "reason": reason, "message": message, "lastTransitionTime": ago(20)},
        {"type": "Ready", "status": "False", "lastTransitionTime": ago(20)},
    ]}});
    bench.fake.merge(&format!("pods/{HERE}/{POD}"), &change);
}

#[tokio::test]
async fn a_pod_that_was_evicted_is_remembered_until_its_successor_is_ready() {
    const HINT: &str = "spot machines are taken back at any time; the hosted side carries on until a new pod is ready";
    let (bench, open, set) = on_spot().await;
    disrupt(&bench, "EvictionByEvictionAPI", "Eviction API: evicting");
    let going = json!({"metadata": {"deletionTimestamp": ago(19)}});
    let path = format!("pods/{HERE}/{POD}");
    bench.fake.merge(&path, &going);
    let what = "its pod was taken away from the spot machine gpu-0 (EvictionByEvictionAPI): Eviction API: evicting";
    sees_trouble(&open, &format!("{what} ({HINT})")).await;
    bench.fake.delete(&path);
    let mut next = fixtures::vllm_pod(&set, "chat-1", "gpu-1");
    next["metadata"]["creationTimestamp"] = ago(18).into();
    let ready = next["status"].clone();
    next["spec"].as_object_mut().unwrap().remove("nodeName");
    next["status"] = json!({"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes are available"},
    ]});
    bench.fake.put(next);
    sees_trouble(
        &open,
        &format!("no machine has room (FailedScheduling): 0/1 nodes are available; {what} (wait for a machine to be made, or free one; `kubectl describe pod` has the whole list)"),
    )
    .await;
    bench
        .fake
        .merge("pods/llm/chat-1", &json!({"status": ready}));
    sees_stages(&open, &["warm"]).await;
    // The next start has reasons of its own.
    bench
        .fake
        .merge("pods/llm/chat-1", &json!({"status": {"conditions": []}}));
    open.sees("llm/chat", "is down", |b| {
        b.place.as_ref().is_some_and(|it| it.ready == 0)
    })
    .await;
    sees_trouble(&open, "").await;
}

#[tokio::test]
async fn a_pod_whose_machine_went_first_was_taken_away_too() {
    let (bench, open, _) = on_spot().await;
    bench.fake.delete("nodes/gpu-0");
    open.see("no machine", |fleet| {
        fleet.backends[0]
            .place
            .as_ref()
            .is_some_and(|it| !it.nodes.iter().any(|it| it.spot))
    })
    .await;
    disrupt(&bench, "DeletionByPodGC", "PodGC: node no longer exists");
    bench.fake.delete(&format!("pods/{HERE}/{POD}"));
    sees_trouble(
        &open,
        "its pod was taken away from the spot machine gpu-0 (DeletionByPodGC): PodGC: node no longer exists (spot machines are taken back at any time; the hosted side carries on until a new pod is ready)",
    )
    .await;
}
