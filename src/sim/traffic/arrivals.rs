//! When clients come: a seeded Poisson process whose rate moves. The same mix and seed give the same arrivals.

use std::f64::consts::{PI, TAU};

use chrono::TimeDelta;

use super::{Mix, Pattern};

/// One client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrival {
    /// Fleet time since the start.
    pub(super) after: TimeDelta,
    /// Decides what it asks for and how it behaves.
    pub(super) dice: u64,
}

/// Without end. Times are seconds of fleet time since the start.
pub(super) struct Arrivals {
    luck: fastrand::Rng,
    pattern: Pattern,
    per_second: f64,
    /// No rate is ever above this one.
    peak: f64,
    /// Where in the swell it starts, in radians.
    phase: f64,
    at: f64,
    window: Window,
    /// Apart, so that windows do not depend on how many clients came.
    windows: fastrand::Rng,
}

/// A burst, or a time of work.
#[derive(Clone, Copy, Debug)]
struct Window {
    from: f64,
    to: f64,
}

/// How far a length strays from what was asked for.
const STRAY: f64 = 0.05;

impl Arrivals {
    pub(super) fn of(mix: &Mix, seed: u64) -> Self {
        let mut luck = fastrand::Rng::with_seed(seed);
        let mut windows = luck.fork();
        // A rate of nothing would never yield, and never return.
        let per_second = (mix.per_minute / 60.0).max(1e-6);
        let phase = luck.f64() * TAU;
        let (peak, window) = match mix.pattern {
            Pattern::Swell {
                swing,
                burst,
                every,
                lasts,
                ..
            } => {
                let from = every.as_seconds_f64() * windows.f64();
                let to = from + stray(&mut windows, lasts);
                ((1.0 + swing) * burst.max(1.0), Window { from, to })
            }
            Pattern::Lulls { first, work, .. } => {
                let from = first.as_seconds_f64();
                let to = from + stray(&mut windows, work);
                (1.0, Window { from, to })
            }
        };
        Self {
            luck,
            pattern: mix.pattern,
            per_second,
            peak: peak * per_second,
            phase,
            at: 0.0,
            window,
            windows,
        }
    }

    /// The rate at `self.at`, which only moves on.
    fn rate(&mut self) -> f64 {
        let at = self.at;
        let (gap, length) = match self.pattern {
            Pattern::Swell { every, lasts, .. } => (every, lasts),
            Pattern::Lulls { work, lull, .. } => (lull, work),
        };
        while at >= self.window.to {
            let from = self.window.to + stray(&mut self.windows, gap).max(1.0);
            let to = from + stray(&mut self.windows, length).max(1.0);
            self.window = Window { from, to };
        }
        let Window { from, to } = self.window;
        let inside = at >= from;
        self.per_second
            * match self.pattern {
                Pattern::Swell {
                    swing,
                    period,
                    burst,
                    ..
                } => {
                    let turn = TAU * at / period.as_seconds_f64().max(1.0);
                    let swell = 1.0 + swing * (turn + self.phase).sin();
                    let rise = if inside {
                        (PI * (at - from) / (to - from)).sin().powi(2)
                    } else {
                        0.0
                    };
                    swell * (1.0 + (burst - 1.0).max(0.0) * rise)
                }
                Pattern::Lulls { .. } => f64::from(u8::from(inside)),
            }
    }
}

impl Iterator for Arrivals {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        // Thinning: candidates at the peak rate, each kept with the share that the rate has of the peak.
        loop {
            self.at += -(1.0 - self.luck.f64()).ln() / self.peak;
            let kept = self.luck.f64() * self.peak < self.rate();
            if kept {
                return Some(Arrival {
                    after: TimeDelta::microseconds((self.at * 1e6) as i64),
                    dice: self.luck.u64(..),
                });
            }
        }
    }
}

fn stray(luck: &mut fastrand::Rng, about: TimeDelta) -> f64 {
    about.as_seconds_f64() * (1.0 + STRAY * (2.0 * luck.f64() - 1.0))
}
