//! Accrual: money runs while capacity is allocated, cut at minute borders.

use std::collections::VecDeque;
use std::sync::Arc;

use chrono::{DateTime, DurationRound, TimeDelta, Utc};

use super::backend::Backend;
use super::ledger::{Ledger, MINUTES_KEPT, Minute};
use super::money::{Meter, Usd};
use super::request::{RequestRecord, Route, Usage};
use super::wake::State;

const MINUTE: TimeDelta = TimeDelta::minutes(1);
/// A page of an engine that is older says nothing about now: thousands of pods are read in minutes.
const READ_WITHIN: TimeDelta = TimeDelta::minutes(5);
/// Rows of a cluster's backend that stay minutes.
const SINGLE: usize = 120;

impl Backend {
    /// Accrues up to `now` in the state that it has been in since the last accrual. Call it before every change of state.
    ///
    /// A span longer than `gap` was not observed: it becomes unobserved time in its rows and is not charged.
    pub(super) fn accrue(&mut self, now: DateTime<Utc>, gap: TimeDelta) {
        let from = self.ledger.until.replace(now).unwrap_or(now).min(now);
        let missed = now - from > gap;
        let unobserved = missed || self.ledger.blind;
        if self.place.is_some() && unobserved {
            self.ledger.miss(from, now);
            return;
        }
        if self.place.is_some() && self.rate_now() == Some(Usd::ZERO) {
            // Of what costs nothing there may be thousands: it has no rows.
            return;
        }
        let placed = self.place.is_some();
        // Machines of a cluster come and go one by one: what they cost together is one thing that is paid for.
        let (rate, replicas) = if placed {
            let rate = self.rate_now();
            (rate, u32::from(rate != Some(Usd::ZERO)))
        } else {
            let facts = self.self_hosted();
            (facts.and_then(|facts| facts.rate), self.allocated())
        };
        // Engines on a cluster are read by their pages alone: one that serves and was not read may be busy.
        let serves = match &self.state {
            State::Warm { .. } | State::Draining(_) | State::Unknown { .. } => true,
            State::Waking(_)
            | State::Asleep { .. }
            | State::Failed(_)
            | State::Ready { .. }
            | State::Limited { .. }
            | State::Down { .. } => false,
        };
        let lately = |at| now - at < READ_WITHIN;
        let read = !placed || !serves || self.live.read_at.is_some_and(lately);
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
                self.ledger.unobserved_ms += millis;
            } else if replicas > 0 {
                let paid = millis * u64::from(replicas);
                row.awake_ms += paid;
                if busy {
                    row.busy_ms += paid;
                }
                if placed {
                    let before = row.meter.total();
                    row.meter.add(rate.unwrap_or_default(), replicas, span);
                    row.cost += row.meter.total() - before;
                } else {
                    row.cost = capacity(rate, row.awake_ms) + row.tokens;
                }
                self.ledger.awake_ms += paid;
                if busy {
                    self.ledger.busy_ms += paid;
                }
                if !read {
                    self.ledger.unread_ms += paid;
                }
                if placed && rate.is_none() {
                    self.ledger.unpriced_ms += paid;
                }
                if let Some(rate) = rate {
                    self.ledger.awake.add(rate, replicas, span);
                    if !busy && read {
                        self.ledger.idle.add(rate, replicas, span);
                    }
                }
            }
            at = end;
        }
    }

    /// Goes on with the account of a backend on a cluster: the time since then is a gap, which somebody else may fill.
    pub(super) fn take_up(&mut self, mut ledger: Ledger, now: DateTime<Utc>) {
        let until = ledger.until.replace(now).unwrap_or(now);
        ledger.miss(until, now);
        self.ledger = ledger;
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
            let millis = (end - at).num_milliseconds() as u64;
            self.minute(at, rate).unobserved_ms += millis;
            self.ledger.unobserved_ms += millis;
            at = end;
        }
    }

    /// Writes an answered request into the account.
    pub(super) fn charge(&mut self, record: &RequestRecord, now: DateTime<Utc>) {
        let usage = record.usage.unwrap_or_default();
        let cost = record.cost.unwrap_or_default();
        self.write(1, usage, cost, now);
        if record.route == Route::Bridge {
            self.ledger.bridged += 1;
            self.ledger.bridged_cost += cost;
        }
        if record.usage.is_none() && record.ttft.is_some() {
            self.ledger.unmetered += 1;
        }
    }

    /// Writes what somebody else's gateway counted into the account.
    pub(super) fn meter(&mut self, requests: u64, usage: Usage, counted: bool, at: DateTime<Utc>) {
        self.ledger.uncounted = !counted;
        if requests == 0 && usage == Usage::default() {
            return;
        }
        let price = self.hosted().and_then(|it| it.price);
        let cost = price.map(|it| it.of(usage.input, usage.cached, usage.output));
        self.write(requests, usage, cost.unwrap_or_default(), at);
    }

    fn write(&mut self, requests: u64, usage: Usage, cost: Usd, now: DateTime<Utc>) {
        let rate = self.self_hosted().and_then(|facts| facts.rate);
        let row = self.minute(now, rate);
        row.requests += requests;
        row.tokens_in += usage.input;
        row.tokens_out += usage.output;
        row.tokens += cost;
        row.cost += cost;
        self.ledger.requests += requests;
        self.ledger.tokens += cost;
        self.ledger.tokens_in += usage.input;
        self.ledger.tokens_cached += usage.cached;
        self.ledger.tokens_out += usage.output;
    }

    /// The row of the minute that `at` is in; a new one where none is open. Rows never go back in time.
    fn minute(&mut self, at: DateTime<Utc>, rate: Option<Usd>) -> &mut Minute {
        let start = floor(at);
        let placed = self.place.is_some();
        let rows = Arc::make_mut(&mut self.ledger.minutes);
        if rows.back().is_none_or(|row| row.start < start) {
            if placed {
                fold(rows);
            }
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

/// Rows of a cluster's backend that are older than the newest two hours are folded into one an hour: there may be thousands
/// of backends.
fn fold(rows: &mut VecDeque<Minute>) {
    let Some(at) = rows.len().checked_sub(SINGLE) else {
        return;
    };
    let (Some(before), Some(row)) = (at.checked_sub(1).and_then(|it| rows.get(it)), rows.get(at))
    else {
        return;
    };
    let hour = |row: &Minute| row.start.duration_trunc(TimeDelta::hours(1)).ok();
    if hour(before) != hour(row) {
        return;
    }
    let Some(row) = rows.remove(at) else { return };
    if let Some(into) = rows.get_mut(at - 1) {
        into.add(&row);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_rows_are_folded_and_nothing_is_lost() {
        let begin: DateTime<Utc> = "2026-11-20T03:00:00Z".parse().unwrap_or_default();
        let mut rows = VecDeque::new();
        for i in 0..600 {
            fold(&mut rows);
            rows.push_back(Minute {
                start: begin + MINUTE * i,
                awake_ms: 60_000,
                cost: Usd::from_pico(7),
                ..Minute::default()
            });
        }
        assert!(rows.len() < SINGLE + 12, "{} rows", rows.len());
        assert_eq!(rows.iter().map(|row| row.cost.pico()).sum::<i128>(), 4200);
        assert_eq!(rows.iter().map(|row| row.awake_ms).sum::<u64>(), 36_000_000);
    }
}
