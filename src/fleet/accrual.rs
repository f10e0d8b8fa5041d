//! Accrual: money runs while capacity is allocated, cut at minute borders.

use std::sync::Arc;

use chrono::{DateTime, DurationRound, TimeDelta, Utc};

use super::backend::Backend;
use super::ledger::{Ledger, MINUTES_KEPT, Minute};
use super::money::{Meter, Usd};
use super::request::{RequestRecord, Route};

const MINUTE: TimeDelta = TimeDelta::minutes(1);

impl Backend {
    /// Accrues up to `now` in the state that it has been in since the last accrual. Call it before every change of state.
    ///
    /// A span longer than `gap` was not observed: it becomes unobserved time in its rows and is not charged.
    pub(super) fn accrue(&mut self, now: DateTime<Utc>, gap: TimeDelta) {
        let from = self.ledger.until.replace(now).unwrap_or(now).min(now);
        let unobserved = now - from > gap;
        let placed = self.place.is_some();
        // Machines of a cluster come and go one by one: what they cost together is one thing that is paid for.
        let (rate, replicas) = if placed {
            let rate = self.rate_now();
            (rate, u32::from(rate != Some(Usd::ZERO)))
        } else {
            let facts = self.self_hosted();
            (facts.and_then(|facts| facts.rate), self.allocated())
        };
        let busy = self.live.in_flight > 0
            || self.live.held > 0
            || self.live.running.unwrap_or(0) + self.live.waiting.unwrap_or(0) > 0;
        let mut at = from;
        while at < now {
            let end = (floor(at) + MINUTE).min(now);
            let span = end - at;
            let row = self.minute(at, rate);
            let millis = span.num_milliseconds() as u64;
            if unobserved {
                row.unobserved_ms += millis;
            } else if replicas > 0 {
                let paid = millis * u64::from(replicas);
                row.awake_ms += paid;
                if busy {
                    row.busy_ms += paid;
                }
                if placed {
                    row.meter.add(rate.unwrap_or_default(), replicas, end - at);
                    row.cost = row.meter.total() + row.tokens;
                } else {
                    row.cost = capacity(rate, row.awake_ms) + row.tokens;
                }
                self.ledger.awake_ms += paid;
                if busy {
                    self.ledger.busy_ms += paid;
                }
                if let Some(rate) = rate {
                    self.ledger.awake.add(rate, replicas, span);
                    if !busy {
                        self.ledger.idle.add(rate, replicas, span);
                    }
                }
            }
            at = end;
        }
    }

    /// Goes on with an account that was kept: the time since then was not observed.
    pub(super) fn resume(&mut self, ledger: Ledger, now: DateTime<Utc>) {
        self.ledger = ledger;
        let rate = self.self_hosted().and_then(|facts| facts.rate);
        // Rows older than those that are kept would only leave again.
        let oldest = now - MINUTE * MINUTES_KEPT as i32;
        let mut at = self.ledger.until.replace(now).unwrap_or(now).max(oldest);
        while at < now {
            let end = (floor(at) + MINUTE).min(now);
            self.minute(at, rate).unobserved_ms += (end - at).num_milliseconds() as u64;
            at = end;
        }
    }

    /// Writes an answered request into the account.
    pub(super) fn charge(&mut self, record: &RequestRecord, now: DateTime<Utc>) {
        let usage = record.usage.unwrap_or_default();
        let cost = record.cost.unwrap_or_default();
        let rate = self.self_hosted().and_then(|facts| facts.rate);
        let row = self.minute(now, rate);
        row.requests += 1;
        row.tokens_in += usage.input;
        row.tokens_out += usage.output;
        row.tokens += cost;
        row.cost += cost;
        self.ledger.requests += 1;
        self.ledger.tokens += cost;
        if record.route == Route::Bridge {
            self.ledger.bridged += 1;
            self.ledger.bridged_cost += cost;
        }
        self.ledger.tokens_in += usage.input;
        self.ledger.tokens_cached += usage.cached;
        self.ledger.tokens_out += usage.output;
        if record.usage.is_none() && record.ttft.is_some() {
            self.ledger.unmetered += 1;
        }
    }

    /// The row of the minute that `at` is in; a new one where none is open. Rows never go back in time.
    fn minute(&mut self, at: DateTime<Utc>, rate: Option<Usd>) -> &mut Minute {
        let start = floor(at);
        let rows = Arc::make_mut(&mut self.ledger.minutes);
        if rows.back().is_none_or(|row| row.start < start) {
            if rows.len() == MINUTES_KEPT {
                rows.pop_front();
            }
            rows.push_back(Minute {
                start,
                rate,
                ..Minute::default()
            });
        }
        let last = rows.len() - 1;
        &mut rows[last]
    }
}

/// What `millis` of one replica cost; nothing is known to be charged at an unknown rate.
fn capacity(rate: Option<Usd>, millis: u64) -> Usd {
    let mut meter = Meter::default();
    meter.add(
        rate.unwrap_or_default(),
        1,
        TimeDelta::milliseconds(millis as i64),
    );
    meter.total()
}

fn floor(at: DateTime<Utc>) -> DateTime<Utc> {
    at.duration_trunc(MINUTE).unwrap_or(at)
}
