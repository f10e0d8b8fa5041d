//! Figures of the whole fleet, derived from its backends.

use std::sync::Arc;

use chrono::{DateTime, Datelike, NaiveTime, TimeDelta, Utc};

use super::backend::Backend;
use super::id::{BackendId, ModelId};
use super::ledger::Ledger;
use super::live::WINDOW;
use super::money::Usd;
use super::wake::State;
use super::{Fleet, Model};

/// Hours of a month, for costs that come by the month.
const HOURS_PER_MONTH: i128 = 730;
/// A span of wall time without any tick longer than this was not observed.
pub(super) const UNOBSERVED: TimeDelta = TimeDelta::seconds(60);
const HOUR: TimeDelta = TimeDelta::hours(1);

impl Fleet {
    /// The backend of that name.
    pub fn backend(&self, id: &BackendId) -> Option<&Arc<Backend>> {
        self.backends.iter().find(|b| b.id == *id)
    }

    /// Since when a backend is in its state; `None` where it was so when it was first seen, and its cluster does not say.
    pub fn knows_since(&self, b: &Backend) -> Option<DateTime<Utc>> {
        let is_told = match &b.state {
            State::Asleep { .. }
            | State::Ready { .. }
            | State::Down { .. }
            | State::Unknown { .. } => false,
            State::Waking(_)
            | State::Warm { .. }
            | State::Draining(_)
            | State::Failed(_)
            | State::Limited { .. } => true,
        };
        let since = b.state.since();
        let is_seen = b.live.met_at.is_none_or(|met| since > met);
        (is_told || is_seen).then_some(since)
    }

    /// The model of that name.
    pub fn model(&self, id: &ModelId) -> Option<&Arc<Model>> {
        self.models.iter().find(|m| m.id == *id)
    }

    /// The backends of a model, in fallback order.
    pub fn backends_of<'a>(&'a self, model: &'a ModelId) -> impl Iterator<Item = &'a Arc<Backend>> {
        self.backends.iter().filter(move |b| b.model == *model)
    }

    /// What it has cost to answer requests of a model elsewhere while a backend of it woke (cold policy *bridge*).
    pub fn bridged_cost(&self, model: &ModelId) -> Usd {
        self.backends_of(model)
            .map(|b| b.ledger.bridged_cost)
            .fold(Usd::ZERO, |sum, cost| sum + cost)
    }

    /// Dollars an hour now: capacity allocated, hosted tokens of the last five minutes, fixed costs. `None` where a rate or a price is unknown.
    pub fn burn(&self) -> Option<Usd> {
        self.backends
            .iter()
            .map(|b| b.burn(self.now))
            .sum::<Option<Usd>>()
            .map(|sum| sum + self.fixed_per_hour())
    }

    /// Dollars an hour of what is known, and whether something is not.
    pub fn burn_known(&self) -> (Usd, bool) {
        let known = self
            .backends
            .iter()
            .filter_map(|b| b.burn(self.now))
            .sum::<Usd>()
            + self.fixed_per_hour();
        (known, self.burn().is_none())
    }

    /// Dollars an hour that come with self-hosting whatever the traffic.
    pub fn fixed_per_hour(&self) -> Usd {
        self.fixed_per_month
            .split(HOURS_PER_MONTH)
            .unwrap_or_default()
    }

    /// Dollars accrued since this process began to watch, fixed costs included.
    pub fn spent(&self) -> Usd {
        let fixed = over(self.fixed_per_hour(), self.now - self.started);
        self.spent_by_present() + self.spent_by_past() + fixed
    }

    /// The part of it that backends cost which are here.
    pub fn spent_by_present(&self) -> Usd {
        self.backends.iter().map(|b| b.ledger.total()).sum()
    }

    /// The part of it that backends cost which are not here any more.
    pub fn spent_by_past(&self) -> Usd {
        let ledgers = self.past.values().filter_map(|it| it.ledger.as_ref());
        ledgers.map(Ledger::total).sum()
    }

    /// Dollars accrued since midnight (UTC) or since this process began to watch, whichever is later.
    pub fn spent_today(&self) -> Usd {
        let midnight = self
            .now
            .with_time(NaiveTime::MIN)
            .single()
            .unwrap_or(self.now)
            .max(self.started);
        let present = self.backends.iter().map(|b| &b.ledger);
        let gone = self.past.values().filter_map(|it| it.ledger.as_ref());
        let rows: Usd = present
            .chain(gone)
            .flat_map(|it| it.minutes.iter())
            .filter(|m| m.start >= midnight - TimeDelta::seconds(59))
            .map(|m| m.cost)
            .sum();
        rows + over(self.fixed_per_hour(), self.now - midnight)
    }

    /// What the month will have cost from the start of watching to its end, if the burn stays as it is.
    pub fn projected_month(&self) -> Option<Usd> {
        let (year, month) = if self.now.month() == 12 {
            (self.now.year() + 1, 1)
        } else {
            (self.now.year(), self.now.month() + 1)
        };
        let end = chrono::NaiveDate::from_ymd_opt(year, month, 1)?
            .and_time(NaiveTime::MIN)
            .and_utc();
        Some(self.spent() + over(self.burn()?, end - self.now))
    }

    /// The longest time that nobody watched a backend: what it cost meanwhile is in no figure.
    pub fn unobserved(&self) -> TimeDelta {
        // What nobody counts at all is unknown for other reasons, and shown as that.
        let counted = self.backends.iter().filter(|b| !b.ledger.uncounted);
        let longest = counted.map(|b| b.ledger.unobserved_ms).max();
        TimeDelta::milliseconds(longest.unwrap_or(0) as i64)
    }

    /// The longest time that nobody watched a backend from here, and that a Prometheus told of.
    pub fn filled(&self) -> TimeDelta {
        let longest = self.backends.iter().map(|b| b.ledger.filled_ms).max();
        TimeDelta::milliseconds(longest.unwrap_or(0) as i64)
    }

    /// Requests answered a second over the last five minutes, all backends.
    pub fn requests_per_s(&self) -> f64 {
        self.backends
            .iter()
            .filter_map(|b| b.live.requests_per_s)
            .sum()
    }

    /// The hosted share of what was answered over the last five minutes, 0 to 1; `None` when nothing was, or where nobody
    /// counts what a hosted backend answers.
    pub fn share_hosted(&self) -> Option<f64> {
        if self.backends.iter().any(|b| b.goes_uncounted()) {
            return None;
        }
        let recent = self
            .history
            .iter()
            .rev()
            .take_while(|p| self.now - p.start <= WINDOW);
        let (own, hosted) = recent.fold((0_u64, 0_u64), |(s, h), p| {
            (s + u64::from(p.to_self), h + u64::from(p.to_hosted))
        });
        (own + hosted > 0).then(|| hosted as f64 / (own + hosted) as f64)
    }
}

impl Backend {
    /// Requests go to it, and nobody counts them.
    pub(super) fn goes_uncounted(&self) -> bool {
        self.ledger.uncounted && self.weight > 0
    }

    /// Dollars an hour now: allocated capacity, or the tokens of the last five minutes. `None` where the rate or price is unknown and applies.
    pub fn burn(&self, now: DateTime<Utc>) -> Option<Usd> {
        match self.hosted() {
            None => self.rate_now(),
            Some(facts) => {
                let (cost, requests, span) = self.recent(now, WINDOW);
                if self.ledger.uncounted || (requests > 0 && facts.price.is_none()) {
                    return None;
                }
                Some(
                    cost.times(i128::from(HOUR.num_milliseconds()))
                        .split(i128::from(span.num_milliseconds()))
                        .unwrap_or_default(),
                )
            }
        }
    }

    /// Cost and requests of the rows within `window` before `now`, and the span that they really cover.
    pub(super) fn recent(&self, now: DateTime<Utc>, window: TimeDelta) -> (Usd, u64, TimeDelta) {
        let rows: Vec<_> = self
            .ledger
            .minutes
            .iter()
            .rev()
            .take_while(|m| m.start > now - window)
            .collect();
        let span = rows
            .last()
            .map_or(TimeDelta::zero(), |oldest| now - oldest.start);
        (
            rows.iter().map(|m| m.cost).sum(),
            rows.iter().map(|m| m.requests).sum(),
            span.max(TimeDelta::seconds(15)),
        )
    }

    /// Its full name: `model/backend`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.model, self.id)
    }
}

/// What `per_hour` costs over `span`.
pub(super) fn over(per_hour: Usd, span: TimeDelta) -> Usd {
    per_hour
        .times(i128::from(span.num_milliseconds().max(0)))
        .split(i128::from(HOUR.num_milliseconds()))
        .unwrap_or_default()
}
