//! What goes in and out of the domain: observations and commands in, actions out.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::backend::LogLine;
use super::cluster::Seen;
use super::cluster::plan::Plan;
use super::engine::EngineSample;
use super::fill::Told;
use super::gpu::Gpu;
use super::id::{BackendId, ModelId};
use super::live::Headroom;
use super::request::{RequestRecord, Usage};
use super::wake::Stage;

/// Something that was read. `at` is fleet time.
#[derive(Clone, Debug)]
pub enum Observation {
    /// An engine's metrics page.
    Engine {
        /// Which one.
        backend: BackendId,

        /// What the page says.
        sample: Box<EngineSample>,

        /// When, in fleet time.
        at: DateTime<Utc>,
    },
    /// An engine's or a hosted API's address did not answer, or answered nonsense.
    Unreachable {
        /// Which one.
        backend: BackendId,

        /// Why, in plain words.
        reason: String,

        /// When, in fleet time.
        at: DateTime<Utc>,
    },
    /// The engine answered its health check (and does not sleep), or refused it.
    Health {
        /// Which one.
        backend: BackendId,

        /// Whether it does.
        ok: bool,

        /// When, in fleet time.
        at: DateTime<Utc>,
    },
    /// The engine said whether it sleeps.
    Sleeping {
        /// Which one.
        backend: BackendId,

        /// Whether it does.
        asleep: bool,

        /// When, in fleet time.
        at: DateTime<Utc>,
    },
    /// The GPUs that a backend holds.
    Gpus {
        /// Which one.
        backend: BackendId,

        /// What they say.
        gpus: Vec<Gpu>,

        /// When, in fleet time.
        at: DateTime<Utc>,
    },
    /// Tokens of a hosted backend that somebody else's gateway counted since it was last asked.
    Metered {
        /// Which one.
        backend: BackendId,

        /// Requests answered.
        requests: u64,

        /// Their tokens.
        usage: Usage,

        /// Whether what it uses is counted at all; else what it costs is not known.
        counted: bool,

        /// When, in fleet time.
        at: DateTime<Utc>,
    },
    /// All GPUs of this machine, or why there are no figures.
    Machine {
        /// What they say.
        gpus: Result<Vec<Gpu>, String>,

        /// When, in fleet time.
        at: DateTime<Utc>,
    },
    /// A line of the engine's log, and what it says of the wake.
    Log {
        /// Which one.
        backend: BackendId,

        /// The line.
        line: LogLine,

        /// What it says of the wake.
        stage: Option<StageMark>,
    },
    /// The engine's process is there, whether or not it answers yet.
    Runs {
        /// Which one.
        backend: BackendId,

        /// When, in fleet time.
        at: DateTime<Utc>,
    },
    /// The engine's process ended by itself. `reason` is in plain words.
    Exited {
        /// Which one.
        backend: BackendId,

        /// Its exit status, where it left one.
        status: Option<i32>,

        /// Why, in plain words.
        reason: String,

        /// When, in fleet time.
        at: DateTime<Utc>,
    },
    /// What a cluster says of its backends.
    Cluster {
        /// What is new.
        seen: Box<Seen>,

        /// When, in fleet time.
        at: DateTime<Utc>,
    },
    /// Somebody knows what a cluster cost before it was watched from here.
    PastBegins {
        /// Which cluster.
        cluster: Arc<str>,
        /// Since when.
        from: DateTime<Utc>,
    },
    /// A piece of that.
    Past(Box<Told>),
    /// An operation on a cluster came to its next step.
    Step {
        /// Whose.
        backend: BackendId,

        /// Which, in words.
        words: String,

        /// Its place, from 1.
        step: u32,

        /// Of how many.
        of: u32,

        /// From here on its pods may end.
        stopping: bool,

        /// It took too long, and waits for somebody to decide.
        asks: bool,
    },
    /// An action was carried out, or could not be.
    Performed {
        /// Which one.
        action: Action,

        /// Or why not, in plain words.
        result: Result<(), String>,

        /// When, in fleet time.
        at: DateTime<Utc>,
    },
    /// The gateway finished a request.
    Request(Arc<RequestRecord>),
    /// What the gateway has under way now: requests in flight by backend, held by model.
    Gateway {
        /// Requests in flight.
        in_flight: Vec<(BackendId, u32)>,

        /// Requests held.
        held: Vec<(ModelId, u32)>,

        /// When, in fleet time.
        at: DateTime<Utc>,
    },
    /// A hosted backend answered 429; it may be asked again at `until`.
    Limited {
        /// Which one.
        backend: BackendId,

        /// Until when.
        until: DateTime<Utc>,

        /// When, in fleet time.
        at: DateTime<Utc>,
    },
    /// A hosted backend said what is left of its limits.
    Headroom {
        /// Which one.
        backend: BackendId,

        /// What it said.
        headroom: Headroom,
    },
    /// A queue was full and this many readings were dropped.
    Dropped {
        /// Of what.
        what: &'static str,
        /// How many.
        count: u64,
    },
}

/// What a log line says of a wake.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StageMark {
    /// The stage that runs from this line on.
    pub stage: Stage,
    /// 0 to 100, where the line says so.
    pub percent: Option<f32>,
    /// Whether what is compiled was there from an earlier start, where the line says so.
    pub hot: Option<bool>,
}

/// What an operator, a cold request or a policy asks for. The one door in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Command {
    /// Bring it to warm.
    Wake {
        /// Which one.
        backend: BackendId,
    },
    /// Finish what runs, then sleep; a request may wake it again.
    Sleep {
        /// Which one.
        backend: BackendId,
    },
    /// Take it out of service: finish what runs, then sleep, and stay out until `Undrain`.
    Drain {
        /// Which one.
        backend: BackendId,
    },
    /// Put it back in service.
    Undrain {
        /// Which one.
        backend: BackendId,
    },
    /// Keep it warm.
    Pin {
        /// Which one.
        backend: BackendId,

        /// Until when.
        until: Option<DateTime<Utc>>,

        /// At so many replicas, no more and no less; `None`: at as many as there are at least.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exactly: Option<u32>,

        /// Why, in plain words.
        reason: String,
    },
    /// Lift a pin.
    Unpin {
        /// Which one.
        backend: BackendId,
    },
    /// Set the weights of a model's backends; those not named keep theirs.
    Weights {
        /// Which model.
        model: ModelId,

        /// The weights, relative to each other.
        weights: Vec<(BackendId, u32)>,
    },
    /// Swap the shares of the hosted and the self-hosted side of a model.
    Flip {
        /// Which model.
        model: ModelId,
    },
    /// Restore what stood before the newest command that can be undone.
    Undo,
    /// The same, against what stands in its way where that can be forced.
    Force {
        /// What is forced.
        #[serde(rename = "forced")]
        command: Box<Command>,
    },
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", content = "name", rename_all = "kebab-case")]
pub enum Actor {
    /// A person, by name.
    Operator(String),
    /// A request to a cold model.
    Request,
    /// The idle timer, a pin, a cap: the fleet itself.
    Policy(String),
}

impl Actor {
    /// The name that the audit shows.
    pub fn name(&self) -> &str {
        match self {
            Self::Operator(name) | Self::Policy(name) => name,
            Self::Request => "request",
        }
    }
}

/// What is to be done outside. Only an actuator carries it out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub enum Action {
    /// Start or wake the engine.
    Start {
        /// Which one.
        backend: BackendId,
    },
    /// Put the engine to sleep, or stop it and release its machine: whichever the backend does.
    Stop {
        /// Which one.
        backend: BackendId,
    },
    /// Carry out an operation on a cluster.
    Operate {
        /// What is done, step by step.
        plan: Box<Plan>,
    },
}

impl Action {
    /// The backend it is done to, where it is done to one.
    pub fn backend(&self) -> Option<&BackendId> {
        match self {
            Self::Start { backend } | Self::Stop { backend } => Some(backend),
            Self::Operate { plan } => plan.backend.as_ref(),
        }
    }
}

/// Why a command was not carried out: what, and what to do instead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{what}; {hint}")]
pub struct Refusal {
    /// Of which kind it is, for programs.
    #[serde(default)]
    pub kind: RefusalKind,
    /// What stands in the way.
    pub what: String,
    /// What to do about it.
    pub hint: String,
}

/// What a refusal comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalKind {
    /// The fleet as it is now stands in the way.
    #[default]
    Refused,
    /// There is no such backend or model.
    NotFound,
    /// What the command was meant for has changed since the sender looked.
    Changed,
    /// The sender may not do this.
    Forbidden,
    /// Nobody answered: whether it was done is not known.
    Unanswered,
}

/// A command that was accepted, in words: "wake of h100-b began".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// What happened.
    pub said: String,
    /// Whether `Undo` restores what stood before.
    pub undoable: bool,
}

/// One line of the audit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// When, in fleet time.
    pub at: DateTime<Utc>,
    /// Who.
    pub by: Actor,
    /// The word of what was done: `wake`, `drain`, `late`, `failed`, …
    pub verb: String,
    /// To what.
    pub target: String,
    /// With what result.
    pub result: String,
    /// Whether the result is a refusal or a failure.
    pub bad: bool,
}

/// A command that `undo` can take back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undoable {
    /// When it was carried out.
    pub at: DateTime<Utc>,
    /// What it was, in words: "weights of llama-3.3-70b".
    pub what: String,
    /// The commands that restore what stood before.
    pub restore: Vec<Command>,
}
