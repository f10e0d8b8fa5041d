//! Clients, in a process of their own.

mod stay;
mod stream;

use std::io::{BufRead as _, Write as _};
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
use tokio::task::JoinSet;

use crate::peers::MODEL;
use crate::table::percentile;

pub(crate) use stay::Released;
pub(crate) use stream::Streamed;

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
    /// Numbered requests all at once, each on a connection of its own that is yet to be opened.
    Burst { target: String, connections: usize },
}

/// Latencies of one target in one round, µs.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Latencies {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
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
        } => say(&runtime.block_on(stream::all(target, streams, events))),
        Job::Idle {
            target,
            connections,
        } => runtime.block_on(stay::idle(target, connections)),
        Job::Hold {
            target,
            connections,
        } => runtime.block_on(stay::hold(target, connections)),
        Job::Burst {
            target,
            connections,
        } => runtime.block_on(stay::burst(target, connections)),
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
