//! The account of one request: it becomes one record, however the request ends.

use std::sync::Arc;

use tokio::time::Instant;

use crate::fleet::backend::{Kind, Price};
use crate::fleet::request::{Operation, Route, Usage};
use crate::fleet::{Backend, ModelId, Observation, RequestRecord, Usd};
use crate::gateway::Gate;

/// The status of a request whose client went away.
pub(crate) const CLIENT_CLOSED: u16 = 499;

/// What a request is known to be so far. Dropping it sends the record: no path can forget it.
#[derive(Debug)]
pub(crate) struct Account {
    gate: Arc<Gate>,
    arrived: Instant,
    holding: Option<Instant>,
    tariff: Tariff,
    record: Option<RequestRecord>,
}

/// A request as it came.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) at: Instant,
    pub(crate) id: String,
    pub(crate) model: ModelId,
    pub(crate) operation: Operation,
    pub(crate) key: Option<Arc<str>>,
    pub(crate) streamed: bool,
}

#[derive(Clone, Copy, Debug)]
enum Tariff {
    /// Nobody was sent anything.
    Nobody,
    /// Paid by the hour.
    SelfHosted,
    /// Paid by the token.
    Hosted(Option<Price>),
}

impl Account {
    /// Opens the account of a request that just arrived. Until told otherwise its client went away.
    pub(crate) fn open(gate: &Arc<Gate>, arrival: Arrival) -> Self {
        let at = gate.clock.now() - gate.clock.in_fleet(arrival.at.elapsed());
        let record = RequestRecord {
            id: arrival.id,
            at,
            model: arrival.model,
            operation: arrival.operation,
            key: arrival.key,
            backend: None,
            route: Route::None,
            status: CLIENT_CLOSED,
            streamed: arrival.streamed,
            ttft: None,
            took: chrono::TimeDelta::zero(),
            held: None,
            usage: None,
            partial: false,
            cost: None,
            error: Some("the client went away".to_owned()),
        };
        Self {
            gate: Arc::clone(gate),
            arrived: arrival.at,
            holding: None,
            tariff: Tariff::Nobody,
            record: Some(record),
        }
    }

    /// Fleet time now.
    pub(crate) fn now(&self) -> chrono::DateTime<chrono::Utc> {
        self.gate.clock.now()
    }

    /// A span of fleet time as wall time.
    pub(crate) fn on_wall(&self, fleet: chrono::TimeDelta) -> std::time::Duration {
        self.gate.clock.on_wall(fleet)
    }

    fn note(&mut self, change: impl FnOnce(&mut RequestRecord)) {
        if let Some(record) = &mut self.record {
            change(record);
        }
    }

    /// It is being held since then.
    pub(crate) fn hold_since(&mut self, since: Instant) {
        self.holding = Some(since);
    }

    /// It is no longer held, and was since then.
    pub(crate) fn held_since(&mut self, since: Instant) {
        self.holding = None;
        let held = self.gate.clock.in_fleet(since.elapsed());
        self.note(|record| record.held = Some(held));
    }

    /// Whether it was held.
    pub(crate) fn was_held(&self) -> bool {
        self.held().is_some()
    }

    /// How long it was held, fleet time.
    pub(crate) fn held(&self) -> Option<chrono::TimeDelta> {
        self.record.as_ref().and_then(|record| record.held)
    }

    /// It is on its way to `backend`.
    pub(crate) fn sent(&mut self, backend: &Backend, route: Route) {
        self.tariff = match &backend.kind {
            Kind::SelfHosted(_) => Tariff::SelfHosted,
            Kind::Hosted(facts) => Tariff::Hosted(facts.price),
        };
        let id = backend.id.clone();
        self.note(|record| {
            record.backend = Some(id);
            record.route = route;
        });
    }

    /// The backend that it was sent to answers for none of it: nobody is charged for that.
    pub(crate) fn refused(&mut self) {
        self.tariff = Tariff::Nobody;
        self.note(|record| {
            record.backend = None;
            record.route = Route::None;
        });
    }

    /// The first byte of its answer is here.
    pub(crate) fn first_byte(&mut self, status: u16) {
        let ttft = self.gate.clock.in_fleet(self.arrived.elapsed());
        self.note(|record| {
            record.status = status;
            record.ttft = Some(ttft);
            record.error = None;
        });
    }

    /// It was answered with an error.
    pub(crate) fn failed(&mut self, status: u16, error: &str) {
        self.note(|record| {
            record.status = status;
            record.error = Some(error.to_owned());
        });
    }

    /// Its answer broke off after it had begun.
    pub(crate) fn broke(&mut self, error: &str) {
        self.note(|record| {
            record.partial = true;
            record.error = Some(error.to_owned());
        });
    }

    /// Its client went away before the answer was whole.
    pub(crate) fn abandoned(&mut self) {
        self.note(|record| {
            record.status = CLIENT_CLOSED;
            record.partial = true;
            record.error = Some("the client went away".to_owned());
        });
    }

    /// What the answer said of tokens.
    pub(crate) fn used(&mut self, usage: Option<Usage>) {
        self.note(|record| record.usage = usage);
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let Some(mut record) = self.record.take() else {
            return;
        };
        let clock = self.gate.clock;
        record.took = clock.in_fleet(self.arrived.elapsed());
        if let Some(since) = self.holding {
            record.held = Some(clock.in_fleet(since.elapsed()));
        }
        record.cost = match (self.tariff, record.usage) {
            (Tariff::Nobody | Tariff::SelfHosted, _) => Some(Usd::ZERO),
            (Tariff::Hosted(Some(price)), Some(usage)) => {
                Some(price.of(usage.input, usage.cached, usage.output))
            }
            // A hosted API charges nothing for what it refused.
            (Tariff::Hosted(_), None) if record.status >= 400 && record.ttft.is_none() => {
                Some(Usd::ZERO)
            }
            (Tariff::Hosted(_), _) => None,
        };
        let record = Arc::new(record);
        self.gate.metrics.record(&record);
        if let Some(log) = &self.gate.access_log {
            log.write(Arc::clone(&record));
        }
        self.gate.observe(Observation::Request(record));
    }
}
