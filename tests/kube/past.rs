//! What nobody watched, from a Prometheus.

use std::collections::HashMap;

use axum::Router;
use axum::extract::Query;
use axum::routing::get;
use chrono::{TimeDelta, Utc};
use fleetctl::fleet::cluster::{PAST, PartState};
use fleetctl::fleet::{Fleet, Usd};
use fleetctl::source::kube::NodePrice;
use serde_json::{Value, json};

use super::bench::Bench;
use super::yard::put;

/// Minutes that are asked for, and those of them in which Prometheus was away.
const ASKED: i64 = 120;
const AWAY: std::ops::Range<i64> = 30..60;

/// A Prometheus that began `ASKED` minutes ago; with `exporter` it knows what pods and nodes were.
async fn prometheus(exporter: bool) -> String {
    let began = (Utc::now() - TimeDelta::minutes(ASKED)).timestamp();
    let answer = move |Query(asked): Query<HashMap<String, String>>| async move {
        let number = |name: &str| asked[name].parse::<i64>().unwrap();
        let (start, end, step) = (number("start"), number("end"), number("step"));
        let points = |value: &dyn Fn(i64) -> i64| -> Value {
            let times = (start..=end).step_by(step as usize);
            times
                .map(|at| (at, (at - began).div_euclid(60)))
                .filter(|(_, minute)| *minute >= 0 && !AWAY.contains(minute))
                .map(|(at, minute)| json!([at, value(minute).to_string()]))
                .collect()
        };
        let by = |name: &str, pod: &str| json!({"namespace": "llm", "pod": pod, "created_by_kind": "ReplicaSet", "created_by_name": name});
        let query = asked["query"].as_str();
        let has = |word: &str| query.contains(word);
        let result = if !exporter {
            json!([])
        } else if has("kube_pod_container_resource_requests") {
            let held = |name: &str, node: &str| json!({"namespace": "llm", "node": node, "created_by_kind": "ReplicaSet", "created_by_name": name});
            json!([
                {"metric": held("chat-6d4cf56db6", "gone"), "values": points(&|_| 4)},
                {"metric": held("somebody-6d4cf56db6", "gone"), "values": points(&|_| 4)},
            ])
        } else if has("kube_node_status_allocatable") {
            json!([{"metric": {"node": "gone"}, "values": points(&|_| 8)}])
        } else if has("kube_node_labels") {
            let labels = json!({"node": "gone", "label_node_kubernetes_io_instance_type": "big", "label_topology_kubernetes_io_region": "here", "label_karpenter_sh_capacity_type": "spot"});
            json!([{"metric": labels, "values": points(&|_| 1)}])
        } else if has("num_requests_running") {
            json!([{"metric": by("chat-6d4cf56db6", "chat-6d4cf56db6-x7k2p"), "values": points(&|minute| i64::from(minute < 90))}])
        } else if has("generation_tokens_total") {
            // It begins anew in the hundredth minute.
            let total = |minute: i64| {
                if minute < 100 {
                    5_000 + minute * 10
                } else {
                    (minute - 100) * 10
                }
            };
            json!([{"metric": by("chat-6d4cf56db6", "chat-6d4cf56db6-x7k2p"), "values": points(&total)}])
        } else if has("gen_ai_client_token_usage") {
            let labels = json!({"__name__": "gen_ai_client_token_usage_sum", "ai_backend": "llm/azure", "gen_ai_original_model": "chat", "gen_ai_provider_name": "azure.openai", "gen_ai_request_model": "gpt-4o-mini", "gen_ai_token_type": "output"});
            json!([{"metric": labels, "values": points(&|minute| minute * 1000)}])
        } else if has("count(kube_pod_info)") {
            json!([{"metric": {}, "values": points(&|_| 2)}])
        } else {
            json!([])
        };
        axum::Json(json!({"status": "success", "data": {"resultType": "matrix", "result": result}}))
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/api/v1/query_range", get(answer));
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

fn part(fleet: &Fleet) -> Option<&PartState> {
    let mut parts = fleet.clusters.iter().flat_map(|it| &it.parts);
    parts.find(|it| it.resource == PAST).map(|it| &it.state)
}

async fn bench() -> Bench {
    let bench = Bench::start().await;
    for line in [
        "deployment chat 0",
        "service chat",
        "airoute chat chat=90 azure=10",
    ] {
        put(&bench.fake, line);
    }
    bench
}

#[tokio::test]
async fn what_nobody_watched_is_filled_from_prometheus() {
    let bench = bench().await;
    let prometheus = prometheus(true).await;
    let open = bench
        .open(|it| {
            it.prometheus = Some(prometheus);
            it.past = Some(Utc::now() - TimeDelta::days(3));
            it.prices.lines.push(NodePrice {
                instance: "big".into(),
                region: None,
                on_demand: Some("99".parse().unwrap()),
                spot: Some("8".parse().unwrap()),
            });
        })
        .await;
    let fleet = open
        .see("the past was told", |fleet| {
            part(fleet) == Some(&PartState::Followed)
        })
        .await;
    let chat = &fleet.backend(&"llm/chat".into()).unwrap().ledger;
    // Half a machine at 8 dollars, for two hours without the half hour in which nobody looked.
    let minutes = chat.awake_ms as f64 / 60_000.0;
    assert!((89.0..92.0).contains(&minutes), "{minutes}");
    let cost: Usd = "4".parse().unwrap();
    let hour = 3_600_000;
    assert_eq!(
        chat.awake.total(),
        cost.times(chat.awake_ms.into()).split(hour).unwrap()
    );
    let busy = chat.busy_ms as f64 / 60_000.0;
    assert!((59.0..61.0).contains(&busy), "{busy}");
    // Ten a minute, those of the hole included; what came between the last reading and a new start nobody knows.
    assert!(
        (1150..=1200).contains(&chat.tokens_out),
        "{}",
        chat.tokens_out
    );
    let hole = chat.unobserved_ms as f64 / 60_000.0;
    assert!((29.0..31.0).contains(&hole), "{hole}");
    let azure = &fleet.backend(&"llm/azure".into()).unwrap().ledger;
    assert!(
        (117_000..=121_000).contains(&azure.tokens_out),
        "{}",
        azure.tokens_out
    );
    let since = fleet.now - fleet.started;
    assert!((119..122).contains(&since.num_minutes()), "{since}");
    assert_eq!(fleet.spent(), chat.total() + azure.total());
}

#[tokio::test]
async fn a_prometheus_that_knows_nothing_of_pods_is_said() {
    let bench = bench().await;
    let prometheus = prometheus(false).await;
    let open = bench
        .open(|it| {
            it.prometheus = Some(prometheus);
            it.past = Some(Utc::now() - TimeDelta::days(3));
        })
        .await;
    let fleet = open
        .see("there is no past", |fleet| {
            matches!(part(fleet), Some(PartState::Forbidden { .. }))
        })
        .await;
    let said = fleet.findings.iter().find(|it| it.what.contains(PAST));
    insta::assert_snapshot!(said.map_or("nothing", |it| &it.what));
    let chat = &fleet.backend(&"llm/chat".into()).unwrap().ledger;
    assert_eq!((chat.unobserved_ms, chat.total()), (0, Usd::ZERO));
}
