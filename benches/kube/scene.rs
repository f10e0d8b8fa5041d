//! A small cluster in the middle of a bad night: a fleet that works, and one start in each of its stages.
//!
//! Times are from when it is made, so that ages and estimates on the screen are those of a real night.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::fake_kube::{FakeKube, fixtures};

const HERE: &str = "llm";
const H100: &str = "Standard_ND96isr_H100_v5";
const A100: &str = "Standard_NC96ads_A100_v4";
const REGION: &str = "swedencentral";

/// What a vLLM says while it loads; the newest line is half way.
const LOADING: [&str; 6] = [
    "(APIServer pid=1) INFO 11-24 03:41:02 [utils.py:233] non-default args: {'model_tag': 'mistralai/Mistral-Small-3.2-24B', 'tensor_parallel_size': 4}",
    "(APIServer pid=1) INFO 11-24 03:41:09 [model.py:1661] Using max model len 32768",
    "(EngineCore_DP0 pid=171) INFO 11-24 03:41:21 [core.py:94] Initializing a V1 LLM engine (v0.14.1) with config: model='mistralai/Mistral-Small-3.2-24B'",
    "(EngineCore_DP0 pid=171) INFO 11-24 03:41:33 [gpu_model_runner.py:3808] Starting to load model mistralai/Mistral-Small-3.2-24B...",
    "(EngineCore_DP0 pid=171) Loading safetensors checkpoint shards:   0% Completed | 0/10 [00:00<?, ?it/s]",
    "(EngineCore_DP0 pid=171) Loading safetensors checkpoint shards:  60% Completed | 6/10 [00:34<00:23,  5.79s/it]",
];

/// Makes it.
pub(crate) fn make(fake: &Arc<FakeKube>) {
    for (name, instance, spot) in [
        ("aks-h100-0", H100, false),
        ("aks-h100-1", H100, false),
        ("aks-a100spot-3", A100, true),
    ] {
        let gpus = if instance == H100 { 8 } else { 4 };
        fake.put(fixtures::gpu_node(name, instance, REGION, gpus, spot));
    }
    let now = Utc::now();
    works_well(fake, now);
    a_machine_is_found(fake, now);
    an_image_is_pulled(fake, now);
    weights_are_loaded(fake, now);
    a_spot_machine_is_gone(fake, now);
    a_route_is_refused(fake);
    gateway(fake);
    gpus(fake);
}

/// Two engines that answer, beside somebody else's API.
fn works_well(fake: &FakeKube, now: DateTime<Utc>) {
    let ago = |seconds: i64| now - TimeDelta::seconds(seconds);
    let chat = engine(
        fake,
        "llama-3.3-70b",
        "meta-llama/Llama-3.3-70B-Instruct",
        4,
        2,
    );
    for (i, node) in ["aks-h100-0", "aks-h100-1"].into_iter().enumerate() {
        let pod = pod(&chat, i, ago(31_000 + 4_000 * i as i64), Some(node));
        works(fake, pod, ago(30_600 + 4_000 * i as i64), 11.0 + i as f64);
    }
    fake.put(fixtures::hpa(HERE, "llama-3.3-70b", "llama-3.3-70b", 1, 4));
    ai_route(fake, "llama-3.3-70b", 70, "azure-gpt-4o-mini", 30);
}

/// No machine has room, and one is on its way.
fn a_machine_is_found(fake: &FakeKube, now: DateTime<Utc>) {
    let ago = |seconds: i64| now - TimeDelta::seconds(seconds);
    let qwen = engine(fake, "qwen3-32b", "Qwen/Qwen3-32B", 2, 1);
    let waits = fake.put(pod(&qwen, 0, ago(97), None));
    let note = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu. preemption: 0/3 nodes are available.";
    event(fake, &waits, "FailedScheduling", note, ago(96));
    let note = "pod triggered scale-up: [{aks-h100-vmss 2->3 (max: 4)}]";
    event(fake, &waits, "TriggeredScaleUp", note, ago(88));
}

/// On its machine, and its image is not.
fn an_image_is_pulled(fake: &FakeKube, now: DateTime<Utc>) {
    let ago = |seconds: i64| now - TimeDelta::seconds(seconds);
    let phi = engine(fake, "phi-4", "microsoft/phi-4", 1, 1);
    let mut pulls = pod(&phi, 0, ago(64), Some("aks-h100-1"));
    container(
        &mut pulls,
        &json!({"waiting": {"reason": "ContainerCreating"}}),
        false,
        ago(60),
    );
    let pulls = fake.put(pulls);
    event(
        fake,
        &pulls,
        "Pulling",
        "Pulling image \"vllm/vllm-openai:v0.14.1\"",
        ago(58),
    );
}

/// The engine has begun, and its log says how far it is.
fn weights_are_loaded(fake: &FakeKube, now: DateTime<Utc>) {
    let ago = |seconds: i64| now - TimeDelta::seconds(seconds);
    let mistral = engine(
        fake,
        "mistral-small",
        "mistralai/Mistral-Small-3.2-24B",
        4,
        1,
    );
    let mut loads = pod(&mistral, 0, ago(128), Some("aks-h100-0"));
    let began = json!({"running": {"startedAt": time(ago(101))}});
    container(&mut loads, &began, false, ago(126));
    let loads = fake.put(loads);
    event(
        fake,
        &loads,
        "Pulling",
        "Pulling image \"vllm/vllm-openai:v0.14.1\"",
        ago(125),
    );
    let note = "Successfully pulled image \"vllm/vllm-openai:v0.14.1\" in 22.4s (22.4s including waiting). Image size: 9871231004 bytes.";
    event(fake, &loads, "Pulled", note, ago(102));
    let name = loads["metadata"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    for line in LOADING {
        fake.log(&format!("{HERE}/{name}"), line);
    }
}

/// Its machine was taken away, and no other is there.
fn a_spot_machine_is_gone(fake: &FakeKube, now: DateTime<Utc>) {
    let ago = |seconds: i64| now - TimeDelta::seconds(seconds);
    let gemma = engine(fake, "gemma-3-27b", "google/gemma-3-27b-it", 2, 1);
    let mut taken = pod(&gemma, 0, ago(9_000), Some("aks-a100spot-9"));
    taken["status"] = json!({
        "phase": "Failed",
        "reason": "Terminated",
        "message": "Pod was terminated in response to imminent node shutdown.",
        "conditions": [{
            "type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet",
            "message": "Pod was terminated in response to imminent node shutdown.",
            "lastTransitionTime": time(ago(41)),
        }],
    });
    fake.put(taken);
    let next = fake.put(pod(&gemma, 1, ago(40), None));
    let note = "0/3 nodes are available: 1 Insufficient nvidia.com/gpu, 2 node(s) didn't match Pod's node affinity/selector.";
    event(fake, &next, "FailedScheduling", note, ago(39));
    let note = "pod didn't trigger scale-up: 1 in backoff after failed scale-up";
    event(fake, &next, "NotTriggerScaleUp", note, ago(30));
}

/// It sleeps, and its gateway does not take its route.
fn a_route_is_refused(fake: &FakeKube) {
    engine(
        fake,
        "deepseek-r1",
        "deepseek-ai/DeepSeek-R1-Distill-Llama-70B",
        4,
        0,
    );
    fake.put(fixtures::service(HERE, "deepseek-r1"));
    hosted(fake, "azure-deepseek");
    let mut route = fixtures::http_route(
        HERE,
        "deepseek-r1",
        &[
            ("Service", "deepseek-r1", 0),
            ("Backend", "azure-deepseek", 100),
        ],
    );
    let conditions = &mut route["status"]["parents"][0]["conditions"];
    conditions[1]["status"] = "False".into();
    conditions[1]["reason"] = "RefNotPermitted".into();
    conditions[1]["message"] =
        "Backend azure-deepseek in namespace llm is not permitted by any ReferenceGrant".into();
    fake.put(route);
}

/// A Deployment of so many GPUs and replicas, with its replica set: the latter.
fn engine(fake: &FakeKube, name: &str, model: &str, gpus: u32, replicas: u32) -> Value {
    let mut it = fixtures::vllm_deployment(HERE, name, model, replicas);
    let container = &mut it["spec"]["template"]["spec"]["containers"][0];
    for of in ["limits", "requests"] {
        container["resources"][of]["nvidia.com/gpu"] = gpus.to_string().into();
    }
    let it = fake.put(it);
    fake.put(fixtures::vllm_replica_set(&it))
}

/// A pod that waits for a machine, or is on one and has not begun.
fn pod(set: &Value, i: usize, born: DateTime<Utc>, node: Option<&str>) -> Value {
    let name = format!(
        "{}-{}",
        set["metadata"]["name"].as_str().unwrap_or_default(),
        ["x7k2p", "m4qzt"][i % 2]
    );
    let mut pod = fixtures::vllm_pod(set, &name, node.unwrap_or_default());
    pod["metadata"]["creationTimestamp"] = time(born).into();
    if node.is_none() {
        if let Some(spec) = pod["spec"].as_object_mut() {
            spec.remove("nodeName");
        }
        pod["status"] = json!({"phase": "Pending", "conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
            "lastTransitionTime": time(born),
        }]});
    }
    pod
}

fn container(pod: &mut Value, state: &Value, ready: bool, at: DateTime<Utc>) {
    let holds = if ready { "True" } else { "False" };
    let condition = |kind: &str, status: &str| json!({"type": kind, "status": status, "lastTransitionTime": time(at)});
    pod["status"]["phase"] = if state["running"].is_null() {
        "Pending"
    } else {
        "Running"
    }
    .into();
    pod["status"]["conditions"] = json!([
        condition("PodScheduled", "True"),
        condition("PodReadyToStartContainers", "True"),
        condition("Ready", holds),
    ]);
    pod["status"]["containerStatuses"] = json!([{
        "name": "vllm", "ready": ready, "started": ready, "restartCount": 0, "state": state, "lastState": {},
    }]);
}

/// A pod that answers, with a page that moves.
fn works(fake: &FakeKube, mut pod: Value, since: DateTime<Utc>, load: f64) {
    let began = json!({"running": {"startedAt": time(since)}});
    container(&mut pod, &began, true, since);
    let pod = fake.put(pod);
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    let began = Instant::now();
    fake.on_proxy(&format!("{HERE}/{name}:8000"), move |_, path, _| {
        if path != "/metrics" {
            return (404, "application/json".into(), Vec::new());
        }
        (
            200,
            "text/plain".into(),
            page(began.elapsed().as_secs_f64(), load).into(),
        )
    });
}

/// What vLLM says after so many seconds of so many requests at once.
fn page(seconds: f64, load: f64) -> String {
    let done = seconds * load / 4.0;
    let running = (load + 3.0 * (seconds / 7.0).sin()).round();
    let waiting = (seconds / 11.0).sin().max(0.0).round();
    let kv = 0.41 + 0.08 * (seconds / 13.0).sin();
    let mut page = format!(
        "vllm:num_requests_running {running}\nvllm:num_requests_waiting {waiting}\nvllm:kv_cache_usage_perc {kv}\n\
         vllm:prompt_tokens_total {}\nvllm:generation_tokens_total {}\nvllm:request_success_total{{finished_reason=\"stop\"}} {}\n",
        (done * 812.0).round(),
        (done * 224.0).round(),
        done.round(),
    );
    for (bound, part) in [
        ("0.1", 0.2),
        ("0.25", 0.7),
        ("0.5", 0.95),
        ("1.0", 1.0),
        ("+Inf", 1.0),
    ] {
        let at = (done * part).round();
        let _ = writeln!(
            page,
            "vllm:time_to_first_token_seconds_bucket{{le=\"{bound}\"}} {at}"
        );
    }
    page
}

/// Somebody else's API.
fn hosted(fake: &FakeKube, name: &str) {
    fake.put(json!({
        "apiVersion": "gateway.envoyproxy.io/v1alpha1",
        "kind": "Backend",
        "metadata": {"name": name, "namespace": HERE},
        "spec": {"endpoints": [{"fqdn": {"hostname": format!("{name}.openai.azure.com"), "port": 443}}]},
    }));
}

fn ai_route(fake: &FakeKube, model: &str, own: u32, azure: &str, weight: u32) {
    fake.put(fixtures::service(HERE, model));
    hosted(fake, azure);
    fake.put(fixtures::ai_service_backend(HERE, azure, "AzureOpenAI"));
    let mut it = fixtures::ai_service_backend(HERE, model, "OpenAI");
    it["spec"]["backendRef"] = json!({"kind": "Service", "name": model, "port": 80});
    fake.put(it);
    let refs = [(model, own, 0), (azure, weight, 0)];
    fake.put(fixtures::ai_gateway_route(HERE, model, model, &refs));
}

/// The gateway, which counts the tokens of what is hosted.
fn gateway(fake: &FakeKube) {
    fake.put(json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "envoy-llm-6d9f7", "namespace": "envoy-gateway-system"},
        "spec": {"containers": [{"name": "envoy"}, {"name": "ai-gateway-extproc"}]},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "ai-gateway-extproc", "ready": true, "state": {"running": {}}}],
        },
    }));
    let began = Instant::now();
    fake.on_proxy("envoy-gateway-system/envoy-llm-6d9f7:1064", move |_, _, _| {
        let done = began.elapsed().as_secs_f64() * 3.1;
        let total = |part: &str, kind: &str, value: f64| {
            format!(
                "gen_ai_client_token_usage_{part}{{ai_backend=\"llm/azure-gpt-4o-mini\",gen_ai_original_model=\"llama-3.3-70b\",gen_ai_provider_name=\"azure.openai\",gen_ai_request_model=\"gpt-4o-mini\",gen_ai_token_type=\"{kind}\"}} {}\n",
                value.round()
            )
        };
        let page = total("sum", "input", done * 812.0)
            + &total("count", "input", done)
            + &total("sum", "output", done * 224.0);
        (200, "text/plain".into(), page.into())
    });
}

/// GPUs, by the pods that hold them.
fn gpus(fake: &FakeKube) {
    fake.put(json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "dcgm-exporter-b2v6k", "namespace": "gpu-operator"},
        "spec": {"containers": [{"name": "exporter"}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }));
    let pods: Vec<String> = fake
        .all("pods")
        .iter()
        .filter_map(|it| it["metadata"]["name"].as_str())
        .filter(|it| it.starts_with("llama"))
        .map(ToOwned::to_owned)
        .collect();
    let began = Instant::now();
    fake.on_proxy("gpu-operator/dcgm-exporter-b2v6k:9400", move |_, _, _| {
        let seconds = began.elapsed().as_secs_f64();
        let mut page = String::new();
        for (at, pod) in pods.iter().enumerate() {
            for gpu in 0..4 {
                let labels = format!(
                    "gpu=\"{gpu}\",UUID=\"GPU-{at}{gpu}\",modelName=\"NVIDIA H100 80GB HBM3\",Hostname=\"aks-h100-{at}\",namespace=\"{HERE}\",pod=\"{pod}\""
                );
                let busy = (78.0 + 9.0 * (seconds / 9.0 + f64::from(gpu)).sin()).round();
                for (field, value) in [
                    ("DEV_GPU_UTIL", busy),
                    ("DEV_FB_USED", 74_210.0),
                    ("DEV_FB_FREE", 6_710.0),
                    ("DEV_POWER_USAGE", 402.0 + busy),
                    ("DEV_GPU_TEMP", 58.0),
                ] {
                    let _ = writeln!(page, "DCGM_FI_{field}{{{labels}}} {value}");
                }
            }
        }
        (200, "text/plain".into(), page.into())
    });
}

fn event(fake: &FakeKube, of: &Value, reason: &str, note: &str, at: DateTime<Utc>) {
    let mut event = fixtures::event(of, reason, note);
    event["eventTime"] = at.to_rfc3339_opts(SecondsFormat::Micros, true).into();
    fake.put(event);
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}
