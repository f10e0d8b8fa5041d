//! Whether the API server still answers. A watch on which nothing happens is silent for minutes; a server that hangs is, too.

use std::time::Duration;

use chrono::Utc;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::cluster::{Api, Fault};
use crate::fleet::cluster::PartState;

/// Between two askings: little, whatever the size of the cluster.
const EVERY: Duration = Duration::from_secs(10);
/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(5);

/// Asks for its version, which costs nothing and which everybody may, and tells since when there is no answer.
pub(super) async fn feel(api: Api, tell: watch::Sender<Option<PartState>>) {
    let mut heard = Utc::now();
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.reset();
    loop {
        ticks.tick().await;
        let answer = api.text("/version", LIMIT).await;
        let state = if let Err(fault @ Fault::Away(_)) = answer {
            Some(PartState::Stale {
                since: heard,
                why: fault.to_string(),
            })
        } else {
            // Whatever else it says, it is there; what it does not do the watches tell.
            heard = Utc::now();
            None
        };
        tell.send_if_modified(|now| {
            let changed = *now != state;
            *now = state;
            changed
        });
    }
}
