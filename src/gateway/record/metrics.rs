//! The gateway's own page of metrics, in Prometheus' text format 0.0.4.
//!
//! Where OpenTelemetry's conventions for generative AI have a name, it is that one, with the buckets they recommend
//! (`gen_ai.server.request.duration`, `gen_ai.server.time_to_first_token`, `gen_ai.client.token.usage`), written as
//! Prometheus has it: dots become underscores, the unit comes last. What they do not know begins with `fleetctl_`.

mod histogram;
mod text;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use self::histogram::Histogram;
use crate::fleet::request::{Operation, Route};
use crate::fleet::{BackendId, ModelId, RequestRecord, Usd};
use crate::gateway::upstream::slot::lock;

pub(crate) use self::text::Gauges;

/// Seconds; `gen_ai.server.request.duration`.
const DURATION: &[f64] = &[
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
];
/// Seconds; `gen_ai.server.time_to_first_token`.
const FIRST_TOKEN: &[f64] = &[
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];
/// Tokens; `gen_ai.client.token.usage`.
const TOKENS: &[f64] = &[
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1024.0,
    4096.0,
    16384.0,
    65536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];
/// Seconds; a cold start takes minutes.
const HELD: &[f64] = &[
    1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 180.0, 240.0, 300.0, 480.0, 600.0,
];

/// What was answered since the start.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    series: RwLock<HashMap<Labels, Arc<Mutex<Series>>>>,
}

/// What tells one series from another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Labels {
    model: ModelId,
    /// `None`: nobody answered.
    backend: Option<BackendId>,
    operation: Operation,
    /// The status that the client saw.
    status: u16,
    route: Route,
}

#[derive(Debug)]
struct Series {
    requests: u64,
    unmetered: u64,
    partial: u64,
    input: u64,
    cached: u64,
    output: u64,
    reasoning: u64,
    cost: Usd,
    duration: Histogram,
    first_token: Histogram,
    input_sizes: Histogram,
    output_sizes: Histogram,
    held: Histogram,
}

impl Default for Series {
    fn default() -> Self {
        Self {
            requests: 0,
            unmetered: 0,
            partial: 0,
            input: 0,
            cached: 0,
            output: 0,
            reasoning: 0,
            cost: Usd::ZERO,
            duration: Histogram::new(DURATION),
            first_token: Histogram::new(FIRST_TOKEN),
            input_sizes: Histogram::new(TOKENS),
            output_sizes: Histogram::new(TOKENS),
            held: Histogram::new(HELD),
        }
    }
}

impl Metrics {
    /// Counts a request that has ended.
    pub(crate) fn record(&self, record: &RequestRecord) {
        let labels = Labels {
            model: record.model.clone(),
            backend: record.backend.clone(),
            operation: record.operation,
            status: record.status,
            route: record.route,
        };
        lock(&self.series(labels)).count(record);
    }

    fn series(&self, labels: Labels) -> Arc<Mutex<Series>> {
        let known = self.series.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(series) = known.get(&labels) {
            return Arc::clone(series);
        }
        drop(known);
        let mut known = self.series.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(labels).or_default())
    }
}

impl Series {
    fn count(&mut self, record: &RequestRecord) {
        self.requests += 1;
        self.partial += u64::from(record.partial);
        self.cost += record.cost.unwrap_or_default();
        self.duration.observe(seconds(record.took));
        if let Some(ttft) = record.ttft {
            self.first_token.observe(seconds(ttft));
            self.unmetered += u64::from(record.usage.is_none());
        }
        if let Some(held) = record.held {
            self.held.observe(seconds(held));
        }
        if let Some(usage) = record.usage {
            self.input += usage.input;
            self.cached += usage.cached;
            self.output += usage.output;
            self.reasoning += usage.reasoning;
            self.input_sizes.observe(usage.input as f64);
            self.output_sizes.observe(usage.output as f64);
        }
    }

    fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.unmetered += other.unmetered;
        self.partial += other.partial;
        self.input += other.input;
        self.cached += other.cached;
        self.output += other.output;
        self.reasoning += other.reasoning;
        self.cost += other.cost;
        for (mine, theirs) in [
            (&mut self.duration, &other.duration),
            (&mut self.first_token, &other.first_token),
            (&mut self.input_sizes, &other.input_sizes),
            (&mut self.output_sizes, &other.output_sizes),
            (&mut self.held, &other.held),
        ] {
            mine.add(theirs);
        }
    }
}

fn seconds(span: chrono::TimeDelta) -> f64 {
    span.num_microseconds().unwrap_or(i64::MAX) as f64 / 1e6
}

#[cfg(test)]
mod tests;
