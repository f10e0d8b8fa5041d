//! The command line on a cluster: what it says, what it changes, and the status that scripts go by.

use serde_json::{Value, json};

use super::bench::Bench;
use super::world::World;
use super::yard::{self, weights};
use crate::fake_kube::on;

/// A cluster with a model that is routed to and to a hosted API.
async fn cluster() -> (Bench, World) {
    let bench = Bench::routed(1, &[]).await;
    let world = bench.lively().await;
    (bench, world)
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
    assert_eq!(weights(&bench.fake), [90, 10]);
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
    says(
        &bench,
        "status",
        0,
        &["is unfinished: if no other console is at it, the same again"],
    )
    .await;
    put(true);
    let out = says(&bench, "status", 0, &["llm/chat"]).await;
    assert!(!out.contains("unfinished"), "{out}");
    says(&bench, "undrain llm/chat -y", 4, &["is not drained"]).await;
}

#[tokio::test]
async fn what_is_forbidden_is_not_begun() {
    let (bench, _world) = cluster().await;
    let group = "gateway.networking.k8s.io";
    bench.fake.deny("patch", group, "httproutes", None);
    // Where no rules are told, each call is asked for.
    for rules_are_told in [true, false] {
        let silent = on("POST", "selfsubjectrulesreviews");
        let _silent = (!rules_are_told).then(|| bench.fake.fail_while(silent, 403, None));
        bench.fake.take_calls();
        for line in [
            "drain chat -y",
            "drain chat --dry-run",
            "weights chat chat=50 azure=50 -y",
        ] {
            let told = ["ana may not patch httproutes.gateway.networking.k8s.io in llm"];
            says(&bench, line, 4, &told).await;
        }
        let changed: Vec<String> = bench
            .fake
            .writes()
            .iter()
            .filter(|it| !it.resource.ends_with("reviews"))
            .map(|it| format!("{} {}", it.method, it.path))
            .collect();
        assert_eq!(changed, Vec::<String>::new());
    }
}

#[tokio::test]
async fn who_will_take_it_back_is_said() {
    let (bench, _world) = cluster().await;
    let tracked = json!({"metadata": {"annotations": {"argocd.argoproj.io/tracking-id": "models:gateway.networking.k8s.io/HTTPRoute:llm/chat"}}});
    bench.fake.merge("httproutes/llm/chat", &tracked).unwrap();
    for line in [
        "weights chat chat=50 azure=50 --dry-run",
        "drain chat --dry-run",
    ] {
        let told = ["Argo CD (app models) manages HTTPRoute llm/chat"];
        says(&bench, line, 0, &told).await;
    }
}

#[tokio::test]
async fn what_was_done_last_is_undone_from_elsewhere() {
    let (bench, _world) = cluster().await;
    says(&bench, "undo -y", 4, &["no operation of ann stands here"]).await;
    let line = "weights chat chat=50 azure=50 -y";
    let out = says(&bench, line, 0, &["begun: 1 call on fake"]).await;
    // What is said for programs is what came of it.
    assert_eq!(out, "chat: weights done on fake\n");
    assert_eq!(weights(&bench.fake), [50, 50]);
    says(
        &bench,
        "undo -y --operator ben",
        4,
        &["no operation of ben"],
    )
    .await;
    says(
        &bench,
        "undo --dry-run",
        0,
        &["undo of weights of chat by ann"],
    )
    .await;
    assert_eq!(weights(&bench.fake), [50, 50]);
    says(&bench, "undo -y", 0, &["undo of weights of chat by ann"]).await;
    assert_eq!(weights(&bench.fake), [90, 10]);
    let rules = json!({"spec": {"rules": [{"backendRefs": [
        {"group": "", "kind": "Service", "name": "chat", "port": 80, "weight": 70},
        {"group": "gateway.envoyproxy.io", "kind": "Backend", "name": "azure", "weight": 30},
    ]}]}});
    bench.fake.merge("httproutes/llm/chat", &rules).unwrap();
    says(
        &bench,
        "undo -y",
        4,
        &["was changed since", "chat 70, azure 30 now"],
    )
    .await;
    assert_eq!(weights(&bench.fake), [70, 30]);
}

#[tokio::test]
async fn names_are_as_short_as_they_can_be() {
    let (bench, _world) = cluster().await;
    let listed = "this fleet has llm/chat, llm/azure";
    says(&bench, "wake nobody", 3, &["no backend nobody", listed]).await;
    says(
        &bench,
        "flip nothing",
        3,
        &["no model nothing", "this fleet has chat"],
    )
    .await;
    says(&bench, "wake chat", 0, &["llm/chat is warm already"]).await;
    let mut more = yard::deployment("chat", 1);
    more["metadata"]["namespace"] = "other".into();
    bench.fake.put(more);
    let both = ["chat is more than one backend", "llm/chat, other/chat"];
    says(&bench, "wake chat", 3, &both).await;
}

#[tokio::test]
async fn a_log_is_read_to_its_end() {
    let (bench, _world) = cluster().await;
    let pods = bench.fake.all("pods");
    let pod = pods[0]["metadata"]["name"].as_str().unwrap();
    for line in ["one", "two", "three"] {
        bench.fake.log(&format!("llm/{pod}"), line);
    }
    let out = says(&bench, "logs chat -n 2", 0, &[]).await;
    assert_eq!(out, "two\nthree\n");
    let out = says(&bench, "logs chat -o json", 0, &[]).await;
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(told["lines"], json!(["one", "two", "three"]));
    says(&bench, "logs azure", 3, &["is hosted"]).await;
}

#[tokio::test]
async fn what_is_not_there_is_said_also_to_programs() {
    let (bench, _world) = cluster().await;
    let out = says(
        &bench,
        "status --kube nowhere -o json",
        3,
        &["no context nowhere"],
    )
    .await;
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(told["error"]["status"], 3);
    let nosuch = ["fake has no namespace nosuch", "leave --namespace out"];
    says(&bench, "status --namespace nosuch", 3, &nosuch).await;
}

#[tokio::test]
async fn what_others_did_is_in_the_audit() {
    let (bench, _world) = cluster().await;
    says(&bench, "weights chat chat=50 azure=50 -y", 0, &[]).await;
    let out = says(
        &bench,
        "audit",
        0,
        &["ann", "weights", "(from the cluster)"],
    )
    .await;
    assert_eq!(out.lines().count(), 2, "no line twice:\n{out}");
    let out = says(&bench, "events chat -o json", 0, &[]).await;
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(told["backend"], "llm/chat");
}

#[tokio::test]
async fn what_nobody_knows_is_no_number() {
    let (bench, _world) = cluster().await;
    let out = says(&bench, "status -o json", 0, &[]).await;
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(told["dollars_per_hour_partial"], true);
    let azure = &told["backends"][1];
    assert_eq!(azure["backend"], "llm/azure");
    assert_eq!(
        (&azure["dollars_per_hour"], &azure["since"]),
        (&Value::Null, &Value::Null)
    );
    let said = ["no console has watched this cluster from here yet"];
    says(&bench, "cost", 0, &said).await;
}

#[tokio::test]
async fn the_doctor_says_what_is_missing() {
    let (bench, _world) = cluster().await;
    bench.fake.deny("patch", "apps", "deployments", None);
    let told = [
        "API server of fake",
        "patch deployments.apps",
        "operator.yaml",
        "[[token_price]]",
    ];
    says(&bench, "doctor", 0, &told).await;
    bench.fake.deny("*", "", "pods", None);
    says(
        &bench,
        "doctor",
        1,
        &["pods is forbidden", "read-only.yaml"],
    )
    .await;
}

#[tokio::test]
async fn what_is_written_on_a_route_drives_no_terminal() {
    let (bench, _world) = cluster().await;
    let line = "weights chat chat=50 azure=50 -y";
    says(&bench, line, 0, &["begun: 1 call on fake"]).await;
    // Whoever may annotate the route has it say this.
    let evil = "cha\u{1b}]0;owned\u{7}t\u{202e}\u{9b}2J";
    let route = bench.fake.get("httproutes/llm/chat").unwrap();
    let text = route["metadata"]["annotations"]["fleetctl.dev/op"].as_str();
    let mut mark: Value = serde_json::from_str(text.unwrap()).unwrap();
    mark["of"] = evil.into();
    mark["to"][0]["weights"][0][0] = evil.into();
    mark["prev"]["weights"][0]["weights"][0][0] = evil.into();
    let body = json!({"metadata": {"annotations": {"fleetctl.dev/op": mark.to_string()}}});
    bench.fake.merge("httproutes/llm/chat", &body).unwrap();
    let odd = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    for line in ["audit", "undo --dry-run", "undo -y", "status"] {
        let (_, out, wrong) = bench.run(line).await;
        assert!(!out.contains(odd), "{line}: {out:?}");
        assert!(!wrong.contains(odd), "{line}: {wrong:?}");
    }
    says(&bench, "audit", 0, &["weights"]).await;
}
