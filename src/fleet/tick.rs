//! The passing of time: accrual, timers, and the figures that age.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, DurationRound, TimeDelta, Utc};

use super::backend::SleepWay;
use super::history::{POINTS, Point, STEP};
use super::live::WINDOW;
use super::machine::Input;
use super::message::{Action, Actor, AuditEntry};
use super::wake::State;
use super::{Backend, BackendId, Fleet};

/// A pinned backend that failed is tried again after this long, doubled for each failure in a row up to [`RETRY_MOST`].
const RETRY_FIRST: TimeDelta = TimeDelta::seconds(60);
const RETRY_MOST: TimeDelta = TimeDelta::minutes(10);
/// Backends on clusters are accrued this often, seconds.
const ACCRUED_EVERY: i64 = 10;

impl Fleet {
    /// Lets time pass up to `now` and gives back what is to be performed. Once a second of wall time is enough.
    pub fn tick(&mut self, now: DateTime<Utc>) -> Vec<Action> {
        let now = self.now.max(now);
        self.now = now;
        let gap = self.gap();
        let mut actions = Vec::new();
        for i in 0..self.backends.len() {
            if self.backends[i].place.is_some() {
                self.tick_placed(i, now);
                continue;
            }
            Arc::make_mut(&mut self.backends[i]).accrue(now, gap);
            let id = self.backends[i].id.clone();
            actions.extend(self.feed_at(i, Input::Tick, now));
            actions.extend(self.start_again(&id, now));
            self.keep_hours(&id, now);
            actions.extend(self.keep_pin(&id, now));
            if self.backends[i].is_idle_long_enough(now) {
                let after = self.backends[i]
                    .self_hosted()
                    .and_then(|f| f.idle_after)
                    .unwrap_or_default();
                let by = Actor::Policy("idle timer".into());
                let result = format!("idle for {}", super::machine::span(after));
                self.write(AuditEntry {
                    at: now,
                    by,
                    verb: "sleep".into(),
                    target: self.backends[i].full_name(),
                    result,
                    bad: false,
                });
                actions.extend(self.feed(
                    &id,
                    Input::Drain {
                        by: "idle timer".into(),
                    },
                    now,
                ));
            }
        }
        actions.extend(self.make_room(now));
        self.refresh(now);
        self.review();
        actions
    }

    /// A cluster moves its backends on; here they only cost, and wakes grow late. With thousands of them each is accrued in
    /// its turn.
    fn tick_placed(&mut self, at: usize, now: DateTime<Utc>) {
        let gap = self.gap();
        if matches!(self.backends[at].state, State::Waking(_)) {
            self.feed_at(at, Input::Tick, now);
        } else if (now.timestamp() + at as i64) % ACCRUED_EVERY == 0 {
            Arc::make_mut(&mut self.backends[at]).accrue(now, gap);
            let b = &self.backends[at];
            let stays = matches!(&b.state, State::Draining(drain) if b.doing.is_none() && now >= drain.deadline);
            if stays || matches!(b.state, State::Unknown { .. }) {
                // Its cluster may have said all that it says: pods that stay after all, or whose pages nobody reads.
                let id = b.id.clone();
                self.follow_again(&id, now);
            }
        }
    }

    /// Ends a pin that is over, and keeps what is pinned warm.
    fn keep_pin(&mut self, id: &BackendId, now: DateTime<Utc>) -> Vec<Action> {
        let Some(b) = self.backend(id) else {
            return Vec::new();
        };
        let Some(pin) = &b.pin else { return Vec::new() };
        if b.place.is_some() {
            // A cluster keeps it; that it is over is told, and lifting it is for an operator.
            return Vec::new();
        }
        if pin.until.is_some_and(|until| until <= now) {
            let entry = AuditEntry {
                at: now,
                by: Actor::Policy("pin".into()),
                verb: "unpin".into(),
                target: b.full_name(),
                result: format!("the pin is over: {}", pin.reason),
                bad: false,
            };
            self.change(id, |b| b.pin = None);
            self.write(entry);
            return Vec::new();
        }
        let startable = b.sleep_way() != SleepWay::Never && b.drained.is_none();
        let wake = match &b.state {
            State::Asleep { .. } => startable,
            State::Failed(failure) => {
                let failures = b
                    .wakes
                    .iter()
                    .rev()
                    .take_while(|w| w.failure.is_some())
                    .count()
                    .clamp(1, 8) as u32;
                startable
                    && now - failure.since >= (RETRY_FIRST * (1 << (failures - 1))).min(RETRY_MOST)
            }
            State::Unknown { .. }
            | State::Waking(_)
            | State::Warm { .. }
            | State::Draining(_)
            | State::Ready { .. }
            | State::Limited { .. }
            | State::Down { .. } => false,
        };
        if wake {
            self.feed(id, Input::Wake { by: "pin".into() }, now)
        } else {
            Vec::new()
        }
    }

    /// Computes again what only time or neighbours change: shares, hosted latencies, the chart's newest point.
    fn refresh(&mut self, now: DateTime<Utc>) {
        let answered: Vec<u64> = self
            .backends
            .iter()
            .map(|b| b.recent(now, WINDOW).1)
            .collect();
        let mut hosted_ttft: HashMap<BackendId, Vec<f64>> = HashMap::new();
        for record in self
            .requests
            .iter()
            .rev()
            .take_while(|r| now - r.at <= WINDOW)
        {
            if let (Some(id), Some(ttft)) = (&record.backend, record.ttft) {
                hosted_ttft
                    .entry(id.clone())
                    .or_default()
                    .push(ttft.num_microseconds().unwrap_or(0) as f64 / 1e6);
            }
        }
        let shares = self.shares(&answered);
        for (i, share) in shares.into_iter().enumerate() {
            let b = &self.backends[i];
            // What nobody here has a gateway to is known by its own page alone.
            if b.live.share == share && b.place.is_some() {
                continue;
            }
            let b = Arc::make_mut(&mut self.backends[i]);
            b.live.share = share;
            if b.sample.is_some() {
                continue;
            }
            // No engine page: what the gateway saw is what is known.
            let (_, requests, span) = b.recent(now, WINDOW);
            let seconds = span.num_milliseconds() as f64 / 1000.0;
            let up = b.is_hosted() || matches!(b.state, State::Warm { .. } | State::Draining(_));
            b.live.requests_per_s =
                (up && b.ledger.requests > 0).then(|| requests as f64 / seconds);
            let out: u64 = b
                .ledger
                .minutes
                .iter()
                .rev()
                .take_while(|m| m.start > now - WINDOW)
                .map(|m| m.tokens_out)
                .sum();
            b.live.tokens_per_s = (up && b.ledger.requests > 0).then(|| out as f64 / seconds);
            let mut ttft = hosted_ttft.remove(&b.id).unwrap_or_default();
            ttft.sort_unstable_by(f64::total_cmp);
            b.live.ttft_p50 = quantile(&ttft, 0.5);
            b.live.ttft_p95 = quantile(&ttft, 0.95);
        }
        let burning = || {
            let each = self.backends.iter();
            let each = each.filter_map(|b| Some((&b.id, b.burn(now)?.as_f64())));
            each.filter(|(_, d)| *d > 0.0)
        };
        let last = self.history.back();
        let known = last.filter(|it| it.burn.iter().map(|(id, d)| (id, *d)).eq(burning()));
        if known.is_some_and(|it| now - it.start < STEP) {
            return;
        }
        let burn = known.map_or_else(
            || burning().map(|(id, d)| (id.clone(), d)).collect(),
            |it| Arc::clone(&it.burn),
        );
        self.point(now, |point| point.burn = burn);
    }

    /// Which part of the requests among which each backend stands it answered; there may be thousands, most of them still.
    fn shares(&self, answered: &[u64]) -> Vec<Option<f64>> {
        if answered.iter().all(|n| *n == 0) {
            return vec![None; answered.len()];
        }
        let divided = self.divided();
        let mut by_all: HashMap<usize, u64> = HashMap::new();
        for (among, n) in divided.iter().zip(answered) {
            *by_all.entry(*among).or_default() += n;
        }
        // Beside one whose requests nobody counts no share is known.
        let uncounted = divided.iter().zip(&self.backends);
        let uncounted: HashSet<usize> = uncounted
            .filter(|(_, b)| b.goes_uncounted())
            .map(|(among, _)| *among)
            .collect();
        let each = divided.iter().zip(answered);
        each.map(|(among, n)| {
            let all = by_all.get(among).copied().unwrap_or(0);
            (all > 0 && !uncounted.contains(among)).then(|| *n as f64 / all as f64)
        })
        .collect()
    }

    /// The chart's point for `now`, with empty ones for the time between where nothing happened.
    pub(super) fn point(&mut self, now: DateTime<Utc>, f: impl FnOnce(&mut Point)) {
        let start = now.duration_trunc(STEP).unwrap_or(now);
        let history = Arc::make_mut(&mut self.history);
        let mut next = history
            .back()
            .map_or(start, |last| last.start + STEP)
            .max(start - STEP * POINTS as i32);
        while next <= start {
            if history.len() == POINTS {
                history.pop_front();
            }
            history.push_back(Arc::new(Point {
                start: next,
                ..Point::default()
            }));
            next += STEP;
        }
        if let Some(last) = history.back_mut() {
            f(Arc::make_mut(last));
        }
    }
}

impl Backend {
    /// Whether its idle timer is over: nothing ran or waited for the whole time, counted from the end of the load or of the last request.
    fn is_idle_long_enough(&self, now: DateTime<Utc>) -> bool {
        self.idle_left(now)
            .is_some_and(|left| left <= TimeDelta::zero())
    }

    /// What is left of its idle timer; `None` where none runs: pinned, busy, not warm, or never by itself.
    pub fn idle_left(&self, now: DateTime<Utc>) -> Option<TimeDelta> {
        let State::Warm { since } = self.state else {
            return None;
        };
        let facts = self.self_hosted()?;
        let after = facts.idle_after?;
        let quiet = self.live.in_flight == 0
            && self.live.held == 0
            && self.live.running.unwrap_or(0) + self.live.waiting.unwrap_or(0) == 0;
        if self.pin.is_some() || self.drained.is_some() || facts.sleep == SleepWay::Never || !quiet
        {
            return None;
        }
        Some(self.live.active_at.map_or(since, |at| at.max(since)) + after - now)
    }
}

/// The `q`-quantile of sorted values by nearest rank.
fn quantile(sorted: &[f64], q: f64) -> Option<f64> {
    let at = ((sorted.len() as f64 * q).ceil() as usize).max(1) - 1;
    sorted.get(at).copied()
}
