//! Rules come before weights.

use super::fake::{error, gateway, header, hosted, self_hosted, text, upstream, warm};
use crate::fleet::model::{ColdPolicy, DataPath};
use crate::fleet::rule::{Rule, When};
use crate::fleet::{Fleet, Model};

const ANSWER: &str = r#"{"choices":[]}"#;

/// `near` has all the weight; `batch` goes to `spare`, schemas go to `far` or, if need be, elsewhere.
fn picture(data_path: DataPath) -> Fleet {
    let backends = vec![
        self_hosted("near", 1, warm()),
        self_hosted("spare", 0, warm()),
        hosted("far", 0),
    ];
    let mut fleet = super::fake::fleet(ColdPolicy::Wait, data_path, backends);
    let rule = |when, to: &str, fallback| Rule {
        when,
        to: vec![to.into()],
        fallback,
    };
    let class = When::Header {
        name: "x-class".to_owned(),
        value: "batch".to_owned(),
    };
    fleet.models[0] = std::sync::Arc::new(Model {
        rules: vec![
            rule(class, "spare", false),
            rule(When::JsonSchema, "far", true),
            rule(When::PromptOver(1000), "spare", false),
        ],
        ..Model::clone(&fleet.models[0])
    });
    fleet
}

/// Body, headers, who answers, and by which word.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str, &'a str);

#[tokio::test]
async fn the_first_rule_decides_and_a_strict_one_is_kept_to() {
    let (near, mut near_got) = upstream().await;
    let (spare, mut spare_got) = upstream().await;
    let (far, mut far_got) = upstream().await;
    let urls = [("near", near), ("spare", spare), ("far", far)];
    let gateway = gateway(picture(DataPath::Any), &urls).await;
    let schema = r#""model":"m","response_format":{"type":"json_schema"}"#;
    let long = format!(r#""model":"m","messages":["{}"]"#, "x".repeat(1000));
    let batch = [("x-class", "batch")];
    let plain = r#""model":"m""#;
    let cases: [Case<'_>; 5] = [
        (plain, &[], "near", "weight"),
        (plain, &batch, "spare", "header"),
        (schema, &batch, "spare", "header"),
        (schema, &[], "far", "schema"),
        (&long, &[], "spare", "length"),
    ];
    for (body, headers, backend, route) in cases {
        let sent = gateway.send(body, headers);
        let request = tokio::select! {
            request = near_got.recv() => request,
            request = spare_got.recv() => request,
            request = far_got.recv() => request,
        };
        request.unwrap().answer(200, &[], ANSWER);
        let response = sent.await.unwrap();
        assert_eq!(header(&response, "x-fleet-backend"), backend, "{body}");
        assert_eq!(header(&response, "x-fleet-route"), route, "{body}");
        assert_eq!(text(response).await, ANSWER);
    }
    // A header does not lead around a rule.
    let asked = [batch[0], ("x-fleet-backend", "near")];
    let response = gateway.send(plain, &asked).await.unwrap();
    assert_eq!(response.status(), 403);
    assert!(
        error(response).await["message"]
            .as_str()
            .unwrap()
            .contains("rule 1")
    );
    // A rule that allows it falls back; a strict one does not.
    let sent = gateway.send(schema, &[]);
    far_got.recv().await.unwrap().answer(500, &[], "");
    near_got.recv().await.unwrap().answer(200, &[], ANSWER);
    assert_eq!(header(&sent.await.unwrap(), "x-fleet-route"), "fallback");
    let sent = gateway.send(plain, &batch);
    spare_got.recv().await.unwrap().answer(500, &[], "");
    assert_eq!(sent.await.unwrap().status(), 502);
    assert!(near_got.try_recv().is_err());
}

#[tokio::test]
async fn no_rule_leads_around_the_data_path() {
    let (near, mut near_got) = upstream().await;
    let (far, mut far_got) = upstream().await;
    let urls = [("near", near), ("far", far)];
    let gateway = gateway(picture(DataPath::SelfHosted), &urls).await;
    let schema = r#""model":"m","response_format":{"type":"json_schema"}"#;
    let sent = gateway.send(schema, &[]);
    near_got.recv().await.unwrap().answer(200, &[], ANSWER);
    assert_eq!(header(&sent.await.unwrap(), "x-fleet-backend"), "near");
    assert!(far_got.try_recv().is_err());
}
