//! Connections that stay, and requests that are held.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::{Connection, Crowd, say, small, told};
use crate::engine::now;
use crate::peers::MODEL;

/// Connections that are opened at once.
const AT_ONCE: usize = 32;

/// What became of held requests.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Released {
    pub(crate) well: usize,
    pub(crate) failed: usize,
    /// When each was let go by the gateway, by its own account: nanoseconds since 1970, to the millisecond.
    pub(crate) let_go: Vec<u64>,
}

impl Connection {
    /// A request that is held for a while; how long, ms, by the account of who held it. `None` where it was not well answered.
    async fn held(&mut self, body: Bytes) -> Option<u64> {
        let response = self.ask(body).await.ok()?;
        let well = response.status().is_success();
        let held = response.headers().get("x-fleet-wake-ms");
        let held = held.and_then(|it| it.to_str().ok()?.parse().ok());
        response.into_body().collect().await.ok()?;
        well.then_some(held.unwrap_or(0))
    }
}

fn numbered(number: usize) -> Bytes {
    format!(
        r#"{{"model":"{MODEL}","user":"n{number}","messages":[{{"role":"user","content":"What is two and two?"}}],"max_tokens":16}}"#
    )
    .into()
}

pub(super) async fn idle(target: String, connections: usize) {
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

pub(super) async fn hold(target: String, connections: usize) {
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
            let sent = now();
            let held = connection.held(numbered(number)).await;
            let _ = tell.send(held.map(|held| sent + held * 1_000_000));
            // It stays open until the end of this process.
            std::future::pending::<()>().await;
            drop(connection);
        });
        // Each is on its way before the next: their order is the order of arrival.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut early = Released::default();
    while let Ok(answer) = answers.try_recv() {
        early.add(answer);
    }
    say(&early);
    told().await;
    let mut sum = Released::default();
    let end = tokio::time::Instant::now() + Duration::from_secs(30);
    while sum.well + sum.failed < connections {
        let Ok(Some(answer)) = tokio::time::timeout_at(end, answers.recv()).await else {
            break;
        };
        sum.add(answer);
    }
    say(&sum);
    told().await;
}

pub(super) async fn burst(target: String, connections: usize) {
    let began = now();
    let mut tasks = JoinSet::new();
    for number in 0..connections {
        let target = target.clone();
        tasks.spawn(async move {
            let mut connection = Connection::open(&target).await.ok()?;
            let well = connection.round_trip(numbered(number)).await;
            well.then_some(connection)
        });
    }
    let kept: Vec<Connection> = tasks.join_all().await.into_iter().flatten().collect();
    say(&Released {
        well: kept.len(),
        failed: connections - kept.len(),
        let_go: vec![began],
    });
    told().await;
}

impl Released {
    fn add(&mut self, answer: Option<u64>) {
        match answer {
            Some(at) => {
                self.well += 1;
                self.let_go.push(at);
            }
            None => self.failed += 1,
        }
    }
}
