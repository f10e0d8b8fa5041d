//! Two who operate the same backend: one does, the other is told; and what somebody left half done is taken up.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use fleetctl::fleet::{BackendId, Command};
use serde_json::{Value, json};

use super::bench::{Bench, Open};
use super::world::{Who, World};
use super::yard::{policy, replicas, weights};
use crate::fake_kube::{FakeKube, on};

const CHAT: &str = "llm/chat";
const LEASE: &str = "leases/llm/fleetctl-llm-chat";
const IDLE: &str = "wait for two idle readings of every pod";

fn chat() -> BackendId {
    BackendId::from(CHAT)
}

/// A cluster with a model that is routed to and to a hosted API, and autoscaled.
async fn cluster() -> (Bench, World) {
    let bench = Bench::routed(2, &["hpa chat chat 1 4"]).await;
    let world = bench.lively().await;
    (bench, world)
}

/// A drain that waits for what runs: the weight is off, and nothing is scaled.
async fn half_drained(bench: &Bench, open: &Open) {
    bench.engines.set(CHAT, |it| it.running = 1.0);
    open.ask(Command::Drain { backend: chat() }).await.unwrap();
    open.sees(CHAT, "waits for what runs", |b| {
        b.doing.as_deref() == Some(IDLE)
    })
    .await;
}

fn put_lease(fake: &FakeKube, holder: &str, renewed: chrono::DateTime<Utc>) {
    fake.put(json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "fleetctl-llm-chat", "namespace": "llm"},
        "spec": {
            "holderIdentity": holder,
            "leaseDurationSeconds": 30,
            "acquireTime": "2026-11-20T03:00:00.000000Z",
            "renewTime": renewed.to_rfc3339_opts(chrono::SecondsFormat::Micros, true),
        },
    }));
}

#[tokio::test]
async fn the_second_console_is_told_who_is_at_it() {
    let (bench, _world) = cluster().await;
    let (first, second) = (bench.fleet().await, bench.fleet().await);
    half_drained(&bench, &first).await;
    second
        .sees(CHAT, "is being drained", |b| {
            let mark = b.place.as_ref().and_then(|it| it.mark.as_ref());
            mark.is_some_and(|it| it.op == "drain" && it.by == "ana" && it.is_open())
        })
        .await;
    bench.fake.take_calls();
    second
        .order(Command::Drain { backend: chat() }, "ben", false)
        .await
        .unwrap();
    let said = second.ended("drain", 1).await;
    assert!(said.starts_with("ana operates it since 20"), "{said}");
    assert!(said.ends_with("nothing was changed"), "{said}");
    let theirs: Vec<String> = bench
        .fake
        .writes()
        .iter()
        .filter(|it| it.resource != "leases")
        .map(|it| format!("{} {}", it.method, it.path))
        .collect();
    assert_eq!(theirs, Vec::<String>::new());
    bench.engines.set(CHAT, |it| it.running = 0.0);
    assert_eq!(first.ended("drain", 1).await, "done on fake");
    second
        .sees(CHAT, "sleeps", |b| {
            b.drained.is_some() && b.state.word() == "asleep"
        })
        .await;
    assert!(
        bench.fake.get(LEASE).is_none(),
        "the lease was not given back"
    );
}

#[tokio::test]
async fn a_lease_that_nobody_renews_is_taken_over() {
    let (bench, _world) = cluster().await;
    put_lease(&bench.fake, "ana-1", Utc::now() - TimeDelta::seconds(31));
    let open = bench.fleet().await;
    bench.fake.take_calls();
    open.order(Command::Drain { backend: chat() }, "ben", false)
        .await
        .unwrap();
    assert_eq!(open.ended("drain", 1).await, "done on fake");
    let calls = bench.fake.writes();
    let of: Vec<&str> = calls
        .iter()
        .filter(|it| it.resource == "leases")
        .map(|it| it.method.as_str())
        .collect();
    assert_eq!(of, ["POST", "PUT", "DELETE"]);
}

#[tokio::test]
async fn a_lease_that_is_renewed_says_since_when() {
    let (bench, _world) = cluster().await;
    put_lease(&bench.fake, "ana-1", Utc::now());
    let open = bench.fleet().await;
    open.order(Command::Drain { backend: chat() }, "ben", false)
        .await
        .unwrap();
    let said = open.ended("drain", 1).await;
    assert_eq!(
        said,
        "ana operates it since 2026-11-20T03:00:00.000000Z; wait for the end, or until that console is gone for 30 s; nothing was changed"
    );
}

#[tokio::test]
async fn somebody_elses_lease_is_not_given_back() {
    let (bench, _world) = cluster().await;
    let open = bench.fleet().await;
    half_drained(&bench, &open).await;
    put_lease(&bench.fake, "ben-2", Utc::now());
    bench.engines.set(CHAT, |it| it.running = 0.0);
    open.ended("drain", 1).await;
    let lease = bench
        .fake
        .get(LEASE)
        .expect("the lease of somebody else is gone");
    assert_eq!(lease["spec"]["holderIdentity"], "ben-2");
}

#[tokio::test]
async fn one_whose_lease_was_taken_over_goes_no_further() {
    let (bench, _world) = cluster().await;
    let open = bench.fleet().await;
    half_drained(&bench, &open).await;
    put_lease(&bench.fake, "ben-2", Utc::now());
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(11)).await;
    tokio::time::resume();
    let said = open.ended("drain", 1).await;
    assert_eq!(said, "ben has taken it over; what was done stands");
    assert_eq!(replicas(&bench.fake), 2);
    assert_eq!(weights(&bench.fake), [0, 10]);
}

/// A console that is killed in the midst of a drain, and a second one that comes after.
async fn after_a_death() -> (Bench, World, Open) {
    let (bench, world) = cluster().await;
    // A runtime of its own: nothing of it survives.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let reached = bench.reached();
    let first = runtime.spawn(reached.open(20)).await.unwrap();
    first.seen_whole().await;
    half_drained(&bench, &first).await;
    std::mem::forget(first);
    runtime.shutdown_background();
    assert_eq!(weights(&bench.fake), [0, 10]);
    assert_eq!(policy(&bench.fake), "Disabled");
    // 30 s later, as it is for whoever looks at the lease.
    bench.fake.merge(
        LEASE,
        &json!({"spec": {"renewTime": "2026-11-20T03:00:00.000000Z"}}),
    );
    let second = bench.fleet().await;
    second
        .sees(CHAT, "shows what was left", |b| {
            let mark = b.place.as_ref().and_then(|it| it.mark.as_ref());
            mark.is_some_and(|it| it.op == "drain" && it.is_open()) && b.drained.is_none()
        })
        .await;
    (bench, world, second)
}

#[tokio::test]
async fn what_a_dead_console_left_is_rolled_back() {
    let (bench, _world, open) = after_a_death().await;
    open.ask(Command::Undrain { backend: chat() })
        .await
        .unwrap();
    assert_eq!(open.ended("undrain", 1).await, "done on fake");
    assert_eq!(weights(&bench.fake), [90, 10]);
    assert_eq!(policy(&bench.fake), Value::Null);
    assert_eq!(replicas(&bench.fake), 2);
    open.sees(CHAT, "is back", |b| {
        let mark = b.place.as_ref().and_then(|it| it.mark.as_ref());
        b.state.word() == "warm" && mark.is_some_and(|it| it.op == "undrain" && it.stands())
    })
    .await;
}

#[tokio::test]
async fn what_a_dead_console_left_is_finished() {
    let (bench, _world, open) = after_a_death().await;
    bench.engines.set(CHAT, |it| it.running = 0.0);
    open.ask(Command::Drain { backend: chat() }).await.unwrap();
    assert_eq!(open.ended("drain", 1).await, "done on fake");
    assert_eq!(replicas(&bench.fake), 0);
    assert_eq!(weights(&bench.fake), [0, 10]);
    open.sees(CHAT, "is out of service", |b| b.drained.is_some())
        .await;
    // Back comes what stood before the first.
    open.ask(Command::Undrain { backend: chat() })
        .await
        .unwrap();
    assert_eq!(open.ended("undrain", 1).await, "done on fake");
    assert_eq!(
        (replicas(&bench.fake), weights(&bench.fake)),
        (2, vec![90, 10])
    );
    assert_eq!(policy(&bench.fake), Value::Null);
}

#[tokio::test]
async fn what_a_dead_console_brought_back_by_half_is_brought_back_whole() {
    let (bench, world) = cluster().await;
    let (runtime, first) = bench.mortal().await;
    first.ask(Command::Drain { backend: chat() }).await.unwrap();
    assert_eq!(first.ended("drain", 1).await, "done on fake");
    drop(world);
    let world = bench.live(&[Who::Kubelet]);
    first
        .ask(Command::Undrain { backend: chat() })
        .await
        .unwrap();
    let waits = "wait until a pod is ready";
    first
        .sees(CHAT, waits, |b| b.doing.as_deref() == Some(waits))
        .await;
    std::mem::forget(first);
    runtime.shutdown_background();
    drop(world);
    bench.fake.delete(LEASE);
    let second = bench.fleet().await;
    let _world = bench.live(&[]);
    second
        .sees(CHAT, "shows what was left", |b| {
            let mark = b.place.as_ref().and_then(|it| it.mark.as_ref());
            mark.is_some_and(|it| it.op == "undrain" && it.is_open())
        })
        .await;
    second
        .ask(Command::Undrain { backend: chat() })
        .await
        .unwrap();
    assert_eq!(second.ended("undrain", 1).await, "done on fake");
    assert_eq!(weights(&bench.fake), [90, 10]);
    assert_eq!(replicas(&bench.fake), 2);
}

#[tokio::test]
async fn one_that_is_told_to_end_leaves_its_drain_for_others() {
    let (bench, _world) = cluster().await;
    let first = bench.fleet().await;
    half_drained(&bench, &first).await;
    drop(first);
    let gone = |fake: &FakeKube| fake.get(LEASE).is_none();
    assert!(
        bench.fake.wait_for(gone, Duration::from_secs(10)).await,
        "its lease stays"
    );
    assert_eq!(weights(&bench.fake), [0, 10]);
    let second = bench.fleet().await;
    bench.engines.set(CHAT, |it| it.running = 0.0);
    second
        .ask(Command::Undrain { backend: chat() })
        .await
        .unwrap();
    assert_eq!(second.ended("undrain", 1).await, "done on fake");
    assert_eq!(weights(&bench.fake), [90, 10]);
}

#[tokio::test]
async fn a_server_that_stays_unwell_is_waited_for_and_then_all_is_taken_back() {
    let (bench, _world) = cluster().await;
    let open = bench.fleet().await;
    let ill = bench
        .fake
        .fail_while(on("PUT", "deployments/scale"), 500, None);
    open.ask(Command::Drain { backend: chat() }).await.unwrap();
    let waits = "scale Deployment llm/chat to 0: the API server said 500: etcdserver: leader changed: tried again for ";
    open.sees(CHAT, waits, |b| {
        b.doing.as_deref().is_some_and(|it| it.starts_with(waits))
    })
    .await;
    let said = open.ended("drain", 1).await;
    let end =
        "it was tried again for 60 s; it may have been done all the same; all of it was taken back";
    assert!(said.ends_with(end), "{said}");
    assert_eq!(weights(&bench.fake), [90, 10]);
    assert_eq!(replicas(&bench.fake), 2);
    drop(ill);
}

#[tokio::test]
async fn a_mark_says_who_did_it_and_as_whom_to_the_cluster() {
    let (bench, _world) = cluster().await;
    bench.fake.user("azure:ana@example.com", &[]);
    let open = bench.fleet().await;
    open.ask(Command::Drain { backend: chat() }).await.unwrap();
    assert_eq!(open.ended("drain", 1).await, "done on fake");
    let route = bench.fake.get("httproutes/llm/chat").unwrap();
    let mark = route["metadata"]["annotations"]["fleetctl.dev/op"].as_str();
    let mark: Value = serde_json::from_str(mark.unwrap()).unwrap();
    assert_eq!(mark["by"], "ana");
    assert_eq!(mark["user"], "azure:ana@example.com");
    // One that was written before has no user, and is read all the same.
    let old =
        r#"{"op":"drain","of":"llm/chat","by":"ana","at":"2026-11-20T03:00:00Z","id":"ana-1"}"#;
    let old = fleetctl::fleet::cluster::mark::Mark::read(old).unwrap();
    assert_eq!((old.who().as_str(), old.user), ("ana", None));
}

#[tokio::test]
async fn of_two_who_change_one_route_one_wins_and_the_other_sees_what_stands() {
    let (bench, _world) = cluster().await;
    let (ann, bob) = (bench.fleet().await, bench.fleet().await);
    let asks = |own: u32, hosted: u32| Command::Weights {
        model: "chat".into(),
        weights: vec![(chat(), own), ("llm/azure".into(), hosted)],
    };
    // Bob's picture is old: what ann does does not reach him.
    bench.fake.silence_watches(true);
    ann.order(asks(80, 20), "ann", false).await.unwrap();
    let set = |fake: &FakeKube| weights(fake) == [80, 20];
    bench.until("ann's weights", set).await;
    bob.order(asks(50, 50), "bob", false).await.unwrap();
    let end = bob.ended("weights", 1).await;
    assert!(end.contains("is not what it was when you looked"), "{end}");
    assert_eq!(weights(&bench.fake), [80, 20], "nothing of it was written");
    bench.fake.silence_watches(false);
    bench.fake.drop_watches();
    bob.sees("llm/azure", "has what ann gave it", |b| b.weight == 20)
        .await;
    // He looks again, and asks again.
    bob.order(asks(50, 50), "bob", false).await.unwrap();
    let end = bob.ended("weights", 2).await;
    assert!(end.contains("done"), "{end}");
    assert_eq!(weights(&bench.fake), [50, 50]);
    ann.sees("llm/azure", "has what bob gave it", |b| b.weight == 50)
        .await;
}
