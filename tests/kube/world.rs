//! Everybody else on a cluster: its scheduler, its gateways, KEDA, KAITO, KServe and Knative, as far as they matter here.
//!
//! Each looks at what there is and puts what is missing; what is settled stays as it is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;

use super::engines::Engines;
use super::router;
use super::yard::{HERE, belonging, statefulset};
use crate::fake_kube::{Controllers, FakeKube, fixtures};

/// Who may stand still, or be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Who {
    /// Pods do not come up by themselves.
    Kubelet,
    /// Gateways do not take what changes.
    Gateways,
    /// HorizontalPodAutoscalers have no metrics.
    Metrics,
    /// KEDA does nothing.
    Keda,
    /// A router may not label pods.
    Labels,
    /// KEDA's triggers are silent, and have been for long: what nobody forces goes to zero.
    Traffic,
    /// Knative is older than 1.21: what is written on a revision reaches nobody.
    Revisions,
}

/// They at work; dropped, they stop.
pub(crate) struct World {
    _task: AbortOnDropHandle<()>,
    _controllers: Controllers,
}

/// Sets them to work, but for some.
pub(crate) fn live(fake: &Arc<FakeKube>, engines: &Engines, without: &[Who]) -> World {
    let without = without.to_vec();
    router::serve(fake, engines, !without.contains(&Who::Labels));
    let engines = engines.clone();
    let controllers = fake.controllers();
    let fake = Arc::clone(fake);
    let task = tokio::spawn(async move {
        loop {
            let before = fake.version();
            turn(&fake, &engines, &without);
            let moved = |it: &FakeKube| it.version() != before;
            fake.wait_for(moved, Duration::from_secs(3600)).await;
        }
    });
    World {
        _task: AbortOnDropHandle::new(task),
        _controllers: controllers,
    }
}

/// Whether every workload has its pods, all of them ready, and no others.
pub(crate) fn is_settled(fake: &FakeKube) -> bool {
    let wanted: u64 = ["deployments", "statefulsets"]
        .iter()
        .flat_map(|it| fake.all(it))
        .map(|it| it["spec"]["replicas"].as_u64().unwrap_or(1))
        .sum();
    let grouped: u64 = fake
        .all("leaderworkersets")
        .iter()
        .map(|it| {
            let size = it["spec"]["leaderWorkerTemplate"]["size"].as_u64().unwrap();
            it["spec"]["replicas"].as_u64().unwrap() * size
        })
        .sum();
    let pods = fake.all("pods");
    pods.len() as u64 == wanted + grouped && pods.iter().all(is_ready)
}

fn is_ready(pod: &Value) -> bool {
    let all = pod["status"]["conditions"].as_array();
    all.is_some_and(|all| {
        all.iter()
            .any(|it| it["type"] == "Ready" && it["status"] == "True")
    })
}

fn text<'a>(it: &'a Value, path: &str) -> &'a str {
    it.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

fn name(it: &Value) -> &str {
    text(it, "/metadata/name")
}

fn turn(fake: &FakeKube, engines: &Engines, without: &[Who]) {
    let has = |who| !without.contains(&who);
    if has(Who::Kubelet) {
        for pod in fake.all("pods") {
            if pod["spec"]["nodeName"].is_null() {
                bring_up(fake, engines, &pod);
            }
        }
    }
    if has(Who::Gateways) {
        gateways(fake);
    }
    hpas(fake, has(Who::Metrics));
    if has(Who::Keda) {
        keda(fake, has(Who::Traffic));
    }
    kaito(fake);
    kserve(fake);
    if has(Who::Revisions) {
        knative(fake);
    }
}

/// A pod comes up, and has a page.
fn bring_up(fake: &FakeKube, engines: &Engines, pod: &Value) {
    let place = format!("{}/{}", text(pod, "/metadata/namespace"), name(pod));
    let label = |key: &str| pod["metadata"]["labels"][key].as_str();
    let of = label(MADE_BY)
        .or(label("serving.kserve.io/inferenceservice"))
        .or(label("app.kubernetes.io/name")
            .filter(|_| label("app.kubernetes.io/part-of").is_some()))
        .or(label("serving.knative.dev/service"))
        .or(label("app.kubernetes.io/instance"));
    let backend = format!("{HERE}/{}", of.unwrap_or_default());
    let engines = engines.clone();
    let pod = place.clone();
    fake.on_proxy(&place, move |method, path, query| {
        engines.answer(&engines.of(&backend, &pod), method, path, query)
    });
    fake.bring_up(&place, "gpu-0");
}

/// Merges where that changes anything.
fn settle(fake: &FakeKube, path: &str, change: &Value) {
    let Some(now) = fake.get(path) else { return };
    let mut new = now.clone();
    json_patch::merge(&mut new, change);
    if new != now {
        fake.merge(path, change);
    }
}

fn replicas(fake: &FakeKube, path: &str) -> Option<u64> {
    Some(fake.get(path)?["spec"]["replicas"].as_u64().unwrap_or(1))
}

fn scale(fake: &FakeKube, path: &str, to: u64) {
    settle(fake, path, &json!({"spec": {"replicas": to}}));
}

/// Every gateway sees the newest version, and an AIGatewayRoute becomes an HTTPRoute.
fn gateways(fake: &FakeKube) {
    for route in fake.all("aigatewayroutes") {
        let mut made = fixtures::http_route(HERE, name(&route), &[]);
        made["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "aigateway.envoyproxy.io/v1beta1", "kind": "AIGatewayRoute",
            "name": name(&route), "uid": route["metadata"]["uid"], "controller": true,
        }]);
        made["spec"]["rules"] = route["spec"]["rules"].clone();
        let path = format!("httproutes/{HERE}/{}", name(&route));
        match fake.get(&path) {
            None => {
                fake.put(made);
            }
            Some(_) => settle(
                fake,
                &path,
                &json!({"spec": {"rules": made["spec"]["rules"]}}),
            ),
        }
    }
    for mut route in fake.all("httproutes") {
        let seen = route["metadata"]["generation"].clone();
        let before = route["status"].clone();
        for parent in route["status"]["parents"]
            .as_array_mut()
            .into_iter()
            .flatten()
        {
            for condition in parent["conditions"].as_array_mut().into_iter().flatten() {
                condition["observedGeneration"] = seen.clone();
            }
        }
        if route["status"] != before {
            fake.merge(
                &format!("httproutes/{HERE}/{}", name(&route)),
                &json!({"status": route["status"]}),
            );
        }
    }
}

/// HorizontalPodAutoscalers stop where there are no replicas, and where there are no metrics.
fn hpas(fake: &FakeKube, metrics_come: bool) {
    for it in fake.all("horizontalpodautoscalers") {
        let Some(now) = replicas(fake, &target(&it)) else {
            continue;
        };
        let (status, reason) = match (now, metrics_come) {
            (0, _) => ("False", "ScalingDisabled"),
            (_, false) => ("False", "FailedGetPodsMetric"),
            (_, true) => ("True", "ValidMetricFound"),
        };
        let mut new = it["status"].clone();
        for condition in new["conditions"].as_array_mut().into_iter().flatten() {
            if condition["type"] == "ScalingActive" {
                condition["status"] = status.into();
                condition["reason"] = reason.into();
            }
        }
        let path = format!("horizontalpodautoscalers/{HERE}/{}", name(&it));
        settle(fake, &path, &json!({"status": new}));
    }
}

/// What an autoscaler scales.
fn target(it: &Value) -> String {
    let target = &it["spec"]["scaleTargetRef"];
    let plural = match text(target, "/kind") {
        "InferenceSet" => "inferencesets",
        "StatefulSet" => "statefulsets",
        "LeaderWorkerSet" => "leaderworkersets",
        _ => "deployments",
    };
    format!("{plural}/{HERE}/{}", text(target, "/name"))
}

/// KEDA: what it is paused at, and its least number; its triggers are silent, and a forced activation is at its next poll.
fn keda(fake: &FakeKube, traffic: bool) {
    for it in fake.all("scaledobjects") {
        let path = target(&it);
        let Some(now) = replicas(fake, &path) else {
            continue;
        };
        let set = |key: &str| {
            it["metadata"]["annotations"][format!("autoscaling.keda.sh/{key}")].as_str()
        };
        if let Some(held) = set("paused-replicas") {
            scale(fake, &path, held.parse().unwrap());
        } else if set("paused") != Some("true") {
            let least = it["spec"]["minReplicaCount"].as_u64().unwrap_or(0);
            let active = &it["status"]["lastActiveTime"];
            if set("force-activation") == Some("true") && active.is_null() {
                let path = format!("scaledobjects/{HERE}/{}", name(&it));
                let now = chrono::Utc::now().to_rfc3339();
                settle(fake, &path, &json!({"status": {"lastActiveTime": now}}));
            }
            // Its cooldown is counted from when it was active last.
            let idle = !traffic && set("force-activation").is_none() && active.is_null();
            if now < least || idle {
                scale(fake, &path, least);
            }
        }
    }
}

const MADE_BY: &str = "inferenceset.kaito.sh/created-by";

/// KAITO: a set's replicas are workspaces, and a workspace has a StatefulSet.
fn kaito(fake: &FakeKube) {
    for set in fake.all("inferencesets") {
        let wanted = set["spec"]["replicas"].as_u64().unwrap_or(1);
        let names: Vec<String> = (0..wanted).map(|i| format!("{}-{i}", name(&set))).collect();
        for one in &names {
            if fake.get(&format!("workspaces/{HERE}/{one}")).is_none() {
                let mut it = fixtures::workspace(HERE, one, "phi-4", "Standard_NC40ads_H100_v5");
                it["metadata"]["labels"] = json!({MADE_BY: name(&set)});
                fake.put(it);
            }
        }
        for it in fake.all("workspaces") {
            let mine = it["metadata"]["labels"][MADE_BY] == name(&set);
            let of = |node: &Value| node["metadata"]["labels"]["kaito.sh/workspace"] == name(&it);
            let billed = fake.all("nodes").iter().any(of);
            if mine && billed && !names.iter().any(|one| one == name(&it)) {
                // It goes when its machines have gone.
                fake.delete(&format!("statefulsets/{HERE}/{}", name(&it)));
            } else if mine && !names.iter().any(|one| one == name(&it)) {
                fake.delete(&format!("statefulsets/{HERE}/{}", name(&it)));
                fake.delete(&format!("workspaces/{HERE}/{}", name(&it)));
            }
        }
    }
    for it in fake.all("workspaces") {
        let wanted = |set: &Value| {
            set["metadata"]["name"] == it["metadata"]["labels"][MADE_BY]
                && set["spec"]["replicas"] == 0
        };
        let leaves = fake.all("inferencesets").iter().any(wanted);
        if !leaves
            && fake
                .get(&format!("statefulsets/{HERE}/{}", name(&it)))
                .is_none()
        {
            let set = it["metadata"]["labels"][MADE_BY].as_str();
            let mut labels = json!({"kaito.sh/workspace": name(&it)});
            if let Some(set) = set {
                labels[MADE_BY] = set.into();
            }
            let machines = it["status"]["targetNodeCount"].as_u64().unwrap_or(1) as u32;
            let mut made = statefulset(name(&it), machines, &labels);
            made["metadata"]["ownerReferences"] = json!([{
                "apiVersion": "kaito.sh/v1beta1", "kind": "Workspace", "name": name(&it),
                "uid": it["metadata"]["uid"], "controller": true,
            }]);
            fake.put(made);
        }
    }
}

/// KServe in Standard mode, and LLMInferenceServices.
fn kserve(fake: &FakeKube) {
    for it in fake.all("inferenceservices") {
        let notes = &it["metadata"]["annotations"];
        let Some(class) = notes["serving.kserve.io/autoscalerClass"].as_str() else {
            continue;
        };
        let predictor = format!("{}-predictor", name(&it));
        let mut made: BTreeMap<&str, Value> = BTreeMap::new();
        let labels = json!({"serving.kserve.io/inferenceservice": name(&it)});
        let min = it["spec"]["predictor"]["minReplicas"].as_u64().unwrap_or(1) as u32;
        let max = it["spec"]["predictor"]["maxReplicas"].as_u64().unwrap_or(1) as u32;
        let mut deployment = belonging(&predictor, min.max(1), &labels);
        deployment["spec"]["template"]["spec"]["containers"][0]["args"] =
            json!([format!("--model_name={}", name(&it))]);
        made.insert("deployments", deployment);
        match class {
            "hpa" => {
                made.insert(
                    "horizontalpodautoscalers",
                    fixtures::hpa(HERE, &predictor, &predictor, min, max),
                );
            }
            "keda" => {
                made.insert(
                    "scaledobjects",
                    fixtures::scaled_object(HERE, &predictor, &predictor, min, max),
                );
            }
            _ => {}
        }
        let path = |plural: &str| format!("{plural}/{HERE}/{predictor}");
        let stopped = notes["serving.kserve.io/stop"] == "true";
        for (plural, object) in made {
            match (stopped, fake.get(&path(plural)).is_some()) {
                (true, true) => {
                    fake.delete(&path(plural));
                }
                (false, false) => {
                    fake.put(object);
                }
                _ => {}
            }
        }
        if class == "none" && !stopped {
            scale(fake, &path("deployments"), min.into());
        }
        if class == "hpa" && !stopped {
            settle(
                fake,
                &path("horizontalpodautoscalers"),
                &json!({"spec": {"minReplicas": min}}),
            );
        }
    }
    for it in fake.all("llminferenceservices") {
        if let Some(wanted) = it["spec"]["replicas"].as_u64() {
            scale(
                fake,
                &format!("deployments/{HERE}/{}-kserve", name(&it)),
                wanted,
            );
        }
    }
}

/// Knative, when its windows are over: as many as its least number says.
fn knative(fake: &FakeKube) {
    for it in fake.all("revisions") {
        let least = &it["metadata"]["annotations"]["autoscaling.knative.dev/min-scale"];
        let Some(least) = least.as_str() else {
            continue;
        };
        let path = format!("deployments/{HERE}/{}-deployment", name(&it));
        let now = replicas(fake, &path).unwrap_or(0);
        match least.parse::<u64>().unwrap() {
            0 => scale(fake, &path, 0),
            least => scale(fake, &path, now.max(least)),
        }
    }
}
