//! What a backend has cost: meters that run, and rows from which every total can be derived again.

use std::collections::VecDeque;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::money::{Meter, Usd};

/// Minutes of rows that are kept in memory: two days.
pub const MINUTES_KEPT: usize = 2 * 24 * 60;

/// The account of one backend since this process began to watch.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Ledger {
    /// Accrued up to here.
    pub until: Option<DateTime<Utc>>,
    /// Capacity, while allocated.
    pub awake: Meter,
    /// The part of it with nothing running or waiting.
    pub idle: Meter,
    /// Tokens of a hosted backend.
    pub tokens: Usd,
    /// Requests answered.
    pub requests: u64,
    /// Requests whose answer had no usage: counted, never guessed.
    pub unmetered: u64,
    /// Requests answered in place of a backend that was still waking, by the cold policy *bridge*.
    pub bridged: u64,
    /// What their tokens cost.
    pub bridged_cost: Usd,
    /// Prompt tokens.
    pub tokens_in: u64,
    /// Of these, cached ones.
    pub tokens_cached: u64,
    /// Produced tokens.
    pub tokens_out: u64,
    /// Milliseconds of allocated replicas.
    pub awake_ms: u64,
    /// Of these, busy ones.
    pub busy_ms: u64,
    /// Milliseconds that nobody watched, and that nothing is charged for.
    #[serde(default)]
    pub unobserved_ms: u64,
    /// What it costs cannot be seen now: time goes by unobserved.
    #[serde(skip)]
    pub blind: bool,
    /// Nobody here counts the tokens that are used of it: what they cost is not known.
    #[serde(skip)]
    pub uncounted: bool,
    /// One row a minute, oldest first; the last one is still being written.
    pub minutes: Arc<VecDeque<Minute>>,
}

/// One minute of one backend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Minute {
    /// Its first second.
    pub start: DateTime<Utc>,
    /// Dollars per replica-hour that applied; `None` unknown.
    pub rate: Option<Usd>,
    /// Milliseconds of allocated replicas within it.
    pub awake_ms: u64,
    /// Of these, busy ones.
    pub busy_ms: u64,
    /// Milliseconds that nobody watched.
    pub unobserved_ms: u64,
    /// Requests answered.
    pub requests: u64,
    /// Prompt tokens.
    pub tokens_in: u64,
    /// Produced tokens.
    pub tokens_out: u64,
    /// Cost of tokens.
    pub tokens: Usd,
    /// Cost of capacity and tokens.
    pub cost: Usd,
    /// Capacity at a rate that changes within the minute; for machines of a cluster.
    #[serde(skip)]
    pub meter: Meter,
}

impl Ledger {
    /// All that it cost.
    pub fn total(&self) -> Usd {
        self.awake.total() + self.tokens
    }

    /// Realised dollars per million output tokens; `None` before the first token.
    pub fn per_million_output(&self) -> Option<Usd> {
        per_million(self.total(), self.tokens_out)
    }

    /// Realised dollars per million tokens, in and out alike; `None` before the first token.
    pub fn per_million_blended(&self) -> Option<Usd> {
        per_million(self.total(), self.tokens_in + self.tokens_out)
    }
}

/// Dollars per million of `tokens` at `cost` in all; `None` for no tokens.
pub fn per_million(cost: Usd, tokens: u64) -> Option<Usd> {
    cost.times(1_000_000).split(i128::from(tokens))
}
