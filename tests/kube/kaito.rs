//! KAITO's workspaces: one engine over several machines, and what older versions make of them.

use chrono::{DateTime, Utc};
use fleetctl::fleet::cluster::object::Kind;
use fleetctl::fleet::cluster::place::{Phase, Place};
use fleetctl::fleet::wake::Stage;
use serde_json::{Value, json};

use super::bench::{Bench, Open};
use super::stages::sees_stages_of;
use super::yard::{HERE, deployment, put, statefulset};
use crate::fake_kube::fixtures;

/// Made a part of a workspace.
fn of_workspace(bench: &Bench, namespace: &str, mut it: Value) -> Value {
    let name = it["metadata"]["name"].as_str().unwrap().to_owned();
    let owner = bench
        .fake
        .get(&format!("workspaces/{namespace}/{name}"))
        .unwrap();
    it["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "kaito.sh/v1beta1", "kind": "Workspace", "name": name,
        "uid": owner["metadata"]["uid"], "controller": true,
    }]);
    it
}

async fn place(open: &Open, what: &str, wanted: impl Fn(&Place) -> bool) {
    open.sees("llm/phi", what, |b| b.place.as_deref().is_some_and(&wanted))
        .await;
}

#[tokio::test]
async fn an_engine_over_several_machines_is_one_replica_and_has_one_page() {
    let bench = Bench::start().await;
    for node in ["node gpu-0", "node gpu-1"] {
        put(&bench.fake, node);
    }
    put(&bench.fake, "workspace phi 2");
    let set = statefulset("phi", 2, &json!({"kaito.sh/workspace": "phi"}));
    bench.fake.put(of_workspace(&bench, HERE, set));
    let _controllers = bench.fake.controllers();
    bench
        .until("two pods", |fake| fake.all("pods").len() == 2)
        .await;
    // The worker first: it is ready, and has no page.
    bench.fake.bring_up("llm/phi-1", "gpu-1");
    let open = bench.reached().reading().open(1).await;
    place(&open, "has a worker", |it| {
        (it.wanted, it.ready, it.pods, it.pods_a_replica) == (1, 0, 2, 2)
    })
    .await;
    let engines = bench.engines.clone();
    engines.set("llm/phi", |it| it.running = 3.0);
    bench
        .fake
        .on_proxy("llm/phi-0", move |method, path, query| {
            engines.answer("llm/phi", method, path, query)
        });
    bench.fake.bring_up("llm/phi-0", "gpu-0");
    place(&open, "is up", |it| {
        (it.wanted, it.ready, it.pods) == (1, 1, 2) && it.live_pods.len() == 1
    })
    .await;
    open.sees("llm/phi", "is read", |b| b.live.running == Some(3))
        .await;
    let facts = open.now().backends[0].self_hosted().unwrap().clone();
    assert_eq!(facts.hardware, "2 GPUs Standard_ND96isr_H100_v5");
}

#[tokio::test]
async fn a_workspace_of_before_has_a_deployment() {
    let bench = Bench::start().await;
    put(&bench.fake, "node gpu-0");
    put(&bench.fake, "workspace phi");
    let owner = of_workspace(&bench, HERE, deployment("phi", 1));
    let owner = bench.fake.put(owner);
    let set = bench.fake.put(fixtures::vllm_replica_set(&owner));
    bench.fake.put(fixtures::vllm_pod(&set, "phi-0", "gpu-0"));
    let open = bench.fleet().await;
    sees_stages_of(&open, "llm/phi", &["warm"]).await;
    assert_eq!(open.now().backends.len(), 1);
    place(&open, "is scaled by its Deployment", |it| {
        it.scaled.kind == Kind::Deployment && it.ready == 1
    })
    .await;
}

#[tokio::test]
async fn namesakes_in_two_namespaces_have_machines_of_their_own() {
    let bench = Bench::start().await;
    put(&bench.fake, "workspace phi");
    bench.fake.put(fixtures::workspace(
        "far",
        "phi",
        "phi-4",
        "Standard_NC40ads_H100_v5",
    ));
    for (node, namespace) in [("gpu-0", HERE), ("gpu-1", "far")] {
        put(&bench.fake, &format!("node {node}"));
        let labels = json!({"metadata": {"labels": {
            "karpenter.kaito.sh/workspace-name": "phi",
            "karpenter.kaito.sh/workspace-namespace": namespace,
        }}});
        bench.fake.merge(&format!("nodes/{node}"), &labels);
    }
    let open = bench.fleet().await;
    place(&open, "has its own machine", |it| {
        let names: Vec<&str> = it.nodes.iter().map(|it| &*it.name).collect();
        names == ["gpu-0"]
    })
    .await;
}

#[tokio::test]
async fn a_machine_that_is_asked_for_is_the_first_stage_before_any_pod_stands() {
    let bench = Bench::start().await;
    put(&bench.fake, "workspace phi");
    let set = statefulset("phi", 1, &json!({"kaito.sh/workspace": "phi"}));
    bench.fake.put(of_workspace(&bench, HERE, set));
    let asked = "2026-11-20T03:00:00Z";
    bench.fake.put(json!({
        "apiVersion": "karpenter.sh/v1", "kind": "NodeClaim",
        "metadata": {
            "name": "ws1", "creationTimestamp": asked,
            "labels": {"kaito.sh/workspace": "phi", "kaito.sh/workspacenamespace": HERE},
        },
    }));
    let asked: DateTime<Utc> = asked.parse().unwrap();
    let waits = move |it: &Place| {
        let Phase::Coming {
            since,
            stages,
            new_node,
        } = &it.phase
        else {
            return false;
        };
        (*since, *new_node) == (asked, true) && **stages == [(Stage::Node, asked)]
    };
    let open = bench.fleet().await;
    place(&open, "waits for its machine", waits).await;
    let two = json!({"spec": {"replicas": 2}});
    bench.fake.merge("statefulsets/llm/phi", &two);
    place(&open, "waits since then", |it| {
        it.pods_a_replica == 2 && waits(it)
    })
    .await;
}

#[tokio::test]
async fn what_nothing_is_seen_of_is_awaited_since_it_was_first_looked_for() {
    let bench = Bench::start().await;
    put(&bench.fake, "deployment phi 1");
    let open = bench.fleet().await;
    let since = || {
        let fleet = open.now();
        match fleet.backends[0].place.as_ref().map(|it| it.phase.clone()) {
            Some(Phase::Coming { since, stages, .. }) if stages.is_empty() => since,
            other => panic!("{other:?}"),
        }
    };
    let first = since();
    bench
        .fake
        .merge("deployments/llm/phi", &json!({"spec": {"replicas": 2}}));
    place(&open, "is asked for twice", |it| it.wanted == 2).await;
    assert_eq!(since(), first);
}
