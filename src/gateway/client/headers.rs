//! Headers that stay on their own side, and the ones the gateway adds.

use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, SET_COOKIE,
    TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
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

/// RFC 9110 section 7.6.1, and the ones that RFC 2616 named.
const HOP_BY_HOP: [HeaderName; 8] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("proxy-authenticate"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// What an upstream must not get from a client: its secrets, and what is true of our side's connection only.
///
/// Without `accept-encoding` upstreams answer in plain text, which is what the gateway can read usage from.
const CLIENTS_OWN: [HeaderName; 12] = [
    AUTHORIZATION,
    HeaderName::from_static("proxy-authorization"),
    HeaderName::from_static("api-key"),
    HeaderName::from_static("x-api-key"),
    COOKIE,
    HOST,
    CONTENT_LENGTH,
    ACCEPT_ENCODING,
    EXPECT,
    BACKEND,
    DATA_PATH,
    HEARTBEAT,
];

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|name| name.trim().parse().ok())
            .collect();
        for name in named {
            headers.remove(name);
        }
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Makes a client's headers fit for an upstream.
pub(crate) fn outward(headers: &mut HeaderMap, id: &HeaderValue) {
    remove_hop_by_hop(headers);
    for name in &CLIENTS_OWN {
        headers.remove(name);
    }
    headers.insert(REQUEST_ID, id.clone());
}

/// Makes an upstream's headers fit for the client.
pub(crate) fn inward(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
    // Another gateway behind this one speaks of its own backends; cookies are between it and us.
    for name in [BACKEND, ROUTE, WAKE_MS, SET_COOKIE] {
        headers.remove(name);
    }
    if let Some(id) = headers.remove(REQUEST_ID) {
        headers.insert(UPSTREAM_ID, id);
    }
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
            let id = format!("req-{:032x}", fastrand::u128(..));
            HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("req"))
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
        outward(&mut headers, &HeaderValue::from_static("id"));
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
