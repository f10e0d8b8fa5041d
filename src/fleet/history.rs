//! The fleet over time, for the charts.

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::id::BackendId;

/// One point of the charts covers this much fleet time.
pub const STEP: TimeDelta = TimeDelta::seconds(15);
/// Points kept: two hours.
pub const POINTS: usize = 480;

/// One point of the charts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Its first second.
    pub start: DateTime<Utc>,
    /// Requests answered by self-hosted backends within it.
    pub to_self: u32,
    /// Requests answered by hosted backends within it.
    pub to_hosted: u32,
    /// The most requests held at once within it.
    pub held: u32,
    /// Requests that ended in an error within it.
    pub errors: u32,
    /// Burn at its end, dollars an hour by backend, for drawing; only those above zero.
    pub burn: Vec<(BackendId, f64)>,
}

/// Points, oldest first; the last one is still being written.
pub type History = VecDeque<Point>;
