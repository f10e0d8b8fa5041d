//! A model: the name that clients ask for, and how its requests are routed.

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::id::{BackendId, ModelId};
use super::rule::Rule;

/// Requests that one model holds at most where its config does not say.
pub const MAX_WAITING: u32 = 10_000;

/// The name that clients ask for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// The name.
    pub id: ModelId,
    /// Its backends, in fallback order.
    pub backends: Vec<BackendId>,
    /// What a request meets when nothing is ready.
    pub cold: ColdPolicy,
    /// Where its traffic may go.
    pub data_path: DataPath,
    /// Who answers what, before weights decide; in order.
    pub rules: Vec<Rule>,
    /// Requests that are held at most.
    pub max_waiting: u32,
    /// Whether a client may name a backend itself (`x-fleet-backend`).
    pub choose_backend: bool,
    /// Evaluation scores by backend, from the config.
    pub evals: Vec<Eval>,
    /// The rules of a cluster's routes that lead to its backends.
    #[serde(default)]
    pub routes: Vec<super::cluster::rule::Rule>,
}

/// What a request meets when no backend of its model is ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ColdPolicy {
    /// Held while a wake runs.
    #[default]
    Wait,
    /// Answered by the next backend now; the wake runs in the background.
    Overflow,
    /// Refused with 503 and `Retry-After`.
    Reject,
    /// Answered by the next backend while the wake is estimated to take longer than `over` yet, held from then on.
    Bridge {
        /// A wake that takes no longer than this is waited for.
        over: TimeDelta,
    },
}

/// Where a model's traffic may go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DataPath {
    /// Anywhere.
    #[default]
    Any,
    /// To self-hosted backends only, whatever fails.
    #[serde(rename = "self")]
    SelfHosted,
}

/// One evaluation score of one backend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Eval {
    /// Which backend was evaluated.
    pub backend: BackendId,
    /// The evaluation's name.
    pub name: String,
    /// Its score, in the evaluation's own unit.
    pub score: f64,
    /// When it ran.
    pub date: chrono::NaiveDate,
}
