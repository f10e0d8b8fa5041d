//! Requests to backends that are awake.

use std::collections::BTreeMap;

use tokio::sync::watch;

use super::fake::{
    Gateway, chunk, error, feed, fleet, gateway, gateway_with, header, hosted, nobody, self_hosted,
    t0, text, upstream, warm,
};
use crate::clock::Clock;
use crate::fleet::model::{ColdPolicy, DataPath};
use crate::fleet::request::Route;
use crate::fleet::{Backend, Fleet, Observation, Usd};

const CHAT: &str = r#""model":"m","messages":[]"#;
const STREAM: &str = r#""model":"m","messages":[],"stream":true"#;
const HELLO: &str =
    "data: {\"choices\":[{\"delta\":{\"content\":\"hi\"},\"finish_reason\":null}]}\n\n";
const STOP: &str = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const USAGE: &str =
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":5}}\n\n";
const DONE: &str = "data: [DONE]\n\n";
const ANSWER: &str = r#"{"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":5}}"#;

fn any(backends: Vec<Backend>) -> Fleet {
    fleet(ColdPolicy::Wait, DataPath::Any, backends)
}

#[tokio::test]
async fn an_answer_passes_as_it_came_and_is_accounted() {
    let (url, mut got) = upstream().await;
    let picture = any(vec![hosted("renamed", 1)]);
    let mut gateway = gateway(picture, &[("renamed", url)]).await;
    let sent = gateway.send(
        r#""model": "m", "temperature": 0.70"#,
        &[("authorization", "Bearer client"), ("x-request-id", "mine")],
    );
    let request = got.recv().await.unwrap();
    assert_eq!(request.path, "/v1/chat/completions");
    assert_eq!(
        request.body,
        r#"{"model": "far/name", "temperature": 0.70}"#
    );
    assert_eq!(request.headers["authorization"], "Bearer upstream-secret");
    request.answer(200, &[("x-ratelimit-limit-requests", "9")], ANSWER);
    let response = sent.await.unwrap();
    assert_eq!(header(&response, "x-request-id"), "mine");
    assert_eq!(header(&response, "x-fleet-backend"), "renamed");
    assert_eq!(header(&response, "x-fleet-route"), "only");
    assert_eq!(header(&response, "x-ratelimit-limit-requests"), "9");
    assert_eq!(text(response).await, ANSWER);
    let record = gateway.record().await;
    assert_eq!((record.status, record.route), (200, Route::Only));
    assert_eq!(record.error, None);
    assert!(!record.partial);
    // 10 in at $1 and 5 out at $2 per million.
    assert_eq!(record.cost, Some(Usd::from_pico(20_000_000)));
    assert!(record.ttft.is_some());
}

#[tokio::test]
async fn a_stream_passes_chunk_by_chunk_without_the_usage_nobody_asked_for() {
    let (url, mut got) = upstream().await;
    let mut gateway = gateway(any(vec![self_hosted("a", 1, warm())]), &[("a", url)]).await;
    let sent = gateway.send(STREAM, &[]);
    let request = got.recv().await.unwrap();
    assert!(request.body.contains(r#""include_usage":true"#));
    let stream = request.stream();
    feed(&stream, HELLO).await;
    // Each chunk arrives before the next is sent: nothing waits for company.
    let mut response = sent.await.unwrap();
    assert_eq!(chunk(&mut response).await.as_deref(), Some(HELLO));
    feed(&stream, HELLO).await;
    assert_eq!(chunk(&mut response).await.as_deref(), Some(HELLO));
    feed(&stream, STOP).await;
    assert_eq!(chunk(&mut response).await.as_deref(), Some(STOP));
    feed(&stream, USAGE).await;
    feed(&stream, DONE).await;
    assert_eq!(chunk(&mut response).await.as_deref(), Some(DONE));
    drop(stream);
    assert_eq!(chunk(&mut response).await, None);
    let record = gateway.record().await;
    assert_eq!(
        record.usage.map(|usage| (usage.input, usage.output)),
        Some((10, 5))
    );
    assert_eq!((record.cost, record.error), (Some(Usd::ZERO), None));
}

#[tokio::test]
async fn usage_that_was_asked_for_is_kept() {
    let (url, mut got) = upstream().await;
    let gateway = gateway(any(vec![self_hosted("a", 1, warm())]), &[("a", url)]).await;
    let body = format!(r#"{STREAM},"stream_options":{{"include_usage":true}}"#);
    let sent = gateway.send(&body, &[]);
    let request = got.recv().await.unwrap();
    assert_eq!(request.body, format!("{{{body}}}"));
    let stream = request.stream();
    for piece in [HELLO, STOP, USAGE, DONE] {
        feed(&stream, piece).await;
    }
    drop(stream);
    assert_eq!(
        text(sent.await.unwrap()).await,
        [HELLO, STOP, USAGE, DONE].concat()
    );
}

#[tokio::test]
async fn an_error_as_first_event_falls_back() {
    let (full, mut full_got) = upstream().await;
    let (free, mut free_got) = upstream().await;
    let picture = any(vec![
        self_hosted("full", 1, warm()),
        self_hosted("free", 0, warm()),
    ]);
    let mut gateway = gateway(picture, &[("full", full), ("free", free)]).await;
    let sent = gateway.send(STREAM, &[]);
    let stream = full_got.recv().await.unwrap().stream();
    feed(
        &stream,
        "data: {\"error\": {\"message\": \"busy\", \"code\": 503}}\n\n",
    )
    .await;
    let stream = free_got.recv().await.unwrap().stream();
    feed(&stream, STOP).await;
    feed(&stream, DONE).await;
    drop(stream);
    let response = sent.await.unwrap();
    assert_eq!(header(&response, "x-fleet-backend"), "free");
    assert_eq!(header(&response, "x-fleet-route"), "fallback");
    assert_eq!(text(response).await, [STOP, DONE].concat());
    let record = gateway.record().await;
    assert_eq!(record.route, Route::Fallback);
    assert_eq!(record.backend, Some("free".into()));
}

#[tokio::test]
async fn a_stream_without_an_event_is_no_answer() {
    let (url, mut got) = upstream().await;
    let gateway = gateway(any(vec![self_hosted("a", 1, warm())]), &[("a", url)]).await;
    let sent = gateway.send(STREAM, &[]);
    let stream = got.recv().await.unwrap().stream();
    feed(&stream, ": ping\n\n").await;
    drop(stream);
    assert_eq!(sent.await.unwrap().status(), 502);
}

#[tokio::test]
async fn no_record_is_lost_while_nobody_reads() {
    let (url, mut got) = upstream().await;
    let mut gateway = gateway(any(vec![self_hosted("a", 1, warm())]), &[("a", url)]).await;
    tokio::spawn(async move {
        while let Some(request) = got.recv().await {
            request.answer(200, &[], ANSWER);
        }
    });
    // More than the channel holds: those beyond wait until somebody reads, and none is lost.
    let sent: Vec<_> = (0..200).map(|_| gateway.send(CHAT, &[])).collect();
    for _ in 0..200 {
        assert_eq!(gateway.record().await.status, 200);
    }
    for sent in sent {
        assert_eq!(text(sent.await.unwrap()).await, ANSWER);
    }
}

#[tokio::test]
async fn a_body_over_the_limit_leaves_the_connection_usable() {
    let gateway = gateway(
        any(vec![self_hosted("a", 1, warm())]),
        &[("a", nobody().await)],
    )
    .await;
    let large = "x".repeat(32 << 20);
    let response = gateway.send(&large, &[]).await.unwrap();
    assert_eq!(response.status(), 413);
    assert_eq!(header(&response, "connection"), "");
    assert_eq!(error(response).await["code"], "request_too_large");
    assert_eq!(gateway.get("/healthz").await.status(), 200);
}

#[tokio::test]
async fn a_429_falls_back_and_is_told() {
    let (url, mut got) = upstream().await;
    let (other, mut other_got) = upstream().await;
    let picture = any(vec![hosted("a", 1), hosted("b", 0)]);
    let mut gateway = gateway(picture, &[("a", url), ("b", other)]).await;
    let sent = gateway.send(CHAT, &[]);
    got.recv()
        .await
        .unwrap()
        .answer(429, &[("retry-after-ms", "60000")], "{}");
    other_got.recv().await.unwrap().answer(200, &[], ANSWER);
    assert_eq!(sent.await.unwrap().status(), 200);
    let until = loop {
        if let Observation::Limited { backend, until, at } =
            gateway.observations.recv().await.unwrap()
        {
            assert_eq!(backend.as_str(), "a");
            break until - at;
        }
    };
    assert_eq!(until.num_seconds(), 60);
    // The next one does not even try.
    let sent = gateway.send(CHAT, &[]);
    other_got.recv().await.unwrap().answer(200, &[], ANSWER);
    assert_eq!(header(&sent.await.unwrap(), "x-fleet-backend"), "b");
}

#[tokio::test]
async fn nobody_left_says_what_each_answered() {
    let (url, mut got) = upstream().await;
    let picture = any(vec![
        self_hosted("gone", 1, warm()),
        self_hosted("sick", 0, warm()),
    ]);
    let mut gateway = gateway(picture, &[("gone", nobody().await), ("sick", url)]).await;
    let sent = gateway.send(CHAT, &[]);
    got.recv()
        .await
        .unwrap()
        .answer(500, &[], r#"{"error":{"message":"core died","code":500}}"#);
    let response = sent.await.unwrap();
    assert_eq!(response.status(), 502);
    let error = error(response).await;
    assert_eq!(error["code"], "upstream_error");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("gone: Connection refused"), "{message}");
    assert!(message.contains("sick: 500 core died"), "{message}");
    let record = gateway.record().await;
    assert_eq!((record.status, record.backend), (502, None));
}

#[tokio::test]
async fn a_clients_own_error_comes_back_in_the_one_envelope() {
    let (url, mut got) = upstream().await;
    let (other, mut other_got) = upstream().await;
    let picture = any(vec![
        self_hosted("a", 1, warm()),
        self_hosted("b", 0, warm()),
    ]);
    let gateway = gateway(picture, &[("a", url), ("b", other)]).await;
    let sent = gateway.send(CHAT, &[]);
    got.recv().await.unwrap().answer(
        400,
        &[],
        r#"{"error":{"message":"too long","type":"BadRequestError","param":null,"code":400}}"#,
    );
    let response = sent.await.unwrap();
    assert_eq!(response.status(), 400);
    assert_eq!(error(response).await["code"], "400");
    assert!(other_got.try_recv().is_err(), "nobody else is asked");
}

#[tokio::test]
async fn a_stream_that_breaks_ends_with_an_error_event() {
    let (url, mut got) = upstream().await;
    let mut gateway = gateway(any(vec![self_hosted("a", 1, warm())]), &[("a", url)]).await;
    let sent = gateway.send(STREAM, &[]);
    let stream = got.recv().await.unwrap().stream();
    feed(&stream, HELLO).await;
    let mut response = sent.await.unwrap();
    assert_eq!(chunk(&mut response).await.as_deref(), Some(HELLO));
    stream
        .send(Err(std::io::Error::other("killed")))
        .await
        .unwrap();
    let last = chunk(&mut response).await.unwrap();
    assert!(
        last.starts_with("data: {\"error\":") && last.ends_with("\n\n"),
        "{last}"
    );
    assert_eq!(chunk(&mut response).await, None);
    let record = gateway.record().await;
    assert!(record.partial && record.error.is_some());
}

#[tokio::test]
async fn a_stream_that_ends_in_an_error_event_is_a_failure_on_record() {
    let (url, mut got) = upstream().await;
    let mut gateway = gateway(any(vec![self_hosted("a", 1, warm())]), &[("a", url)]).await;
    let sent = gateway.send(STREAM, &[]);
    let stream = got.recv().await.unwrap().stream();
    for piece in [
        HELLO,
        "data: {\"error\": {\"message\": \"core died\"}}\n\n",
        DONE,
    ] {
        feed(&stream, piece).await;
    }
    drop(stream);
    assert!(text(sent.await.unwrap()).await.contains("core died"));
    let record = gateway.record().await;
    assert_eq!(record.error.as_deref(), Some("core died"));
    assert!(record.partial);
}

#[tokio::test]
async fn a_client_that_leaves_cancels_the_upstream() {
    let (url, mut got) = upstream().await;
    let mut gateway = gateway(any(vec![hosted("a", 1)]), &[("a", url)]).await;
    let sent = gateway.send(STREAM, &[]);
    let stream = got.recv().await.unwrap().stream();
    feed(&stream, HELLO).await;
    let mut response = sent.await.unwrap();
    assert!(chunk(&mut response).await.is_some());
    drop(response);
    // The fake's body is dropped when its connection is.
    stream.closed().await;
    let record = gateway.record().await;
    assert_eq!((record.status, record.partial), (499, true));
    assert_eq!(record.cost, None, "nobody said how much it was");
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_cancels_too() {
    let (url, mut got) = upstream().await;
    let mut gateway = gateway(any(vec![self_hosted("a", 1, warm())]), &[("a", url)]).await;
    let sent = gateway.send(CHAT, &[]);
    let held = got.recv().await.unwrap();
    sent.abort();
    let record = gateway.record().await;
    assert_eq!(record.status, 499);
    assert_eq!(record.backend, Some("a".into()));
    drop(held);
}

#[tokio::test]
async fn the_data_path_bars_hosted_backends() {
    let (url, mut got) = upstream().await;
    let (far, mut far_got) = upstream().await;
    let picture = any(vec![self_hosted("near", 1, warm()), hosted("far", 99)]);
    let gateway = gateway(picture, &[("near", url), ("far", far)]).await;
    let bound = ("x-fleet-data-path", "self");
    // One that a proxy added binds as well.
    let twice = [("x-fleet-data-path", "any"), bound];
    for headers in [&[bound][..], &twice, &[bound], &twice, &[bound]] {
        let sent = gateway.send(CHAT, headers);
        got.recv().await.unwrap().answer(200, &[], ANSWER);
        assert_eq!(header(&sent.await.unwrap(), "x-fleet-route"), "only");
    }
    let sent = gateway.send(CHAT, &[("x-fleet-data-path", "self")]);
    got.recv().await.unwrap().answer(503, &[], "{}");
    assert_eq!(sent.await.unwrap().status(), 502);
    assert!(far_got.try_recv().is_err());
}

#[tokio::test]
async fn weights_hold_over_every_hundred_requests() {
    let (a, mut a_got) = upstream().await;
    let (b, mut b_got) = upstream().await;
    let picture = any(vec![
        self_hosted("a", 65, warm()),
        self_hosted("b", 35, warm()),
    ]);
    let gateway = gateway(picture, &[("a", a), ("b", b)]).await;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                got = a_got.recv() => got.unwrap().answer(200, &[], ANSWER),
                got = b_got.recv() => got.unwrap().answer(200, &[], ANSWER),
            }
        }
    });
    let sent: Vec<_> = (0..100).map(|_| gateway.send(CHAT, &[])).collect();
    let mut to_a = 0;
    for sent in sent {
        to_a += u32::from(header(&sent.await.unwrap(), "x-fleet-backend") == "a");
    }
    assert_eq!(to_a, 65);
}

/// The answers to `n` concurrent requests: how many came from each, by weight and otherwise.
async fn shares(gateway: &Gateway, n: usize) -> BTreeMap<(String, String), usize> {
    let sent: Vec<_> = (0..n).map(|_| gateway.send(CHAT, &[])).collect();
    let mut shares = BTreeMap::new();
    for sent in sent {
        let answer = sent.await.unwrap();
        assert_eq!(answer.status(), 200);
        let of = ["x-fleet-backend", "x-fleet-route"].map(|name| header(&answer, name).to_owned());
        *shares.entry(of.into()).or_default() += 1;
    }
    shares
}

#[tokio::test]
async fn weights_hold_while_a_backend_fails_and_after_it_returned() {
    let (down, is_down) = watch::channel(false);
    let mut urls = Vec::new();
    for name in ["a", "b", "c"] {
        let (url, mut got) = upstream().await;
        urls.push((name, url));
        let is_down = is_down.clone();
        tokio::spawn(async move {
            while let Some(got) = got.recv().await {
                let status = if name == "a" && *is_down.borrow() {
                    503
                } else {
                    200
                };
                got.answer(status, &[], ANSWER);
            }
        });
    }
    let weights = [("a", 50), ("b", 30), ("c", 20)];
    let picture = any(weights
        .map(|(name, weight)| self_hosted(name, weight, warm()))
        .into());
    // A clock that is fast enough to see the circuit's pause end, and slow enough not to see it end in between.
    let gateway = gateway_with(picture, &urls, |door| {
        door.clock = Clock::starting_at(t0(), 5);
    })
    .await;
    let by_weight = |n: usize, name: &str| ((name.to_owned(), "weight".to_owned()), n);
    let all = BTreeMap::from([by_weight(50, "a"), by_weight(30, "b"), by_weight(20, "c")]);
    assert_eq!(shares(&gateway, 100).await, all);

    down.send_replace(true);
    // Those that meet the failure are answered elsewhere; then nobody is sent there but a probe now and then.
    while shares(&gateway, 1)
        .await
        .keys()
        .all(|(_, route)| route == "weight")
    {}
    shares(&gateway, 20).await;
    let left = shares(&gateway, 100).await;
    let weighted: Vec<_> = left
        .iter()
        .filter(|((_, route), _)| route == "weight")
        .collect();
    assert!(
        weighted.iter().all(|((name, _), _)| name != "a"),
        "{left:?}"
    );
    let probes = 100 - weighted.iter().map(|(_, n)| **n).sum::<usize>();
    let of_b = *left.get(&("b".to_owned(), "weight".to_owned())).unwrap();
    // 60 of 100, but for the few that were a probe's.
    assert!(
        probes <= 5 && (60 - probes..=60).contains(&of_b),
        "{left:?}"
    );

    down.send_replace(false);
    while shares(&gateway, 1)
        .await
        .keys()
        .all(|(name, _)| name != "a")
    {}
    // Every window of 100 is exact, wherever it begins.
    assert_eq!(shares(&gateway, 100).await, all);
    shares(&gateway, 37).await;
    assert_eq!(shares(&gateway, 100).await, all);
}

/// Body, headers, status, code, and what the message says.
type Case = (
    &'static str,
    &'static [(&'static str, &'static str)],
    u16,
    &'static str,
    &'static str,
);

#[tokio::test]
async fn what_is_asked_wrongly_is_told() {
    let (url, _got) = upstream().await;
    let gateway = gateway(any(vec![self_hosted("a", 1, warm())]), &[("a", url)]).await;
    let cases: [Case; 5] = [
        (
            r#""model":"mm""#,
            &[],
            404,
            "model_not_found",
            "did you mean `m`?",
        ),
        (
            r#""messages":[]"#,
            &[],
            400,
            "invalid_request_error",
            "`model` is missing",
        ),
        (
            "nonsense",
            &[],
            400,
            "invalid_request_error",
            "not a JSON object",
        ),
        (
            CHAT,
            &[("x-fleet-backend", "zz")],
            400,
            "invalid_request_error",
            "it has a",
        ),
        (
            CHAT,
            &[("x-fleet-data-path", "mine")],
            400,
            "invalid_request_error",
            "x-fleet-data-path",
        ),
    ];
    for (body, headers, status, code, says) in cases {
        let response = gateway.send(body, headers).await.unwrap();
        assert_eq!(response.status(), status, "{body}");
        assert!(header(&response, "x-request-id").starts_with("req-"));
        let error = error(response).await;
        assert_eq!(error["code"], code);
        assert!(error["message"].as_str().unwrap().contains(says), "{error}");
    }
    let response = gateway.get("/v1/chat/completions").await;
    assert_eq!(
        (response.status().as_u16(), header(&response, "allow")),
        (405, "POST")
    );
    assert_eq!(gateway.get("/nowhere").await.status(), 404);
    assert_eq!(gateway.get("/healthz").await.status(), 200);
    assert_eq!(gateway.get("/readyz").await.status(), 200);
    assert_eq!(gateway.get("/v1/models/m").await.status(), 200);
    assert_eq!(gateway.get("/v1/models/x").await.status(), 404);
    let list = text(gateway.get("/v1/models").await).await;
    assert!(list.contains(r#""id":"m""#) && list.contains(r#""owned_by":"fleetctl""#));
}
