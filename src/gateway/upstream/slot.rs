//! One backend as the gateway reaches it: address, key, circuit, and what is in flight to it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use http::{HeaderName, HeaderValue};
use tokio::sync::Notify;

use crate::fleet::BackendId;
use crate::gateway::Upstream;
use crate::gateway::upstream::address::{Address, credentials};
use crate::gateway::upstream::circuit::Circuit;
use crate::gateway::upstream::headroom::Teller;
use crate::gateway::upstream::wire::{Opener, Wires};

/// One backend, ready to be sent to.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) id: BackendId,
    /// Its name as a header value.
    pub(crate) name: HeaderValue,
    /// The model's name there as JSON, where it differs.
    pub(crate) model: Option<String>,
    pub(crate) address: Address,
    /// The header that carries its key.
    pub(crate) credentials: Option<(HeaderName, HeaderValue)>,
    /// A stream that says nothing for this long has failed, fleet time.
    pub(crate) stall_after: TimeDelta,
    /// It is asked for usage in every event of a stream.
    pub(crate) continuous_usage: bool,
    pub(crate) in_flight: AtomicU32,
    /// Open connections to it that nobody uses now.
    pub(crate) wires: Wires,
    pub(crate) opener: Opener,
    /// What it said of its limits.
    pub(crate) headroom: Teller,
    /// Told when a place in it is free again; its model's waiting room listens.
    freed: Arc<Notify>,
    circuit: Mutex<Circuit>,
    /// What it was made of.
    of: Upstream,
}

/// A mutex whose holder panicked still holds a usable value here: every change to it is one step.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Slot {
    /// Prepares `upstream`; `freed` is told when a place in it is free again.
    ///
    /// # Errors
    /// Where its address or its key cannot be sent.
    pub(crate) fn new(
        upstream: Upstream,
        opener: Opener,
        freed: Arc<Notify>,
    ) -> Result<Self, String> {
        Ok(Self {
            name: HeaderValue::from_str(upstream.backend.as_str())
                .unwrap_or(HeaderValue::from_static("unnamed")),
            address: Address::new(&upstream)?,
            credentials: credentials(&upstream)?,
            model: upstream
                .model
                .as_deref()
                .map(|name| serde_json::Value::from(name).to_string()),
            stall_after: upstream.stall_after,
            continuous_usage: upstream.continuous_usage,
            in_flight: AtomicU32::new(0),
            wires: Wires::default(),
            opener,
            headroom: Teller::default(),
            freed,
            circuit: Mutex::default(),
            id: upstream.backend.clone(),
            of: upstream,
        })
    }

    /// Whether it is what would be made of these.
    pub(crate) fn is_of(&self, upstream: &Upstream, freed: &Arc<Notify>) -> bool {
        self.of == *upstream && Arc::ptr_eq(&self.freed, freed)
    }

    /// Requests under way to it.
    pub(crate) fn busy(&self) -> u32 {
        self.in_flight.load(Ordering::SeqCst)
    }

    /// Its circuit, for a moment.
    pub(crate) fn circuit(&self) -> MutexGuard<'_, Circuit> {
        lock(&self.circuit)
    }

    /// How many more requests it may be sent at once; `None`: any number.
    pub(crate) fn free(&self, limit: Option<u32>) -> Option<u32> {
        limit.map(|limit| limit.saturating_sub(self.busy()))
    }
}

/// A request on its way to a backend; counted as long as it lives.
#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) slot: Arc<Slot>,
    /// The backend has a limit: somebody may wait for this place.
    limited: bool,
    told: bool,
}

impl Flight {
    /// Counts a request to `slot`; `None` when its circuit lets none through, or it has `limit` requests already.
    pub(crate) fn begin(slot: &Arc<Slot>, limit: Option<u32>, now: DateTime<Utc>) -> Option<Self> {
        let before = slot.in_flight.fetch_add(1, Ordering::SeqCst);
        let fits = limit.is_none_or(|limit| before < limit);
        if fits && slot.circuit().begin(now) {
            return Some(Self {
                slot: Arc::clone(slot),
                limited: limit.is_some(),
                told: false,
            });
        }
        slot.in_flight.fetch_sub(1, Ordering::SeqCst);
        None
    }

    /// It began to answer.
    pub(crate) fn succeed(&mut self) {
        self.told = true;
        self.slot.circuit().succeed();
    }

    /// Its answer came to a good end.
    pub(crate) fn complete(&mut self) {
        self.slot.circuit().complete();
    }

    /// It cannot answer anybody: nobody listens, or nothing comes.
    pub(crate) fn fail(&mut self, now: DateTime<Utc>) {
        self.told = true;
        self.slot.circuit().fail(now);
    }

    /// It answered with a server error, or broke its answer off: the request's doing, or its own.
    pub(crate) fn doubt(&mut self, now: DateTime<Utc>) {
        if !std::mem::replace(&mut self.told, true) {
            self.slot.circuit().doubt(now);
        }
    }

    /// Its answer, which had begun well, broke off.
    pub(crate) fn broke(&mut self, now: DateTime<Utc>) {
        self.told = true;
        self.slot.circuit().doubt(now);
    }

    /// It asked to be left alone.
    pub(crate) fn limit(&mut self, until: DateTime<Utc>) {
        self.told = true;
        self.slot.circuit().limit(until);
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.slot.in_flight.fetch_sub(1, Ordering::SeqCst);
        if !self.told {
            self.slot.circuit().abandon();
        }
        if self.limited {
            self.slot.freed.notify_one();
        }
    }
}
