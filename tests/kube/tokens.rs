//! Tokens of hosted backends, from the pages of the cluster's own gateways.

use chrono::{TimeDelta, Utc};
use fleetctl::fleet::backend::Price;
use fleetctl::fleet::{Backend, Usd};
use serde_json::json;

use super::bench::Bench;
use super::yard::put;

/// A page as Envoy AI Gateway's `extproc` writes it: without `ai_backend` before that label came, with it since.
const PAGE: &str = r#"# TYPE gen_ai_client_token_usage histogram
gen_ai_client_token_usage_sum{ai_backend="llm/azure",gen_ai_operation_name="chat",gen_ai_original_model="chat",gen_ai_provider_name="azure.openai",gen_ai_request_model="gpt-4o-mini",gen_ai_token_type="input"} 800000
gen_ai_client_token_usage_count{ai_backend="llm/azure",gen_ai_operation_name="chat",gen_ai_original_model="chat",gen_ai_provider_name="azure.openai",gen_ai_request_model="gpt-4o-mini",gen_ai_token_type="input"} 1000
gen_ai_client_token_usage_sum{gen_ai_operation_name="chat",gen_ai_original_model="chat",gen_ai_provider_name="azure.openai",gen_ai_request_model="gpt-4o-mini",gen_ai_token_type="output"} 400000
gen_ai_client_token_usage_sum{ai_backend="llm/chat",gen_ai_operation_name="chat",gen_ai_original_model="chat",gen_ai_provider_name="openai",gen_ai_request_model="chat",gen_ai_token_type="output"} 77
"#;

fn usd(text: &str) -> Usd {
    text.parse().unwrap()
}

#[tokio::test]
async fn what_a_gateway_counts_is_charged_and_what_nobody_counts_is_unknown() {
    let bench = Bench::start().await;
    for line in [
        "deployment chat 0",
        "service chat",
        "airoute chat chat=90 azure=10",
    ] {
        put(&bench.fake, line);
    }
    let mini = Price {
        input: usd("0.15"),
        cached: usd("0.075"),
        output: usd("0.60"),
    };
    let open = bench
        .open(|it| {
            it.tokens.insert("azure".into(), mini);
        })
        .await;
    open.sees(
        "llm/azure",
        "is counted by nobody",
        Backend::cost_is_partial,
    )
    .await;
    bench
        .fake
        .on_proxy("envoy-gateway-system/envoy-chat-1:1064", |_, _, _| {
            (200, "text/plain".into(), PAGE.into())
        });
    // It begins under our eyes: all that it counted is of this time.
    let born = Utc::now() + TimeDelta::seconds(2);
    bench.fake.put(json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "envoy-chat-1", "namespace": "envoy-gateway-system", "creationTimestamp": born},
        "spec": {"containers": [{"name": "envoy"}, {"name": "ai-gateway-extproc"}]},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [
                {"name": "envoy", "ready": true, "state": {"running": {}}},
                {"name": "ai-gateway-extproc", "ready": true, "state": {"running": {}}},
            ],
        },
    }));
    open.sees("llm/azure", "costs what its tokens cost", |b| {
        let it = &b.ledger;
        !b.cost_is_partial()
            && (it.requests, it.tokens_in, it.tokens_out) == (1000, 800_000, 400_000)
            && it.total() == usd("0.36")
    })
    .await;
    // An engine of ours is paid by the hour.
    let fleet = open.now();
    let own = fleet.backends.iter().find(|b| b.id.as_str() == "llm/chat");
    assert_eq!(own.unwrap().ledger.tokens_out, 0);
}
