//! What a timeline shows, as spans of time from the moment the wake was asked for.

use chrono::{DateTime, TimeDelta, Utc};

use crate::fleet::backend::SelfHosted;
use crate::fleet::estimate::Estimate;
use crate::fleet::wake::{Wake, WakeRecord};
use crate::fleet::{Backend, Stage, State};

/// The stages of one wake on one axis.
#[derive(Debug)]
pub(super) struct Plan {
    /// What is shown.
    pub what: What,
    /// One a stage, in order.
    pub rows: Vec<Row>,
    /// The length of the axis: the cap, or the wake where that is longer.
    pub total: TimeDelta,
    /// From asked for to now, or to the end.
    pub elapsed: TimeDelta,
}

/// Which wake is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// The one under way.
    Running,
    /// The last one, that ended warm.
    Last,
    /// The last one, that failed.
    Failed,
    /// None has been seen: what is expected of the first.
    Expected,
}

/// One stage.
#[derive(Debug)]
pub(super) struct Row {
    /// Which.
    pub stage: Stage,
    /// When it began, or is expected to.
    pub from: TimeDelta,
    /// When it ended, or is expected to, or now.
    pub to: TimeDelta,
    /// When a running stage is expected to end.
    pub until: TimeDelta,
    /// How far it is.
    pub phase: Phase,
}

/// How far a stage is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Phase {
    /// Over.
    Done,
    /// Under way, with what the engine says in percent.
    Running(Option<f32>),
    /// Not begun.
    ToCome,
    /// What the wake ended in.
    Failed,
}

impl Plan {
    /// What to show of `backend` at `now`.
    pub(super) fn of(
        backend: &Backend,
        facts: &SelfHosted,
        estimate: Option<&Estimate>,
        now: DateTime<Utc>,
    ) -> Self {
        let (what, rows, elapsed) = match (&backend.state, backend.wakes.back()) {
            (State::Waking(wake), _) => (
                What::Running,
                running(wake, estimate, now),
                now - wake.since,
            ),
            (State::Failed(failure), last) if failure.stage.is_some() => {
                match last.filter(|wake| wake.failure.is_some()) {
                    Some(record) => (What::Failed, past(record), record.took()),
                    None => (
                        What::Failed,
                        expected(estimate, failure.stage),
                        TimeDelta::zero(),
                    ),
                }
            }
            (_, Some(record)) => {
                let what = if record.failure.is_some() {
                    What::Failed
                } else {
                    What::Last
                };
                (what, past(record), record.took())
            }
            (_, None) => (What::Expected, expected(estimate, None), TimeDelta::zero()),
        };
        let end = rows.iter().map(|row| row.until).max().unwrap_or_default();
        Self {
            what,
            total: facts.cap.max(elapsed).max(end).max(TimeDelta::seconds(1)),
            rows,
            elapsed,
        }
    }

    /// The row to keep in sight when there is no room for all.
    pub(super) fn current(&self) -> usize {
        self.rows
            .iter()
            .position(|row| matches!(row.phase, Phase::Running(_) | Phase::Failed))
            .unwrap_or(0)
    }
}

fn running(wake: &Wake, estimate: Option<&Estimate>, now: DateTime<Utc>) -> Vec<Row> {
    let mut rows: Vec<Row> = wake
        .stages
        .iter()
        .map(|span| {
            let from = span.began - wake.since;
            let to = from + span.lasted(now);
            let usual = estimate
                .and_then(|e| e.of(span.stage))
                .map(|(median, _)| median);
            let (phase, until) = match span.ended {
                Some(_) => (Phase::Done, to),
                None => (
                    Phase::Running(span.percent),
                    to.max(
                        by_percent(from, to, span.percent)
                            .unwrap_or(from + usual.unwrap_or_default()),
                    ),
                ),
            };
            Row {
                stage: span.stage,
                from,
                to,
                until,
                phase,
            }
        })
        .collect();
    let last = rows.last().map(|row| row.stage);
    let mut at = rows.last().map_or(now - wake.since, |row| row.until);
    for (stage, median, _) in estimate.iter().flat_map(|e| &e.stages) {
        if last.is_none_or(|last| *stage > last) {
            rows.push(Row {
                stage: *stage,
                from: at,
                to: at + *median,
                until: at + *median,
                phase: Phase::ToCome,
            });
            at += *median;
        }
    }
    rows
}

/// When a stage ends that went on as it has; `None` while the percentage says too little.
fn by_percent(from: TimeDelta, to: TimeDelta, percent: Option<f32>) -> Option<TimeDelta> {
    let percent = f64::from(percent.filter(|p| *p >= 5.0)?);
    let spent = (to - from).num_milliseconds() as f64;
    Some(from + TimeDelta::milliseconds((spent * 100.0 / percent) as i64))
}

fn past(record: &WakeRecord) -> Vec<Row> {
    let mut at = TimeDelta::zero();
    let last = record.stages.len().saturating_sub(1);
    record
        .stages
        .iter()
        .enumerate()
        .map(|(i, (stage, took))| {
            let from = at;
            at += *took;
            Row {
                stage: *stage,
                from,
                to: at,
                until: at,
                phase: if i == last && record.failure.is_some() {
                    Phase::Failed
                } else {
                    Phase::Done
                },
            }
        })
        .collect()
}

fn expected(estimate: Option<&Estimate>, failed: Option<Stage>) -> Vec<Row> {
    let mut at = TimeDelta::zero();
    estimate
        .iter()
        .flat_map(|e| &e.stages)
        .map(|(stage, median, _)| {
            let from = at;
            at += *median;
            Row {
                stage: *stage,
                from,
                to: at,
                until: at,
                phase: if failed == Some(*stage) {
                    Phase::Failed
                } else {
                    Phase::ToCome
                },
            }
        })
        .collect()
}
