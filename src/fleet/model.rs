//! A model: the name that clients ask for, and how its requests are routed.

use serde::{Deserialize, Serialize};

use super::id::{BackendId, ModelId};

/// The name that clients ask for.
#[derive(Clone, Debug, Serialize)]
pub struct Model {
    /// The name.
    pub id: ModelId,
    /// Its backends, in fallback order.
    pub backends: Vec<BackendId>,
    /// What a request meets when nothing is ready.
    pub cold: ColdPolicy,
    /// Where its traffic may go.
    pub data_path: DataPath,
    /// Evaluation scores by backend, from the config.
    pub evals: Vec<Eval>,
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
