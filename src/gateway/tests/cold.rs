//! Requests to models that sleep.

use std::sync::Arc;

use bytes::Bytes;
use chrono::TimeDelta;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use tokio_util::sync::CancellationToken;

use super::fake::{
    asleep, door, error, fleet, gateway, header, hosted, nobody, self_hosted, t0, upstream, warm,
};
use crate::fleet::model::{ColdPolicy, DataPath};
use crate::fleet::wake::{Failure, WakeRecord};
use crate::fleet::{Actor, Backend, Command, Fleet, Observation, State};
use crate::gateway::upstream::slot::Flight;
use crate::gateway::{Gate, serve};

const CHAT: &str = r#""model":"m""#;
const ANSWER: &str = r#"{"choices":[]}"#;

fn cold(policy: ColdPolicy, backends: Vec<Backend>) -> Fleet {
    fleet(policy, DataPath::Any, backends)
}

fn failed(reason: &str, took: TimeDelta) -> Backend {
    let mut backend = self_hosted(
        "a",
        1,
        State::Failed(Failure {
            since: t0() + took,
            reason: reason.to_owned(),
            stage: None,
            allocated: false,
        }),
    );
    backend.wakes.push_back(Arc::new(WakeRecord {
        since: t0(),
        ended: t0() + took,
        by: "request".to_owned(),
        stages: Vec::new(),
        hot: None,
        failure: Some(reason.to_owned()),
    }));
    backend
}

fn chat() -> Request<Full<Bytes>> {
    Request::post("/v1/chat/completions")
        .body(Full::new(Bytes::from(format!("{{{CHAT}}}"))))
        .unwrap()
}

/// Waits until the gateway says that so many are held.
async fn until_held(observations: &mut tokio::sync::mpsc::Receiver<Observation>, wanted: u32) {
    loop {
        if let Observation::Gateway { held, .. } = observations.recv().await.unwrap()
            && held.iter().map(|(_, n)| *n).sum::<u32>() == wanted
        {
            return;
        }
    }
}

#[tokio::test]
async fn held_requests_wake_once_and_go_in_order_of_arrival() {
    let (url, mut got) = upstream().await;
    let picture = cold(ColdPolicy::Wait, vec![self_hosted("a", 1, asleep())]);
    let mut gateway = gateway(picture, &[("a", url)]).await;
    let mut sent = Vec::new();
    for number in 0..5 {
        sent.push(gateway.send(&format!(r#"{CHAT},"n":{number}"#), &[]));
        until_held(&mut gateway.observations, number + 1).await;
    }
    let order = gateway.orders.recv().await.unwrap();
    assert_eq!(
        order.command,
        Command::Wake {
            backend: "a".into()
        }
    );
    assert_eq!(order.by, Actor::Request);
    assert!(
        gateway.orders.try_recv().is_err(),
        "one wake, five requests"
    );
    let woken = cold(ColdPolicy::Wait, vec![self_hosted("a", 1, warm())]);
    gateway.picture.send(Arc::new(woken)).unwrap();
    let mut came = Vec::new();
    for _ in 0..5 {
        came.push(got.recv().await.unwrap());
    }
    came.sort_by_key(|request| request.connection);
    for (number, request) in came.into_iter().enumerate() {
        assert_eq!(request.body, format!(r#"{{{CHAT},"n":{number}}}"#));
        request.answer(200, &[], ANSWER);
    }
    for sent in sent {
        let response = sent.await.unwrap();
        assert_eq!(response.status(), 200);
        assert!(response.headers().contains_key("x-fleet-wake-ms"));
    }
    assert!(gateway.record().await.held.is_some());
}

/// Hosted backends answer for one of ours that sleeps, and that one is woken for those to come; but not where the policy is
/// to refuse, and not where another of ours is ready.
#[tokio::test]
async fn one_of_ours_that_has_a_weight_and_sleeps_is_woken() {
    let cases = [
        (ColdPolicy::Wait, None, true),
        (ColdPolicy::Overflow, None, true),
        (ColdPolicy::Reject, None, false),
        (ColdPolicy::Wait, Some(warm()), false),
    ];
    for (policy, sibling, woken) in cases {
        let (url, mut got) = upstream().await;
        let mut backends = vec![self_hosted("a", 2, asleep()), hosted("far", 1)];
        backends.extend(sibling.map(|state| self_hosted("b", 1, state)));
        let urls = ["a", "far", "b"].map(|name| (name, url.clone()));
        let mut gateway = gateway(cold(policy, backends), &urls).await;
        for _ in 0..3 {
            let sent = gateway.send(CHAT, &[]);
            got.recv().await.unwrap().answer(200, &[], ANSWER);
            let answer = sent.await.unwrap();
            assert_eq!(
                (answer.status().as_u16(), header(&answer, "x-fleet-route")),
                (200, "weight")
            );
        }
        let asked = gateway.orders.try_recv().ok().map(|order| order.command);
        let wake = Command::Wake {
            backend: "a".into(),
        };
        assert_eq!(asked, woken.then_some(wake), "{policy:?}");
        assert!(gateway.orders.try_recv().is_err(), "once");
    }
}

#[tokio::test]
async fn a_client_that_leaves_leaves_the_room() {
    let picture = cold(ColdPolicy::Wait, vec![self_hosted("a", 1, asleep())]);
    let mut gateway = gateway(picture, &[("a", nobody().await)]).await;
    let sent = gateway.send(CHAT, &[]);
    until_held(&mut gateway.observations, 1).await;
    sent.abort();
    let record = gateway.record().await;
    assert_eq!((record.status, record.backend), (499, None));
    assert!(record.held.is_some());
    until_held(&mut gateway.observations, 0).await;
}

#[tokio::test]
async fn overflow_answers_elsewhere_and_wakes() {
    let (url, mut got) = upstream().await;
    let backends = vec![self_hosted("a", 1, asleep()), hosted("far", 0)];
    let picture = cold(ColdPolicy::Overflow, backends);
    let mut gateway = gateway(picture, &[("a", nobody().await), ("far", url)]).await;
    for _ in 0..3 {
        let sent = gateway.send(CHAT, &[]);
        got.recv().await.unwrap().answer(200, &[], ANSWER);
        assert_eq!(header(&sent.await.unwrap(), "x-fleet-route"), "fallback");
    }
    assert!(gateway.orders.recv().await.is_some());
    assert!(gateway.orders.try_recv().is_err());
}

#[tokio::test]
async fn reject_and_drained_say_so() {
    let mut drained = self_hosted("a", 1, warm());
    drained.drained = Some(crate::fleet::backend::DrainMark {
        since: t0(),
        by: "olga".to_owned(),
    });
    let cases = [
        (self_hosted("a", 1, asleep()), "backend_asleep"),
        (drained, "draining"),
    ];
    for (backend, code) in cases {
        let picture = cold(ColdPolicy::Reject, vec![backend]);
        let mut gateway = gateway(picture, &[("a", nobody().await)]).await;
        let response = gateway.send(CHAT, &[]).await.unwrap();
        assert_eq!(response.status(), 503);
        assert!(!header(&response, "retry-after").is_empty());
        assert_eq!(error(response).await["code"], code);
        assert!(gateway.orders.try_recv().is_err(), "no wake");
    }
}

#[tokio::test]
async fn a_failed_wake_ends_the_waiting() {
    let cases = [
        (TimeDelta::minutes(2), 503, "backend_failed"),
        (TimeDelta::minutes(10), 504, "wake_timeout"),
    ];
    for (took, status, code) in cases {
        let picture = cold(ColdPolicy::Wait, vec![self_hosted("a", 1, asleep())]);
        let mut gateway = gateway(picture, &[("a", nobody().await)]).await;
        let sent = gateway.send(CHAT, &[]);
        until_held(&mut gateway.observations, 1).await;
        let picture = cold(ColdPolicy::Wait, vec![failed("out of memory", took)]);
        gateway.picture.send(Arc::new(picture)).unwrap();
        let response = sent.await.unwrap();
        assert_eq!(response.status(), status);
        let error = error(response).await;
        assert_eq!(error["code"], code);
        assert!(error["message"].as_str().unwrap().contains("out of memory"));
    }
}

#[tokio::test]
async fn a_failed_wake_goes_to_another_backend_where_there_is_one() {
    let (url, mut got) = upstream().await;
    let backends = vec![self_hosted("a", 1, asleep()), hosted("far", 0)];
    let mut gateway = gateway(
        cold(ColdPolicy::Wait, backends),
        &[("a", nobody().await), ("far", url)],
    )
    .await;
    let sent = gateway.send(CHAT, &[]);
    until_held(&mut gateway.observations, 1).await;
    let backends = vec![failed("broken", TimeDelta::minutes(1)), hosted("far", 0)];
    let picture = cold(ColdPolicy::Wait, backends);
    gateway.picture.send(Arc::new(picture)).unwrap();
    got.recv().await.unwrap().answer(200, &[], ANSWER);
    assert_eq!(header(&sent.await.unwrap(), "x-fleet-backend"), "far");
}

/// No sockets here, so that the clock can be stopped.
#[tokio::test(start_paused = true)]
async fn an_open_circuit_is_not_asked() {
    let picture = cold(ColdPolicy::Wait, vec![self_hosted("a", 1, warm())]);
    let urls = [("a", "http://127.0.0.1:9".to_owned())];
    let (door, _picture, mut orders, _observations) = door(picture, &urls);
    let gate = Gate::new(door, CancellationToken::new());
    let slot = &gate.plan().slots[&crate::fleet::BackendId::from("a")];
    let mut flight = Flight::begin(slot, None, gate.clock.now()).unwrap();
    flight.fail(gate.clock.now());
    drop(flight);
    let response = serve::answer(Arc::clone(&gate), chat()).await;
    assert_eq!(response.status(), 502);
    assert_eq!(header(&response, "retry-after"), "1");
    assert!(orders.try_recv().is_err());
}

/// No sockets here, so that the clock can be stopped.
#[tokio::test(start_paused = true)]
async fn the_cap_ends_the_waiting_and_never_earlier() {
    let picture = cold(ColdPolicy::Wait, vec![self_hosted("a", 1, asleep())]);
    let urls = [("a", "http://127.0.0.1:9".to_owned())];
    let (door, _picture, _orders, mut observations) = door(picture, &urls);
    let gate = Gate::new(door, CancellationToken::new());
    let began = tokio::time::Instant::now();
    let response = serve::answer(Arc::clone(&gate), chat()).await;
    let waited = began.elapsed();
    assert_eq!(response.status(), 504);
    assert!(waited >= std::time::Duration::from_secs(600), "{waited:?}");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["error"]["code"], "wake_timeout");
    crate::gateway::record::outbox::empty(&gate).await;
    let Some(Observation::Request(record)) = observations.recv().await else {
        panic!("a record");
    };
    assert_eq!(record.status, 504);
    assert!(record.held.unwrap() >= TimeDelta::minutes(10));
}

/// No sockets here, so that the clock can be stopped.
#[tokio::test(start_paused = true)]
async fn the_cap_counts_from_the_wake() {
    let began = TimeDelta::minutes(2);
    let waking = State::Waking(crate::fleet::wake::Wake {
        since: t0() + began,
        by: "request".to_owned(),
        stages: Vec::new(),
        hot: None,
        late: false,
        begun: true,
    });
    let picture = cold(ColdPolicy::Wait, vec![self_hosted("a", 1, waking)]);
    let urls = [("a", "http://127.0.0.1:9".to_owned())];
    let (door, _picture, _orders, _observations) = door(picture, &urls);
    let gate = Gate::new(door, CancellationToken::new());
    let arrived = tokio::time::Instant::now();
    let response = serve::answer(Arc::clone(&gate), chat()).await;
    assert_eq!(response.status(), 504);
    let waited = arrived.elapsed();
    assert!(waited >= std::time::Duration::from_secs(720), "{waited:?}");
}

#[tokio::test]
async fn who_waits_for_a_model_that_is_gone_is_told() {
    let picture = cold(ColdPolicy::Wait, vec![self_hosted("a", 1, asleep())]);
    let mut gateway = gateway(picture.clone(), &[("a", nobody().await)]).await;
    let sent = gateway.send(CHAT, &[]);
    until_held(&mut gateway.observations, 1).await;
    let without = Fleet {
        models: Vec::new(),
        backends: Vec::new(),
        ..picture
    };
    gateway.picture.send(Arc::new(without)).unwrap();
    let answer = sent.await.unwrap();
    assert_eq!(answer.status(), 404);
    assert_eq!(error(answer).await["code"], "model_not_found");
}
