//! How many may run, how many may wait, and what those who wait are told.

use std::sync::Arc;

use chrono::TimeDelta;

use super::fake::{
    asleep, chunk, error, feed, fleet, gateway, gateway_with, header, hosted, nobody, self_hosted,
    t0, text, upstream, warm,
};
use crate::clock::Clock;
use crate::fleet::model::{ColdPolicy, DataPath};
use crate::fleet::wake::{Stage, StageSpan, Wake};
use crate::fleet::{Backend, Fleet, Kind, Model, State};

const CHAT: &str = r#""model":"m""#;
const STREAM: &str = r#""model":"m","stream":true"#;
const ANSWER: &str = r#"{"choices":[]}"#;
const EVENT: &str = "data: {\"choices\":[{\"finish_reason\":\"stop\"}]}\n\n";

fn picture(cold: ColdPolicy, backends: Vec<Backend>) -> Fleet {
    fleet(cold, DataPath::Any, backends)
}

/// A backend that runs two requests at once at most.
fn small(state: State) -> Backend {
    Backend {
        max_running: Some(2),
        ..self_hosted("a", 1, state)
    }
}

#[tokio::test]
async fn those_beyond_the_limit_wait_for_a_place_in_order() {
    let (url, mut got) = upstream().await;
    let gateway = gateway(
        picture(ColdPolicy::Wait, vec![small(warm())]),
        &[("a", url)],
    )
    .await;
    let mut sent = Vec::new();
    let mut running = Vec::new();
    for number in 0..2 {
        sent.push(gateway.send(&format!(r#"{CHAT},"n":{number}"#), &[]));
        running.push(got.recv().await.unwrap());
    }
    for number in 2..6 {
        sent.push(gateway.send(&format!(r#"{CHAT},"n":{number}"#), &[]));
        // Held before the next one comes.
        held(&gateway, number - 1).await;
    }
    assert!(got.try_recv().is_err(), "two run, nobody else");
    for number in 2..6 {
        running.remove(0).answer(200, &[], ANSWER);
        let next = got.recv().await.unwrap();
        assert_eq!(next.body, format!(r#"{{{CHAT},"n":{number}}}"#));
        assert!(got.try_recv().is_err(), "one place, one request");
        running.push(next);
    }
    for request in running {
        request.answer(200, &[], ANSWER);
    }
    for sent in sent {
        assert_eq!(text(sent.await.unwrap()).await, ANSWER);
    }
}

/// Waits until the gateway's own page says that so many are held.
async fn held(gateway: &super::fake::Gateway, wanted: u32) {
    let line = format!("fleetctl_held_requests{{model=\"m\"}} {wanted}\n");
    while !text(gateway.get("/metrics").await).await.contains(&line) {
        tokio::task::yield_now().await;
    }
}

/// The first model, a little different.
fn model(fleet: &mut Fleet, change: impl FnOnce(&mut Model)) {
    let mut model = Model::clone(&fleet.models[0]);
    change(&mut model);
    fleet.models[0] = Arc::new(model);
}

/// A backend that wakes since `ago`, and usually takes five minutes.
fn waking(ago: i64, now: chrono::DateTime<chrono::Utc>) -> Backend {
    let since = now - TimeDelta::seconds(ago);
    let wake = Wake {
        begun: true,
        hot: None,
        since,
        by: "request".to_owned(),
        stages: vec![StageSpan {
            stage: Stage::Load,
            began: since,
            ended: None,
            percent: None,
        }],
        late: false,
    };
    let mut backend = self_hosted("a", 1, State::Waking(wake));
    if let Kind::SelfHosted(facts) = &mut backend.kind {
        facts.expected = vec![(Stage::Load, TimeDelta::minutes(5))];
    }
    backend
}

#[tokio::test]
async fn a_full_room_says_when_to_come_back() {
    let mut fleet = picture(ColdPolicy::Wait, vec![waking(60, t0())]);
    model(&mut fleet, |model| model.max_waiting = 1);
    let gateway = gateway(fleet, &[("a", nobody().await)]).await;
    let _first = gateway.send(CHAT, &[]);
    held(&gateway, 1).await;
    let response = gateway.send(CHAT, &[]).await.unwrap();
    assert_eq!(response.status(), 429);
    // What is left of the wake: five minutes less the one that it has taken.
    let after: i64 = header(&response, "retry-after").parse().unwrap();
    assert!((230..=240).contains(&after), "{after}");
    assert_eq!(error(response).await["code"], "queue_full");
}

#[tokio::test]
async fn a_bridge_answers_elsewhere_until_the_wake_is_near() {
    let (url, mut got) = upstream().await;
    let cold = ColdPolicy::Bridge {
        over: TimeDelta::seconds(30),
    };
    let fleet = |ago| picture(cold, vec![waking(ago, t0()), hosted("far", 0)]);
    let urls = [("a", nobody().await), ("far", url)];
    let mut gateway = gateway(fleet(0), &urls).await;
    let sent = gateway.send(CHAT, &[]);
    got.recv().await.unwrap().answer(200, &[], ANSWER);
    assert_eq!(header(&sent.await.unwrap(), "x-fleet-route"), "bridge");
    assert_eq!(gateway.record().await.route.word(), "bridge");
    gateway.picture.send(Arc::new(fleet(280))).unwrap();
    let _held = gateway.send(CHAT, &[]);
    held(&gateway, 1).await;
    assert!(got.try_recv().is_err());
}

#[tokio::test]
async fn a_stream_that_is_held_is_kept_alive_where_that_is_asked_for() {
    let (url, mut got) = upstream().await;
    let gateway = gateway(
        picture(ColdPolicy::Wait, vec![self_hosted("a", 1, asleep())]),
        &[("a", url)],
    )
    .await;
    let heartbeat = [("x-fleet-heartbeat", "1s")];
    let mut response = gateway.send(STREAM, &heartbeat).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(header(&response, "content-type"), "text/event-stream");
    for _ in 0..2 {
        let comment = chunk(&mut response).await.unwrap();
        assert!(
            comment.starts_with(": ") && comment.ends_with("\n\n"),
            "{comment}"
        );
    }
    let woken = picture(ColdPolicy::Wait, vec![self_hosted("a", 1, warm())]);
    gateway.picture.send(Arc::new(woken)).unwrap();
    let request = got.recv().await.unwrap();
    assert!(!request.headers.contains_key("x-fleet-heartbeat"));
    let stream = request.stream();
    feed(&stream, EVENT).await;
    let mut last = chunk(&mut response).await.unwrap();
    while last.starts_with(": ") {
        last = chunk(&mut response).await.unwrap();
    }
    assert_eq!(last, EVENT);
    drop(stream);
    assert_eq!(chunk(&mut response).await, None);
}

#[tokio::test]
async fn a_failure_after_a_heartbeat_is_an_error_event() {
    let picture_of = |state| picture(ColdPolicy::Wait, vec![self_hosted("a", 1, state)]);
    let gateway = gateway_with(picture_of(asleep()), &[("a", nobody().await)], |door| {
        door.settings.heartbeat = Some(TimeDelta::seconds(1));
    })
    .await;
    let mut response = gateway.send(STREAM, &[]).await.unwrap();
    assert!(chunk(&mut response).await.unwrap().starts_with(": "));
    gateway.picture.send(Arc::new(picture_of(warm()))).unwrap();
    let mut last = chunk(&mut response).await.unwrap();
    while last.starts_with(": ") {
        last = chunk(&mut response).await.unwrap();
    }
    let error: serde_json::Value =
        serde_json::from_str(last.strip_prefix("data: ").unwrap().trim_end()).unwrap();
    assert_eq!(error["error"]["code"], "upstream_error");
    assert_eq!(chunk(&mut response).await, None);
    let wrong = [("x-fleet-heartbeat", "often")];
    assert_eq!(gateway.send(STREAM, &wrong).await.unwrap().status(), 400);
}

#[tokio::test]
async fn a_stream_that_falls_silent_is_ended_and_opens_the_circuit() {
    let (url, mut got) = upstream().await;
    let (other, mut other_got) = upstream().await;
    let backends = vec![self_hosted("a", 1, warm()), hosted("far", 0)];
    let urls = [("a", url), ("far", other)];
    let mut gateway = gateway_with(picture(ColdPolicy::Wait, backends), &urls, |door| {
        door.clock = Clock::starting_at(t0(), 60);
        door.upstreams[0].stall_after = TimeDelta::seconds(10);
    })
    .await;
    let sent = gateway.send(STREAM, &[]);
    let stream = got.recv().await.unwrap().stream();
    let event = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
    feed(&stream, event).await;
    let mut response = sent.await.unwrap();
    assert_eq!(chunk(&mut response).await.unwrap(), event);
    let last = chunk(&mut response).await.unwrap();
    assert!(last.contains("nothing came from the backend"), "{last}");
    assert_eq!(chunk(&mut response).await, None);
    let record = gateway.record().await;
    assert!(record.partial && record.status == 200);
    // Its circuit is open now, and may be probed soon: both ends are asked until one answers.
    let sent = gateway.send(CHAT, &[]);
    let request = tokio::select! {
        request = got.recv() => request,
        request = other_got.recv() => request,
    };
    request.unwrap().answer(200, &[], ANSWER);
    assert_eq!(sent.await.unwrap().status(), 200);
}
