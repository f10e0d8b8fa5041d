//! Headers that stay on their own side, and the ones the gateway adds.

use http::header::CONNECTION;
use http::{HeaderMap, HeaderName, HeaderValue};

/// The client's name for a request, and ours.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Which backend answered; from a client: which one is asked for.
pub(crate) const BACKEND: HeaderName = HeaderName::from_static("x-fleet-backend");
/// Why that one.
pub(crate) const ROUTE: HeaderName = HeaderName::from_static("x-fleet-route");
/// Fleet milliseconds that the request waited for a wake.
pub(crate) const WAKE_MS: HeaderName = HeaderName::from_static("x-fleet-wake-ms");
/// `self`: this request never goes to a hosted backend.
pub(crate) const DATA_PATH: HeaderName = HeaderName::from_static("x-fleet-data-path");

/// From a client: how often a held stream gets a comment line, like `15s`; `off`: never.
pub(crate) const HEARTBEAT: HeaderName = HeaderName::from_static("x-fleet-heartbeat");
/// The upstream's own name for the request, which its support asks for.
pub(crate) const UPSTREAM_ID: HeaderName = HeaderName::from_static("x-fleet-upstream-id");

/// Headers of one connection only: RFC 9110 section 7.6.1, and the ones that RFC 2616 named.
fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// What an upstream must not get from a client: its secrets, and what is true of our side's connection only.
///
/// Without `accept-encoding` upstreams answer in plain text, which is what the gateway can read usage from.
fn is_clients_own(name: &str) -> bool {
    matches!(
        name,
        "authorization"
            | "proxy-authorization"
            | "api-key"
            | "x-api-key"
            | "cookie"
            | "host"
            | "content-length"
            | "accept-encoding"
            | "expect"
            | "x-request-id"
            | "x-fleet-backend"
            | "x-fleet-data-path"
            | "x-fleet-heartbeat"
    )
}

/// What a client must not get from an upstream. Another gateway behind this one speaks of its own backends; cookies are
/// between it and us.
fn is_upstreams_own(name: &str) -> bool {
    matches!(
        name,
        "x-fleet-backend" | "x-fleet-route" | "x-fleet-wake-ms" | "set-cookie" | "x-request-id"
    )
}

/// Whether `connection` names this header as one of this connection's.
fn is_named_by(connection: &HeaderMap, name: &HeaderName) -> bool {
    connection
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|word| word.trim().eq_ignore_ascii_case(name.as_str()))
}

/// Copies what passes. The copies hold on to nothing: what came lies in a buffer of its connection, which is free again.
fn passed(headers: &HeaderMap, stays: fn(&str) -> bool, more: usize) -> HeaderMap {
    let named = headers.contains_key(CONNECTION);
    let mut passed = HeaderMap::with_capacity(headers.len() + more);
    for (name, value) in headers {
        if is_hop_by_hop(name.as_str())
            || stays(name.as_str())
            || (named && is_named_by(headers, name))
        {
            continue;
        }
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            passed.append(name.clone(), value);
        }
    }
    passed
}

/// A client's headers as an upstream gets them.
pub(crate) fn outward(headers: &HeaderMap, id: &HeaderValue) -> HeaderMap {
    let mut passed = passed(headers, is_clients_own, 3);
    passed.insert(REQUEST_ID, id.clone());
    passed
}

/// An upstream's headers as the client gets them.
pub(crate) fn inward(headers: &HeaderMap) -> HeaderMap {
    let mut passed = passed(headers, is_upstreams_own, 4);
    if let Some(id) = headers.get(REQUEST_ID) {
        passed.insert(UPSTREAM_ID, id.clone());
    }
    passed
}

/// The client's request id where it is sane (1 to 128 letters, digits and `-_.:/`), else a new one.
pub(crate) fn request_id(headers: &HeaderMap) -> HeaderValue {
    headers
        .get(REQUEST_ID)
        .filter(|value| {
            let bytes = value.as_bytes();
            (1..=128).contains(&bytes.len())
                && bytes
                    .iter()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/".contains(byte))
        })
        .cloned()
        .unwrap_or_else(|| {
            let mut id = *b"req-00000000000000000000000000000000";
            let mut luck = fastrand::u128(..);
            for digit in &mut id[4..] {
                *digit = b"0123456789abcdef"[(luck & 15) as usize];
                luck >>= 4;
            }
            HeaderValue::from_bytes(&id).unwrap_or(HeaderValue::from_static("req"))
        })
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::{outward, request_id};

    #[test]
    fn secrets_and_hops_stay_here() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Bearer client"),
            ("connection", "close, x-hop"),
            ("x-hop", "1"),
            ("transfer-encoding", "chunked"),
            ("accept-encoding", "gzip"),
            ("api-key", "k"),
            ("content-type", "application/json"),
            ("openai-organization", "o"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let headers = outward(&headers, &HeaderValue::from_static("id"));
        let mut left: Vec<&str> = headers.keys().map(http::HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(
            left,
            ["content-type", "openai-organization", "x-request-id"]
        );
    }

    #[test]
    fn an_id_is_kept_where_it_is_sane() {
        let mut headers = HeaderMap::new();
        assert!(request_id(&headers).to_str().unwrap().starts_with("req-"));
        headers.insert("x-request-id", HeaderValue::from_static("trace:7/a"));
        assert_eq!(request_id(&headers), "trace:7/a");
        headers.insert("x-request-id", HeaderValue::from_static("a b"));
        assert_ne!(request_id(&headers), "a b");
    }
}
