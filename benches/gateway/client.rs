//! Clients, in a process of their own.

use std::io::{BufRead as _, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::engine::now;
use crate::peers::MODEL;
use crate::table::percentile;

/// Connections that are opened at once.
const AT_ONCE: usize = 32;

/// What the clients are to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Job {
    /// One connection to each target; so many requests on one after the other, round after round.
    Latency {
        targets: Vec<String>,
        rounds: usize,
        requests: usize,
    },
    /// So many connections, each with one request at a time.
    Load {
        target: String,
        connections: usize,
        seconds: u64,
    },
    /// Streams at once, each of so many events.
    Streams {
        target: String,
        streams: usize,
        events: u32,
    },
    /// Connections that stay, each with one request that was answered.
    Idle { target: String, connections: usize },
    /// Connections that stay, each with one request that is not, sent in order.
    Hold { target: String, connections: usize },
}

/// Latencies of one target in one round, µs.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Latencies {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

/// What became of the streams. Delays are µs.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Streamed {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) events: u64,
    pub(crate) lost: u64,
    pub(crate) reordered: u64,
    /// Events that came in one HTTP chunk with the one before.
    pub(crate) coalesced: u64,
    /// Streams that were refused or broke off.
    pub(crate) broken: u64,
}

/// What became of many connections.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Crowd {
    pub(crate) well: usize,
    pub(crate) failed: usize,
}

/// Runs the role.
pub(crate) fn main(job: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    match serde_json::from_str(job).unwrap() {
        Job::Latency {
            targets,
            rounds,
            requests,
        } => say(&runtime.block_on(latency(targets, rounds, requests))),
        Job::Load {
            target,
            connections,
            seconds,
        } => say(&runtime.block_on(load(target, connections, seconds))),
        Job::Streams {
            target,
            streams,
            events,
        } => say(&runtime.block_on(stream_all(target, streams, events))),
        Job::Idle {
            target,
            connections,
        } => runtime.block_on(idle(target, connections)),
        Job::Hold {
            target,
            connections,
        } => runtime.block_on(hold(target, connections)),
    }
}

fn say<T: Serialize>(what: &T) {
    println!("{}", serde_json::to_string(what).unwrap());
    std::io::stdout().flush().unwrap();
}

/// The next line from the bench; `None` at its end.
async fn told() -> Option<String> {
    let line = || std::io::stdin().lock().lines().next()?.ok();
    tokio::task::spawn_blocking(line).await.unwrap()
}

/// A connection that stays.
struct Connection {
    send: SendRequest<Full<Bytes>>,
    host: String,
}

impl Connection {
    async fn open(target: &str) -> Result<Self, String> {
        let stream = TcpStream::connect(target)
            .await
            .map_err(|it| it.to_string())?;
        stream.set_nodelay(true).map_err(|it| it.to_string())?;
        let (send, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|it| it.to_string())?;
        tokio::spawn(connection);
        Ok(Self {
            send,
            host: target.to_owned(),
        })
    }

    async fn ask(&mut self, body: Bytes) -> Result<Response<Incoming>, hyper::Error> {
        self.send.ready().await?;
        let request = Request::post("/v1/chat/completions")
            .header(HOST, self.host.as_str())
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .unwrap();
        self.send.send_request(request).await
    }

    /// A request and its whole answer; whether it was a good one.
    async fn round_trip(&mut self, body: Bytes) -> bool {
        match self.ask(body).await {
            Ok(response) => {
                let well = response.status().is_success();
                response.into_body().collect().await.is_ok() && well
            }
            Err(_) => false,
        }
    }
}

/// A small request.
pub(crate) fn small() -> String {
    format!(
        r#"{{"model":"{MODEL}","messages":[{{"role":"system","content":"You are terse."}},{{"role":"user","content":"What is two and two?"}}],"temperature":0.2,"max_tokens":16}}"#
    )
}

fn numbered(number: usize) -> Bytes {
    format!(
        r#"{{"model":"{MODEL}","user":"n{number}","messages":[{{"role":"user","content":"What is two and two?"}}],"max_tokens":16}}"#
    )
    .into()
}

async fn latency(targets: Vec<String>, rounds: usize, requests: usize) -> Vec<Vec<Latencies>> {
    let body = Bytes::from(small());
    let mut connections = Vec::new();
    for target in &targets {
        connections.push(Connection::open(target).await.unwrap());
    }
    let mut told = Vec::new();
    // The first round warms up.
    for round in 0..=rounds {
        let mut row = Vec::new();
        for connection in &mut connections {
            let mut took = Vec::with_capacity(requests);
            for _ in 0..requests {
                let began = Instant::now();
                assert!(connection.round_trip(body.clone()).await);
                took.push(began.elapsed().as_secs_f64() * 1e6);
            }
            row.push(Latencies {
                p50: percentile(&mut took, 50.0),
                p99: percentile(&mut took, 99.0),
            });
        }
        if round > 0 {
            told.push(row);
        }
    }
    told
}

async fn load(target: String, connections: usize, seconds: u64) -> Crowd {
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        let mut connection = Connection::open(&target).await.unwrap();
        tasks.spawn(async move {
            let body = Bytes::from(small());
            let mut crowd = Crowd::default();
            while Instant::now() < end {
                if connection.round_trip(body.clone()).await {
                    crowd.well += 1;
                } else {
                    crowd.failed += 1;
                    break;
                }
            }
            crowd
        });
    }
    let mut sum = Crowd::default();
    while let Some(one) = tasks.join_next().await {
        let one = one.unwrap();
        sum.well += one.well;
        sum.failed += one.failed;
    }
    sum
}

async fn stream_all(target: String, streams: usize, events: u32) -> Streamed {
    let mut tasks = JoinSet::new();
    for number in 0..streams {
        let mut connection = Connection::open(&target).await.unwrap();
        // Spread over the pace, so that they do not all speak at once.
        let wait = crate::engine::PACE * number as u32 / streams as u32;
        tasks.spawn(async move {
            tokio::time::sleep(wait).await;
            stream(&mut connection, events).await
        });
    }
    let (mut delays, mut sum) = (Vec::new(), Streamed::default());
    while let Some(one) = tasks.join_next().await {
        let (of, mut seen) = one.unwrap();
        delays.append(&mut seen);
        sum.events += of.events;
        sum.lost += of.lost;
        sum.reordered += of.reordered;
        sum.coalesced += of.coalesced;
        sum.broken += of.broken;
    }
    sum.p50 = percentile(&mut delays, 50.0);
    sum.p99 = percentile(&mut delays, 99.0);
    sum
}

async fn stream(connection: &mut Connection, events: u32) -> (Streamed, Vec<f64>) {
    let body = format!(
        r#"{{"model":"{MODEL}","messages":[{{"role":"user","content":"Count."}}],"stream":true,"max_tokens":{events}}}"#
    );
    let (mut sum, mut delays) = (Streamed::default(), Vec::with_capacity(events as usize));
    let mut next = 0_u64;
    let mut done = false;
    match connection.ask(body.into()).await {
        Ok(response) if response.status().is_success() => {
            let mut body = response.into_body();
            while let Some(Ok(frame)) = body.frame().await {
                let at = now();
                let Ok(chunk) = frame.into_data() else {
                    continue;
                };
                let text = String::from_utf8_lossy(&chunk);
                done |= text.contains("[DONE]");
                // Every second piece stands between two signs: a number and a time.
                for (nth, mark) in text.split('@').skip(1).step_by(2).enumerate() {
                    let (number, sent) = mark.split_once(' ').unwrap();
                    let (number, sent): (u64, u64) =
                        (number.parse().unwrap(), sent.parse().unwrap());
                    sum.reordered += u64::from(number < next);
                    sum.coalesced += u64::from(nth > 0);
                    sum.events += 1;
                    next = next.max(number + 1);
                    delays.push(at.saturating_sub(sent) as f64 / 1e3);
                }
            }
        }
        Ok(_) | Err(_) => {}
    }
    sum.lost = u64::from(events).saturating_sub(sum.events);
    sum.broken = u64::from(!done);
    (sum, delays)
}

async fn idle(target: String, connections: usize) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        let place = Arc::clone(&places).acquire_owned().await.unwrap();
        let target = target.clone();
        tasks.spawn(async move {
            let mut connection = Connection::open(&target).await.ok()?;
            let well = connection.round_trip(small().into()).await;
            drop(place);
            well.then_some(connection)
        });
    }
    let kept: Vec<Connection> = tasks.join_all().await.into_iter().flatten().collect();
    say(&Crowd {
        well: kept.len(),
        failed: connections - kept.len(),
    });
    told().await;
    drop(kept);
}

async fn hold(target: String, connections: usize) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        let place = Arc::clone(&places).acquire_owned().await.unwrap();
        let target = target.clone();
        tasks.spawn(async move {
            let connection = Connection::open(&target).await;
            drop(place);
            connection.unwrap()
        });
    }
    let opened = tasks.join_all().await;
    say(&Crowd {
        well: opened.len(),
        failed: 0,
    });
    told().await;
    let (tell, mut answers) = mpsc::unbounded_channel();
    for (number, mut connection) in opened.into_iter().enumerate() {
        let tell = tell.clone();
        tokio::spawn(async move {
            let well = connection.round_trip(numbered(number)).await;
            let _ = tell.send(well);
            // It stays open until the end of this process.
            std::future::pending::<()>().await;
            drop(connection);
        });
        // Each is on its way before the next: their order is the order of arrival.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut early = Crowd::default();
    while let Ok(well) = answers.try_recv() {
        early.well += usize::from(well);
        early.failed += usize::from(!well);
    }
    say(&early);
    told().await;
    let mut sum = Crowd::default();
    let end = tokio::time::Instant::now() + Duration::from_secs(30);
    while sum.well + sum.failed < connections {
        let Ok(Some(well)) = tokio::time::timeout_at(end, answers.recv()).await else {
            break;
        };
        sum.well += usize::from(well);
        sum.failed += usize::from(!well);
    }
    say(&sum);
    told().await;
}
