//! Who may ask, and for what.

use super::fake::{error, fleet, gateway_with, header, hosted, self_hosted, text, upstream, warm};
use crate::fleet::model::{ColdPolicy, DataPath};
use crate::gateway::{Client, Door, Key};

const CHAT: &str = r#""model":"m""#;
const ANSWER: &str = r#"{"choices":[]}"#;

/// Two keys: `sk-all`, and `sk-own` for self-hosted backends.
fn keys(door: &mut Door) {
    let client = |name: &str, self_only| Client {
        name: name.into(),
        key: Key::new(format!("sk-{name}")),
        self_only,
        models: None,
    };
    door.clients = vec![client("all", false), client("own", true)];
}

#[tokio::test]
async fn nothing_is_told_without_a_key() {
    let (url, mut got) = upstream().await;
    let picture = fleet(ColdPolicy::Wait, DataPath::Any, vec![hosted("far", 1)]);
    let mut gateway = gateway_with(picture, &[("far", url)], keys).await;
    for path in ["/v1/models", "/v1/models/m", "/metrics"] {
        assert_eq!(gateway.get(path).await.status(), 401, "{path}");
    }
    for path in ["/healthz", "/readyz"] {
        assert_eq!(gateway.get(path).await.status(), 200, "{path}");
    }
    for headers in [
        &[][..],
        &[("authorization", "Bearer sk-al")],
        &[("api-key", "x")],
    ] {
        let response = gateway.send(CHAT, headers).await.unwrap();
        assert_eq!(response.status(), 401);
        let error = error(response).await;
        assert_eq!(error["code"], "invalid_api_key");
        assert_eq!(error["type"], "authentication_error");
    }
    assert!(got.try_recv().is_err(), "nothing went out");
    let sent = gateway.send(CHAT, &[("api-key", "sk-all")]);
    let request = got.recv().await.unwrap();
    // The upstream sees its own key, and never the client's.
    assert_eq!(request.headers["authorization"], "Bearer upstream-secret");
    assert!(!request.headers.contains_key("api-key"));
    request.answer(200, &[], ANSWER);
    assert_eq!(text(sent.await.unwrap()).await, ANSWER);
    assert_eq!(gateway.record().await.key.as_deref(), Some("all"));
}

#[tokio::test]
async fn a_key_may_be_bound_to_self_hosted_backends() {
    let (near, mut near_got) = upstream().await;
    let (far, mut far_got) = upstream().await;
    let backends = vec![self_hosted("near", 1, warm()), hosted("far", 99)];
    let picture = fleet(ColdPolicy::Overflow, DataPath::Any, backends);
    let gateway = gateway_with(picture, &[("near", near), ("far", far)], keys).await;
    let own = [("authorization", "Bearer sk-own")];
    for _ in 0..5 {
        let sent = gateway.send(CHAT, &own);
        near_got.recv().await.unwrap().answer(200, &[], ANSWER);
        assert_eq!(header(&sent.await.unwrap(), "x-fleet-backend"), "near");
    }
    // Not even where the only one that it may go to fails, and not by name.
    let sent = gateway.send(CHAT, &own);
    near_got.recv().await.unwrap().answer(500, &[], "");
    assert_eq!(sent.await.unwrap().status(), 502);
    let named = [own[0], ("x-fleet-backend", "far")];
    assert_eq!(gateway.send(CHAT, &named).await.unwrap().status(), 503);
    assert!(far_got.try_recv().is_err());
}

#[tokio::test]
async fn a_key_may_be_bound_to_models() {
    let (url, _got) = upstream().await;
    let picture = fleet(ColdPolicy::Wait, DataPath::Any, vec![hosted("far", 1)]);
    let gateway = gateway_with(picture, &[("far", url)], |door| {
        keys(door);
        door.clients[0].models = Some(vec!["other".to_owned()]);
    })
    .await;
    let key = [("authorization", "Bearer sk-all")];
    let error = error(gateway.send(CHAT, &key).await.unwrap()).await;
    assert_eq!(error["code"], "model_not_found");
    assert!(!error["message"].as_str().unwrap().contains("did you mean"));
}
