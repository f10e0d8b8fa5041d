//! The wake machine: how a backend's state changes, one headed arm per transition.
//!
//! ```text
//!  unknown ──▶ asleep ──Wake──▶ waking ──healthy──▶ warm ──Drain──▶ draining ──idle twice, or grace over──▶ stopping ──▶ asleep
//!                                 │ exited, cap                │ exited                                        │ could not
//!                                 ▼                            ▼                                               ▼
//!                               failed ◀───────────────────────┘                                              warm
//! ```
//!
//! Hosted backends know `ready`, `limited` and `down` only.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::backend::{Backend, SleepWay, WAKES_KEPT};
use super::cluster::mark::Mark;
use super::id::BackendId;
use super::message::{Action, StageMark};
use super::wake::{Drain, Failure, Stage, StageSpan, State, Wake, WakeRecord};

/// Readings in a row that must fail before a warm engine counts as gone: one may be lost to load.
const MISSES: u8 = 3;
/// Idle readings in a row that end a drain's waiting.
const IDLE_READS: u8 = 2;

/// Who wakes what was found on its way.
const FOUND: &str = "found running";

/// What can happen to a backend's state.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// Somebody wants it warm.
    Wake {
        /// Who.
        by: String,
    },
    /// Somebody wants it out of traffic and asleep.
    Drain {
        /// Who.
        by: String,
    },
    /// Somebody wants a drain that still waits to be called off.
    Undrain,
    /// It answers and does not sleep.
    Healthy,
    /// It does not answer. `absent`: and is known not to run.
    Silent {
        /// It is known not to run.
        absent: bool,
        /// Why, in plain words.
        reason: String,
    },
    /// It says that it sleeps.
    Sleeps,
    /// Its process is there.
    Runs,
    /// Its log moved on.
    Mark(StageMark),
    /// A reading while draining: nothing runs or waits, or something does.
    Load {
        /// Nothing runs or waits.
        idle: bool,
    },
    /// Its process ended.
    Exited {
        /// Why, in plain words.
        reason: String,
    },
    /// An action was carried out, or was not.
    Started(Result<(), String>),
    /// See `Started`.
    Stopped(Result<(), String>),
    /// Hosted: wait until then.
    Limited {
        /// Until when.
        until: DateTime<Utc>,
    },
    /// Time passes.
    Tick,
}

/// Something worth a line in the audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// `warm`, `late`, `failed`, `asleep`, …
    pub verb: &'static str,
    /// In words.
    pub said: String,
    /// Bad news.
    pub bad: bool,
}

/// What a step asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// To be performed.
    pub actions: Vec<Action>,
    /// For the audit.
    pub notes: Vec<Note>,
}

impl Outcome {
    fn act(action: Action) -> Self {
        Self {
            actions: vec![action],
            notes: Vec::new(),
        }
    }

    fn note(verb: &'static str, said: String, bad: bool) -> Self {
        Self {
            actions: Vec::new(),
            notes: vec![Note { verb, said, bad }],
        }
    }
}

/// Moves `backend` on by one input. The caller has accrued its cost up to `now` before.
#[expect(
    clippy::too_many_lines,
    reason = "every transition in one exhaustive match"
)]
pub fn step(backend: &mut Backend, input: Input, now: DateTime<Utc>) -> Outcome {
    if backend.is_hosted() {
        return step_hosted(backend, input, now);
    }
    if backend.place.is_some() && !is_told_by_pods(&input) {
        return step_placed(backend, &input, now);
    }
    let id = backend.id.clone();
    let sleep_way = backend.sleep_way();
    match (&mut backend.state, input) {
        // ## asleep, failed => waking
        (State::Asleep { .. } | State::Failed(_) | State::Unknown { .. }, Input::Wake { by }) => {
            let queued = StageSpan {
                stage: Stage::Queued,
                began: now,
                ended: None,
                percent: None,
            };
            backend.state = State::Waking(Wake {
                since: now,
                by,
                stages: vec![queued],
                late: false,
                begun: true,
                hot: None,
            });
            backend.live.misses = 0;
            Outcome::act(Action::Start { backend: id })
        }
        // ## draining => warm: wanted again before the engine was told to sleep
        (State::Draining(drain), Input::Wake { .. } | Input::Undrain) if !drain.stopping => {
            backend.state = State::Warm { since: now };
            backend.live.active_at = Some(now);
            Outcome::note(
                "undrain",
                "warm again; the drain was called off".into(),
                false,
            )
        }

        // ## unknown, asleep, failed => waking: its process was found; whoever started it, it is on its way
        (State::Unknown { .. } | State::Asleep { .. } | State::Failed(_), Input::Runs) => {
            let start = StageSpan {
                stage: Stage::Start,
                began: now,
                ended: None,
                percent: None,
            };
            backend.state = State::Waking(Wake {
                since: now,
                by: FOUND.to_owned(),
                stages: vec![start],
                late: false,
                begun: true,
                hot: None,
            });
            backend.live.misses = 0;
            Outcome::note("waking", "its process was found running".into(), false)
        }

        // ## waking => warm
        (State::Waking(wake), Input::Healthy) => {
            let record = finish(wake, now, None);
            let said = format!("warm after {}", span(record.took()));
            // How long one took that was found on its way is not known.
            if record.by != FOUND {
                remember(backend, record);
            }
            backend.state = State::Warm { since: now };
            backend.live.misses = 0;
            backend.live.active_at = None;
            Outcome::note("warm", said, false)
        }
        // ## unknown, asleep, failed => warm: somebody else started it
        (State::Unknown { .. }, Input::Healthy) => {
            backend.state = State::Warm { since: now };
            Outcome::default()
        }
        (State::Asleep { .. } | State::Failed(_), Input::Healthy) => {
            backend.state = State::Warm { since: now };
            Outcome::note(
                "warm",
                "answers; nobody here asked for it just now".into(),
                false,
            )
        }
        (State::Warm { .. } | State::Draining(_), Input::Healthy) => {
            backend.live.misses = 0;
            Outcome::default()
        }

        // ## waking: the stages move on, never back
        (State::Waking(wake), Input::Mark(mark)) => {
            // One graph that had to be compiled makes a cold start, whatever else was there.
            wake.hot = match (wake.hot, mark.hot) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (known, said) => said.or(known),
            };
            advance(wake, mark, now);
            Outcome::default()
        }
        (State::Waking(wake), Input::Tick) => {
            let elapsed = now - wake.since;
            let Some((budget, cap)) = backend.kind_limits() else {
                return Outcome::default();
            };
            let State::Waking(wake) = &mut backend.state else {
                return Outcome::default();
            };
            if elapsed >= cap && !wake.begun {
                let why = format!(
                    "no room came in its group within its hard cap of {}",
                    span(cap)
                );
                return fail(backend, why, false, now);
            }
            if elapsed >= cap {
                // The engine may be at 95 %: it is left running, and still answers to `Healthy` afterwards.
                return fail(
                    backend,
                    format!("passed its hard cap of {}", span(cap)),
                    true,
                    now,
                );
            }
            if elapsed >= budget && !wake.late {
                wake.late = true;
                let stage = wake.current().map_or("queued", |s| s.stage.word());
                return Outcome::note(
                    "late",
                    format!("over its budget of {} in {stage}", span(budget)),
                    true,
                );
            }
            Outcome::default()
        }
        // ## waking => stopping: the wake is called off
        (State::Waking(wake), Input::Drain { by }) => {
            let record = finish(wake, now, Some(format!("called off by {by}")));
            remember(backend, record);
            backend.state = State::Draining(Drain {
                since: now,
                by,
                deadline: now,
                idle_reads: 0,
                stopping: true,
                was_warm: false,
            });
            Outcome::act(Action::Stop { backend: id })
        }

        // ## warm => draining
        (State::Warm { .. }, Input::Drain { by }) => {
            let grace = backend
                .self_hosted()
                .map_or(TimeDelta::zero(), |facts| facts.grace);
            backend.state = State::Draining(Drain {
                since: now,
                by,
                deadline: now + grace,
                idle_reads: 0,
                stopping: false,
                was_warm: true,
            });
            Outcome::default()
        }
        // ## failed => stopping: release what a failed wake left allocated
        (State::Failed(failure), Input::Drain { by })
            if failure.allocated && sleep_way != SleepWay::Never =>
        {
            backend.state = State::Draining(Drain {
                since: now,
                by,
                deadline: now,
                idle_reads: 0,
                stopping: true,
                was_warm: false,
            });
            Outcome::act(Action::Stop { backend: id })
        }
        // ## draining => stopping
        (State::Draining(drain), Input::Load { idle }) if !drain.stopping => {
            drain.idle_reads = if idle { drain.idle_reads + 1 } else { 0 };
            if drain.idle_reads >= IDLE_READS {
                stop(backend, id, now)
            } else {
                Outcome::default()
            }
        }
        (State::Draining(drain), Input::Tick) if !drain.stopping && now >= drain.deadline => {
            stop(backend, id, now)
        }
        // ## stopping => asleep
        (State::Draining(drain), Input::Stopped(Ok(())) | Input::Exited { .. } | Input::Sleeps)
            if drain.stopping =>
        {
            let by = std::mem::take(&mut drain.by);
            backend.state = State::Asleep { since: now };
            quiet(backend, now);
            Outcome::note(
                "asleep",
                format!(
                    "asleep, {} (asked for by {by})",
                    if backend.allocated() > 0 {
                        "GPU memory freed, machine still billed"
                    } else {
                        "machine released"
                    }
                ),
                false,
            )
        }
        // ## stopping => warm: it could not be put to sleep, so it goes on serving; failed where it never served
        (State::Draining(drain), Input::Stopped(Err(reason))) if drain.stopping => {
            if !drain.was_warm {
                return fail(
                    backend,
                    format!("could not be released: {reason}"),
                    true,
                    now,
                );
            }
            backend.state = State::Warm { since: now };
            backend.live.active_at = Some(now);
            Outcome::note(
                "failed",
                format!("could not be put to sleep: {reason}"),
                true,
            )
        }

        // ## waking, warm, draining => failed
        (State::Waking(_) | State::Warm { .. } | State::Draining(_), Input::Exited { reason })
        | (State::Waking(_), Input::Started(Err(reason))) => {
            if !matches!(backend.state, State::Waking(_)) {
                backend.crashed(now);
            }
            // Only a released machine stops costing with its engine.
            let allocated = backend.sleep_way().bills_asleep();
            fail(backend, reason, allocated, now)
        }
        (State::Warm { .. } | State::Draining(_), Input::Silent { absent, reason }) => {
            backend.live.misses = backend.live.misses.saturating_add(1);
            let stopping = matches!(&backend.state, State::Draining(drain) if drain.stopping);
            if stopping || (backend.live.misses < MISSES && !absent) {
                return Outcome::default();
            }
            fail(backend, reason, !absent, now)
        }
        // ## warm => asleep: somebody else put it to sleep
        (State::Warm { .. } | State::Unknown { .. }, Input::Sleeps) => {
            let known = !matches!(backend.state, State::Unknown { .. });
            backend.state = State::Asleep { since: now };
            quiet(backend, now);
            if known {
                Outcome::note("asleep", "put to sleep, not from here".into(), false)
            } else {
                Outcome::default()
            }
        }
        // ## unknown => asleep where it can be started, failed where it should be running
        (State::Unknown { .. }, Input::Silent { absent, reason }) => {
            let startable = backend.self_hosted().is_some_and(|facts| facts.startable);
            if absent || startable {
                backend.state = State::Asleep { since: now };
                return Outcome::default();
            }
            fail(backend, reason, true, now)
        }

        // Nothing changes.
        (
            State::Asleep { .. },
            Input::Silent { .. } | Input::Sleeps | Input::Exited { .. } | Input::Drain { .. },
        )
        | (
            State::Failed(_),
            Input::Silent { .. } | Input::Sleeps | Input::Exited { .. } | Input::Drain { .. },
        )
        | (State::Waking(_), Input::Silent { .. } | Input::Sleeps | Input::Wake { .. })
        | (State::Warm { .. }, Input::Wake { .. })
        | (State::Draining(_), Input::Wake { .. } | Input::Drain { .. } | Input::Sleeps)
        | (State::Unknown { .. }, Input::Drain { .. } | Input::Exited { .. })
        | (
            State::Unknown { .. }
            | State::Asleep { .. }
            | State::Waking(_)
            | State::Warm { .. }
            | State::Draining(_)
            | State::Failed(_),
            Input::Mark(_)
            | Input::Load { .. }
            | Input::Started(_)
            | Input::Stopped(_)
            | Input::Undrain
            | Input::Limited { .. }
            | Input::Runs
            | Input::Tick,
        )
        | (State::Ready { .. } | State::Limited { .. } | State::Down { .. }, _) => {
            Outcome::default()
        }
    }
}

/// What pods of a cluster say is taken like what an engine of ours says.
fn is_told_by_pods(input: &Input) -> bool {
    matches!(input, Input::Healthy | Input::Mark(_))
}

/// The same for a backend on a cluster, where the cluster decides (see `cluster::follow`): only time passes here.
fn step_placed(backend: &mut Backend, input: &Input, now: DateTime<Utc>) -> Outcome {
    let Some((budget, _)) = backend.kind_limits() else {
        return Outcome::default();
    };
    match (&mut backend.state, input) {
        (State::Waking(wake), Input::Tick) if now - wake.since >= budget && !wake.late => {
            wake.late = true;
            let stage = wake.current().map_or("queued", |s| s.stage.word());
            let said = format!("over its budget of {} in {stage}", span(budget));
            Outcome::note("late", said, true)
        }
        // ## draining: how often in a row nothing ran; an operation waits for it
        (State::Draining(drain), Input::Load { idle }) if !drain.stopping => {
            drain.idle_reads = if *idle {
                drain.idle_reads.saturating_add(1)
            } else {
                0
            };
            Outcome::default()
        }
        // Between two readings that said idle somebody said nothing: it may have been busy.
        (State::Draining(drain), Input::Silent { .. }) => {
            drain.idle_reads = 0;
            Outcome::default()
        }
        _ => Outcome::default(),
    }
}

/// The same for a hosted backend.
fn step_hosted(backend: &mut Backend, input: Input, now: DateTime<Utc>) -> Outcome {
    match (&backend.state, input) {
        // ## any => limited
        (_, Input::Limited { until }) => {
            let known = matches!(backend.state, State::Limited { .. });
            let since = if known { backend.state.since() } else { now };
            backend.state = State::Limited { since, until };
            if known {
                Outcome::default()
            } else {
                Outcome::note(
                    "limited",
                    format!("429: may be asked again in {}", span(until - now)),
                    true,
                )
            }
        }
        // ## limited => ready
        (State::Limited { until, .. }, Input::Tick) if now >= *until => {
            backend.state = State::Ready { since: now };
            Outcome::note("ready", "the rate limit is over".into(), false)
        }
        // ## unknown, down => ready
        (State::Unknown { .. }, Input::Healthy) => {
            backend.state = State::Ready { since: now };
            Outcome::default()
        }
        (State::Down { .. }, Input::Healthy) => {
            backend.state = State::Ready { since: now };
            Outcome::note("ready", "answers again".into(), false)
        }
        // ## unknown, ready => down
        (State::Unknown { .. } | State::Ready { .. }, Input::Silent { reason, .. }) => {
            backend.live.misses = backend.live.misses.saturating_add(1);
            if backend.live.misses < MISSES && matches!(backend.state, State::Ready { .. }) {
                return Outcome::default();
            }
            backend.state = State::Down {
                since: now,
                reason: reason.clone(),
            };
            Outcome::note("down", reason, true)
        }
        (_, Input::Healthy) => {
            backend.live.misses = 0;
            Outcome::default()
        }
        _ => Outcome::default(),
    }
}

impl Backend {
    /// Its engines said last that they sleep.
    pub fn naps(&self) -> bool {
        let said = self.sample.as_ref().and_then(|it| it.asleep);
        said == Some(true)
    }

    /// The operation that was begun on its cluster and not ended, and not from here.
    pub fn unfinished(&self) -> Option<&Mark> {
        let mark = self.place.as_ref()?.mark.as_ref();
        mark.filter(|it| self.doing.is_none() && it.is_open())
    }

    /// An operation of that name was begun on its cluster and not ended, and not from here.
    pub fn is_left(&self, verb: &str) -> bool {
        self.unfinished().is_some_and(|it| it.op == verb)
    }

    /// KEDA is told to keep it up, whatever its triggers say.
    pub fn is_forced_up(&self) -> bool {
        self.place.as_ref().is_some_and(|it| it.is_forced_up())
    }

    /// The stage of its wake, while it wakes.
    pub fn stage(&self) -> Option<&StageSpan> {
        match &self.state {
            State::Waking(wake) => wake.current(),
            _ => None,
        }
    }

    /// How it sleeps.
    pub fn sleep_way(&self) -> SleepWay {
        self.self_hosted()
            .map_or(SleepWay::Never, |facts| facts.sleep)
    }

    fn kind_limits(&self) -> Option<(TimeDelta, TimeDelta)> {
        self.self_hosted().map(|facts| (facts.budget, facts.cap))
    }
}

/// ## draining => stopping, or out of service where fleetctl cannot put it to sleep
fn stop(backend: &mut Backend, id: BackendId, now: DateTime<Utc>) -> Outcome {
    if backend.sleep_way() == SleepWay::Never {
        backend.state = State::Warm { since: now };
        return Outcome::note(
            "drained",
            "out of service; nothing here can put its engine to sleep".into(),
            false,
        );
    }
    if let State::Draining(drain) = &mut backend.state {
        drain.stopping = true;
    }
    Outcome::act(Action::Stop { backend: id })
}

pub(super) fn fail(
    backend: &mut Backend,
    reason: String,
    allocated: bool,
    now: DateTime<Utc>,
) -> Outcome {
    let stage = match &mut backend.state {
        State::Waking(wake) => {
            let stage = wake.current().map(|s| s.stage);
            let record = finish(wake, now, Some(reason.clone()));
            remember(backend, record);
            stage
        }
        State::Unknown { .. }
        | State::Asleep { .. }
        | State::Warm { .. }
        | State::Draining(_)
        | State::Failed(_)
        | State::Ready { .. }
        | State::Limited { .. }
        | State::Down { .. } => None,
    };
    let said = stage.map_or_else(
        || reason.clone(),
        |stage| format!("in {}: {reason}", stage.word()),
    );
    backend.state = State::Failed(Failure {
        since: now,
        reason,
        stage,
        allocated,
    });
    quiet(backend, now);
    Outcome::note("failed", said, true)
}

/// The wake under way is over, and was called off.
pub(super) fn end_wake(backend: &mut Backend, why: &str, now: DateTime<Utc>) {
    if let State::Waking(wake) = &backend.state {
        let record = finish(wake, now, Some(why.to_owned()));
        remember(backend, record);
    }
    quiet(backend, now);
}

/// Figures of an engine that no longer runs are no figures.
pub(super) fn quiet(backend: &mut Backend, now: DateTime<Utc>) {
    let live = &mut backend.live;
    live.read_at = Some(now);
    (
        live.running,
        live.waiting,
        live.kv,
        live.tokens_per_s,
        live.ttft_p50,
        live.ttft_p95,
        live.gpu,
    ) = (None, None, None, None, None, None, None);
    live.still_since = None;
    live.pages = Arc::default();
    live.misses = 0;
    backend.sample = None;
}

/// A mark for an earlier stage than the running one is an old line: logs of several processes are not ordered.
fn advance(wake: &mut Wake, mark: StageMark, now: DateTime<Utc>) {
    let Some(current) = wake.stages.last_mut() else {
        return;
    };
    if mark.stage == current.stage {
        if let Some(percent) = mark.percent {
            current.percent = Some(
                current
                    .percent
                    .map_or(percent, |before| before.max(percent)),
            );
        }
    } else if mark.stage > current.stage {
        current.ended = Some(now);
        wake.stages.push(StageSpan {
            stage: mark.stage,
            began: now,
            ended: None,
            percent: mark.percent,
        });
    }
}

fn finish(wake: &Wake, now: DateTime<Utc>, failure: Option<String>) -> WakeRecord {
    WakeRecord {
        since: wake.since,
        ended: now,
        by: wake.by.clone(),
        hot: wake.hot,
        stages: wake
            .stages
            .iter()
            .map(|s| (s.stage, s.lasted(now)))
            .collect(),
        failure,
    }
}

fn remember(backend: &mut Backend, record: WakeRecord) {
    if backend.wakes.len() == WAKES_KEPT {
        backend.wakes.pop_front();
    }
    backend.wakes.push_back(Arc::new(record));
}

/// `m:ss`, for sentences.
pub(super) fn span(t: TimeDelta) -> String {
    let s = t.num_seconds().max(0);
    format!("{}:{:02}", s / 60, s % 60)
}
