//! The fleet over time, for the charts.

use std::collections::VecDeque;
use std::sync::Arc;

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
    /// Burn at its end, dollars an hour by backend, for drawing; only those above zero. Points share it while it is the same.
    pub burn: Burn,
}

/// Dollars an hour by backend.
pub type Burn = Arc<[(BackendId, f64)]>;

/// Points, oldest first; the last one is still being written.
pub type History = VecDeque<Arc<Point>>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::Fleet;

    #[test]
    fn a_point_is_written_only_where_something_changed() {
        let start = DateTime::UNIX_EPOCH;
        let second = TimeDelta::seconds(1);
        let mut fleet = Fleet::new("quiet", start);
        fleet.tick(start);
        let first = Arc::clone(&fleet.history);
        fleet.tick(start + second);
        assert!(Arc::ptr_eq(&first, &fleet.history));
        fleet.tick(start + STEP);
        assert_eq!(fleet.history.len(), 2);
        // What stood before is shared with whoever has the picture before.
        assert!(Arc::ptr_eq(&first[0], &fleet.history[0]));
        assert!(Arc::ptr_eq(&first[0].burn, &fleet.history[1].burn));
    }

    #[test]
    fn points_are_told_as_they_were() {
        let point = Arc::new(Point {
            burn: Arc::new([("a".into(), 1.5)]),
            ..Point::default()
        });
        let told = serde_json::to_value(&point).unwrap();
        assert_eq!(told["burn"], serde_json::json!([["a", 1.5]]));
        let read: Arc<Point> = serde_json::from_value(told).unwrap();
        assert_eq!(read, point);
    }
}
