//! The command line on a cluster: what it says, what it changes, and the status that scripts go by.

use serde_json::{Value, json};

use super::bench::Bench;
use super::world::{Manners, World, is_settled, live};
use super::yard;

/// A cluster with a model that is routed to and to a hosted API.
async fn cluster() -> (Bench, World) {
    let bench = Bench::start().await;
    for line in [
        "node gpu-0",
        "deployment chat 1",
        "service chat",
        "hosted azure",
        "route chat chat=90 Backend:azure=10",
    ] {
        yard::put(&bench.fake, line);
    }
    let world = live(&bench.fake, &bench.engines, Manners::default());
    bench.until("pods that are ready", is_settled).await;
    (bench, world)
}

fn weights(bench: &Bench) -> Vec<Value> {
    let route = bench.fake.get("httproutes/llm/chat").unwrap();
    let refs = route["spec"]["rules"][0]["backendRefs"].as_array().unwrap();
    refs.iter().map(|it| it["weight"].clone()).collect()
}

/// Runs a line, and has it end as it should with these words in what it says.
async fn says(bench: &Bench, line: &str, status: i32, told: &[&str]) -> String {
    let (code, out, wrong) = bench.run(line).await;
    let said = format!("{out}{wrong}");
    assert_eq!(code, status, "{line}:\n{said}");
    for part in told {
        assert!(said.contains(part), "{line}: `{part}` is not in:\n{said}");
    }
    out
}

#[tokio::test]
async fn read_only_takes_the_verbs_away() {
    let (bench, _world) = cluster().await;
    for line in [
        "--read-only weights chat llm/chat=50 llm/azure=50 -y",
        "weights chat llm/chat=50 llm/azure=50 -y --read-only",
        "drain llm/chat -y --read-only",
    ] {
        says(&bench, line, 4, &["--read-only takes the actions away"]).await;
    }
    assert_eq!(weights(&bench), [json!(90), json!(10)]);
    says(&bench, "--read-only status", 0, &["llm/chat"]).await;
}

#[tokio::test]
async fn what_was_rolled_back_is_not_unfinished() {
    let (bench, _world) = cluster().await;
    let mark = |undone: bool| {
        json!({"op": "drain", "of": "llm/chat", "by": "ann", "at": "2026-11-20T03:00:00Z", "id": "ann-1", "done": false, "undone": undone}).to_string()
    };
    let put = |undone: bool| {
        let body = json!({"metadata": {"annotations": {"fleetctl.dev/op": mark(undone)}}});
        bench.fake.merge("deployments/llm/chat", &body).unwrap();
    };
    put(false);
    says(&bench, "status", 0, &["is unfinished: the same again"]).await;
    put(true);
    let out = says(&bench, "status", 0, &["llm/chat"]).await;
    assert!(!out.contains("unfinished"), "{out}");
    says(&bench, "undrain llm/chat -y", 4, &["is not drained"]).await;
}
