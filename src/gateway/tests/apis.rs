//! The paths beside chat, and Azure's shapes of them.

use super::fake::{chunk, feed, fleet, gateway, gateway_with, hosted, text, upstream};
use crate::fleet::model::{ColdPolicy, DataPath};
use crate::fleet::request::{Operation, Usage};
use crate::gateway::{Api, Auth};

fn picture() -> crate::fleet::Fleet {
    fleet(ColdPolicy::Wait, DataPath::Any, vec![hosted("far", 1)])
}

#[tokio::test]
async fn embeddings_and_responses_are_metered() {
    let (url, mut got) = upstream().await;
    let mut gateway = gateway(picture(), &[("far", url)]).await;
    let cases = [
        (
            "/v1/embeddings",
            Operation::Embeddings,
            r#"{"data":[],"usage":{"prompt_tokens":8,"total_tokens":8}}"#,
            (8, 0),
        ),
        (
            "/v1/responses",
            Operation::Responses,
            r#"{"status":"completed","usage":{"input_tokens":20,"output_tokens":7}}"#,
            (20, 7),
        ),
        (
            "/v1/completions",
            Operation::Completions,
            r#"{"usage":{"prompt_tokens":3,"completion_tokens":2}}"#,
            (3, 2),
        ),
    ];
    for (path, operation, answer, (input, output)) in cases {
        let sent = gateway.post(path, r#""model":"m","input":"x""#, &[]);
        let request = got.recv().await.unwrap();
        assert_eq!(request.path, path);
        request.answer(200, &[], answer);
        assert_eq!(text(sent.await.unwrap()).await, answer);
        let record = gateway.record().await;
        assert_eq!(record.operation, operation);
        let usage = record.usage.unwrap();
        assert_eq!((usage.input, usage.output), (input, output));
    }
}

#[tokio::test]
async fn a_stream_of_a_response_is_metered_at_its_end() {
    let (url, mut got) = upstream().await;
    let mut gateway = gateway(picture(), &[("far", url)]).await;
    let sent = gateway.post("/v1/responses", r#""model":"m","stream":true"#, &[]);
    let request = got.recv().await.unwrap();
    assert!(!request.body.contains("stream_options"), "it has none");
    let stream = request.stream();
    let delta = "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"hi\"}\n\n";
    let end = "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"status\":\"completed\",\"usage\":{\"input_tokens\":5,\"output_tokens\":3,\"output_tokens_details\":{\"reasoning_tokens\":2}}}}\n\n";
    feed(&stream, delta).await;
    let mut response = sent.await.unwrap();
    assert_eq!(chunk(&mut response).await.unwrap(), delta);
    feed(&stream, end).await;
    drop(stream);
    assert_eq!(chunk(&mut response).await.unwrap(), end);
    assert_eq!(chunk(&mut response).await, None, "no error: it was whole");
    let expected = Usage {
        input: 5,
        cached: 0,
        output: 3,
        reasoning: 2,
    };
    let record = gateway.record().await;
    assert_eq!((record.usage, record.partial), (Some(expected), false));
}

#[tokio::test]
async fn azure_has_its_own_addresses_and_its_own_header() {
    let cases = [
        (
            Api::Azure,
            "/openai/deployments/gpt/chat/completions?api-version=2024-10-21",
        ),
        (Api::AzureV1, "/openai/v1/chat/completions"),
    ];
    for (api, path) in cases {
        let (url, mut got) = upstream().await;
        let gateway = gateway_with(picture(), &[("far", url)], |door| {
            let far = &mut door.upstreams[0];
            (far.api, far.auth) = (api, Auth::ApiKey);
            far.model = Some("gpt".to_owned());
        })
        .await;
        let sent = gateway.send(r#""model":"m""#, &[]);
        let request = got.recv().await.unwrap();
        assert_eq!(request.path, path);
        assert_eq!(request.headers["api-key"], "upstream-secret");
        assert!(!request.headers.contains_key("authorization"));
        assert_eq!(request.body, r#"{"model":"gpt"}"#);
        request.answer(
            400,
            &[],
            r#"{"error":{"code":"content_filter","message":"filtered","status":400,"innererror":{"code":"ResponsibleAIPolicyViolation"}}}"#,
        );
        let response = sent.await.unwrap();
        assert_eq!(response.status(), 400);
        let error = super::fake::error(response).await;
        assert_eq!(error["code"], "content_filter");
        assert_eq!(error["innererror"]["code"], "ResponsibleAIPolicyViolation");
    }
}

#[tokio::test]
async fn a_stream_that_the_client_cuts_is_charged_for_what_was_told() {
    let (url, mut got) = upstream().await;
    let mut gateway = gateway_with(picture(), &[("far", url)], |door| {
        door.upstreams[0].continuous_usage = true;
    })
    .await;
    let sent = gateway.send(r#""model":"m","stream":true"#, &[]);
    let request = got.recv().await.unwrap();
    assert!(request.body.contains(r#""continuous_usage_stats":true"#));
    let stream = request.stream();
    let event = |n: u32| {
        format!(
            "data: {{\"choices\":[{{\"delta\":{{}}}}],\"usage\":{{\"prompt_tokens\":9,\"completion_tokens\":{n}}}}}\n\n"
        )
    };
    feed(&stream, &event(1)).await;
    let mut response = sent.await.unwrap();
    let bare = "data: {\"choices\":[{\"delta\":{}}]}\n\n";
    assert_eq!(chunk(&mut response).await.unwrap(), bare);
    feed(&stream, &event(2)).await;
    assert_eq!(chunk(&mut response).await.unwrap(), bare);
    drop(response);
    stream.closed().await;
    let record = gateway.record().await;
    assert_eq!((record.status, record.partial), (499, true));
    assert_eq!(record.usage.map(|it| (it.input, it.output)), Some((9, 2)));
    // Nine tokens in at $1 a million, two out at $2.
    assert_eq!(format!("{:.6}", record.cost.unwrap()), "0.000013");
}
