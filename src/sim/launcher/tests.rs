use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::run;
use crate::clock::Clock;
use crate::sim::engine::{Failure, Spec};
use crate::sim::unit::{Status, Unit};

/// Fast enough for a start of minutes to take a moment.
const SPEED: u32 = 3000;

struct Cluster {
    unit: Arc<Unit>,
    base: String,
    http: reqwest::Client,
    _stop: tokio_util::sync::DropGuard,
}

async fn cluster(first_start: Option<Failure>) -> Cluster {
    let clock = Clock::starting_at("2026-11-22T03:54:00Z".parse().unwrap(), SPEED);
    let shutdown = CancellationToken::new();
    let spec = Spec {
        first_start,
        ..crate::sim::engine::tests::spec()
    };
    let unit = Unit::new(spec, clock, shutdown.clone()).unwrap();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let base = format!("http://{}/engines/h100-b", listener.local_addr().unwrap());
    let units = BTreeMap::from([("h100-b".to_owned(), unit.clone())]);
    tokio::spawn(run(listener, units, shutdown.clone()));
    Cluster {
        unit,
        base,
        http: reqwest::Client::builder().no_proxy().build().unwrap(),
        _stop: shutdown.drop_guard(),
    }
}

impl Cluster {
    async fn get(&self, path: &str) -> (u16, String) {
        let reply = self.http.get(format!("{}{path}", self.base)).send().await;
        let reply = reply.unwrap();
        (reply.status().as_u16(), reply.text().await.unwrap())
    }

    async fn post(&self, path: &str) -> (u16, String) {
        let reply = self.http.post(format!("{}{path}", self.base)).send().await;
        let reply = reply.unwrap();
        (reply.status().as_u16(), reply.text().await.unwrap())
    }

    async fn health(&self) -> Option<u16> {
        let url = format!("http://{}/health", self.unit.address());
        let reply = self.http.get(url).send().await.ok()?;
        Some(reply.status().as_u16())
    }

    async fn until(&self, status: &str) -> String {
        loop {
            let (_, body) = self.get("").await;
            if body.contains(status) {
                return body;
            }
        }
    }
}

#[tokio::test]
async fn a_start_goes_from_nothing_to_serving_and_a_stop_back() {
    let cluster = cluster(None).await;
    assert_eq!(
        cluster.get("").await.1,
        r#"{"status":"stopped","exit_code":null,"started":0}"#
    );
    assert_eq!(cluster.health().await, None);
    let (status, body) = cluster.post("/start").await;
    assert_eq!((status, body.as_str()), (202, r#"{"status":"starting"}"#));
    assert_eq!(cluster.post("/start").await.0, 200);
    assert_eq!(
        cluster.until("running").await,
        r#"{"status":"running","exit_code":null,"started":1}"#
    );
    assert_eq!(cluster.health().await, Some(200));
    let (_, log) = cluster.get("/log").await;
    assert!(log.contains("Scheduled: Successfully assigned llm/h100-b-0 to gpu-h100-2"));
    assert!(cluster.unit.gpu().memory > 0.9);

    let (status, body) = cluster.post("/stop").await;
    assert_eq!((status, body.as_str()), (200, r#"{"status":"stopped"}"#));
    assert_eq!(cluster.health().await, None);
    assert_eq!(cluster.unit.status(), Status::Stopped);
    assert!(cluster.unit.gpu().memory.abs() < 1e-9);
    // A start after a stop takes the same port again.
    cluster.post("/start").await;
    cluster.until("running").await;
    assert_eq!(cluster.health().await, Some(200));
}

#[tokio::test]
async fn a_first_start_that_fails_says_why_and_the_second_works() {
    let cluster = cluster(Some(Failure::FreeMemory)).await;
    cluster.post("/start").await;
    // Followed from its beginning to its end.
    let (_, log) = cluster.get("/log?follow=true").await;
    assert!(log.starts_with("TriggeredScaleUp: "), "{log}");
    assert!(
        log.contains("ValueError: Free memory on device cuda:0 (29.01/93.58 GiB) on startup is less than desired GPU memory utilization (0.92, 86.10 GiB)."),
        "{log}"
    );
    assert_eq!(
        cluster.until("exited").await,
        r#"{"status":"exited","exit_code":1,"started":1}"#
    );
    assert_eq!(cluster.health().await, None);
    assert_eq!(cluster.post("/start").await.0, 202);
    assert!(cluster.until("running").await.contains(r#""started":2"#));
}

#[tokio::test]
async fn a_killed_engine_has_exited_with_status_0() {
    let cluster = cluster(None).await;
    cluster.unit.warm();
    while cluster.health().await.is_none() {}
    assert_eq!(cluster.post("/hang").await.0, 200);
    assert_eq!(cluster.health().await, Some(200));
    assert_eq!(cluster.post("/resume").await.0, 200);
    assert_eq!(cluster.post("/kill").await.0, 200);
    assert_eq!(
        cluster.until("exited").await,
        r#"{"status":"exited","exit_code":0,"started":1}"#
    );
    assert_eq!(cluster.health().await, None);
    assert_eq!(cluster.post("/kill").await.0, 409);
    assert_eq!(cluster.post("/../nope/start").await.0, 404);
}

#[tokio::test]
async fn a_stop_ends_a_start_halfway() {
    let cluster = cluster(None).await;
    cluster.post("/start").await;
    assert_eq!(cluster.post("/stop").await.0, 200);
    assert_eq!(cluster.unit.status(), Status::Stopped);
    assert_eq!(cluster.health().await, None);
}
