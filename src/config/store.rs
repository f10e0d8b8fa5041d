//! How much of the past is kept.

use chrono::TimeDelta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::span;

/// The store of `fleetctl serve`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// Requests, minutes, wakes and lines of the audit older than this are given up; accounts stay.
    #[serde(with = "span::text")]
    #[schemars(with = "String")]
    pub keep: TimeDelta,
    /// A store with more than this in it, MiB, gives up its oldest requests.
    pub max_mib: u32,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            keep: TimeDelta::days(90),
            max_mib: 4096,
        }
    }
}
