//! Things that need attention, each with what to do.

use serde::{Deserialize, Serialize};

use super::id::BackendId;

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Notice,
    /// Will hurt.
    Warning,
    /// Hurts now.
    Critical,
}

/// Something that needs attention.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// What it is about; `None`: the whole fleet.
    pub backend: Option<BackendId>,
    /// What is wrong, with figures: "stalled 41 s in load; the last five took 24 s".
    pub what: String,
    /// What to do: the key and its word, such as `('w', "wake again")`; empty where only looking helps.
    pub keys: Vec<(char, String)>,
}
