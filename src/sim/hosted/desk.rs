//! Who is let in and what was served: the limit, the prompt cache and the far end's own count.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::ask::{Ask, CACHED_PREFIX_TOKENS};

/// How many prompt beginnings are remembered.
const PREFIXES: usize = 256;
/// One request in this many is turned away whatever the limit, as a busy provider does.
const BAD_LUCK: u64 = 1500;

/// What was served so far, as the provider would bill it.
///
/// Prompt tokens count when an answer begins, produced ones as they are sent: a client that leaves has paid for both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) requests: u64,
    pub(super) completed: u64,
    pub(super) refused: u64,
    pub(super) prompt: u64,
    pub(super) cached: u64,
    pub(super) produced: u64,
}

impl Tally {
    pub(super) fn json(&self) -> Value {
        json!({
            "requests": self.requests,
            "completed": self.completed,
            "refused": self.refused,
            "prompt_tokens": self.prompt,
            "cached_tokens": self.cached,
            "completion_tokens": self.produced,
        })
    }
}

pub(super) struct Ticket {
    pub(super) id: String,
    /// The seed of all that is left to chance in this answer.
    pub(super) luck: u64,
    /// Requests left in the limit.
    pub(super) left: u32,
    /// Until the limit is whole again.
    pub(super) refilled_in: TimeDelta,
    pub(super) turn: Turn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Served,
    /// 429, with the seconds of `Retry-After` and the limit that was met.
    Away {
        after: i64,
        why: &'static str,
    },
}

pub(super) struct Desk {
    seed: u64,
    open: Mutex<Open>,
}

struct Open {
    bucket: Bucket,
    /// The newest last.
    prefixes: VecDeque<u64>,
    arrived: u64,
    tally: Tally,
}

impl Desk {
    pub(super) fn open(seed: u64, per_minute: u32, now: DateTime<Utc>) -> Self {
        Self {
            seed,
            open: Mutex::new(Open {
                bucket: Bucket::full(per_minute, now),
                prefixes: VecDeque::with_capacity(PREFIXES),
                arrived: 0,
                tally: Tally::default(),
            }),
        }
    }

    pub(super) fn admit(&self, now: DateTime<Utc>) -> Ticket {
        let mut open = self.lock();
        open.arrived += 1;
        let mut luck =
            fastrand::Rng::with_seed(self.seed ^ open.arrived.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let turn = if !open.bucket.take(now) {
            let after = open.bucket.next_in().num_milliseconds();
            Turn::Away {
                after: (after.max(1) + 999) / 1000,
                why: "requests",
            }
        } else if luck.u64(0..BAD_LUCK) == 0 {
            Turn::Away {
                after: luck.i64(2..=8),
                why: "tokens",
            }
        } else {
            Turn::Served
        };
        if turn != Turn::Served {
            open.tally.refused += 1;
        }
        Ticket {
            id: format!("req_{:016x}{:08x}", luck.u64(..), open.arrived),
            luck: luck.u64(..),
            left: open.bucket.left(),
            refilled_in: open.bucket.refilled_in(),
            turn,
        }
    }

    /// Counts a request that is being answered; returns how many of its prompt tokens were cached.
    pub(super) fn begin(&self, ask: &Ask) -> u32 {
        let mut open = self.lock();
        let cached = match ask.prefix {
            Some(prefix) if open.prefixes.contains(&prefix) => CACHED_PREFIX_TOKENS,
            Some(prefix) => {
                if open.prefixes.len() == PREFIXES {
                    open.prefixes.pop_front();
                }
                open.prefixes.push_back(prefix);
                0
            }
            None => 0,
        };
        open.tally.requests += 1;
        open.tally.prompt += u64::from(ask.prompt_tokens);
        open.tally.cached += u64::from(cached);
        cached
    }

    pub(super) fn produced(&self, tokens: u32) {
        self.lock().tally.produced += u64::from(tokens);
    }

    pub(super) fn completed(&self) {
        self.lock().tally.completed += 1;
    }

    pub(super) fn tally(&self) -> Tally {
        self.lock().tally
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        // Counters stay true whatever a task that held the lock died of.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A limit that refills steadily, as OpenAI's do.
struct Bucket {
    per_minute: f64,
    level: f64,
    at: DateTime<Utc>,
}

impl Bucket {
    fn full(per_minute: u32, at: DateTime<Utc>) -> Self {
        let per_minute = f64::from(per_minute.max(1));
        Self {
            per_minute,
            level: per_minute,
            at,
        }
    }

    fn take(&mut self, now: DateTime<Utc>) -> bool {
        let passed = (now - self.at).as_seconds_f64().max(0.0);
        self.at = now;
        self.level = (self.level + passed * self.per_minute / 60.0).min(self.per_minute);
        let enough = self.level >= 1.0;
        if enough {
            self.level -= 1.0;
        }
        enough
    }

    fn left(&self) -> u32 {
        self.level as u32
    }

    fn next_in(&self) -> TimeDelta {
        self.until(1.0)
    }

    fn refilled_in(&self) -> TimeDelta {
        self.until(self.per_minute)
    }

    fn until(&self, level: f64) -> TimeDelta {
        let seconds = (level - self.level).max(0.0) * 60.0 / self.per_minute;
        TimeDelta::milliseconds((seconds * 1000.0).ceil() as i64)
    }
}

/// A span as `x-ratelimit-reset-*` writes it: `12ms`, `6.25s`, `1m0s`.
pub(super) fn spell(span: TimeDelta) -> String {
    let ms = span.num_milliseconds().max(0);
    match (ms / 60_000, ms % 60_000) {
        (0, ms) if ms < 1000 => format!("{ms}ms"),
        (0, ms) => format!("{}s", ms as f64 / 1000.0),
        (minutes, ms) => format!("{minutes}m{}s", ms / 1000),
    }
}
