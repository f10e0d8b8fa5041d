//! An API server that comes back forbids everything for a moment, as it has not read its roles yet.

use fleetctl::fleet::{BackendId, Command};

use super::bench::Bench;
use super::yard::{replicas, weights};
use crate::fake_kube::{Call, FaultGuard, on};

const CHAT: &str = "llm/chat";

fn chat() -> BackendId {
    BackendId::from(CHAT)
}

/// It says that it is not ready, as the real one does.
fn unready(bench: &Bench) -> FaultGuard {
    bench
        .fake
        .fail_while(|it: &Call| it.path == "/readyz", 500, None)
}

#[tokio::test]
async fn what_a_starting_server_forbids_is_tried_again() {
    let bench = Bench::routed(2, &[]).await;
    let _world = bench.lively().await;
    let open = bench.fleet().await;
    let starting = unready(&bench);
    let forbidden = bench
        .fake
        .fail_while(on("PUT", "deployments/scale"), 403, None);
    open.ask(Command::Drain { backend: chat() }).await.unwrap();
    open.sees(CHAT, "is tried again", |b| {
        let doing = b.doing.as_deref().unwrap_or_default();
        doing.contains("only starts") && doing.contains("tried again")
    })
    .await;
    drop(starting);
    drop(forbidden);
    assert_eq!(open.ended("drain", 1).await, "done on fake");
    assert_eq!(
        (replicas(&bench.fake), weights(&bench.fake)),
        (0, vec![0, 10])
    );
}

#[tokio::test]
async fn what_is_taken_back_meanwhile_is_taken_back_all_the_same() {
    let bench = Bench::routed(2, &[]).await;
    let _world = bench.lively().await;
    let open = bench.fleet().await;
    // The last step fails for good; the weight is given back once the server has read its roles.
    bench
        .fake
        .fail_next(on("PUT", "deployments/scale"), 422, None);
    bench.engines.set(CHAT, |it| it.running = 1.0);
    open.ask(Command::Drain { backend: chat() }).await.unwrap();
    open.sees(CHAT, "waits for what runs", |b| {
        let doing = b.doing.as_deref().unwrap_or_default();
        doing.starts_with("wait for two idle")
    })
    .await;
    let starting = unready(&bench);
    let forbidden = bench.fake.fail_while(on("PATCH", "httproutes"), 403, None);
    bench.engines.set(CHAT, |it| it.running = 0.0);
    open.sees(CHAT, "is tried again", |b| {
        let doing = b.doing.as_deref().unwrap_or_default();
        doing.contains("only starts")
    })
    .await;
    drop(starting);
    drop(forbidden);
    let said = open.ended("drain", 1).await;
    assert!(said.ends_with("all of it was taken back"), "{said}");
    assert_eq!(weights(&bench.fake), [90, 10]);
}

#[tokio::test]
async fn what_a_ready_server_forbids_is_forbidden() {
    let bench = Bench::routed(2, &[]).await;
    let _world = bench.lively().await;
    let open = bench.fleet().await;
    let _forbidden = bench
        .fake
        .fail_while(on("PUT", "deployments/scale"), 403, None);
    open.ask(Command::Drain { backend: chat() }).await.unwrap();
    let said = open.ended("drain", 1).await;
    assert!(said.contains("forbidden"), "{said}");
    assert!(said.ends_with("all of it was taken back"), "{said}");
    assert_eq!(weights(&bench.fake), [90, 10]);
}
