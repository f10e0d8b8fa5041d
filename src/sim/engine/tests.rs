use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::lines::{Act, start};
use super::meters::Meters;
use super::page::{Gauges, Page};
use super::{Engine, Failure, Shape, Spec, Stages, lines};
use crate::clock::Clock;
use crate::sim::log::Read;

const RECORDED: &str = include_str!("../../../tests/pages/vllm-0.32.0-load.txt");

pub(in crate::sim) fn spec() -> Spec {
    Spec {
        name: "h100-b".to_owned(),
        model: "tiny".to_owned(),
        weights: "models/tiny".to_owned(),
        node: "gpu-h100-2".to_owned(),
        hardware: "NVIDIA H100 NVL".to_owned(),
        gpus: 1,
        memory: 95830,
        power_limit: 400.0,
        weights_gib: 56.9,
        shards: 16,
        max_len: 1024,
        shape: Shape {
            single: 50.0,
            ceiling: 1000.0,
            prefill: 5000.0,
            first: 0.0,
            kv_tokens: 40_000,
            max_seqs: 2,
            max_queued: Some(1),
        },
        start: Stages {
            node: 80.0,
            image: 45.0,
            start: 30.0,
            load: 70.0,
            compile: 28.0,
            capture: 17.0,
        },
        sleep_takes: 5.0,
        wake_takes: 3.0,
        first_start: None,
        stream_events: 4,
        seed: 7,
    }
}

fn clock(speed: u32) -> Clock {
    let origin: DateTime<Utc> = "2026-11-22T03:54:00Z".parse().unwrap();
    Clock::starting_at(origin, speed)
}

async fn engine(speed: u32) -> (Arc<Engine>, Client) {
    let (engine, at) = Engine::alone(spec(), clock(speed)).await.unwrap();
    (engine, Client::to(at))
}

#[derive(Clone)]
struct Client {
    http: reqwest::Client,
    base: String,
}

impl Client {
    fn to(at: SocketAddr) -> Self {
        Self {
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            base: format!("http://{at}"),
        }
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let reply = self.http.get(format!("{}{path}", self.base)).send().await;
        let reply = reply.unwrap();
        (reply.status().as_u16(), reply.text().await.unwrap())
    }

    async fn post(&self, path: &str, body: &Value) -> (u16, String) {
        let to = format!("{}{path}", self.base);
        let reply = self.http.post(to).json(body).send().await.unwrap();
        (reply.status().as_u16(), reply.text().await.unwrap())
    }

    fn ask(&self, body: Value) -> tokio::task::JoinHandle<(u16, String)> {
        let client = self.clone();
        tokio::spawn(async move { client.post("/v1/chat/completions", &body).await })
    }

    /// Polls until a series has a value; bounded by the test's own patience only.
    async fn until(&self, series: &str, value: &str) {
        loop {
            let (_, page) = self.get("/metrics").await;
            if page
                .lines()
                .any(|l| l.starts_with(series) && l.ends_with(value))
            {
                return;
            }
            tokio::task::yield_now().await;
        }
    }
}

fn chat(stream: bool, tokens: u32) -> Value {
    json!({
        "model": "tiny",
        "messages": [{"role": "user", "content": "why is the sky blue?"}],
        "max_tokens": tokens,
        "ignore_eos": true,
        "stream": stream,
        "stream_options": {"include_usage": true},
    })
}

fn events(text: &str) -> Vec<&str> {
    text.split("\n\n")
        .filter_map(|e| e.strip_prefix("data: "))
        .collect()
}

fn families(page: &str) -> BTreeSet<&str> {
    page.lines().filter(|l| l.starts_with("# TYPE")).collect()
}

#[test]
fn the_page_has_every_family_of_the_recorded_one() {
    let (page, bounds) = Page::new(&spec());
    let page = page.fill(Gauges::default(), &Meters::new(bounds), 1.0);
    let (ours, theirs) = (families(&page), families(RECORDED));
    let missing: Vec<_> = theirs.difference(&ours).collect();
    assert!(missing.is_empty(), "{missing:?}");
    // The labels and buckets of vLLM's own families are the recorded ones as well.
    let series = |page: &str| -> BTreeSet<String> {
        page.lines()
            .filter(|l| l.starts_with("vllm:") && !l.contains("cache_config_info"))
            .filter_map(|l| l.rsplit_once(' ').map(|(s, _)| s.to_owned()))
            .collect()
    };
    let (ours, theirs) = (series(&page), series(RECORDED));
    let missing: Vec<_> = theirs.difference(&ours).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[tokio::test]
async fn answers_and_usage_are_exact() {
    let (_engine, client) = engine(2000).await;
    let (status, body) = client.post("/v1/chat/completions", &chat(false, 30)).await;
    assert_eq!(status, 200, "{body}");
    let whole: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(whole["usage"]["completion_tokens"], 30);
    assert_eq!(whole["choices"][0]["finish_reason"], "length");

    let (status, body) = client.post("/v1/chat/completions", &chat(true, 30)).await;
    assert_eq!(status, 200);
    let events = events(&body);
    assert_eq!(events.last(), Some(&"[DONE]"));
    let parsed: Vec<Value> = events[..events.len() - 1]
        .iter()
        .map(|e| serde_json::from_str(e).unwrap())
        .collect();
    assert_eq!(parsed[0]["choices"][0]["delta"]["role"], "assistant");
    let said: String = parsed
        .iter()
        .filter_map(|e| e["choices"][0]["delta"]["content"].as_str())
        .collect();
    assert_eq!(said, whole["choices"][0]["message"]["content"]);
    assert_eq!(parsed.last().unwrap()["usage"], whole_usage(&whole));
    assert!(parsed.len() <= 12, "{}", parsed.len());
    client
        .until(
            "vllm:request_success_total{engine=\"0\",finished_reason=\"length\"",
            " 2.0",
        )
        .await;
}

fn whole_usage(whole: &Value) -> Value {
    let mut usage = whole["usage"].clone();
    let fields = usage.as_object_mut().unwrap();
    fields.remove("prompt_tokens_details");
    fields.remove("completion_tokens_details");
    usage
}

#[tokio::test]
async fn errors_are_worded_as_recorded() {
    let (_engine, client) = engine(2000).await;
    let mut unknown = chat(false, 5);
    unknown["model"] = json!("nope");
    let (status, body) = client.post("/v1/chat/completions", &unknown).await;
    assert_eq!(status, 404);
    assert_eq!(
        body,
        r#"{"error":{"message":"The model `nope` does not exist. Valid aliases: tiny.","type":"NotFoundError","param":"model","code":404}}"#
    );
    let (status, body) = client
        .post("/v1/chat/completions", &chat(false, 100_000))
        .await;
    assert_eq!(status, 400);
    assert_eq!(
        body,
        r#"{"error":{"message":"max_tokens=100000 cannot be greater than max_model_len=1024. Please request fewer output tokens. (parameter=max_tokens, value=100000)","type":"BadRequestError","param":"max_tokens","code":400}}"#
    );
    let mut long = chat(true, 5);
    long["messages"][0]["content"] = json!("word ".repeat(2000));
    let (status, body) = client.post("/v1/chat/completions", &long).await;
    assert_eq!(status, 400);
    assert!(body.contains("at least 1025 input tokens"), "{body}");
    let raw = client
        .http
        .post(format!("{}/v1/chat/completions", client.base));
    let raw = raw
        .header("content-type", "application/json")
        .body("{\"model\":");
    let reply = raw.send().await.unwrap();
    assert_eq!(reply.status().as_u16(), 400);
    assert!(reply.text().await.unwrap().contains("json_invalid"));
    assert_eq!(
        client.get("/nope").await,
        (404, r#"{"detail":"Not Found"}"#.to_owned())
    );
    assert_eq!(client.post("/health", &json!({})).await.0, 405);
}

#[tokio::test]
async fn a_full_queue_answers_as_recorded() {
    let (engine, client) = engine(1).await;
    let running: Vec<_> = (0..3).map(|_| client.ask(chat(false, 900))).collect();
    client.until("vllm:num_requests_waiting{", " 1.0").await;
    let (status, body) = client.post("/v1/chat/completions", &chat(false, 9)).await;
    assert_eq!(status, 503);
    assert_eq!(
        body,
        r#"{"error":{"message":"The engine is currently busy and cannot accept new requests. Please try again later or on a different instance.","type":"Service Unavailable","param":null,"code":503}}"#
    );
    let (status, body) = client.post("/v1/chat/completions", &chat(true, 9)).await;
    assert_eq!(status, 200);
    assert_eq!(
        body,
        "data: {\"error\": {\"message\": \"The engine is currently busy and cannot accept new requests. Please try again later or on a different instance.\", \"type\": \"Service Unavailable\", \"param\": null, \"code\": 503}}\n\ndata: [DONE]\n\n"
    );
    for one in running {
        one.abort();
    }
    // Clients that left make room.
    client.until("vllm:num_requests_running{", " 0.0").await;
    client
        .until(
            "vllm:admission_rejections_total{model_name=\"tiny\",reason=\"max_num_queued_reqs\"",
            " 2.0",
        )
        .await;
    engine.stop();
}

#[tokio::test]
async fn asleep_it_holds_requests_until_woken() {
    let (_engine, client) = engine(5000).await;
    let (status, body) = client.post("/sleep?level=1", &json!({})).await;
    assert_eq!(
        (status, body.as_str()),
        (200, r#"{"status":"sleeping","level":1}"#)
    );
    assert_eq!(
        client.get("/is_sleeping").await.1,
        r#"{"is_sleeping":true}"#
    );
    assert_eq!(client.get("/health").await.0, 200);
    assert_eq!(client.get("/v1/models").await.0, 200);
    let held = client.ask(chat(false, 5));
    while client.get("/load").await.1 != r#"{"server_load":1}"# {}
    let (_, page) = client.get("/metrics").await;
    assert!(page.contains("sleep_state=\"awake\"} 0.0"));
    assert!(page.contains("sleep_state=\"weights_offloaded\"} 1.0"));
    assert!(page.contains("vllm:num_requests_waiting{engine=\"0\",model_name=\"tiny\"} 0.0"));
    assert!(!held.is_finished());
    let (_, body) = client.post("/wake_up", &json!({})).await;
    assert_eq!(body, r#"{"status":"awake","tags":null}"#);
    assert_eq!(held.await.unwrap().0, 200);
    assert_eq!(client.post("/sleep?level=5", &json!({})).await.0, 400);
    assert_eq!(client.get("/sleep").await.0, 405);
}

#[tokio::test]
async fn sleep_ends_running_answers_with_abort_or_keeps_them() {
    let (_engine, client) = engine(20).await;
    let running = client.ask(chat(true, 900));
    client.until("vllm:num_requests_running{", " 1.0").await;
    client.post("/sleep?level=1", &json!({})).await;
    let (_, body) = running.await.unwrap();
    assert!(body.contains("\"finish_reason\":\"abort\""), "{body}");
    assert!(body.ends_with("data: [DONE]\n\n"));
    client.post("/wake_up", &json!({})).await;

    let running = client.ask(chat(true, 900));
    client.until("vllm:num_requests_running{", " 1.0").await;
    client.post("/sleep?level=1&mode=keep", &json!({})).await;
    client.post("/wake_up", &json!({})).await;
    let (_, body) = running.await.unwrap();
    assert!(body.contains("\"finish_reason\":\"length\""), "{body}");
}

#[tokio::test]
async fn killed_it_ends_streams_with_an_error_and_leaves_with_status_0() {
    let (engine, client) = engine(5).await;
    let running = client.ask(chat(true, 900));
    client.until("vllm:num_requests_running{", " 1.0").await;
    engine.kill();
    let (status, body) = running.await.unwrap();
    assert_eq!(status, 200);
    assert!(
        body.ends_with("data: {\"error\": {\"message\": \"EngineCore encountered an issue. See stack trace (above) for the root cause.\", \"type\": \"InternalServerError\", \"param\": null, \"code\": 500}}\n\ndata: [DONE]\n\n"),
        "{body}"
    );
    assert_eq!(engine.exited().await, 0);
    let refused = client
        .http
        .get(format!("{}/health", client.base))
        .send()
        .await;
    assert!(refused.is_err());
}

#[tokio::test]
async fn hung_it_answers_with_frozen_gauges_and_goes_on_when_resumed() {
    let (engine, client) = engine(100).await;
    let running = client.ask(chat(false, 900));
    client.until("vllm:num_requests_running{", " 1.0").await;
    engine.hang();
    assert_eq!(client.get("/health").await.0, 200);
    let late = client.ask(chat(false, 5));
    while client.get("/load").await.1 != r#"{"server_load":2}"# {}
    let (_, page) = client.get("/metrics").await;
    assert!(page.contains("vllm:num_requests_running{engine=\"0\",model_name=\"tiny\"} 1.0"));
    assert!(!running.is_finished() && !late.is_finished());
    engine.resume();
    assert_eq!(running.await.unwrap().0, 200);
    assert_eq!(late.await.unwrap().0, 200);
}

#[test]
fn a_start_is_the_same_for_the_same_seed() {
    let script = |seed, failure| {
        let mut chance = fastrand::Rng::with_seed(seed);
        start(&spec(), &mut chance, failure)
    };
    assert_eq!(script(3, None), script(3, None));
    assert_ne!(script(3, None), script(4, None));
    let usual = 80.0 + 45.0 + 30.0 + 70.0 + 28.0 + 17.0;
    let took: f64 = script(3, None).iter().map(|s| s.wait).sum();
    assert!((took - usual).abs() < 0.1 * usual, "{took}");
    for failure in [
        Failure::FreeMemory,
        Failure::OutOfMemory,
        Failure::MissingShard,
    ] {
        let steps = script(3, Some(failure));
        assert_eq!(steps.last().unwrap().act, Act::Exit(1));
        assert!(steps.iter().all(|s| s.act != Act::Listen));
    }
}

#[test]
fn a_start_says_what_vllm_says() {
    let mut chance = fastrand::Rng::with_seed(1);
    let at = clock(1).now();
    let lines: Vec<String> = start(&spec(), &mut chance, None)
        .into_iter()
        .filter_map(|s| match s.act {
            Act::Say(line) => Some(line),
            Act::Log(process, level, place, message) => {
                Some(lines::framed(process, level, at, place, &message))
            }
            Act::Machine | Act::Memory(_) | Act::Listen | Act::Exit(_) => None,
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn an_idle_engine_says_nothing() {
    let (engine, _client) = engine(12).await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(engine.log.read(0), Read::Later);
}

#[tokio::test(start_paused = true)]
async fn a_busy_engine_tells_of_its_throughput() {
    let (engine, client) = engine(12).await;
    let (status, _) = client.post("/v1/chat/completions", &chat(false, 900)).await;
    assert_eq!(status, 200);
    let Read::Text(log, _) = engine.log.read(0) else {
        panic!("nothing was said");
    };
    // 900 tokens at 50 a second: 18 seconds of fleet time.
    assert!(log.contains("Engine 000: Avg prompt throughput: "));
    assert!(log.contains("Running: 1 reqs, Waiting: 0 reqs, GPU KV cache usage: "));
}
