//! One backend as the gateway reaches it: address, key, circuit, and what is in flight to it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use http::{HeaderValue, Uri};

use crate::fleet::BackendId;
use crate::gateway::Upstream;
use crate::gateway::upstream::circuit::Circuit;

/// The paths that are forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    /// `/v1/chat/completions`
    Chat,
    /// `/v1/completions`
    Completions,
}

/// One backend, ready to be sent to.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) id: BackendId,
    /// Its name as a header value.
    pub(crate) name: HeaderValue,
    /// The model's name there as JSON, where it differs.
    pub(crate) model: Option<String>,
    pub(crate) authorization: Option<HeaderValue>,
    pub(crate) in_flight: AtomicU32,
    chat: Uri,
    completions: Uri,
    circuit: Mutex<Circuit>,
}

/// A mutex whose holder panicked still holds a usable value here: every change to it is one step.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Slot {
    /// Prepares `upstream`.
    ///
    /// # Errors
    /// Where its address or its key cannot be sent.
    pub(crate) fn new(upstream: Upstream) -> Result<Self, String> {
        let base = upstream.url.trim_end_matches('/');
        let uri = |path: &str| {
            format!("{base}/v1/{path}")
                .parse::<Uri>()
                .ok()
                .filter(|uri| uri.host().is_some())
                .ok_or_else(|| format!("{}: `{base}` is not an address", upstream.backend))
        };
        let authorization = upstream
            .key
            .as_ref()
            .map(|key| {
                HeaderValue::from_str(&format!("Bearer {}", key.0))
                    .map(|mut value| {
                        value.set_sensitive(true);
                        value
                    })
                    .map_err(|_| {
                        format!("{}: the key cannot be sent in a header", upstream.backend)
                    })
            })
            .transpose()?;
        Ok(Self {
            name: HeaderValue::from_str(upstream.backend.as_str())
                .unwrap_or(HeaderValue::from_static("unnamed")),
            chat: uri("chat/completions")?,
            completions: uri("completions")?,
            model: upstream
                .model
                .map(|name| serde_json::Value::String(name).to_string()),
            authorization,
            in_flight: AtomicU32::new(0),
            circuit: Mutex::default(),
            id: upstream.backend,
        })
    }

    /// Where a request goes.
    pub(crate) fn uri(&self, path: Path) -> Uri {
        match path {
            Path::Chat => self.chat.clone(),
            Path::Completions => self.completions.clone(),
        }
    }

    /// Its circuit, for a moment.
    pub(crate) fn circuit(&self) -> MutexGuard<'_, Circuit> {
        lock(&self.circuit)
    }
}

/// A request on its way to a backend; counted as long as it lives.
#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) slot: Arc<Slot>,
    told: bool,
}

impl Flight {
    /// Counts a request to `slot`; `None` when its circuit lets none through.
    pub(crate) fn begin(slot: &Arc<Slot>, now: DateTime<Utc>) -> Option<Self> {
        slot.circuit().begin(now).then(|| {
            slot.in_flight.fetch_add(1, Ordering::SeqCst);
            Self {
                slot: Arc::clone(slot),
                told: false,
            }
        })
    }

    /// It answered.
    pub(crate) fn succeed(&mut self) {
        self.told = true;
        self.slot.circuit().succeed();
    }

    /// It did not answer, or with a server error.
    pub(crate) fn fail(&mut self, now: DateTime<Utc>) {
        self.told = true;
        self.slot.circuit().fail(now);
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
    }
}
