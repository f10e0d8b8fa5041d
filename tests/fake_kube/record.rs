//! What was asked of the server.

use std::collections::HashMap;
use std::sync::Arc;

use super::inner::Inner;
use super::request::Call;
use super::resources::Kind;

/// All requests so far, and the watches open now.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) calls: Vec<Call>,
    pub(super) open: HashMap<(&'static str, &'static str), usize>,
}

/// Counts a watch as open for as long as it lives.
pub(super) struct OpenWatch {
    inner: Arc<Inner>,
    kind: &'static Kind,
}

impl OpenWatch {
    pub(super) fn new(inner: Arc<Inner>, kind: &'static Kind) -> Self {
        *inner.record().open.entry(kind.id()).or_default() += 1;
        inner.stir();
        Self { inner, kind }
    }
}

impl Drop for OpenWatch {
    fn drop(&mut self) {
        if let Some(count) = self.inner.record().open.get_mut(&self.kind.id()) {
            *count -= 1;
        }
        self.inner.stir();
    }
}

impl Record {
    /// The calls of one verb on a resource, given as `pods` or `events.events.k8s.io`.
    pub(super) fn count(&self, verb: &str, resource: &str) -> usize {
        self.calls
            .iter()
            .filter(|c| c.verb == verb && c.param("continue").is_empty() && about(c, resource))
            .count()
    }
}

fn about(call: &Call, resource: &str) -> bool {
    call.resource == resource
        || resource
            .split_once('.')
            .is_some_and(|(plural, group)| call.resource == plural && call.group == group)
}
