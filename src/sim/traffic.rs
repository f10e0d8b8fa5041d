//! Synthetic clients: bursty, mixed, real HTTP through the gateway, and cheap.

mod arrivals;
mod bodies;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use chrono::TimeDelta;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::arrivals::{Arrival, Arrivals};
use self::bodies::Prepared;
use crate::clock::Clock;

/// The clients of one model. All times and rates are of the fleet.
#[derive(Clone, Debug)]
pub struct Mix {
    /// The model that they ask for.
    pub model: String,
    /// Requests a minute, before the pattern bends it.
    pub per_minute: f64,
    /// How the rate moves.
    pub pattern: Pattern,
    /// The share that is streamed, 0 to 1.
    pub streamed: f64,
    /// Prompt tokens of an ordinary request, roughly.
    pub prompt: RangeInclusive<u32>,
    /// The limits (`max_tokens`) that clients put on answers.
    pub answer: RangeInclusive<u32>,
}

/// How a rate moves over time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pattern {
    /// Never still: a slow swell, and bursts on it.
    Swell {
        /// How far the swell goes up and down, as a share of the rate, 0 to 1.
        swing: f64,
        /// From crest to crest.
        period: TimeDelta,
        /// The rate at a burst's height, in multiples.
        burst: f64,
        /// From the end of a burst to the next, about.
        every: TimeDelta,
        /// A burst's length, about.
        lasts: TimeDelta,
    },
    /// Work, then silence, in turns.
    Lulls {
        /// Silence before the first work.
        first: TimeDelta,
        /// The length of the work, about.
        work: TimeDelta,
        /// The length of the silence, about.
        lull: TimeDelta,
    },
}

/// What became of the requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Sent to the gateway.
    pub sent: u64,
    /// Answered 2xx to the end.
    pub answered: u64,
    /// Answered with another status.
    pub refused: u64,
    /// Left by the client before the end.
    pub left: u64,
    /// Broken off, unreachable, or never answered.
    pub failed: u64,
    /// Not sent, because too many were in flight.
    pub dropped: u64,
}

/// At most this many of a mix are in flight; a client above it is dropped and counted.
const IN_FLIGHT: usize = 256;
/// A client gives up after this long.
const PATIENCE: TimeDelta = TimeDelta::minutes(15);
/// One stream in this many is left by its client.
const LEAVES: u64 = 40;

type Http = Client<HttpConnector, Full<Bytes>>;

#[derive(Default)]
struct Counts {
    sent: AtomicU64,
    answered: AtomicU64,
    refused: AtomicU64,
    left: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
}

/// Sends `mixes` to `gateway` until `shutdown`, then says what became of them; the same seed sends the same at the same times.
pub async fn run(
    gateway: SocketAddr,
    mixes: Vec<Mix>,
    seed: u64,
    clock: Clock,
    shutdown: CancellationToken,
) -> Tally {
    let counts = Arc::new(Counts::default());
    let started = Instant::now();
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let http: Http = Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(20))
        .build(connector);
    let mut senders = JoinSet::new();
    for (n, mix) in (0_u64..).zip(mixes) {
        let seed = seed.wrapping_add(n.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let sender = Sender {
            http: http.clone(),
            bodies: bodies::prepare(gateway, &mix, seed),
            counts: Arc::clone(&counts),
            patience: clock.on_wall(PATIENCE),
        };
        let shutdown = shutdown.clone();
        senders.spawn(async move {
            tokio::select! {
                () = sender.send_all(Arrivals::of(&mix, seed), started, clock) => {}
                () = shutdown.cancelled() => {}
            }
        });
    }
    while senders.join_next().await.is_some() {}
    shutdown.cancelled().await;
    counts.tally()
}

struct Sender {
    http: Http,
    bodies: Vec<Prepared>,
    counts: Arc<Counts>,
    patience: Duration,
}

impl Sender {
    async fn send_all(&self, arrivals: Arrivals, started: Instant, clock: Clock) {
        // Dropped with this future, and every request in it.
        let mut in_flight = JoinSet::new();
        for arrival in arrivals {
            tokio::time::sleep_until(started + clock.on_wall(arrival.after)).await;
            while in_flight.try_join_next().is_some() {}
            let Some(body) = pick(&self.bodies, arrival) else {
                return;
            };
            if in_flight.len() >= IN_FLIGHT {
                add(&self.counts.dropped);
                continue;
            }
            add(&self.counts.sent);
            let leaves_after = leaves_after(body, arrival);
            let request = body.request();
            let (http, counts, patience) =
                (self.http.clone(), Arc::clone(&self.counts), self.patience);
            in_flight.spawn(async move {
                let exchanged = exchange(&http, request, leaves_after);
                add(match tokio::time::timeout(patience, exchanged).await {
                    Ok(End::Answered) => &counts.answered,
                    Ok(End::Refused) => &counts.refused,
                    Ok(End::Left) => &counts.left,
                    Ok(End::Failed) | Err(_) => &counts.failed,
                });
            });
        }
    }
}

enum End {
    Answered,
    Refused,
    Left,
    Failed,
}

/// One request, its answer thrown away as it comes; the client leaves after so many frames, where told.
async fn exchange(
    http: &Http,
    request: Option<Request<Full<Bytes>>>,
    leaves_after: Option<u64>,
) -> End {
    let Some(request) = request else {
        return End::Failed;
    };
    let Ok(response) = http.request(request).await else {
        return End::Failed;
    };
    let good = response.status().is_success();
    let mut body = response.into_body();
    let mut frames = 0;
    while let Some(frame) = body.frame().await {
        if frame.is_err() {
            return End::Failed;
        }
        frames += 1;
        if good && leaves_after.is_some_and(|n| frames >= n) {
            return End::Left;
        }
    }
    if good { End::Answered } else { End::Refused }
}

fn pick(bodies: &[Prepared], arrival: Arrival) -> Option<&Prepared> {
    let n = arrival.dice.checked_rem(bodies.len() as u64)?;
    bodies.get(n as usize)
}

fn leaves_after(body: &Prepared, arrival: Arrival) -> Option<u64> {
    let dice = arrival.dice >> 32;
    (body.streamed && dice.is_multiple_of(LEAVES)).then_some(1 + dice / LEAVES % 3)
}

impl Prepared {
    fn request(&self) -> Option<Request<Full<Bytes>>> {
        Request::builder()
            .method(Method::POST)
            .uri(self.uri.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, "demo-client/1")
            .body(Full::new(self.bytes.clone()))
            .ok()
    }
}

fn add(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

impl Counts {
    fn tally(&self) -> Tally {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Tally {
            sent: read(&self.sent),
            answered: read(&self.answered),
            refused: read(&self.refused),
            left: read(&self.left),
            failed: read(&self.failed),
            dropped: read(&self.dropped),
        }
    }
}

/// The demo's clients, for the models of the demo's fleet.
pub fn demo_mixes() -> Vec<Mix> {
    let swell = |swing, period, burst, every, lasts| Pattern::Swell {
        swing,
        period: TimeDelta::minutes(period),
        burst,
        every: TimeDelta::minutes(every),
        lasts: TimeDelta::minutes(lasts),
    };
    let mix = |model: &str, per_second: f64, pattern, streamed, prompt, answer| Mix {
        model: model.to_owned(),
        per_minute: per_second * 60.0,
        pattern,
        streamed,
        prompt,
        answer,
    };
    vec![
        mix(
            "llama-3.3-70b",
            4.0,
            swell(0.25, 23, 1.8, 6, 2),
            0.7,
            120..=900,
            60..=420,
        ),
        mix(
            "qwen3-coder",
            2.5,
            swell(0.35, 17, 2.2, 9, 3),
            0.85,
            400..=1800,
            80..=520,
        ),
        mix(
            "phi-4",
            0.9,
            // Silent for long enough to fall asleep on a timer of six minutes, and to stay so for a while.
            Pattern::Lulls {
                first: TimeDelta::minutes(2),
                work: TimeDelta::minutes(5),
                lull: TimeDelta::seconds(630),
            },
            0.5,
            60..=400,
            30..=200,
        ),
        mix(
            "gpt-5-mini",
            0.6,
            swell(0.3, 13, 2.0, 8, 2),
            0.6,
            150..=1200,
            80..=480,
        ),
    ]
}
