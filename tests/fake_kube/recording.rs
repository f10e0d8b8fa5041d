//! Looking at what was asked, and waiting for it.

use std::time::Duration;

use super::FakeKube;
use super::request::Call;
use super::resources;

impl FakeKube {
    /// All requests so far.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.inner.record().calls.clone()
    }

    /// All requests since the last time; they are forgotten.
    pub(crate) fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.inner.record().calls)
    }

    /// All requests that may have changed something, dry runs included: neither reads nor reviews.
    pub(crate) fn writes(&self) -> Vec<Call> {
        self.calls().into_iter().filter(Call::is_write).collect()
    }

    /// How many lists of a resource were begun; further pages are not counted.
    pub(crate) fn count_lists(&self, resource: &str) -> usize {
        self.inner.record().count("list", resource)
    }

    /// How many watches of a resource were opened.
    pub(crate) fn count_watches(&self, resource: &str) -> usize {
        self.inner.record().count("watch", resource)
    }

    /// How many watches of a resource are open now.
    pub(crate) fn open_watches(&self, resource: &str) -> usize {
        let kind = resources::named(resource).unwrap_or_else(|| panic!("not served: {resource}"));
        self.inner
            .record()
            .open
            .get(&kind.id())
            .copied()
            .unwrap_or(0)
    }

    /// Waits until something holds; looks whenever a request arrives, a watch opens or closes, or an object changes.
    pub(crate) async fn wait_for(&self, holds: impl Fn(&Self) -> bool, timeout: Duration) -> bool {
        let mut activity = self.inner.activity.subscribe();
        let wait = async {
            while !holds(self) {
                if activity.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::time::timeout(timeout, wait).await.is_ok()
    }
}
