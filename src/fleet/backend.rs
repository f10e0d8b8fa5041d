//! A backend: something that answers for a model.

use std::collections::VecDeque;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::cluster::place::Place;
use super::engine::EngineSample;
use super::gpu::Gpu;
use super::group::Group;
use super::id::{BackendId, ModelId};
use super::ledger::Ledger;
use super::live::Live;
use super::money::Usd;
use super::schedule::Schedule;
use super::wake::{Stage, State, WakeRecord};

/// Lines of an engine's log that are kept for the screen.
pub const LOG_LINES: usize = 400;
/// Whether an engine sleeps in its pod is known within this long of meeting it, or cannot be read.
const PAGED_WITHIN: TimeDelta = TimeDelta::seconds(10);
/// Past wakes that estimates are learned from.
pub const WAKES_KEPT: usize = 50;

/// Something that answers for a model.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Backend {
    /// Unique within the fleet.
    pub id: BackendId,
    /// The model it answers for.
    pub model: ModelId,
    /// Self-hosted or hosted, with what only that side has.
    pub kind: Kind,
    /// Where it is in its life.
    pub state: State,
    /// Requests that it is sent at once at most; `None`: no limit.
    pub max_running: Option<u32>,
    /// Its share of the model's traffic as asked for, relative to its siblings; see [`super::Fleet::share_asked`].
    pub weight: u32,
    /// Kept warm by an operator.
    pub pin: Option<Pin>,
    /// When the hours began for which it was pinned last, see [`SelfHosted::schedule`].
    #[serde(default)]
    pub scheduled: Option<DateTime<Utc>>,
    /// Taken out of service by an operator until `undrain`.
    pub drained: Option<DrainMark>,
    /// What it is doing now.
    pub live: Live,
    /// The newest engine page, whole; `None` for hosted backends and before the first reading.
    pub sample: Option<Arc<EngineSample>>,
    /// The GPUs it holds, as last read.
    pub gpus: Arc<[Gpu]>,
    /// What it has cost.
    pub ledger: Ledger,
    /// Finished wakes, oldest first.
    pub wakes: VecDeque<Arc<WakeRecord>>,
    /// The engine's last log lines, oldest first, without control characters.
    pub log: VecDeque<Arc<LogLine>>,
    /// Where it lives on a cluster; `None` where it is reached from here.
    #[serde(default)]
    pub place: Option<Arc<Place>>,
    /// The step that an operation on its cluster is at, in words.
    #[serde(default)]
    pub doing: Option<String>,
    /// How far that operation is.
    #[serde(default)]
    pub progress: Option<Progress>,
}

/// How far an operation on a cluster is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// `drain`, `wake`.
    pub op: String,
    /// The step that it is at, from 1.
    pub step: u32,
    /// Of how many.
    pub of: u32,
    /// When it began.
    pub since: DateTime<Utc>,
    /// When the step began.
    pub step_since: DateTime<Utc>,
    /// It waits for somebody to decide, and goes back by itself where nobody does.
    #[serde(default)]
    pub asks: bool,
}

/// What a backend is made of.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Runs engines of ours; can sleep where [`SelfHosted::sleep`] says how.
    SelfHosted(SelfHosted),
    /// Somebody else's API, paid by the token.
    Hosted(Hosted),
}

/// Facts of a self-hosted backend.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SelfHosted {
    /// Dollars per replica-hour; `None` where nobody said (shown as `?`, never as 0).
    pub rate: Option<Usd>,
    /// How the machine is bought.
    pub capacity: Capacity,
    /// Engines it runs when awake.
    pub replicas: u32,
    /// How it sleeps.
    pub sleep: SleepWay,
    /// Whether its engine can be started from here: it is a process of ours, or has a launcher.
    #[serde(default)]
    pub startable: bool,
    /// Sleeps after this long with nothing running or waiting; `None`: never by itself.
    pub idle_after: Option<TimeDelta>,
    /// When it is kept warm.
    #[serde(default)]
    pub schedule: Option<Schedule>,
    /// A wake longer than this is late.
    pub budget: TimeDelta,
    /// A wake longer than this has failed.
    pub cap: TimeDelta,
    /// The longest that a drain waits for running requests.
    pub grace: TimeDelta,
    /// With whom it shares its GPUs.
    #[serde(default)]
    pub group: Option<Group>,
    /// The machine's kind, for people: `4×A100-80GB`.
    pub hardware: String,
    /// How long each stage took when nothing better is known, in the order of the stages; from the config.
    pub expected: Vec<(Stage, TimeDelta)>,
    /// Sustained output tokens per second that it can really serve, as configured.
    pub ceiling: Option<f64>,
}

/// Facts of a hosted backend.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hosted {
    /// Who runs it, for people: `Azure OpenAI`.
    pub provider: String,
    /// List price; `None` where nobody said.
    pub price: Option<Price>,
}

/// Dollars per million tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// Prompt tokens.
    pub input: Usd,
    /// Prompt tokens that the provider had cached.
    pub cached: Usd,
    /// Produced tokens.
    pub output: Usd,
}

impl Price {
    /// What one request costs. `cached` tokens are part of `input` and paid at their own price.
    pub fn of(&self, input: u64, cached: u64, output: u64) -> Usd {
        let cached = cached.min(input);
        self.input.per_million(input - cached)
            + self.cached.per_million(cached)
            + self.output.per_million(output)
    }
}

/// How a machine is bought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Capacity {
    /// By the hour, ours until released.
    #[default]
    OnDemand,
    /// Cheaper, and may be taken back.
    Spot,
    /// Paid for whether used or not.
    Reserved,
}

/// What putting a backend to sleep does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SleepWay {
    /// fleetctl cannot put it to sleep.
    #[default]
    Never,
    /// vLLM sleep level 1: weights to CPU memory, fast wake; the machine stays billed.
    Level1,
    /// vLLM sleep level 2: weights dropped; the machine stays billed.
    Level2,
    /// The engine ends and its machine is released; nothing is billed.
    Release,
}

impl SleepWay {
    /// Whether the capacity is paid for while it sleeps.
    pub fn bills_asleep(self) -> bool {
        match self {
            Self::Level1 | Self::Level2 | Self::Never => true,
            Self::Release => false,
        }
    }
}

/// Kept warm by an operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// `None`: until somebody lifts it.
    pub until: Option<DateTime<Utc>>,
    /// At so many replicas, no more and no less; `None`: at as many as there were at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exactly: Option<u32>,
    /// Why.
    pub reason: String,
    /// Who.
    pub by: String,
}

impl Pin {
    /// ` at exactly 3`, where it is so, for a sentence.
    pub fn exact(&self) -> String {
        exact(self.exactly)
    }
}

/// ` at exactly 3`, where it is so, for a sentence.
pub(in crate::fleet) fn exact(replicas: Option<u32>) -> String {
    replicas.map_or_else(String::new, |n| format!(" at exactly {n}"))
}

/// Taken out of service by an operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainMark {
    /// Since when.
    pub since: DateTime<Utc>,
    /// Who.
    pub by: String,
}

/// One line of an engine's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When it was read, in fleet time.
    pub at: DateTime<Utc>,
    /// The text, free of control characters.
    pub text: String,
}

impl Backend {
    /// The self-hosted facts, where it is self-hosted.
    pub fn self_hosted(&self) -> Option<&SelfHosted> {
        match &self.kind {
            Kind::SelfHosted(facts) => Some(facts),
            Kind::Hosted(_) => None,
        }
    }

    /// The hosted facts, where it is hosted.
    pub fn hosted(&self) -> Option<&Hosted> {
        match &self.kind {
            Kind::SelfHosted(_) => None,
            Kind::Hosted(facts) => Some(facts),
        }
    }

    /// Whether it is somebody else's API.
    pub fn is_hosted(&self) -> bool {
        self.hosted().is_some()
    }

    /// Whether new requests may be sent to it now.
    pub fn takes_traffic(&self) -> bool {
        self.drained.is_none() && matches!(self.state, State::Warm { .. } | State::Ready { .. })
    }

    /// Replicas whose capacity is allocated now and therefore paid for.
    pub fn allocated(&self) -> u32 {
        let Kind::SelfHosted(facts) = &self.kind else {
            return 0;
        };
        let paid = match &self.state {
            State::Waking(wake) if wake.begun => true,
            State::Warm { .. } | State::Draining(_) => true,
            // One that waits for room has nothing yet.
            State::Waking(_) | State::Asleep { .. } => {
                facts.sleep.bills_asleep() || facts.capacity == Capacity::Reserved
            }
            State::Failed(failure) => failure.allocated || facts.capacity == Capacity::Reserved,
            State::Unknown { .. }
            | State::Ready { .. }
            | State::Limited { .. }
            | State::Down { .. } => false,
        };
        if paid { facts.replicas } else { 0 }
    }

    /// Dollars an hour for the capacity allocated now; `None` where the rate is unknown and something is allocated.
    pub fn rate_now(&self) -> Option<Usd> {
        // Machines are paid for as long as they exist, whatever runs on them.
        if let Some(place) = &self.place {
            let expected = place.nodes.is_empty() && matches!(self.state, State::Warm { .. });
            // What a preview takes to be warm has no machine yet: it will have those of before.
            if !expected {
                return place.burn();
            }
            let facts = self.self_hosted()?;
            return facts
                .rate
                .map(|rate| rate.times(i128::from(facts.replicas)));
        }
        match (self.self_hosted(), self.allocated()) {
            (Some(_), 0) | (None, _) => Some(Usd::ZERO),
            (Some(facts), n) => facts.rate.map(|rate| rate.times(i128::from(n))),
        }
    }

    /// Whether it is ready and may sleep all the same, and its pages were not read yet: for a few seconds after it was met.
    pub fn awaits_page(&self, place: &Place, now: DateTime<Utc>) -> bool {
        let lately = self.live.met_at.is_none_or(|met| now - met < PAGED_WITHIN);
        place.naps && self.sample.is_none() && self.live.error.is_none() && lately
    }

    /// Keeps `line`, forgetting the oldest past [`LOG_LINES`].
    pub fn push_log(&mut self, line: LogLine) {
        if self.log.len() == LOG_LINES {
            self.log.pop_front();
        }
        self.log.push_back(Arc::new(line));
    }
}
