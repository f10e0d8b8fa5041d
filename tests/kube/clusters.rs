//! Several clusters in one fleet: each has its own, and what one says takes nothing from the other.

use fleetctl::fleet::wake::State;
use fleetctl::fleet::{BackendId, Command, Fleet};
use serde_json::json;

use super::bench::{Bench, Open};
use super::world::World;

/// A cluster with a model, a hosted API and a route to both.
async fn cluster() -> (Bench, World) {
    let bench = Bench::routed(1, &[]).await;
    let world = bench.lively().await;
    (bench, world)
}

/// What a fleet has, in its order: backends with their weights, and the clusters of each model's rules.
fn told(fleet: &Fleet) -> Vec<String> {
    let backends = fleet
        .backends
        .iter()
        .map(|b| format!("{} {}", b.id, b.weight));
    let models = fleet.models.iter().map(|model| {
        let of: Vec<&str> = model.routes.iter().map(|rule| &*rule.cluster).collect();
        format!("{}: rules of {}", model.id, of.join(", "))
    });
    backends.chain(models).collect()
}

#[tokio::test]
async fn what_one_says_takes_nothing_from_the_other() {
    let (eu, _eu_world) = cluster().await;
    let (us, _us_world) = cluster().await;
    let clusters = vec![eu.reached().named("eu"), us.reached().named("us")];
    let open = Open::start(clusters, 20).await;
    open.seen_whole().await;
    let both = |eu_chat: u32, us_chat: u32| {
        let want = vec![
            format!("eu:llm/chat {eu_chat}"),
            "eu:llm/azure 10".to_owned(),
            format!("us:llm/chat {us_chat}"),
            "us:llm/azure 10".to_owned(),
            "chat: rules of eu, us".to_owned(),
        ];
        move |fleet: &Fleet| told(fleet) == want
    };
    open.see("both clusters", both(90, 90)).await;
    for (eu_chat, us_chat) in [(80, 90), (80, 70), (60, 70), (60, 50)] {
        for (bench, chat) in [(&eu, eu_chat), (&us, us_chat)] {
            let rules = json!({"spec": {"rules": [{"backendRefs": [
                {"group": "", "kind": "Service", "name": "chat", "port": 80, "weight": chat},
                {"group": "gateway.envoyproxy.io", "kind": "Backend", "name": "azure", "weight": 10},
            ]}]}});
            bench.fake.merge("httproutes/llm/chat", &rules).unwrap();
        }
        open.see("the new weights, and no rule twice", both(eu_chat, us_chat))
            .await;
    }
}

#[tokio::test]
async fn an_operation_is_of_one_cluster() {
    let (eu, _eu_world) = cluster().await;
    let (us, _us_world) = cluster().await;
    let clusters = vec![eu.reached().named("eu"), us.reached().named("us")];
    let open = Open::start(clusters, 20).await;
    open.seen_whole().await;
    for id in ["eu:llm/chat", "us:llm/chat"] {
        open.sees(id, "warm", |b| matches!(b.state, State::Warm { .. }))
            .await;
    }
    us.fake.take_calls();
    let backend = BackendId::from("eu:llm/chat");
    open.ask(Command::Drain { backend }).await.unwrap();
    let said = open.ended("drain", 1).await;
    assert_eq!(said, "done on eu");
    let touched = us.fake.writes();
    assert!(touched.is_empty(), "of the other: {touched:?}");
    let replicas = |bench: &Bench| {
        let it = bench.fake.get("deployments/llm/chat").unwrap();
        it["spec"]["replicas"].clone()
    };
    assert_eq!((replicas(&eu), replicas(&us)), (json!(0), json!(1)));
}
