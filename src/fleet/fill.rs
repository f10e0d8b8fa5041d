//! What nobody here watched, told later by somebody who did: a Prometheus.
//!
//! Only gaps are filled, each part of them once: whatever was watched stays as it was counted.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, DurationRound, TimeDelta, Utc};

use super::ledger::{Ledger, Minute, Span};
use super::money::Usd;
use super::request::Usage;
use super::{BackendId, Fleet};

/// What is older than this is kept by the day, the rest by the hour.
const BY_HOUR: TimeDelta = TimeDelta::hours(48);

/// What somebody saw of a cluster's past.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// Which cluster.
    pub cluster: Arc<str>,
    /// When somebody looked, oldest first.
    pub watched: Vec<Span>,
    /// What was spent then; of whom nothing is told, that cost nothing.
    pub spent: Vec<Spent>,
    /// Backends of which nothing can be told: their gaps stay.
    pub untold: HashSet<BackendId>,
}

/// A span in which a backend cost something, or did something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spent {
    /// Whose.
    pub backend: BackendId,
    /// From when.
    pub from: DateTime<Utc>,
    /// Until when.
    pub to: DateTime<Utc>,
    /// Dollars an hour of its machines; `None` where a price of one of them is not known: then the span stays a gap.
    pub rate: Option<Usd>,
    /// Whether anything ran or waited; `None` where nobody read that.
    pub busy: Option<bool>,
    /// Requests answered.
    pub requests: u64,
    /// Their tokens.
    pub usage: Usage,
}

impl Fleet {
    /// Somebody knows a cluster's past since `from`: accounts of backends that nobody here knew before begin there.
    pub(super) fn begin_past(&mut self, cluster: &str, from: DateTime<Utc>) {
        self.started = self.started.min(from);
        for at in self.on_cluster(cluster) {
            Arc::make_mut(&mut self.backends[at])
                .ledger
                .reach_back(from);
        }
    }

    /// Fills gaps with what somebody saw.
    pub(super) fn fill(&mut self, told: &Told) {
        let now = self.now;
        let mut by_backend: HashMap<&BackendId, Vec<&Spent>> = HashMap::new();
        for it in &told.spent {
            by_backend.entry(&it.backend).or_default().push(it);
        }
        for at in self.on_cluster(&told.cluster) {
            let id = &self.backends[at].id;
            if self.backends[at].ledger.gaps.is_empty() || told.untold.contains(id) {
                continue;
            }
            let spent = by_backend.remove(id).unwrap_or_default();
            let price = self.backends[at].hosted().and_then(|it| it.price);
            let b = Arc::make_mut(&mut self.backends[at]);
            let cost = |it: &Usage| price.map(|p| p.of(it.input, it.cached, it.output));
            b.ledger.fill(&told.watched, &spent, &cost, now);
        }
    }

    fn on_cluster(&self, cluster: &str) -> Vec<usize> {
        let here = |id: &BackendId| self.clusters.len() == 1 || self.name_within(id).0 == cluster;
        let all = self.backends.iter().enumerate();
        all.filter(|(_, b)| here(&b.id)).map(|(at, _)| at).collect()
    }
}

impl Ledger {
    fn fill(
        &mut self,
        watched: &[Span],
        spent: &[&Spent],
        cost: &dyn Fn(&Usage) -> Option<Usd>,
        now: DateTime<Utc>,
    ) {
        let gaps = std::mem::take(&mut self.gaps);
        let mut left = gaps.clone();
        for gap in &gaps {
            for seen in watched.iter().filter_map(|it| common(*it, *gap)) {
                let mut open = vec![seen];
                for it in spent {
                    let Some(part) = common((it.from, it.to), seen) else {
                        continue;
                    };
                    match it.rate {
                        None => open = without(&open, part),
                        // What was counted belongs to the end of its span.
                        Some(rate) => self.spend(it, rate, part, it.to == part.1, cost, now),
                    }
                }
                for part in open {
                    let millis = (part.1 - part.0).num_milliseconds() as u64;
                    self.unobserved_ms = self.unobserved_ms.saturating_sub(millis);
                    self.filled_ms += millis;
                    left = without(&left, part);
                }
            }
        }
        self.gaps = left;
    }

    fn spend(
        &mut self,
        it: &Spent,
        rate: Usd,
        (from, to): Span,
        counts: bool,
        cost: &dyn Fn(&Usage) -> Option<Usd>,
        now: DateTime<Utc>,
    ) {
        let millis = (to - from).num_milliseconds() as u64;
        let awake = if rate > Usd::ZERO { millis } else { 0 };
        let busy = if it.busy == Some(true) { awake } else { 0 };
        self.awake.add(rate, 1, to - from);
        self.awake_ms += awake;
        self.busy_ms += busy;
        match it.busy {
            Some(false) => self.idle.add(rate, 1, to - from),
            Some(true) => {}
            None => self.unread_ms += awake,
        }
        let (requests, usage) = if counts {
            (it.requests, it.usage)
        } else {
            Default::default()
        };
        let tokens = cost(&usage).unwrap_or_default();
        self.requests += requests;
        self.tokens_in += usage.input;
        self.tokens_cached += usage.cached;
        self.tokens_out += usage.output;
        self.tokens += tokens;
        if awake == 0 && requests == 0 && usage == Usage::default() {
            return;
        }
        let row = self.row_of(from, now);
        row.awake_ms += awake;
        row.busy_ms += busy;
        row.requests += requests;
        row.tokens_in += usage.input;
        row.tokens_out += usage.output;
        row.tokens += tokens;
        // As in a running account: parts of a row are rounded together.
        let before = row.meter.total();
        row.meter.add(rate, 1, to - from);
        row.cost += row.meter.total() - before + tokens;
    }

    /// The row in which something of the past is written: of its hour, or of its day where that is long ago.
    fn row_of(&mut self, at: DateTime<Utc>, now: DateTime<Utc>) -> &mut Minute {
        let long = if now - at > BY_HOUR {
            TimeDelta::days(1)
        } else {
            TimeDelta::hours(1)
        };
        let start = at.duration_trunc(long).unwrap_or(at);
        let rows = Arc::make_mut(&mut self.minutes);
        let place = rows.partition_point(|row| row.start < start);
        if rows.get(place).is_none_or(|row| row.start >= start + long) {
            let row = Minute {
                start,
                ..Minute::default()
            };
            rows.insert(place, row);
        }
        &mut rows[place]
    }
}

/// What two spans have in common.
fn common(a: Span, b: Span) -> Option<Span> {
    let (from, to) = (a.0.max(b.0), a.1.min(b.1));
    (from < to).then_some((from, to))
}

/// What is left of spans without a part of them.
fn without(spans: &[Span], part: Span) -> Vec<Span> {
    let mut left = Vec::with_capacity(spans.len() + 1);
    for it in spans {
        if common(*it, part).is_none() {
            left.push(*it);
            continue;
        }
        if it.0 < part.0 {
            left.push((it.0, part.0));
        }
        if part.1 < it.1 {
            left.push((part.1, it.1));
        }
    }
    left
}

#[cfg(test)]
mod tests;
