//! Fleet time: wall time on a real fleet, wall time times a factor in the demo.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

/// Tells fleet time. Cheap to copy; every copy tells the same time.
///
/// Built on tokio's monotonic clock, so that a wall clock that jumps changes nothing and tests can pause it.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
    origin: DateTime<Utc>,
    speed: u32,
}

impl Clock {
    /// A clock that reads `origin` now and runs `speed` times as fast as the wall's (0 counts as 1).
    pub fn starting_at(origin: DateTime<Utc>, speed: u32) -> Self {
        Self {
            started: Instant::now(),
            origin,
            speed: speed.max(1),
        }
    }

    /// The time in the fleet.
    pub fn now(&self) -> DateTime<Utc> {
        self.origin + self.in_fleet(self.started.elapsed())
    }

    /// How many times faster than the wall's clock.
    pub fn speed(&self) -> u32 {
        self.speed
    }

    /// A span of wall time as fleet time.
    pub fn in_fleet(&self, wall: Duration) -> TimeDelta {
        TimeDelta::from_std(wall * self.speed).unwrap_or(TimeDelta::MAX)
    }

    /// A span of fleet time as wall time; zero for a negative one.
    pub fn on_wall(&self, fleet: TimeDelta) -> Duration {
        fleet.to_std().unwrap_or_default() / self.speed
    }
}
