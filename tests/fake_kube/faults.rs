//! Trouble on demand.

use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse as _, Response};
use http::HeaderValue;

use super::failure::{Failure, typed};
use super::request::Call;

/// Which calls a fault befalls.
pub(crate) type Matcher = Arc<dyn Fn(&Call) -> bool + Send + Sync>;

/// What befalls a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// An answer of this status, with seconds for `Retry-After`.
    Status(u16, Option<u32>),
    /// It takes this long, and then succeeds.
    Delay(Duration),
    /// The connection breaks before anything is done.
    HangUp,
    /// The connection breaks once it is done.
    LoseAnswer,
}

struct Fault {
    id: u64,
    matcher: Matcher,
    trouble: Trouble,
    /// How often it still strikes; `None` until it is lifted.
    left: Option<u32>,
}

/// The troubles that wait for their calls.
#[derive(Default)]
pub(super) struct Faults {
    list: Vec<Fault>,
    last: u64,
}

/// Calls of a method on a resource such as `deployments/scale`; `*` for any.
pub(crate) fn on(method: &str, resource: &str) -> impl Fn(&Call) -> bool + Send + Sync + 'static {
    let (method, resource) = (method.to_owned(), resource.to_owned());
    move |call| {
        (method == "*" || call.method == method) && (resource == "*" || call.resource == resource)
    }
}

/// Calls that open a watch on a resource; `*` for any.
pub(crate) fn watching(resource: &str) -> impl Fn(&Call) -> bool + Send + Sync + 'static {
    let resource = resource.to_owned();
    move |call| call.watch && (resource == "*" || call.resource == resource)
}

impl Faults {
    pub(super) fn add(&mut self, matcher: Matcher, trouble: Trouble, left: Option<u32>) -> u64 {
        self.last += 1;
        self.list.push(Fault {
            id: self.last,
            matcher,
            trouble,
            left,
        });
        self.last
    }

    pub(super) fn lift(&mut self, id: u64) {
        self.list.retain(|f| f.id != id);
    }

    pub(super) fn clear(&mut self) {
        self.list.clear();
    }

    /// All that befalls a call, spent by it.
    pub(super) fn strike(&mut self, call: &Call) -> Vec<Trouble> {
        let mut out = Vec::new();
        let mut answered = false;
        for fault in &mut self.list {
            // A second refusal waits for the next call.
            let refusal = matches!(fault.trouble, Trouble::Status(..));
            if fault.left == Some(0) || (refusal && answered) || !(fault.matcher)(call) {
                continue;
            }
            answered |= refusal;
            fault.left = fault.left.map(|n| n - 1);
            out.push(fault.trouble);
        }
        self.list.retain(|f| f.left != Some(0));
        out
    }
}

/// The answer of a fault.
pub(super) fn answer(status: u16, retry_after: Option<u32>) -> Response {
    if status == 429 {
        // Priority and fairness speaks plain text.
        let text = "Too many requests, please try again later.\n";
        let mut response = typed(429, "text/plain; charset=utf-8", text);
        let headers = response.headers_mut();
        headers.insert("retry-after", HeaderValue::from(retry_after.unwrap_or(1)));
        for (name, uid) in [
            (
                "x-kubernetes-pf-flowschema-uid",
                "7cd3a2f4-3f6e-4f0a-9a7e-8f6f3a3a4f01",
            ),
            (
                "x-kubernetes-pf-prioritylevel-uid",
                "2d1e6c55-90b1-4a52-a1e3-0d5f6a4b9c02",
            ),
        ] {
            headers.insert(name, HeaderValue::from_static(uid));
        }
        return response;
    }
    let mut failure = match status {
        401 => Failure::unauthorized(),
        403 => Failure::new(403, "Forbidden", "forbidden: not now"),
        409 => Failure::new(
            409,
            "Conflict",
            "Operation cannot be fulfilled: the object has been modified; please apply your changes to the latest version and try again",
        ),
        410 => Failure::new(
            410,
            "Expired",
            "The resourceVersion for the provided watch is too old.",
        ),
        // What etcd says goes through as it is, without a reason.
        500 => Failure::new(500, "", "etcdserver: leader changed"),
        503 => Failure::unavailable("the server is currently unable to handle the request"),
        504 => Failure::new(
            504,
            "Timeout",
            "Timeout: request did not complete within the allotted timeout",
        ),
        other => Failure::new(other, "", "trouble"),
    };
    failure.retry_after = retry_after;
    failure.into_response()
}
