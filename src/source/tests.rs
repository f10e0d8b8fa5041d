//! A whole watch against small fakes on the loopback.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, TimeDelta};
use tokio::net::TcpListener;

use super::*;

const AWAKE: &str = include_str!("../../tests/pages/vllm-0.32.0-load.txt");
const ASLEEP: &str = include_str!("../../tests/pages/vllm-0.32.0-asleep1.txt");
/// Far beyond what any of these takes: a test that hangs must end.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a fake answers, path by path, and what it was asked.
#[derive(Clone, Default)]
struct Fake(Arc<Mutex<Script>>);

#[derive(Default)]
struct Script {
    answers: Vec<(&'static str, u16, String)>,
    /// Answers to the following of a log, one a call: the text, and whether its end is a proper one.
    logs: Vec<(String, bool)>,
    asked: Vec<String>,
}

impl Fake {
    fn set(&self, path: &'static str, status: u16, body: &str) {
        let mut script = self.0.lock().unwrap();
        script.answers.retain(|(known, ..)| *known != path);
        script.answers.push((path, status, body.to_owned()));
    }

    fn asked(&self) -> Vec<String> {
        let mut asked = self.0.lock().unwrap().asked.clone();
        asked.sort();
        asked.dedup();
        asked
    }

    async fn serve(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().fallback(answer).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        url
    }
}

async fn answer(State(fake): State<Fake>, request: Request) -> Response {
    let mut script = fake.0.lock().unwrap();
    let path = request.uri().path().to_owned();
    let asked = format!("{} {}", request.method(), request.uri());
    script.asked.push(asked);
    if request.uri().query() == Some("follow=true") {
        let (text, proper) = if script.logs.len() > 1 {
            script.logs.remove(0)
        } else {
            script.logs.first().cloned().unwrap_or_default()
        };
        let mut pieces = vec![Ok(Bytes::from(text))];
        if !proper {
            pieces.push(Err(std::io::Error::other("cut")));
        }
        return Body::from_stream(futures_util::stream::iter(pieces)).into_response();
    }
    let found = script.answers.iter().find(|(known, ..)| *known == path);
    match found {
        Some((_, status, body)) => {
            (StatusCode::from_u16(*status).unwrap(), body.clone()).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn target(url: &str) -> Target {
    Target {
        backend: "b".into(),
        url: url.to_owned(),
        hosted: false,
        key: None,
        launcher: None,
        process: None,
        gpu_metrics: None,
        gpus: Vec::new(),
        sleeps: false,
    }
}

/// A watch under way, and its readings as short words.
struct Watched {
    readings: mpsc::Receiver<Observation>,
    _shutdown: tokio_util::sync::DropGuard,
}

fn start(target: Target) -> Watched {
    let (out, readings) = mpsc::channel(1024);
    let shutdown = CancellationToken::new();
    let clock = Clock::starting_at(DateTime::UNIX_EPOCH, 1);
    tokio::spawn(watch(
        target,
        web::client().unwrap(),
        Duration::from_millis(5),
        out,
        clock,
        shutdown.clone(),
    ));
    Watched {
        readings,
        _shutdown: shutdown.drop_guard(),
    }
}

impl Watched {
    async fn next(&mut self) -> String {
        let next = tokio::time::timeout(PATIENCE, self.readings.recv()).await;
        words(&next.expect("a reading").expect("an open channel"))
    }

    /// Reads on until `wanted` comes; everything up to it.
    async fn until(&mut self, wanted: &str) -> Vec<String> {
        let mut seen = Vec::new();
        loop {
            seen.push(self.next().await);
            if seen.last().is_some_and(|it| it == wanted) {
                return seen;
            }
            assert!(seen.len() < 1000, "no `{wanted}` in {:?}", &seen[..20]);
        }
    }
}

fn words(observation: &Observation) -> String {
    match observation {
        Observation::Engine { sample, .. } => format!("engine {:?}", sample.running),
        Observation::Unreachable { reason, .. } => format!("unreachable: {reason}"),
        Observation::Health { ok, .. } => format!("health {ok}"),
        Observation::Sleeping { asleep, .. } => format!("asleep {asleep}"),
        Observation::Gpus { gpus, .. } => format!("gpus {}", gpus.len()),
        Observation::Log { line, stage, .. } => {
            let stage = stage.map(|mark| mark.stage.word());
            format!("log {} {stage:?}", line.text)
        }
        Observation::Exited { status, reason, .. } => format!("exited {status:?}: {reason}"),
        other => format!("{other:?}"),
    }
}

#[tokio::test]
async fn an_engine_that_is_awake_then_asleep_then_gone() {
    let fake = Fake::default();
    fake.set("/health", 200, "");
    fake.set("/metrics", 200, AWAKE);
    let mut watched = start(Target {
        sleeps: true,
        ..target(&fake.serve().await)
    });
    for expected in ["engine Some(24.0)", "asleep false", "health true"] {
        assert_eq!(watched.next().await, expected);
    }
    fake.set("/metrics", 200, ASLEEP);
    let seen = watched.until("health false").await;
    let end = &seen[seen.len() - 3..];
    assert_eq!(end, ["engine Some(0.0)", "asleep true", "health false"]);
    fake.set("/metrics", 200, AWAKE);
    watched.until("health true").await;
    fake.set("/health", 503, "");
    watched.until("health false").await;
    // Nothing that could wake or change anything, and no more than is needed: the gauge says whether it sleeps.
    assert_eq!(fake.asked(), ["GET /health", "GET /metrics"]);
}

#[tokio::test]
async fn an_engine_without_the_gauge_is_asked_whether_it_sleeps() {
    let fake = Fake::default();
    fake.set("/health", 200, "");
    fake.set("/metrics", 200, "vllm:num_requests_running 2\n");
    fake.set("/is_sleeping", 200, "{\"is_sleeping\":true}");
    let mut watched = start(Target {
        sleeps: true,
        ..target(&fake.serve().await)
    });
    for expected in ["engine Some(2.0)", "asleep true", "health false"] {
        assert_eq!(watched.next().await, expected);
    }
    fake.set("/is_sleeping", 200, "{\"is_sleeping\":false}");
    watched.until("health true").await;
    assert_eq!(
        fake.asked(),
        ["GET /health", "GET /is_sleeping", "GET /metrics"]
    );
}

#[tokio::test]
async fn a_server_that_is_not_vllm() {
    let fake = Fake::default();
    fake.set("/v1/models", 200, "{}");
    let mut watched = start(target(&fake.serve().await));
    assert_eq!(watched.next().await, "health true");
    fake.set("/v1/models", 500, "");
    watched.until("health false").await;
    assert_eq!(
        fake.asked(),
        ["GET /health", "GET /metrics", "GET /v1/models"]
    );
}

#[tokio::test]
async fn nothing_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let mut watched = start(target(&url));
    assert_eq!(watched.next().await, "health false");
    let mut watched = start(Target {
        hosted: true,
        ..target(&url)
    });
    assert_eq!(
        watched.next().await,
        "unreachable: nothing listens there (connection refused)"
    );
}

#[tokio::test]
async fn a_hosted_api_is_asked_for_its_models_only() {
    let cases = [
        (200, "health true"),
        (404, "health true"),
        (429, "health true"),
        (
            401,
            "unreachable: it refused the key (401); check the variable that `api_key_env` names",
        ),
        (503, "unreachable: 503 Service Unavailable: busy"),
    ];
    for (status, expected) in cases {
        let fake = Fake::default();
        fake.set("/v1/models", status, "\u{1b}[31mbusy\nsecond line");
        let mut watched = start(Target {
            hosted: true,
            key: Some("secret".into()),
            ..target(&fake.serve().await)
        });
        assert_eq!(watched.next().await, expected);
        assert_eq!(fake.asked(), ["GET /v1/models"]);
    }
}

#[tokio::test]
async fn gpus_by_index() {
    let fake = Fake::default();
    fake.set(
        "/gpus",
        200,
        "DCGM_FI_DEV_GPU_UTIL{gpu=\"0\"} 1\nDCGM_FI_DEV_GPU_UTIL{gpu=\"1\"} 2\n",
    );
    let url = fake.serve().await;
    for (gpus, expected) in [(vec![], "gpus 2"), (vec![1], "gpus 1")] {
        let mut watched = start(Target {
            gpu_metrics: Some(format!("{url}/gpus")),
            gpus,
            ..target(&url)
        });
        watched.until(expected).await;
    }
}

#[tokio::test]
async fn a_launcher_tells_the_log_once_and_the_end_with_its_reason() {
    let launcher = Fake::default();
    let engine = Fake::default();
    let stopped = "{\"status\":\"stopped\",\"exit_code\":null,\"started\":0}";
    launcher.set("/l", 200, stopped);
    let mut watched = start(Target {
        launcher: Some(format!("{}/l/", launcher.serve().await)),
        ..target(&engine.serve().await)
    });
    assert_eq!(watched.next().await, "health false");
    // A launcher that says there is no engine spares the engine's address.
    assert_eq!(engine.asked(), [] as [&str; 0]);

    let first = "Pulling: Pulling image \"x\"\n\u{1b}[31mhello\u{1b}[0m\n";
    let rest = "torch.OutOfMemoryError: CUDA out of memory. Tried\n";
    {
        let mut script = launcher.0.lock().unwrap();
        script.logs = vec![
            (format!("{first}half a li"), false),
            (format!("{first}{rest}"), true),
        ];
    }
    launcher.set("/l/log", 200, rest);
    launcher.set("/l", 200, "{\"status\":\"starting\",\"started\":1}");
    watched.until("log hello None").await;
    launcher.set(
        "/l",
        200,
        "{\"status\":\"exited\",\"exit_code\":1,\"started\":1}",
    );
    let exited = "exited Some(1): CUDA out of memory; lower --gpu-memory-utilization or --max-num-seqs, or take more or larger GPUs";
    let seen = watched.until(exited).await;
    let lines: Vec<_> = seen.iter().filter(|it| it.starts_with("log")).collect();
    assert_eq!(
        lines,
        ["log torch.OutOfMemoryError: CUDA out of memory. Tried None"]
    );

    // The next run begins anew; the end of the last one is not told twice.
    launcher.set("/l", 200, "{\"status\":\"running\",\"started\":2}");
    let seen = watched.until("log hello None").await;
    assert!(!seen.iter().any(|it| it.starts_with("exited")), "{seen:?}");
    assert_eq!(
        launcher.asked(),
        ["GET /l", "GET /l/log", "GET /l/log?follow=true"]
    );
}

#[tokio::test]
async fn a_full_queue_loses_readings_and_counts_them() {
    let (out, mut readings) = mpsc::channel(1);
    let clock = Clock::starting_at(DateTime::UNIX_EPOCH, 12);
    let outlet = Outlet::new("b".into(), out, clock);
    tokio::time::pause();
    outlet.gpus(Vec::new()).await;
    outlet.gpus(Vec::new()).await;
    outlet
        .engine(crate::fleet::engine::EngineSample::default())
        .await;
    assert_eq!(words(&readings.recv().await.unwrap()), "gpus 0");
    let sending = tokio::spawn(async move {
        outlet.gpus(Vec::new()).await;
        outlet.health(true).await;
    });
    let mut rest = Vec::new();
    let mut last = None;
    while let Some(reading) = readings.recv().await {
        if let Observation::Health { at, .. } = &reading {
            last = Some(*at);
        }
        rest.push(words(&reading));
    }
    sending.await.unwrap();
    assert_eq!(
        rest,
        [
            "gpus 0",
            "Dropped { what: \"readings\", count: 2 }",
            "health true"
        ]
    );
    // Two waits of an instant each, twelve times as long in the fleet.
    assert_eq!(
        last.map(|at| at - DateTime::UNIX_EPOCH >= TimeDelta::milliseconds(1200)),
        Some(true)
    );
}
