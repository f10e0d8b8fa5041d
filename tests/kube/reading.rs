//! Engines are read through the API's own way to pods, and a drain goes by what they say.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use chrono::{TimeDelta, Utc};
use fleetctl::cluster::Reach;
use fleetctl::fleet::{Backend, BackendId, Command};
use serde_json::json;
use tokio::net::TcpListener;

use super::bench::{Bench, Open};
use super::world::World;
use super::yard::{deployment, put};

#[tokio::test]
async fn a_drain_goes_by_the_pages_of_the_pods() {
    let bench = Bench::routed(1, &[]).await;
    let _world = bench.lively().await;
    bench.engines.set("llm/chat", |it| it.running = 2.0);
    let open = bench.reached().reading().open(3).await;
    open.sees("llm/chat", "says what runs on it", |b| {
        b.live.running == Some(2) && b.place.as_ref().is_some_and(|it| it.read_by.is_some())
    })
    .await;
    bench.engines.set("llm/chat", |it| it.arriving = 250.0);
    open.sees("llm/chat", "has its tokens counted", |b| {
        b.ledger.tokens_in >= 250 && b.ledger.tokens_in % 250 == 0
    })
    .await;
    bench.engines.set("llm/chat", |it| it.arriving = 0.0);
    let backend = BackendId::from("llm/chat");
    open.ask(Command::Drain { backend }).await.unwrap();
    let waits = "wait for two idle readings of every pod";
    open.sees("llm/chat", waits, |b| b.doing.as_deref() == Some(waits))
        .await;
    bench.engines.set("llm/chat", |it| it.running = 0.0);
    assert_eq!(open.ended("drain", 1).await, "done on fake");
    // Nothing but pages was asked of pods: no path that could wake an engine.
    let calls = bench.fake.calls();
    let of_pods = calls.iter().filter(|it| it.resource.contains("proxy"));
    let paths: std::collections::BTreeSet<&str> = of_pods
        .filter_map(|it| it.path.rsplit_once("/proxy").map(|(_, path)| path))
        .collect();
    assert_eq!(paths.into_iter().collect::<Vec<_>>(), ["/metrics"]);
}

const WAITS: &str = "wait for two idle readings of every pod";

/// Two more readings of a backend.
async fn read_twice(open: &Open, what: &str, is: impl Fn(&Backend) -> bool) {
    for _ in 0..2 {
        let from = Utc::now();
        open.sees("llm/chat", what, |b| {
            b.live.read_at.is_some_and(|it| it > from) && is(b)
        })
        .await;
    }
}

#[tokio::test]
async fn a_pod_that_is_too_busy_for_its_probe_is_still_busy() {
    let bench = Bench::routed(2, &[]).await;
    let _world = bench.lively().await;
    let pods = bench.fake.all("pods");
    let names: Vec<String> = pods
        .iter()
        .map(|it| it["metadata"]["name"].as_str().unwrap().to_owned())
        .collect();
    let busy = format!("llm/{}", names[0]);
    bench.engines.set(&busy, |it| it.running = 1.0);
    let open = bench.reached().reading().open(3).await;
    open.sees("llm/chat", "says what runs on one of two", |b| {
        b.live.running == Some(1)
    })
    .await;
    let backend = BackendId::from("llm/chat");
    open.ask(Command::Drain { backend }).await.unwrap();
    open.sees("llm/chat", WAITS, |b| b.doing.as_deref() == Some(WAITS))
        .await;
    // They stream, and miss their readiness probes.
    let later = Utc::now() + TimeDelta::seconds(5);
    let unready = json!({"status": {"conditions": [
        {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
        {"type": "Ready", "status": "False", "lastTransitionTime": later},
    ]}});
    for name in &names {
        bench.fake.merge(&format!("pods/llm/{name}"), &unready);
    }
    let waits = |b: &Backend| b.doing.as_deref() == Some(WAITS);
    let none_ready = |b: &Backend| b.place.as_ref().is_some_and(|it| it.ready == 0);
    read_twice(&open, "none is ready, and one is busy", |b| {
        none_ready(b) && waits(b) && b.live.running == Some(1)
    })
    .await;
    // Who says nothing is not idle, whatever the other says.
    bench.engines.set(&busy, |it| it.mute = true);
    open.sees("llm/chat", "cannot be read", |b| {
        b.live.error.is_some() && waits(b)
    })
    .await;
    let scaled = bench.fake.get("deployments/llm/chat").unwrap();
    assert_eq!(scaled["spec"]["replicas"], 2);
    bench.engines.set(&busy, |it| {
        it.mute = false;
        it.running = 0.0;
    });
    assert_eq!(open.ended("drain", 1).await, "done on fake");
}

#[tokio::test]
async fn one_that_is_gone_from_the_picture_is_not_idle() {
    let bench = Bench::routed(1, &[]).await;
    let _world = bench.lively().await;
    bench.engines.set("llm/chat", |it| it.running = 1.0);
    let open = bench.fleet().await;
    let backend = BackendId::from("llm/chat");
    open.ask(Command::Drain { backend }).await.unwrap();
    open.sees("llm/chat", WAITS, |b| b.doing.as_deref() == Some(WAITS))
        .await;
    bench.fake.delete("deployments/llm/chat");
    let said = open.ended("drain", 1).await;
    assert!(said.contains("is not seen any more"), "{said}");
}

/// Another cluster's engine: it listens where a pod of this one is said to be. How often it was asked.
async fn elsewhere(page: &'static str) -> (u16, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    let metrics = move || {
        count.fetch_add(1, Ordering::Relaxed);
        async move { page }
    };
    let routes = axum::Router::new().route("/metrics", axum::routing::get(metrics));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (port, asked)
}

/// A pod that says that it is at this machine's own address, and what its cluster's proxy says of it.
async fn at_home(port: u16, page: &'static str) -> (Bench, World) {
    let bench = Bench::start().await;
    put(&bench.fake, "node gpu-0");
    let mut chat = deployment("chat", 1);
    let args = &mut chat["spec"]["template"]["spec"]["containers"][0]["args"];
    let said = args.as_array_mut().unwrap();
    let at = said.iter().position(|it| *it == "8000").unwrap();
    said[at] = port.to_string().into();
    bench.fake.put(chat);
    let world = bench.lively().await;
    let pods = bench.fake.all("pods");
    let name = pods[0]["metadata"]["name"].as_str().unwrap();
    bench.fake.on_proxy(&format!("llm/{name}"), move |_, _, _| {
        (200, "text/plain".into(), page.into())
    });
    let home = json!({"status": {"podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}]}});
    bench.fake.merge(&format!("pods/llm/{name}"), &home);
    (bench, world)
}

const BUSY: &str = "process_start_time_seconds 1.7e+09\nvllm:num_requests_running 2\nvllm:num_requests_waiting 0\n";
const IDLE: &str = "process_start_time_seconds 1.8e+09\nvllm:num_requests_running 0\nvllm:num_requests_waiting 0\n";

fn read_by(b: &Backend) -> &str {
    let by = b.place.as_ref().and_then(|it| it.read_by.as_deref());
    by.unwrap_or_default()
}

#[tokio::test]
async fn another_clusters_pod_at_the_same_address_is_not_believed() {
    let (port, _) = elsewhere(IDLE).await;
    let (bench, _world) = at_home(port, BUSY).await;
    let open = bench.reached().reading().open(3).await;
    read_twice(&open, "is what its own cluster says", |b| {
        b.live.running == Some(2) && read_by(b) == "through the API's pod proxy"
    })
    .await;
}

#[tokio::test]
async fn a_pods_own_address_is_read_once_it_was_seen_to_be_its_own() {
    let (port, asked) = elsewhere(BUSY).await;
    let (bench, _world) = at_home(port, BUSY).await;
    let open = bench.reached().reading().open(3).await;
    read_twice(&open, "is read at its own address", |b| {
        b.live.running == Some(2) && read_by(b) == "directly"
    })
    .await;
    assert!(asked.load(Ordering::Relaxed) > 1);
}

#[tokio::test]
async fn a_config_that_says_proxy_asks_no_pod_at_its_own_address() {
    let (port, asked) = elsewhere(BUSY).await;
    let (bench, _world) = at_home(port, BUSY).await;
    let mut reached = bench.reached().reading();
    reached.settings.reach = Reach::Proxy;
    let open = reached.open(3).await;
    read_twice(&open, "is read", |b| b.live.running == Some(2)).await;
    assert_eq!(asked.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_config_that_says_direct_believes_the_address() {
    let (port, _) = elsewhere(IDLE).await;
    let (bench, _world) = at_home(port, BUSY).await;
    let mut reached = bench.reached().reading();
    reached.settings.reach = Reach::Direct;
    let open = reached.open(3).await;
    read_twice(&open, "is what is said there", |b| {
        b.live.running == Some(0)
    })
    .await;
}
