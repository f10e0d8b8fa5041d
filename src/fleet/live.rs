//! What a backend is doing now: figures with the time they were read.

use std::collections::VecDeque;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::engine::EngineSample;

/// The window over which rates, shares and latencies are computed.
pub const WINDOW: TimeDelta = TimeDelta::minutes(5);
/// Points of GPU history that are kept.
pub const GPU_POINTS: usize = 60;

/// Figures of one backend. `None` is unknown and is drawn as `–`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Live {
    /// When the engine (or, for a hosted one, the gateway) last said anything.
    pub read_at: Option<DateTime<Utc>>,
    /// When a cluster first said what it is; what it is since then it may have been for longer.
    #[serde(default)]
    pub met_at: Option<DateTime<Utc>>,
    /// Why the last reading failed; `None` when it did not.
    pub error: Option<String>,
    /// Readings that failed in a row.
    pub misses: u8,
    /// When a request last began, ran or ended.
    pub active_at: Option<DateTime<Utc>>,
    /// When it ended while it served, newest last.
    #[serde(default)]
    pub crashes: Vec<DateTime<Utc>>,
    /// Since when it has had requests and produced nothing; `None` while it produces or has none.
    pub still_since: Option<DateTime<Utc>>,
    /// Requests a second over the window.
    pub requests_per_s: Option<f64>,
    /// Requests in the engine's batch; for a hosted one, in flight from here.
    pub running: Option<u32>,
    /// Requests waiting in the engine's queue.
    pub waiting: Option<u32>,
    /// Requests that this gateway has in flight to it.
    pub in_flight: u32,
    /// Requests held in the waiting room for it.
    pub held: u32,
    /// Median time to first token over the window, seconds.
    pub ttft_p50: Option<f64>,
    /// 95th percentile of the same.
    pub ttft_p95: Option<f64>,
    /// Output tokens a second over the last half minute.
    pub tokens_per_s: Option<f64>,
    /// KV-cache use, 0 to 1.
    pub kv: Option<f64>,
    /// Mean GPU utilisation, 0 to 1.
    pub gpu: Option<f64>,
    /// The same over time, oldest first, one point a reading, 0 to 100.
    pub gpu_history: Arc<VecDeque<u8>>,
    /// Its real share of the model's answered requests over the window, 0 to 1.
    pub share: Option<f64>,
    /// Best output tokens a second sustained over the window so far.
    pub best_tokens_per_s: Option<f64>,
    /// What is left of a hosted API's limits.
    pub headroom: Option<Headroom>,
    /// Engine pages of the window, oldest first, for rates and quantiles.
    pub pages: Arc<VecDeque<(DateTime<Utc>, Arc<EngineSample>)>>,
}

/// What a hosted API said of its limits with its newest answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Headroom {
    /// Requests, within the provider's own window.
    pub requests: Option<Left>,
    /// Tokens, within the provider's own window.
    pub tokens: Option<Left>,
    /// When it said so.
    pub at: DateTime<Utc>,
}

/// What is left of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// This much.
    pub left: u64,
    /// Of this much.
    pub limit: Option<u64>,
}

impl Live {
    /// How old the figures are at `now`; `None` before the first reading.
    pub fn age(&self, now: DateTime<Utc>) -> Option<TimeDelta> {
        self.read_at.map(|at| now - at)
    }
}
