//! How long a wake will take, learned from this backend's own past wakes.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::backend::Backend;
use super::wake::{Stage, State, Wake};

/// A percentage below this says too little to extrapolate from.
const FIRST_USEFUL_PERCENT: f32 = 5.0;

/// What is expected of a wake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Estimate {
    /// Each stage that this backend goes through, in order: median and 95th percentile.
    pub stages: Vec<(Stage, TimeDelta, TimeDelta)>,
    /// What is left of the running wake, or the whole of the next one: median.
    pub left_median: TimeDelta,
    /// The same at the 95th percentile.
    pub left_p95: TimeDelta,
    /// Past wakes it was learned from; 0: only from the config.
    pub learned_from: usize,
    /// Whether these had what is compiled from an earlier start; `None` where that is not known, or all are taken alike.
    pub hot: Option<bool>,
}

impl Estimate {
    /// The whole wake, median.
    pub fn whole(&self) -> TimeDelta {
        self.stages.iter().map(|(_, median, _)| *median).sum()
    }

    /// Median and 95th percentile of one stage.
    pub fn of(&self, stage: Stage) -> Option<(TimeDelta, TimeDelta)> {
        self.stages
            .iter()
            .find(|(s, ..)| *s == stage)
            .map(|(_, median, p95)| (*median, *p95))
    }
}

impl Backend {
    /// What is expected of its running wake, or of the next one; `None` where nothing is known.
    pub fn estimate(&self, now: DateTime<Utc>) -> Option<Estimate> {
        let mut done: Vec<_> = self.wakes.iter().filter(|w| w.failure.is_none()).collect();
        // A start that must compile takes minutes longer than one that finds it all: like is learned from like. The next
        // one finds what the last one left.
        let wanted = match &self.state {
            State::Waking(Wake { hot: Some(hot), .. }) => Some(*hot),
            _ => done.last().and_then(|wake| wake.hot).map(|_| true),
        };
        let hot = wanted.filter(|_| done.iter().any(|wake| wake.hot == wanted));
        if hot.is_some() {
            done.retain(|wake| wake.hot == hot);
        }
        let stages: Vec<_> = if done.is_empty() {
            self.self_hosted()?
                .expected
                .iter()
                .map(|(stage, span)| (*stage, *span, *span))
                .collect()
        } else {
            Stage::ALL
                .into_iter()
                .filter_map(|stage| {
                    let mut spans: Vec<_> = done
                        .iter()
                        .filter_map(|w| {
                            w.stages
                                .iter()
                                .find(|(s, _)| *s == stage)
                                .map(|(_, span)| *span)
                        })
                        .collect();
                    spans.sort_unstable();
                    Some((stage, rank(&spans, 50)?, rank(&spans, 95)?))
                })
                .collect()
        };
        if stages.is_empty() {
            return None;
        }
        let (left_median, left_p95) = match &self.state {
            State::Waking(wake) => left(wake, &stages, now),
            _ => (
                stages.iter().map(|s| s.1).sum(),
                stages.iter().map(|s| s.2).sum(),
            ),
        };
        Some(Estimate {
            stages,
            left_median,
            left_p95,
            learned_from: done.len(),
            hot,
        })
    }
}

/// The value at `percent` of sorted `spans`, by nearest rank.
fn rank(spans: &[TimeDelta], percent: usize) -> Option<TimeDelta> {
    let at = (spans.len() * percent).div_ceil(100).max(1) - 1;
    spans.get(at).copied()
}

/// What is left of `wake`: the rest of its running stage, by its own percentage where it tells one, and all that follow.
fn left(
    wake: &Wake,
    stages: &[(Stage, TimeDelta, TimeDelta)],
    now: DateTime<Utc>,
) -> (TimeDelta, TimeDelta) {
    let Some(current) = wake.current() else {
        return (TimeDelta::zero(), TimeDelta::zero());
    };
    let spent = current.lasted(now);
    let by_percent = current
        .percent
        .filter(|p| *p >= FIRST_USEFUL_PERCENT)
        .map(|p| {
            TimeDelta::milliseconds(
                (spent.num_milliseconds() as f64 * f64::from((100.0 - p) / p)) as i64,
            )
        });
    let mut sums = (TimeDelta::zero(), TimeDelta::zero());
    for (stage, median, p95) in stages {
        if *stage == current.stage {
            let rest = |span: TimeDelta| (span - spent).max(TimeDelta::zero());
            sums.0 += by_percent.unwrap_or_else(|| rest(*median));
            sums.1 += by_percent.unwrap_or_default().max(rest(*p95));
        } else if *stage > current.stage {
            sums.0 += *median;
            sums.1 += *p95;
        }
    }
    sums
}
