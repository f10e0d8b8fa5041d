use axum::Router;
use axum::body::Bytes;
use chrono::DateTime;
use serde_json::Value;
use tokio::sync::mpsc;

use super::*;

const GATEWAY: &str = "127.0.0.1:4000";

fn demo(model: &str) -> Mix {
    demo_mixes().into_iter().find(|m| m.model == model).unwrap()
}

fn seconds(mix: &Mix, seed: u64, hours: i64) -> Vec<f64> {
    Arrivals::of(mix, seed)
        .map(|a| a.after)
        .take_while(|after| *after < TimeDelta::hours(hours))
        .map(TimeDelta::as_seconds_f64)
        .collect()
}

#[test]
fn the_same_seed_sends_the_same() {
    for mix in demo_mixes() {
        let first = |seed| Arrivals::of(&mix, seed).take(2_000).collect::<Vec<_>>();
        assert_eq!(first(5), first(5));
        assert_ne!(first(5), first(6));
        let stock = |seed| bodies::prepare(GATEWAY.parse().unwrap(), &mix, seed);
        assert_eq!(stock(5), stock(5));
        assert_ne!(stock(5), stock(6));
    }
}

#[test]
fn the_rates_are_the_demos() {
    for (model, low, high) in [
        ("llama-3.3-70b", 3.8, 5.0),
        ("qwen3-coder", 2.4, 3.4),
        ("phi-4", 0.2, 0.4),
        ("gpt-5-mini", 0.55, 0.75),
    ] {
        let per_second = seconds(&demo(model), 1, 10).len() as f64 / 36_000.0;
        assert!((low..high).contains(&per_second), "{model}: {per_second}");
    }
}

#[test]
fn phi_4_falls_silent_for_ten_to_eleven_minutes_and_comes_back() {
    let arrivals = seconds(&demo("phi-4"), 42, 8);
    assert!((120.0..150.0).contains(&arrivals[0]), "{}", arrivals[0]);
    let gaps: Vec<f64> = arrivals.windows(2).map(|w| w[1] - w[0]).collect();
    let lulls: Vec<f64> = gaps.iter().copied().filter(|gap| *gap > 60.0).collect();
    assert!(lulls.len() > 25, "{}", lulls.len());
    for lull in lulls {
        assert!((590.0..680.0).contains(&lull), "{lull}");
    }
}

#[test]
fn a_swell_has_bursts_and_is_never_still() {
    let mix = demo("llama-3.3-70b");
    let mut minutes = vec![0_u32; 240];
    for at in seconds(&mix, 9, 4) {
        minutes[(at / 60.0) as usize] += 1;
    }
    let least = *minutes.iter().min().unwrap();
    let most = *minutes.iter().max().unwrap();
    assert!(least > 100, "{least}");
    assert!(most > 2 * least, "{least} to {most}");
}

#[test]
fn the_stock_is_mixed_and_well_formed() {
    let mix = demo("qwen3-coder");
    let stock = bodies::prepare(GATEWAY.parse().unwrap(), &mix, 1);
    let bodies: Vec<Value> = stock
        .iter()
        .map(|p| serde_json::from_slice(&p.bytes).unwrap())
        .collect();
    for (body, prepared) in bodies.iter().zip(&stock) {
        assert_eq!(body["model"], "qwen3-coder");
        assert_eq!(body.get("stream").is_some(), prepared.streamed);
        assert_eq!(
            body.get("prompt").is_some(),
            prepared.uri.path() == "/v1/completions"
        );
    }
    let some = |what: fn(&Value) -> bool| assert!(bodies.iter().any(what));
    some(|b| b.get("prompt").is_some());
    some(|b| b.get("tools").is_some());
    some(|b| b.get("response_format").is_some());
    some(|b| b.get("stream_options").is_some());
    some(|b| b.get("stream").is_none());
    some(|b| b["messages"].as_array().is_some_and(|m| m.len() == 4));
    some(|b| b.to_string().len() > 10_000);
    some(|b| b.to_string().len() < 400);
}

/// A gateway that answers at once, or holds for ever, and tells of every request.
async fn gateway(holds: bool) -> (SocketAddr, mpsc::Receiver<Bytes>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = mpsc::channel(10_000);
    let app = Router::new().fallback(move |body: Bytes| {
        let tell = tell.clone();
        async move {
            let _ = tell.send(body).await;
            if holds {
                std::future::pending::<()>().await;
            }
            "{}"
        }
    });
    tokio::spawn(async move { axum::serve(listener, app).await });
    (address, told)
}

fn steady(model: &str, per_minute: f64) -> Mix {
    Mix {
        per_minute,
        prompt: 10..=20,
        ..demo(model)
    }
}

#[tokio::test]
async fn clients_reach_the_gateway_and_are_counted() {
    let (address, mut told) = gateway(false).await;
    let shutdown = CancellationToken::new();
    let clock = Clock::starting_at(DateTime::UNIX_EPOCH, 600);
    let mixes = vec![steady("llama-3.3-70b", 60.0), steady("qwen3-coder", 60.0)];
    let running = tokio::spawn(run(address, mixes, 3, clock, shutdown.clone()));
    for _ in 0..100 {
        told.recv().await.unwrap();
    }
    shutdown.cancel();
    let tally = running.await.unwrap();
    assert!(tally.sent >= 100, "{tally:?}");
    assert!(tally.answered > 0, "{tally:?}");
    assert_eq!(
        (tally.refused, tally.failed, tally.dropped),
        (0, 0, 0),
        "{tally:?}"
    );
}

#[tokio::test]
async fn no_more_than_a_bounded_number_are_in_flight() {
    let (address, mut told) = gateway(true).await;
    let shutdown = CancellationToken::new();
    let clock = Clock::starting_at(DateTime::UNIX_EPOCH, 1);
    // Far more than may be in flight, at once.
    let mixes = vec![steady("llama-3.3-70b", 600_000.0)];
    let running = tokio::spawn(run(address, mixes, 3, clock, shutdown.clone()));
    for _ in 0..IN_FLIGHT {
        told.recv().await.unwrap();
    }
    shutdown.cancel();
    let tally = running.await.unwrap();
    assert_eq!(tally.sent, IN_FLIGHT as u64);
    assert!(tally.dropped > 0, "{tally:?}");
    assert!(told.try_recv().is_err());
}

#[tokio::test]
async fn an_absent_gateway_is_only_counted() {
    let nobody = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let counts = Arc::new(Counts::default());
    let sender = Sender {
        http: Client::builder(TokioExecutor::new()).build(HttpConnector::new()),
        bodies: bodies::prepare(nobody, &demo("phi-4"), 1),
        counts: Arc::clone(&counts),
        patience: Duration::from_secs(5),
    };
    let end = exchange(&sender.http, sender.bodies[0].request(), None).await;
    assert!(matches!(end, End::Failed));
    assert_eq!(counts.tally(), Tally::default());
}
