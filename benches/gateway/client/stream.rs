//! Streams: each event is looked at as it comes.

use http_body_util::BodyExt as _;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::Connection;
use crate::engine::{PACE, now};
use crate::peers::MODEL;
use crate::table::percentile;

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

pub(super) async fn all(target: String, streams: usize, events: u32) -> Streamed {
    let mut tasks = JoinSet::new();
    for number in 0..streams {
        let mut connection = Connection::open(&target).await.unwrap();
        // Spread over the pace, so that they do not all speak at once.
        let wait = PACE * number as u32 / streams as u32;
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
