//! Pods on their way, by hand: what a scheduler and a kubelet would do, with the events they leave.

use serde_json::{Value, json};

use super::FakeKube;
use super::stamp::{now, seed, suffix};

/// A condition of a pod.
fn condition(kind: &str, holds: bool) -> Value {
    json!({
        "type": kind,
        "status": if holds { "True" } else { "False" },
        "lastProbeTime": null,
        "lastTransitionTime": now(),
    })
}

fn conditions(scheduled: bool, ready: bool) -> Value {
    if !scheduled {
        return json!([condition("PodScheduled", false)]);
    }
    json!([
        condition("PodReadyToStartContainers", true),
        condition("Initialized", true),
        condition("Ready", ready),
        condition("ContainersReady", ready),
        condition("PodScheduled", true),
    ])
}

/// The statuses of all containers of a pod, in one state.
fn statuses(pod: &Value, state: &Value, ready: bool) -> Value {
    let containers = pod["spec"]["containers"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let before = |name: &Value| {
        let all = pod["status"]["containerStatuses"].as_array();
        all.into_iter()
            .flatten()
            .find(|s| s["name"] == *name)
            .cloned()
    };
    containers
        .iter()
        .map(|c| {
            let running = state.get("running").is_some();
            let image = c["image"].as_str().unwrap_or_default();
            let restarts = before(&c["name"]).map_or(json!(0), |s| s["restartCount"].clone());
            json!({
                "name": c["name"],
                "image": image,
                "imageID": if running { format!("{image}@sha256:{:064x}", image.len()) } else { String::new() },
                "lastState": {},
                "ready": ready,
                "restartCount": restarts,
                "started": running,
                "state": state,
            })
        })
        .collect()
}

impl FakeKube {
    fn pod(&self, pod: &str) -> (String, Value) {
        let path = format!("pods/{pod}");
        let value = self
            .get(&path)
            .unwrap_or_else(|| panic!("no such pod: {pod}"));
        (path, value)
    }

    /// Leaves an event about a pod, `namespace/name`.
    pub(crate) fn pod_event(&self, pod: &str, kind: &str, reason: &str, note: &str) {
        let (_, value) = self.pod(pod);
        let meta = &value["metadata"];
        let name = meta["name"].as_str().unwrap_or_default();
        self.put(json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": format!("{name}.{}", suffix(self.version(), 16)),
                "namespace": meta["namespace"],
            },
            "involvedObject": {
                "kind": "Pod",
                "apiVersion": "v1",
                "namespace": meta["namespace"],
                "name": name,
                "uid": meta["uid"],
                "resourceVersion": meta["resourceVersion"],
            },
            "reason": reason,
            "message": note,
            "type": kind,
            "source": { "component": "kubelet", "host": value["spec"]["nodeName"] },
            "firstTimestamp": now(),
            "lastTimestamp": now(),
            "count": 1,
            "eventTime": null,
            "reportingComponent": "kubelet",
            "reportingInstance": value["spec"]["nodeName"],
        }));
    }

    /// Leaves a pod unscheduled, with the scheduler's reason.
    pub(crate) fn unschedulable(&self, pod: &str, why: &str) {
        let (path, _) = self.pod(pod);
        let mut condition = condition("PodScheduled", false);
        condition["reason"] = "Unschedulable".into();
        condition["message"] = why.into();
        self.merge(
            &path,
            &json!({ "status": { "phase": "Pending", "conditions": [condition] } }),
        );
        self.pod_event(pod, "Warning", "FailedScheduling", why);
    }

    /// Binds a pod, `namespace/name`, to a node.
    pub(crate) fn schedule(&self, pod: &str, node: &str) {
        let (path, _) = self.pod(pod);
        self.merge(
            &path,
            &json!({
                "spec": { "nodeName": node },
                "status": { "phase": "Pending", "conditions": [condition("PodScheduled", true)] },
            }),
        );
        let text = format!("Successfully assigned {pod} to {node}");
        self.pod_event(pod, "Normal", "Scheduled", &text);
    }

    /// Has its images pulled.
    pub(crate) fn pull(&self, pod: &str) {
        let (path, value) = self.pod(pod);
        let state = json!({ "waiting": { "reason": "ContainerCreating" } });
        self.merge(
            &path,
            &json!({ "status": {
            "phase": "Pending",
            "hostIP": "10.224.0.7",
            "startTime": now(),
            "conditions": conditions(true, false),
            "containerStatuses": statuses(&value, &state, false),
        } }),
        );
        let image = value["spec"]["containers"][0]["image"]
            .as_str()
            .unwrap_or_default();
        self.pod_event(
            pod,
            "Normal",
            "Pulling",
            &format!("Pulling image \"{image}\""),
        );
    }

    /// Starts its containers, not yet ready.
    pub(crate) fn run_pod(&self, pod: &str) {
        self.running(pod, false);
        self.pod_event(pod, "Normal", "Started", "Started container");
    }

    /// Makes it ready.
    pub(crate) fn ready(&self, pod: &str) {
        self.running(pod, true);
    }

    fn running(&self, pod: &str, ready: bool) {
        let (path, value) = self.pod(pod);
        let before = &value["status"]["containerStatuses"][0]["state"]["running"]["startedAt"];
        let since = before.as_str().map_or_else(now, str::to_owned);
        let state = json!({ "running": { "startedAt": since } });
        let spread = seed(pod);
        let ip = value["status"]["podIP"].as_str().map_or_else(
            || format!("10.244.{}.{}", spread % 250 + 1, (spread >> 8) % 250 + 1),
            str::to_owned,
        );
        self.merge(
            &path,
            &json!({ "status": {
            "phase": "Running",
            "podIP": ip,
            "podIPs": [{ "ip": ip }],
            "conditions": conditions(true, ready),
            "containerStatuses": statuses(&value, &state, ready),
        } }),
        );
    }

    /// Has its containers wait for a reason such as `CrashLoopBackOff` or `ImagePullBackOff`.
    pub(crate) fn fail(&self, pod: &str, reason: &str) {
        let (path, value) = self.pod(pod);
        let state =
            json!({ "waiting": { "reason": reason, "message": format!("back-off: {reason}") } });
        let mut statuses = statuses(&value, &state, false);
        if reason == "CrashLoopBackOff" {
            for status in statuses.as_array_mut().into_iter().flatten() {
                let restarts = status["restartCount"].as_u64().unwrap_or(0) + 1;
                status["restartCount"] = restarts.into();
                status["lastState"] = json!({ "terminated": {
                    "exitCode": 1, "reason": "Error", "startedAt": now(), "finishedAt": now(),
                } });
            }
        }
        self.merge(
            &path,
            &json!({ "status": {
            "conditions": conditions(true, false),
            "containerStatuses": statuses,
        } }),
        );
        let event = if reason == "CrashLoopBackOff" {
            "BackOff"
        } else {
            "Failed"
        };
        self.pod_event(pod, "Warning", event, reason);
    }

    /// All the way of a pod, from the scheduler to ready.
    pub(crate) fn bring_up(&self, pod: &str, node: &str) {
        self.schedule(pod, node);
        self.pull(pod);
        self.run_pod(pod);
        self.ready(pod);
    }
}
