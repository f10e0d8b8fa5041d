//! Connections that are kept between requests, redirects, and many requests at once.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::TimeDelta;
use fleetctl::fleet::Observation;
use tokio::sync::mpsc;

use super::answers::envelope;
use super::bench::Bench;
use super::fault::Fault;
use super::fleet::{hosted, self_hosted};
use super::upstream::{Event, Step, Turn, Upstream};
use super::words::{ANSWER, CHAT, Form, head, sized};

/// Longer than any test here takes; what hangs fails.
const PATIENCE: Duration = Duration::from_secs(30);
/// The fleet's clock against the wall's.
const SPEED: u32 = 20;
/// How often a kept connection is taken away.
const ROUNDS: usize = 50;

async fn within<F: Future>(what: F) -> F::Output {
    tokio::time::timeout(PATIENCE, what).await.unwrap()
}

/// One hosted backend that plays these turns.
async fn alone(turns: Vec<Turn>) -> Bench {
    let (to_test, events) = mpsc::unbounded_channel();
    let a = (hosted("a", 1), Upstream::playing(turns, &to_test));
    Bench::new(SPEED, vec![a], events).await
}

/// The same beside a healthy one without weight.
async fn beside(turns: Vec<Turn>) -> Bench {
    let (to_test, events) = mpsc::unbounded_channel();
    let a = (self_hosted("a", 1), Upstream::playing(turns, &to_test));
    let b = (hosted("b", 0), Upstream::playing(Vec::new(), &to_test));
    Bench::new(SPEED, vec![a, b], events).await
}

fn wire() -> Vec<u8> {
    Form::Json.wire()
}

/// What was not sent can be sent again: a connection that closed while nobody used it costs nobody an answer.
#[tokio::test]
async fn a_connection_that_closed_between_requests_is_not_noticed() {
    let ends = [Step::Fin, Step::Reset];
    within(async {
        for end in ends {
            let turn = vec![Step::Request, Step::Send(wire()), Step::Seen, end];
            let mut bench = alone(vec![turn; ROUNDS]).await;
            let ids: Vec<String> = (0..ROUNDS).map(|round| round.to_string()).collect();
            for id in &ids {
                let saw = bench.ask(id, CHAT).await;
                assert_eq!((saw.status, saw.text().as_str()), (200, ANSWER), "{id}");
                while bench.events.recv().await.unwrap() != Event::Ended {}
            }
            assert_eq!(bench.upstreams[0].asked(), ids, "each once");
            bench.is_sound().await;
        }
    })
    .await;
}

/// A backend that closes a kept connection gave it up before it saw the request, most likely: it gets it once more, on a
/// new connection. One that closes a new connection has failed, which the faults show.
#[tokio::test]
async fn a_request_under_which_a_kept_connection_dies_goes_out_once_more() {
    // The second turn begins when its request is there: read, or left in the socket.
    let second: [Turn; 4] = [
        vec![Step::Request, Step::Fin],
        vec![Step::Request, Step::Reset],
        vec![Step::Fin],
        vec![Step::Reset],
    ];
    within(async {
        for (case, second) in second.into_iter().enumerate() {
            let turns = vec![vec![Step::Request, Step::Send(wire())], second];
            let mut bench = alone(turns.clone()).await;
            assert_eq!(bench.ask("one", CHAT).await.status, 200, "{case}");
            let saw = bench.ask("two", CHAT).await;
            assert_eq!((saw.status, saw.text().as_str()), (200, ANSWER), "{case}");
            assert_eq!(bench.upstreams[0].connections(), 2, "{case}");
            bench.is_sound().await;

            let mut bench = beside(turns).await;
            assert_eq!(bench.ask("one", CHAT).await.status, 200, "{case}");
            let saw = bench.ask("two", CHAT).await;
            assert_eq!((saw.status, saw.text().as_str()), (200, ANSWER), "{case}");
            assert_eq!(saw.header("x-fleet-backend"), "a", "{case}");
            assert_eq!(bench.upstreams[1].asked(), [""; 0], "{case}: nobody else");
            bench.is_sound().await;
        }
    })
    .await;
}

/// An answer that nobody asked for is not the next request's.
#[tokio::test]
async fn a_second_answer_goes_to_nobody() {
    let other = sized(200, Form::Json, 2, b"{}");
    let both = [wire(), other.clone()].concat();
    let turns: [Turn; 2] = [
        vec![Step::Request, Step::Send(both)],
        vec![
            Step::Request,
            Step::Send(wire()),
            Step::Seen,
            Step::Send(other),
        ],
    ];
    within(async {
        for turn in turns {
            let mut bench = alone(vec![turn]).await;
            assert_eq!(bench.ask("one", CHAT).await.text(), ANSWER);
            while bench.events.recv().await.unwrap() != Event::Ended {}
            assert_eq!(bench.ask("two", CHAT).await.text(), ANSWER);
            bench.is_sound().await;
        }
    })
    .await;
}

/// A redirect is not followed: neither the key nor the request goes where an answer points.
#[tokio::test]
async fn a_redirect_is_no_answer() {
    within(async {
        for status in [301, 302, 307, 308] {
            let (to_test, mut told) = mpsc::unbounded_channel();
            let elsewhere = Upstream::playing(Vec::new(), &to_test);
            let location = format!("{}/v1/chat/completions", elsewhere.url);
            let headers = [("location", location.as_str()), ("content-length", "0")];
            let turn = vec![Step::Request, Step::Send(head(status, &headers))];

            let mut bench = alone(vec![turn.clone()]).await;
            let saw = bench.ask("r", CHAT).await;
            assert_eq!((saw.status, saw.header("location")), (502, ""));
            assert_eq!(envelope(&saw.text())["code"], "upstream_error");
            let record = bench.record("r").await;
            assert!(record.error.unwrap().contains(&status.to_string()));
            bench.is_sound().await;

            let mut bench = beside(vec![turn]).await;
            let saw = bench.ask("r", CHAT).await;
            assert_eq!((saw.status, saw.header("x-fleet-route")), (200, "fallback"));
            bench.is_sound().await;
            assert_eq!(elsewhere.connections(), 0);
            assert!(told.try_recv().is_err());
        }
    })
    .await;
}

/// Many requests meet a backend that reads them and resets: each is answered, and answered once.
#[tokio::test]
async fn nothing_is_answered_twice() {
    const MANY: usize = 40;
    within(async {
        let turn = vec![Step::Request, Step::Reset];
        let mut bench = beside(vec![turn; MANY]).await;
        let ids: BTreeSet<String> = (0..MANY).map(|number| number.to_string()).collect();
        let asked = ids.iter().map(|id| bench.ask(id, CHAT));
        for saw in futures_util::future::join_all(asked).await {
            assert_eq!((saw.status, saw.text().as_str()), (200, ANSWER));
            assert_eq!(saw.header("x-fleet-backend"), "b");
        }
        let [a, b] = &bench.upstreams[..] else {
            panic!("two backends")
        };
        assert_eq!(b.asked().len(), MANY);
        assert_eq!(b.asked().into_iter().collect::<BTreeSet<_>>(), ids);
        let tried = a.asked();
        assert_eq!(tried.iter().collect::<BTreeSet<_>>().len(), tried.len());
        // What is left of the fault would meet the requests after it.
        for upstream in &bench.upstreams {
            upstream.behave();
        }
        bench.is_sound().await;
    })
    .await;
}

/// Header, value, and the pause that the fleet is told of.
type Pause = (&'static str, &'static str, TimeDelta);

#[tokio::test]
async fn the_pause_of_a_429_is_told_to_client_and_fleet() {
    let cases: [Pause; 7] = [
        ("retry-after", "7", TimeDelta::seconds(7)),
        ("retry-after-ms", "1500", TimeDelta::milliseconds(1500)),
        ("retry-after", "soon", TimeDelta::seconds(5)),
        ("retry-after", "inf", TimeDelta::seconds(5)),
        ("retry-after", "-3", TimeDelta::zero()),
        ("retry-after", "1e300", TimeDelta::hours(1)),
        ("x-none", "1", TimeDelta::seconds(5)),
    ];
    within(async {
        for (name, value, pause) in cases {
            let turn = Fault::Status(429, (name, value), "slow down").turn(Form::Json);
            let mut bench = alone(vec![turn]).await;
            let saw = bench.ask("r", CHAT).await;
            assert_eq!(saw.status, 429, "{name}: {value}");
            // On the wall, in whole seconds, and never none.
            let wall = bench.clock.on_wall(pause).as_secs_f64().ceil().max(1.0);
            assert_eq!(saw.header("retry-after"), format!("{wall:.0}"));
            let told = loop {
                let seen = bench.observations.recv().await.unwrap();
                if let Observation::Limited { until, at, .. } = seen {
                    break until - at;
                }
            };
            assert_eq!(told, pause, "{name}: {value}");
        }
    })
    .await;
}

/// A backend whose streams break, one after the other, is not asked at once again; one that falls silent is not even once.
#[tokio::test]
async fn a_stream_that_breaks_opens_the_circuit() {
    let faults = [
        Fault::ClosesInside,
        Fault::ResetsInside,
        Fault::BadChunkInside,
        Fault::StallsInside,
        Fault::NoEnd,
        Fault::ErrorThenDone,
    ];
    within(async {
        for fault in faults {
            let times = if fault == Fault::StallsInside { 1 } else { 3 };
            let mut bench = alone(vec![fault.turn(Form::Stream); times]).await;
            for _ in 0..times {
                let saw = bench.ask("r", &format!(r#"{CHAT},"stream":true"#)).await;
                assert_eq!(saw.status, 200, "{fault:?}");
            }
            let mut record = bench.record("r").await;
            for _ in 1..times {
                record = bench.record("r").await;
            }
            let saw = bench.ask("next", CHAT).await;
            // Where this took longer than the circuit's first pause it was the probe, which is right as well.
            if bench.clock.now() - (record.at + record.took) < TimeDelta::seconds(1) {
                assert_eq!(saw.status, 502, "{fault:?}");
                assert!(saw.text().contains("not asked now"), "{fault:?}");
            }
            bench.is_sound().await;
        }
    })
    .await;
}

/// A path that a backend does not have is no reason to keep its other paths from anybody.
#[tokio::test]
async fn a_path_that_is_not_there_shuts_nobody_out() {
    const MANY: usize = 5;
    let not_found = Fault::Status(404, ("content-type", "text/plain"), "Not Found");
    within(async {
        let mut bench = alone(vec![not_found.turn(Form::Json); MANY]).await;
        for _ in 0..MANY {
            assert_eq!(bench.ask("r", CHAT).await.status, 404);
        }
        assert_eq!(bench.ask("next", CHAT).await.status, 200);
        bench.is_sound().await;
    })
    .await;
}
