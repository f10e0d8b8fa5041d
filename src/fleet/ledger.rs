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
    /// When it began; of backends on clusters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<DateTime<Utc>>,
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
    /// Milliseconds that nobody here watched, and that a Prometheus told of later.
    #[serde(default)]
    pub filled_ms: u64,
    /// Milliseconds of allocated replicas in which nobody read what they did: idle or busy, nobody knows.
    #[serde(default)]
    pub unread_ms: u64,
    /// Milliseconds of machines on a cluster whose price is not known: they are in no figure.
    #[serde(default)]
    pub unpriced_ms: u64,
    /// The spans that nobody watched, oldest first; of backends on clusters, whose past somebody else may have seen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<Span>,
    /// What it costs cannot be seen now: time goes by unobserved.
    #[serde(skip)]
    pub blind: bool,
    /// Nobody here counts the tokens that are used of it: what they cost is not known.
    #[serde(skip)]
    pub uncounted: bool,
    /// One row a minute, oldest first; the last one is still being written.
    pub minutes: Arc<VecDeque<Minute>>,
}

/// A span of time: from the first up to the second.
pub type Span = (DateTime<Utc>, DateTime<Utc>);

/// Gaps that are kept of one backend; older ones stay unobserved for good.
const GAPS_KEPT: usize = 64;

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

    /// Realised dollars per million output tokens; `None` before the first token, and where some were not counted.
    pub fn per_million_output(&self) -> Option<Usd> {
        per_million(self.total(), self.tokens_out).filter(|_| self.is_read())
    }

    /// Realised dollars per million tokens, in and out alike; `None` as above.
    pub fn per_million_blended(&self) -> Option<Usd> {
        per_million(self.total(), self.tokens_in + self.tokens_out).filter(|_| self.is_read())
    }

    /// Whether enough of its time was read to say what it was used for, and what a token came to: nine tenths.
    pub fn is_read(&self) -> bool {
        self.unread_ms == 0 || self.unread_ms.saturating_mul(10) <= self.awake_ms
    }

    /// Begins the account earlier: what was before is a gap.
    pub(super) fn reach_back(&mut self, from: DateTime<Utc>) {
        if let Some(since) = self.since.filter(|since| from < *since) {
            self.unobserved_ms += (since - from).num_milliseconds() as u64;
            self.gaps.insert(0, (from, since));
            self.since = Some(from);
        }
    }

    /// Nobody watched from `from` to `to`; kept as a gap that may be filled later.
    pub(super) fn miss(&mut self, from: DateTime<Utc>, to: DateTime<Utc>) {
        if to <= from {
            return;
        }
        self.unobserved_ms += (to - from).num_milliseconds() as u64;
        match self.gaps.last_mut() {
            Some(last) if last.1 == from => last.1 = to,
            _ => self.gaps.push((from, to)),
        }
        if self.gaps.len() > GAPS_KEPT {
            self.gaps.remove(0);
        }
    }
}

impl Minute {
    /// Takes in what stands in another row: the two become one of a longer span.
    pub fn add(&mut self, other: &Self) {
        self.awake_ms += other.awake_ms;
        self.busy_ms += other.busy_ms;
        self.unobserved_ms += other.unobserved_ms;
        self.requests += other.requests;
        self.tokens_in += other.tokens_in;
        self.tokens_out += other.tokens_out;
        self.tokens += other.tokens;
        self.cost += other.cost;
    }
}

/// Dollars per million of `tokens` at `cost` in all; `None` for no tokens.
pub fn per_million(cost: Usd, tokens: u64) -> Option<Usd> {
    cost.times(1_000_000).split(i128::from(tokens))
}
