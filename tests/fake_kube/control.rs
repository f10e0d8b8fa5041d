//! The knobs: access, trouble, watches, history, logs and proxies.

use std::sync::Arc;
use std::time::Duration;

use super::FakeKube;
use super::faults::{Matcher, Trouble};
use super::inner::Inner;
use super::object::Key;
use super::proxy::Answerer;
use super::request::Call;
use super::watch::Orders;

/// A fault that lasts until this is dropped.
pub(crate) struct FaultGuard {
    inner: Arc<Inner>,
    id: u64,
}

impl Drop for FaultGuard {
    fn drop(&mut self) {
        self.inner.faults().lift(self.id);
    }
}

fn matcher(of: impl Fn(&Call) -> bool + Send + Sync + 'static) -> Matcher {
    Arc::new(of)
}

/// A place of `namespace/pod` or `namespace/pod/container`.
fn place(of: &str) -> (Key, Option<&str>) {
    let mut parts = of.split('/');
    let mut next = || parts.next().unwrap_or_default().to_owned();
    let key = (next(), next());
    (key, of.split('/').nth(2))
}

impl FakeKube {
    /// Refuses a verb on a resource of a group, such as `patch`, `apps`, `deployments/scale`; `*` stands for any. A
    /// namespace of `""` means requests for the whole cluster. Later rules go before earlier ones.
    pub(crate) fn deny(&self, verb: &str, group: &str, resource: &str, namespace: Option<&str>) {
        self.inner
            .access()
            .rule(false, [verb, group, resource], namespace);
    }

    /// Allows what an earlier rule refuses.
    pub(crate) fn allow(&self, verb: &str, group: &str, resource: &str, namespace: Option<&str>) {
        self.inner
            .access()
            .rule(true, [verb, group, resource], namespace);
    }

    /// Allows everything again.
    pub(crate) fn allow_all(&self) {
        self.inner.access().clear();
    }

    /// Sets who asks.
    pub(crate) fn user(&self, name: &str, groups: &[&str]) {
        let mut access = self.inner.access();
        name.clone_into(&mut access.user);
        access.groups = groups.iter().map(|g| (*g).to_owned()).collect();
    }

    /// Whether the rules of whoever asks cannot be listed, as where a webhook authorizes.
    pub(crate) fn rules_incomplete(&self, so: bool) {
        self.inner.access().incomplete = so;
    }

    /// Wants a bearer token from now on, or none.
    pub(crate) fn require_token(&self, token: Option<&str>) {
        self.inner.access().token = token.map(str::to_owned);
    }

    fn trouble(
        &self,
        of: impl Fn(&Call) -> bool + Send + Sync + 'static,
        trouble: Trouble,
        left: Option<u32>,
    ) -> FaultGuard {
        let id = self.inner.faults().add(matcher(of), trouble, left);
        FaultGuard {
            inner: Arc::clone(&self.inner),
            id,
        }
    }

    /// Answers the next matching call with a status; several wait in a queue.
    pub(crate) fn fail_next(
        &self,
        of: impl Fn(&Call) -> bool + Send + Sync + 'static,
        status: u16,
        retry_after: Option<u32>,
    ) {
        let trouble = Trouble::Status(status, retry_after);
        self.inner.faults().add(matcher(of), trouble, Some(1));
    }

    /// Answers all matching calls with a status, for as long as the guard lives.
    #[must_use]
    pub(crate) fn fail_while(
        &self,
        of: impl Fn(&Call) -> bool + Send + Sync + 'static,
        status: u16,
        retry_after: Option<u32>,
    ) -> FaultGuard {
        self.trouble(of, Trouble::Status(status, retry_after), None)
    }

    /// Keeps matching calls waiting, for as long as the guard lives.
    #[must_use]
    pub(crate) fn delay(
        &self,
        of: impl Fn(&Call) -> bool + Send + Sync + 'static,
        time: Duration,
    ) -> FaultGuard {
        self.trouble(of, Trouble::Delay(time), None)
    }

    /// Breaks the connection of the next matching call before it is carried out.
    pub(crate) fn hang_up_next(&self, of: impl Fn(&Call) -> bool + Send + Sync + 'static) {
        self.inner
            .faults()
            .add(matcher(of), Trouble::HangUp, Some(1));
    }

    /// Carries the next matching call out, and breaks the connection instead of answering.
    pub(crate) fn lose_answer(&self, of: impl Fn(&Call) -> bool + Send + Sync + 'static) {
        self.inner
            .faults()
            .add(matcher(of), Trouble::LoseAnswer, Some(1));
    }

    /// Lifts all faults.
    pub(crate) fn clear_faults(&self) {
        self.inner.faults().clear();
    }

    fn order(&self, with: impl FnOnce(&mut Orders)) {
        self.inner.orders.send_modify(with);
    }

    /// Breaks all open watches off, in the midst of a chunked answer.
    pub(crate) fn drop_watches(&self) {
        self.order(|o| o.dropped += 1);
    }

    /// Ends all open watches as after their time.
    pub(crate) fn end_watches(&self) {
        self.order(|o| o.ended += 1);
    }

    /// Keeps all watches open without a word, or lets them speak again: they then tell what they have missed.
    pub(crate) fn silence_watches(&self, silent: bool) {
        self.order(|o| o.silent = silent);
    }

    /// Sends a bookmark on every watch that takes them.
    pub(crate) fn send_bookmarks(&self) {
        self.order(|o| o.bookmarks += 1);
    }

    /// Sets how often bookmarks are sent on watches opened from now on.
    pub(crate) fn bookmark_every(&self, time: Duration) {
        self.inner.set(|s| s.bookmark_every = time);
    }

    /// Whether a watch from a version that is too old is refused with HTTP 410, not with an event.
    pub(crate) fn gone_as_http(&self, so: bool) {
        self.inner.set(|s| s.gone_as_http = so);
    }

    /// Whether `sendInitialEvents` is known; older servers refuse it.
    pub(crate) fn streaming_lists(&self, so: bool) {
        self.inner.set(|s| s.streaming_lists = so);
    }

    /// How long a deleted pod takes to go; `None` leaves it until [`FakeKube::delete`].
    pub(crate) fn linger(&self, time: Option<Duration>) {
        self.inner.set(|s| s.linger = time);
    }

    /// Forgets the history up to now: versions before the current one are too old.
    pub(crate) fn compact(&self) {
        self.inner.change(super::store::Store::compact);
    }

    /// Makes every version that a client can know too old, continue tokens included.
    pub(crate) fn expire_everything(&self) {
        self.inner.change(super::store::Store::expire);
    }

    /// Sets how many changes of one kind are kept for watches.
    pub(crate) fn keep_history(&self, changes: usize) {
        self.inner.change(|s| s.keep(changes));
    }

    /// Appends a line to the log of `namespace/pod` or `namespace/pod/container`.
    pub(crate) fn log(&self, of: &str, line: &str) {
        let (key, container) = self.container(of);
        self.inner.logs().append(&key, &container, line);
    }

    /// The same, but those who follow it now never hear of it: their connection is dead without a word.
    pub(crate) fn log_unheard(&self, of: &str, line: &str) {
        let (key, container) = self.container(of);
        self.inner.logs().append_unheard(&key, &container, line);
    }

    /// Begins the log of `namespace/pod` or `namespace/pod/container` anew, as when its container starts again.
    pub(crate) fn restart_log(&self, of: &str) {
        let (key, container) = self.container(of);
        self.inner.logs().restart(&key, &container);
    }

    /// Appends a line to the log of a container's previous run.
    pub(crate) fn log_previous(&self, of: &str, line: &str) {
        let (key, container) = self.container(of);
        self.inner
            .logs()
            .append(&key, &format!("-{container}"), line);
    }

    /// Ends the streams that follow the logs of `namespace/pod`.
    pub(crate) fn end_log(&self, of: &str) {
        self.inner.logs().end_pod(&place(of).0);
    }

    fn container(&self, of: &str) -> (Key, String) {
        let (key, container) = place(of);
        let first = || {
            let pod = self.get(&format!("pods/{}/{}", key.0, key.1));
            let name =
                pod.and_then(|p| Some(p["spec"]["containers"][0]["name"].as_str()?.to_owned()));
            name.unwrap_or_else(|| "main".to_owned())
        };
        let container = container.map_or_else(first, str::to_owned);
        (key, container)
    }

    /// Answers proxy requests to a pod or service, `namespace/name` or `namespace/name:port`: from method, path and
    /// query to status, content type and body.
    pub(crate) fn on_proxy(
        &self,
        of: &str,
        handler: impl Fn(&str, &str, &str) -> (u16, String, Vec<u8>) + Send + Sync + 'static,
    ) {
        self.inner
            .far()
            .insert(of.to_owned(), Answerer::Handler(Arc::new(handler)));
    }

    /// Answers a path that is no part of the API, such as `/fake/stats`, in the same way.
    pub(crate) fn on_path(
        &self,
        path: &str,
        handler: impl Fn(&str, &str, &str) -> (u16, String, Vec<u8>) + Send + Sync + 'static,
    ) {
        self.on_proxy(path, handler);
    }

    /// Sends proxy requests to a pod or service on to a URL.
    pub(crate) fn proxy_to(&self, of: &str, url: &str) {
        self.inner
            .far()
            .insert(of.to_owned(), Answerer::Upstream(url.to_owned()));
    }
}
