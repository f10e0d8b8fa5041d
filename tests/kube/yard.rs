//! What stands on a cluster, in few words: `deployment chat 2`, `hpa chat 1 4`, `route chat chat=90 azure=10`.
//!
//! Everything is in the namespace `llm`. Pods are made by the controllers, not here.

use serde_json::{Value, json};

use super::router;
use crate::fake_kube::{FakeKube, fixtures};

/// Where everything is.
pub(crate) const HERE: &str = "llm";
const MODEL: &str = "Qwen/Qwen3-32B";

/// Puts what a line says.
pub(crate) fn put(fake: &FakeKube, line: &str) {
    let words: Vec<&str> = line.split_whitespace().collect();
    let name = words[1];
    let n = |i: usize| words.get(i).map_or(0, |it| it.parse::<u32>().unwrap());
    match words[0] {
        "node" => {
            fake.put(fixtures::gpu_node(
                name,
                "Standard_ND96isr_H100_v5",
                "swedencentral",
                8,
                false,
            ));
        }
        // One that KAITO made: `machine vm-0 phi-0`.
        "machine" => {
            let mut it =
                fixtures::gpu_node(name, "Standard_NC40ads_H100_v5", "swedencentral", 1, false);
            it["metadata"]["labels"]["kaito.sh/workspace"] = words[2].into();
            it["metadata"]["labels"]["kaito.sh/workspacenamespace"] = HERE.into();
            fake.put(it);
        }
        "deployment" => {
            fake.put(deployment(name, n(2)));
        }
        "sleeper" => {
            let mut it = deployment(name, n(2));
            let container = &mut it["spec"]["template"]["spec"]["containers"][0];
            let args = container["args"].as_array_mut().unwrap();
            args.push("--enable-sleep-mode".into());
            container["env"] = json!([{"name": "VLLM_SERVER_DEV_MODE", "value": "1"}]);
            fake.put(it);
        }
        "statefulset" => {
            fake.put(statefulset(name, n(2), &json!({})));
        }
        "lws" => {
            fake.put(fixtures::lws(HERE, name, MODEL, n(2), n(3)));
        }
        "hpa" => {
            let mut it = fixtures::hpa(HERE, name, words[2], n(3), n(4));
            aim(&mut it, words.get(5).copied());
            fake.put(it);
        }
        "scaledobject" => {
            let mut it = fixtures::scaled_object(HERE, name, words[2], n(3), n(4));
            aim(&mut it, words.get(5).copied());
            fake.put(it);
        }
        "keda" => keda(fake, name),
        "service" => {
            fake.put(fixtures::service(HERE, name));
        }
        "router" => router::put(fake, name, words[2]),
        "hosted" => hosted(fake, name),
        "pool" => {
            let mut it = fixtures::inference_pool(HERE, name, name);
            it["spec"]["selector"]["matchLabels"] = json!({"inferenceset.kaito.sh/created-by": words[2], "apps.kubernetes.io/pod-index": "0"});
            fake.put(it);
        }
        "merge" => {
            let (path, change) = line[6..].split_once(' ').unwrap();
            let change = serde_json::from_str(change).unwrap();
            assert!(fake.merge(path, &change).is_some(), "{line}");
        }
        "object" => {
            fake.put(serde_json::from_str(&line[7..]).unwrap());
        }
        "deny" => fake.deny(name, "*", words[2], None),
        "route" => {
            let targets: Vec<_> = words[2..].iter().map(|it| target(it)).collect();
            fake.put(fixtures::http_route(HERE, name, &targets));
        }
        "airoute" => airoute(fake, name, &words[2..]),
        "fallback" => fallback(fake, name, words[2]),
        "set" => {
            fake.put(fixtures::inference_set(HERE, name, "phi-4", n(2)));
        }
        "workspace" => {
            let mut it = fixtures::workspace(HERE, name, "phi-4", "Standard_NC40ads_H100_v5");
            if words.len() > 2 {
                it["resource"]["count"] = n(2).into();
                it["status"]["targetNodeCount"] = n(2).into();
            }
            fake.put(it);
        }
        "isvc" => isvc(fake, name, n(2), n(3), words[4]),
        "revision" => revision(fake, name, words[2], n(3)),
        "llm" => llm(fake, name, n(2), words.get(3).copied()),
        other => panic!("nobody knows {other}"),
    }
}

/// Has an autoscaler scale another kind than Deployments.
fn aim(it: &mut Value, kind: Option<&str>) {
    let Some(kind) = kind else { return };
    let version = match kind {
        "InferenceSet" => "kaito.sh/v1beta1",
        "LeaderWorkerSet" => "leaderworkerset.x-k8s.io/v1",
        _ => "apps/v1",
    };
    it["spec"]["scaleTargetRef"]["kind"] = kind.into();
    it["spec"]["scaleTargetRef"]["apiVersion"] = version.into();
}

/// `chat=90`, `Backend:azure=10`.
fn target(text: &str) -> (&str, &str, u32) {
    let (who, weight) = text.split_once('=').unwrap();
    let (kind, name) = who.split_once(':').unwrap_or(("Service", who));
    (kind, name, weight.parse().unwrap())
}

pub(crate) fn deployment(name: &str, replicas: u32) -> Value {
    let mut it = fixtures::vllm_deployment(HERE, name, MODEL, replicas);
    it["status"] = json!({});
    it
}

/// A StatefulSet, with more labels for its pods.
pub(crate) fn statefulset(name: &str, replicas: u32, labels: &Value) -> Value {
    let mut it = deployment(name, replicas);
    it["kind"] = "StatefulSet".into();
    it["metadata"]["uid"] = fixtures::uid_of("StatefulSet", HERE, name).into();
    let all = it["spec"]["template"]["metadata"]["labels"]
        .as_object_mut()
        .unwrap();
    all.extend(labels.as_object().unwrap().clone());
    it
}

/// A workload that belongs to somebody: labels on it and on its pods.
pub(crate) fn belonging(name: &str, replicas: u32, labels: &Value) -> Value {
    let mut it = deployment(name, replicas);
    for of in ["/metadata/labels", "/spec/template/metadata/labels"] {
        let all = it.pointer_mut(of).unwrap().as_object_mut().unwrap();
        all.extend(labels.as_object().unwrap().clone());
    }
    it
}

/// KEDA's operator of a version.
fn keda(fake: &FakeKube, version: &str) {
    fake.put(json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "keda-operator", "namespace": "keda", "labels": {"app.kubernetes.io/version": version}},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "keda-operator"}},
            "template": {
                "metadata": {"labels": {"app": "keda-operator"}},
                "spec": {"containers": [{"name": "keda-operator", "image": format!("ghcr.io/kedacore/keda:{version}")}]},
            },
        },
    }));
}

/// Somebody else's API, as Envoy Gateway's Backend.
fn hosted(fake: &FakeKube, name: &str) {
    fake.put(json!({
        "apiVersion": "gateway.envoyproxy.io/v1alpha1",
        "kind": "Backend",
        "metadata": {"name": name, "namespace": HERE},
        "spec": {"endpoints": [{"fqdn": {"hostname": format!("{name}.openai.azure.com"), "port": 443}}]},
    }));
}

/// An AIGatewayRoute to AIServiceBackends: hosted ones for `azure…`, a Service of the cluster for the others.
fn airoute(fake: &FakeKube, name: &str, targets: &[&str]) {
    let targets: Vec<_> = targets.iter().map(|it| target(it)).collect();
    for (_, to, _) in &targets {
        if to.starts_with("azure") {
            hosted(fake, to);
            fake.put(fixtures::ai_service_backend(HERE, to, "AzureOpenAI"));
        } else {
            let mut it = fixtures::ai_service_backend(HERE, to, "OpenAI");
            it["spec"]["backendRef"] = json!({"kind": "Service", "name": to, "port": 80});
            fake.put(it);
        }
    }
    let refs: Vec<_> = targets
        .iter()
        .map(|(_, name, weight)| (*name, *weight, 0))
        .collect();
    fake.put(fixtures::ai_gateway_route(HERE, name, name, &refs));
}

/// Has a target of an AIGatewayRoute come after the others: `fallback chat azure`.
fn fallback(fake: &FakeKube, route: &str, target: &str) {
    let path = format!("aigatewayroutes/{HERE}/{route}");
    let mut it = fake.get(&path).unwrap();
    let refs = it["spec"]["rules"][0]["backendRefs"]
        .as_array_mut()
        .unwrap();
    for one in refs.iter_mut().filter(|it| it["name"] == target) {
        one["priority"] = 1.into();
    }
    fake.put(it);
}

/// A KServe InferenceService as KServe keeps it: `hpa`, `keda`, `none` or `knative`. What is made of it is the world's.
fn isvc(fake: &FakeKube, name: &str, min: u32, max: u32, class: &str) {
    let mut it = fixtures::inference_service(HERE, name, MODEL, min, max);
    if class == "knative" {
        it["metadata"]["annotations"] = json!({"serving.kserve.io/deploymentMode": "Knative"});
        it["status"]["deploymentMode"] = "Knative".into();
    } else {
        it["metadata"]["annotations"] = json!({"serving.kserve.io/autoscalerClass": class});
        it["status"]["deploymentMode"] = "Standard".into();
    }
    fake.put(it);
}

/// A Knative revision of a service, with its Deployment: `revision chat-00001 chat 1`; also one of KServe's.
fn revision(fake: &FakeKube, name: &str, service: &str, replicas: u32) {
    let mut labels = json!({
        "serving.knative.dev/revision": name,
        "serving.knative.dev/service": service,
    });
    if let Some(service) = service.strip_suffix("-predictor") {
        labels["serving.kserve.io/inferenceservice"] = service.into();
    }
    fake.put(json!({
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Revision",
        "metadata": {"name": name, "namespace": HERE, "labels": labels},
        "spec": {"containers": [{"name": "user-container", "image": "vllm/vllm-openai:v0.14.1"}]},
    }));
    fake.put(belonging(&format!("{name}-deployment"), replicas, &labels));
    fake.put(fixtures::service("knative-serving", "activator-service"));
}

/// A KServe LLMInferenceService; with `scaled` an autoscaler has its replicas.
fn llm(fake: &FakeKube, name: &str, replicas: u32, scaled: Option<&str>) {
    let mut spec = json!({"model": {"uri": format!("hf://{MODEL}"), "name": name}});
    if scaled.is_some() {
        spec["scaling"] = json!({"minReplicas": 1, "maxReplicas": 4});
    } else {
        spec["replicas"] = replicas.into();
    }
    fake.put(json!({
        "apiVersion": "serving.kserve.io/v1alpha2",
        "kind": "LLMInferenceService",
        "metadata": {"name": name, "namespace": HERE},
        "spec": spec,
    }));
    let labels = json!({
        "app.kubernetes.io/part-of": "llminferenceservice",
        "app.kubernetes.io/name": name,
    });
    fake.put(belonging(&format!("{name}-kserve"), replicas, &labels));
}

/// The weights of the route that leads to the model.
pub(crate) fn weights(fake: &FakeKube) -> Vec<u64> {
    let route = fake.get("httproutes/llm/chat").unwrap();
    let refs = route["spec"]["rules"][0]["backendRefs"].as_array().unwrap();
    refs.iter()
        .map(|it| it["weight"].as_u64().unwrap())
        .collect()
}

/// How its autoscaler may scale it down: `Disabled` while it is frozen.
pub(crate) fn policy(fake: &FakeKube) -> Value {
    let hpa = fake.get("horizontalpodautoscalers/llm/chat").unwrap();
    hpa["spec"]["behavior"]["scaleDown"]["selectPolicy"].clone()
}

/// How many pods it wants.
pub(crate) fn replicas(fake: &FakeKube) -> u64 {
    let it = fake.get("deployments/llm/chat").unwrap();
    it["spec"]["replicas"].as_u64().unwrap()
}
