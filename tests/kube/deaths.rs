//! A console is killed at each step of a drain: another one goes on with it, or rolls it back.

use std::time::Duration;

use chrono::{DateTime, Utc};
use fleetctl::fleet::{BackendId, Command};
use serde_json::{Value, json};

use super::bench::{Bench, Open};
use super::world::{Who, World, is_settled};
use super::yard::{policy, replicas, weights};
use crate::fake_kube::{FakeKube, FaultGuard, on};

const CHAT: &str = "llm/chat";
const LEASE: &str = "leases/llm/fleetctl-llm-chat";
/// Longer than any of this takes.
const FOR_EVER: Duration = Duration::from_secs(3600);

/// Where a drain stands when its console dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// The autoscaler is frozen, and nothing else was done.
    Frozen,
    /// The weight is off, and the gateways do not have it yet.
    Weightless,
    /// Requests still arrive.
    Arriving,
    /// Requests still run.
    Busy,
    /// All is still, and it is not scaled yet.
    Still,
    /// It is scaled, and the autoscaler is frozen still.
    Scaled,
}

const ALL: [At; 6] = [
    At::Frozen,
    At::Weightless,
    At::Arriving,
    At::Busy,
    At::Still,
    At::Scaled,
];

async fn cluster() -> Bench {
    Bench::routed(2, &["hpa chat chat 1 4"]).await
}

/// Has a drain stop at that step for as long as what is given back is kept.
fn hold(bench: &Bench, at: At) -> Option<FaultGuard> {
    let slow = |method, resource| Some(bench.fake.delay(on(method, resource), FOR_EVER));
    match at {
        At::Frozen => slow("PATCH", "httproutes"),
        At::Weightless => None,
        At::Arriving => {
            bench.engines.set(CHAT, |it| it.arriving = 5.0);
            None
        }
        At::Busy => {
            bench.engines.set(CHAT, |it| it.running = 1.0);
            None
        }
        At::Still => slow("PUT", "deployments/scale"),
        // The first patch is what freezes it.
        At::Scaled => Some(bench.fake.delay(
            |call| {
                let text = call.body.as_ref().map(Value::to_string).unwrap_or_default();
                call.resource == "horizontalpodautoscalers"
                    && call.method == "PATCH"
                    && !text.contains("Disabled")
            },
            FOR_EVER,
        )),
    }
}

/// Whether a drain is there.
fn is_at(fake: &FakeKube, open: &Open, at: At) -> bool {
    let doing = |word: &str| {
        let fleet = open.now();
        let b = fleet.backend(&BackendId::from(CHAT)).unwrap();
        b.doing.as_deref().is_some_and(|it| it.contains(word))
    };
    match at {
        At::Frozen => policy(fake) == "Disabled" && doing("take its weight off"),
        At::Weightless => doing("wait until the gateways have"),
        At::Arriving => doing("wait until nothing new arrives"),
        At::Busy => doing("wait for two idle readings"),
        At::Still => doing("scale Deployment"),
        At::Scaled => replicas(fake) == 0 && doing("let it scale down again"),
    }
}

/// A console is killed there, and another one comes after.
async fn after_a_death(at: At) -> (Bench, World, Open) {
    let bench = cluster().await;
    let deaf: &[Who] = if at == At::Weightless {
        &[Who::Gateways]
    } else {
        &[]
    };
    let world = bench.live(deaf);
    bench.until("pods that are ready", is_settled).await;
    let (runtime, first) = bench.mortal().await;
    let held = hold(&bench, at);
    let backend = BackendId::from(CHAT);
    first.ask(Command::Drain { backend }).await.unwrap();
    first
        .see(&format!("{at:?}"), |_| is_at(&bench.fake, &first, at))
        .await;
    std::mem::forget(first);
    runtime.shutdown_background();
    drop(held);
    bench.engines.set(CHAT, |it| {
        it.running = 0.0;
        it.arriving = 0.0;
    });
    drop(world);
    let world = bench.live(&[]);
    // 30 s later, as it is for whoever looks at the lease.
    let long_ago: DateTime<Utc> = "2026-11-20T03:00:00Z".parse().unwrap();
    let renewed = long_ago.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    bench
        .fake
        .merge(LEASE, &json!({"spec": {"renewTime": renewed}}));
    let second = bench.fleet().await;
    second
        .sees(CHAT, &format!("shows what was left {at:?}"), |b| {
            b.is_left("drain")
        })
        .await;
    (bench, world, second)
}

#[tokio::test]
async fn what_was_left_at_any_step_is_finished_by_another() {
    for at in ALL {
        let (bench, _world, open) = after_a_death(at).await;
        let backend = BackendId::from(CHAT);
        open.ask(Command::Drain { backend }).await.unwrap();
        assert_eq!(open.ended("drain", 1).await, "done on fake", "{at:?}");
        let fake = &bench.fake;
        assert_eq!((replicas(fake), weights(fake)), (0, vec![0, 10]), "{at:?}");
        assert_eq!(policy(fake), Value::Null, "{at:?}");
    }
}

#[tokio::test]
async fn what_was_left_at_any_step_is_rolled_back_by_another() {
    for at in ALL {
        let (bench, _world, open) = after_a_death(at).await;
        let backend = BackendId::from(CHAT);
        open.ask(Command::Undrain { backend }).await.unwrap();
        assert_eq!(open.ended("undrain", 1).await, "done on fake", "{at:?}");
        let fake = &bench.fake;
        assert_eq!((replicas(fake), weights(fake)), (2, vec![90, 10]), "{at:?}");
        assert_eq!(policy(fake), Value::Null, "{at:?}");
    }
}
