//! The life of a backend: its state, the stages of a wake, and what ended one.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// Where a backend is in its life.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum State {
    /// Nothing has been heard of it yet.
    Unknown {
        /// Since when nothing is known.
        since: DateTime<Utc>,
    },
    /// Self-hosted, and not running or put to sleep.
    Asleep {
        /// Since when.
        since: DateTime<Utc>,
    },
    /// Self-hosted, on its way to warm.
    Waking(Wake),
    /// Self-hosted and answering.
    Warm {
        /// Since when: the end of the load.
        since: DateTime<Utc>,
    },
    /// Takes nothing new; finishes what runs, then sleeps.
    Draining(Drain),
    /// A wake or a warm engine ended badly.
    Failed(Failure),
    /// Hosted and answering.
    Ready {
        /// Since when.
        since: DateTime<Utc>,
    },
    /// Hosted, and told us to wait (429).
    Limited {
        /// Since when.
        since: DateTime<Utc>,
        /// When it may be asked again.
        until: DateTime<Utc>,
    },
    /// Hosted, and not answering.
    Down {
        /// Since when.
        since: DateTime<Utc>,
        /// What it said.
        reason: String,
    },
}

/// The stages of a wake, in order; each happens only where it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Asked for, not yet begun.
    Queued,
    /// A machine is being found.
    Node,
    /// The image is pulled.
    Image,
    /// The container or process starts.
    Start,
    /// Weights are read.
    Load,
    /// Kernels are compiled, memory is profiled.
    Compile,
    /// CUDA graphs are captured.
    Capture,
    /// The server comes up and answers its health check.
    Health,
}

impl Stage {
    /// Every stage, in order.
    pub const ALL: [Self; 8] = [
        Self::Queued,
        Self::Node,
        Self::Image,
        Self::Start,
        Self::Load,
        Self::Compile,
        Self::Capture,
        Self::Health,
    ];

    /// The word for it, the same everywhere.
    pub fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Node => "node",
            Self::Image => "image",
            Self::Start => "start",
            Self::Load => "load",
            Self::Compile => "compile",
            Self::Capture => "capture",
            Self::Health => "health",
        }
    }
}

/// A wake under way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Wake {
    /// When it was asked for; the machine is paid for from here on.
    pub since: DateTime<Utc>,
    /// Who asked: an operator's name, `request` or `pin`.
    pub by: String,
    /// The stages so far, in order; the last one is running.
    pub stages: Vec<StageSpan>,
    /// Whether what is compiled was there from an earlier start, as far as the engine has said.
    #[serde(default)]
    pub hot: Option<bool>,
    /// Past the budget; said once in the audit, shown all the while.
    pub late: bool,
    /// Its start was asked for; until then it waits for room in its group.
    #[serde(default = "yes")]
    pub begun: bool,
}

/// One stage of one wake.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageSpan {
    /// Which.
    pub stage: Stage,
    /// When it began.
    pub began: DateTime<Utc>,
    /// When it ended; `None` while it runs.
    pub ended: Option<DateTime<Utc>>,
    /// 0 to 100, where the engine says so.
    pub percent: Option<f32>,
}

/// A drain under way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drain {
    /// When it was asked for.
    pub since: DateTime<Utc>,
    /// Who asked: an operator's name or `idle`.
    pub by: String,
    /// When running requests are cut.
    pub deadline: DateTime<Utc>,
    /// Consecutive idle readings so far; two end the waiting.
    pub idle_reads: u8,
    /// The engine has been told to sleep; waiting for it to be done.
    pub stopping: bool,
    /// It was warm when this began; a wake that is called off, or a failure, was not.
    pub was_warm: bool,
}

/// Why a backend failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Since when.
    pub since: DateTime<Utc>,
    /// In plain words, with the engine's own last word where it has one.
    pub reason: String,
    /// The stage a wake failed in; `None` when it failed while warm.
    pub stage: Option<Stage>,
    /// Its machine is still allocated, and billed.
    pub allocated: bool,
}

/// A finished wake.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WakeRecord {
    /// When it was asked for.
    pub since: DateTime<Utc>,
    /// When it ended.
    pub ended: DateTime<Utc>,
    /// Who asked.
    pub by: String,
    /// What each stage took, in order.
    pub stages: Vec<(Stage, TimeDelta)>,
    /// Whether what is compiled was there from an earlier start, where the engine said.
    #[serde(default)]
    pub hot: Option<bool>,
    /// `None` when it ended warm.
    pub failure: Option<String>,
}

impl State {
    /// The word for it, the same everywhere.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "unknown",
            Self::Asleep { .. } => "asleep",
            Self::Waking(_) => "waking",
            Self::Warm { .. } => "warm",
            Self::Draining(_) => "draining",
            Self::Failed(_) => "failed",
            Self::Ready { .. } => "ready",
            Self::Limited { .. } => "limited",
            Self::Down { .. } => "down",
        }
    }

    /// When it entered this state.
    pub fn since(&self) -> DateTime<Utc> {
        match self {
            Self::Unknown { since }
            | Self::Asleep { since }
            | Self::Warm { since }
            | Self::Ready { since }
            | Self::Limited { since, .. }
            | Self::Down { since, .. } => *since,
            Self::Waking(wake) => wake.since,
            Self::Draining(drain) => drain.since,
            Self::Failed(failure) => failure.since,
        }
    }
}

fn yes() -> bool {
    true
}

impl Wake {
    /// The stage that runs now.
    pub fn current(&self) -> Option<&StageSpan> {
        self.stages.last()
    }
}

impl StageSpan {
    /// How long it took, or has taken by `now`.
    pub fn lasted(&self, now: DateTime<Utc>) -> TimeDelta {
        self.ended.unwrap_or(now) - self.began
    }
}

impl WakeRecord {
    /// From asked for to ended.
    pub fn took(&self) -> TimeDelta {
        self.ended - self.since
    }
}
