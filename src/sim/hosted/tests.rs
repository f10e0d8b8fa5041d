use chrono::DateTime;
use serde_json::{Value, json};

use super::*;

/// A hosted API on a free port, a client, and the end of it on drop.
struct Far {
    base: String,
    http: reqwest::Client,
    _end: tokio_util::sync::DropGuard,
}

impl Far {
    async fn with(per_minute: u32) -> Self {
        // So fast that its pauses vanish, except in what it tells.
        Self::at_speed(5_000, per_minute).await
    }

    async fn at_speed(speed: u32, per_minute: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let shutdown = CancellationToken::new();
        let spec = Spec {
            name: "acme".to_owned(),
            models: vec!["gpt-5-mini".to_owned()],
            seed: 7,
            tokens_per_s: 80.0,
            ttft: TimeDelta::milliseconds(300),
            requests_per_minute: per_minute,
        };
        let clock = Clock::starting_at(DateTime::UNIX_EPOCH, speed);
        tokio::spawn(run(listener, spec, clock, shutdown.clone()));
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self {
            base,
            http,
            _end: shutdown.drop_guard(),
        }
    }

    async fn post(&self, path: &str, body: Value) -> reqwest::Response {
        let url = format!("{}{path}", self.base);
        self.http
            .post(url)
            .body(body.to_string())
            .send()
            .await
            .unwrap()
    }

    async fn get(&self, path: &str) -> Value {
        let url = format!("{}{path}", self.base);
        let text = self
            .http
            .get(url)
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        serde_json::from_str(&text).unwrap()
    }
}

async fn json_of(response: reqwest::Response) -> Value {
    serde_json::from_str(&response.text().await.unwrap()).unwrap()
}

fn events(text: &str) -> Vec<Value> {
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    text.split("\n\n")
        .filter_map(|e| e.strip_prefix("data: "))
        .filter(|e| *e != "[DONE]")
        .map(|e| serde_json::from_str(e).unwrap())
        .collect()
}

fn chat(extra: &Value) -> Value {
    let mut body = json!({"model": "gpt-5-mini", "max_tokens": 40,
        "messages": [{"role": "user", "content": "why is the sky blue?"}]});
    for (key, value) in extra.as_object().unwrap() {
        body[key] = value.clone();
    }
    body
}

#[tokio::test]
async fn its_own_count_is_the_sum_of_what_its_answers_say() {
    let far = Far::with(10_000).await;
    let long = "word ".repeat(2_000);
    let asks = [
        ("/v1/chat/completions", chat(&json!({}))),
        (
            "/v1/chat/completions",
            chat(&json!({"messages": [{"role": "user", "content": long}]})),
        ),
        (
            "/v1/chat/completions",
            chat(&json!({"messages": [{"role": "user", "content": long}]})),
        ),
        (
            "/v1/completions",
            json!({"model": "gpt-5-mini", "prompt": "once", "max_tokens": 9}),
        ),
    ];
    let (mut prompt, mut cached, mut produced) = (0, 0, 0);
    for (path, ask) in asks {
        let told = json_of(far.post(path, ask).await).await;
        let usage = &told["usage"];
        prompt += usage["prompt_tokens"].as_u64().unwrap();
        cached += usage["prompt_tokens_details"]["cached_tokens"]
            .as_u64()
            .unwrap();
        produced += usage["completion_tokens"].as_u64().unwrap();
    }
    assert_eq!(cached, 1024, "the long prompt's second time");
    assert_eq!(
        far.get("/usage").await,
        json!({"requests": 4, "completed": 4, "refused": 0, "prompt_tokens": prompt,
            "cached_tokens": cached, "completion_tokens": produced})
    );
}

#[tokio::test]
async fn a_stream_has_few_events_and_usage_only_when_asked() {
    let far = Far::with(10_000).await;
    for include in [true, false] {
        let ask = chat(&json!({"stream": true, "stream_options": {"include_usage": include}}));
        let response = far.post("/v1/chat/completions", ask).await;
        assert_eq!(
            response.headers()["content-type"],
            "text/event-stream; charset=utf-8"
        );
        let text = response.text().await.unwrap();
        let events = events(&text);
        assert!(events.len() < 10, "{text}");
        let words: usize = events
            .iter()
            .filter_map(|e| e["choices"][0]["delta"]["content"].as_str())
            .map(|text| text.split_whitespace().count())
            .sum();
        let last = events.last().unwrap();
        if include {
            assert_eq!(last["choices"], json!([]));
            assert_eq!(last["usage"]["completion_tokens"], json!(words));
            assert!(events[0]["usage"].is_null() && events[0].get("usage").is_some());
        } else {
            assert!(events.iter().all(|e| e.get("usage").is_none()));
        }
        assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
    }
    let streamed =
        json!({"model": "gpt-5-mini", "prompt": "once", "max_tokens": 3, "stream": true});
    let text = far
        .post("/v1/completions", streamed)
        .await
        .text()
        .await
        .unwrap();
    assert_eq!(events(&text)[0]["object"], "text_completion");
    assert_eq!(far.get("/usage").await["completed"], 3);
}

#[tokio::test]
async fn a_schema_is_followed() {
    let far = Far::with(10_000).await;
    let schema = json!({"type": "object", "properties": {
        "city": {"type": "string"}, "people": {"type": "integer"}, "kind": {"enum": ["big", "small"]}}});
    let format = json!({"type": "json_schema", "json_schema": {"name": "city", "schema": schema}});
    let told = json_of(
        far.post(
            "/v1/chat/completions",
            chat(&json!({"response_format": format})),
        )
        .await,
    )
    .await;
    let content: Value =
        serde_json::from_str(told["choices"][0]["message"]["content"].as_str().unwrap()).unwrap();
    assert_eq!(content, json!({"city": "fine", "people": 1, "kind": "big"}));
}

#[tokio::test]
async fn what_it_cannot_serve_is_refused_in_the_shape_of_openai() {
    let far = Far::with(10_000).await;
    let unknown = far
        .post("/v1/chat/completions", chat(&json!({"model": "gpt-9"})))
        .await;
    assert_eq!(unknown.status(), 404);
    assert_eq!(json_of(unknown).await["error"]["code"], "model_not_found");
    let broken = far.post("/v1/chat/completions", json!([1])).await;
    assert_eq!(broken.status(), 400);
    assert_eq!(
        json_of(broken).await["error"]["type"],
        "invalid_request_error"
    );
    assert_eq!(
        far.get("/v1/models/gpt-9").await["error"]["code"],
        "model_not_found"
    );
    assert_eq!(far.get("/v1/models").await["data"][0]["id"], "gpt-5-mini");
    assert_eq!(far.get("/v1/models/gpt-5-mini").await["owned_by"], "acme");
    assert_eq!(
        far.get("/v2/else").await["error"]["type"],
        "invalid_request_error"
    );
    assert_eq!(far.get("/usage").await["requests"], 0);
}

#[tokio::test]
async fn every_answer_tells_its_limits() {
    let far = Far::with(10_000).await;
    let response = far.post("/v1/chat/completions", chat(&json!({}))).await;
    let headers = response.headers();
    assert_eq!(headers["x-ratelimit-limit-requests"], "10000");
    assert_eq!(headers["x-ratelimit-remaining-requests"], "9999");
    assert_eq!(headers["x-ratelimit-reset-requests"], "6ms");
    assert!(
        headers["x-request-id"]
            .to_str()
            .unwrap()
            .starts_with("req_")
    );
}

#[test]
fn the_limit_is_per_minute_of_fleet_time() {
    let start = DateTime::UNIX_EPOCH;
    let desk = Desk::open(1, 30, start);
    let served = |n: usize, at| {
        (0..n)
            .filter(|_| desk.admit(at).turn == Turn::Served)
            .count()
    };
    assert_eq!(served(40, start), 30);
    let Turn::Away { after, why } = desk.admit(start).turn else {
        panic!("let in above the limit")
    };
    assert_eq!((after, why), (2, "requests"));
    assert_eq!(served(40, start + TimeDelta::seconds(20)), 10);
    assert_eq!(served(40, start + TimeDelta::hours(1)), 30);
    assert_eq!(desk.tally().refused, 10 + 1 + 30 + 10);
}

#[test]
fn bad_luck_is_rare_and_the_same_for_the_same_seed() {
    let start = DateTime::UNIX_EPOCH;
    let turned = |seed| -> Vec<usize> {
        let desk = Desk::open(seed, u32::MAX, start);
        (0..20_000)
            .filter(|_| desk.admit(start).turn != Turn::Served)
            .collect()
    };
    assert_eq!(turned(3), turned(3));
    assert_ne!(turned(3), turned(4));
    assert!((3..40).contains(&turned(3).len()), "{}", turned(3).len());
}

#[tokio::test]
async fn above_the_limit_it_answers_429_with_retry_after() {
    // A minute passes between two requests for nobody.
    let far = Far::at_speed(1, 1).await;
    let admitted = far.post("/v1/chat/completions", json!([])).await;
    assert_eq!(admitted.status(), 400);
    let response = far.post("/v1/chat/completions", json!([])).await;
    assert_eq!(response.status(), 429);
    let after: i64 = response.headers()["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=60).contains(&after), "{after}");
    let told = json_of(response).await;
    assert_eq!(told["error"]["code"], "rate_limit_exceeded");
    assert_eq!(far.get("/usage").await["refused"], 1);
}

#[test]
fn spans_are_spelled_as_the_headers_do() {
    for (ms, text) in [
        (0, "0ms"),
        (12, "12ms"),
        (6_250, "6.25s"),
        (60_000, "1m0s"),
        (372_500, "6m12s"),
    ] {
        assert_eq!(desk::spell(TimeDelta::milliseconds(ms)), text);
    }
}
