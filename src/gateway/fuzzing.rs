//! Doors for the fuzzers in `tests/fuzz`; compiled for them alone.

use std::collections::VecDeque;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::answer::sse::Scanner;
use super::answer::usage;
use super::client::envelope;
use super::client::headers;
use super::client::peek::{Telling, peek};
use crate::fleet::request::Operation;

/// A stream, cut into chunks where the first bytes say: read in one piece and in many it must come to the same.
pub fn stream(data: &[u8]) {
    let Some((head, text)) = data.split_at_checked(4) else {
        return;
    };
    for telling in [Telling::Client, Telling::Gateway, Telling::Both] {
        let mut pieces = vec![text];
        let whole = run(telling, &pieces);
        for cut in head {
            let last = pieces.pop().unwrap_or_default();
            let (a, b) = last.split_at((usize::from(*cut)).min(last.len()));
            pieces.extend([a, b]);
        }
        assert_eq!(whole, run(telling, &pieces));
        if matches!(telling, Telling::Client) && whole.1.error.is_none() {
            assert_eq!(whole.0, text, "what is the client's passes as it came");
        }
    }
}

fn run(telling: Telling, pieces: &[&[u8]]) -> (Vec<u8>, super::answer::sse::Seen) {
    let mut scanner = Scanner::new(telling);
    let mut out = VecDeque::new();
    for piece in pieces {
        scanner.feed(Bytes::copy_from_slice(piece), &mut out);
    }
    scanner.finish(&mut out);
    (out.iter().flatten().copied().collect(), scanner.seen)
}

/// A request's body: what is taken stays JSON, names the model that is asked for there, and changes in nothing else.
pub fn body(data: &[u8]) {
    for operation in Operation::ALL {
        let Ok(seen) = peek(operation, data) else {
            continue;
        };
        let bytes = Bytes::copy_from_slice(data);
        for continuous in [false, true] {
            let spliced = seen.splice(&bytes, Some("\"other\""), continuous);
            let whole: Result<serde::de::IgnoredAny, _> = serde_json::from_slice(&spliced);
            assert!(whole.is_ok(), "{whole:?}");
            // Half a surrogate pair is JSON, as browsers write it, but no text of Rust's; it passes as it came.
            let parsed = serde_json::from_slice::<serde_json::Value>(&spliced);
            let before = serde_json::from_slice::<serde_json::Value>(data);
            assert!(parsed.is_ok() || before.is_err(), "{parsed:?}");
            if let Ok(parsed) = parsed {
                assert_eq!(parsed["model"], "other");
            }
            let again = peek(operation, &spliced);
            assert!(again.is_ok_and(|again| again.stream == seen.stream));
        }
    }
}

/// Headers, one a line, and what becomes of them on either way; an error body besides.
pub fn headers(data: &[u8]) {
    let mut map = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n').take(200) {
        let Some(at) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(&line[..at]),
            HeaderValue::from_bytes(&line[at + 1..]),
        ) {
            map.append(name, value);
        }
    }
    let id = headers::request_id(&map);
    assert!(
        id.to_str()
            .is_ok_and(|id| !id.is_empty() && id.len() <= 128)
    );
    let out = headers::outward(&map, &id);
    for name in [
        "authorization",
        "api-key",
        "cookie",
        "host",
        "connection",
        "te",
    ] {
        assert!(!out.contains_key(name), "{name} went out");
    }
    let back = headers::inward(&map);
    assert!(!back.contains_key("connection") && !back.contains_key("set-cookie"));
    let error = envelope::normalise(StatusCode::BAD_GATEWAY, &Bytes::copy_from_slice(data));
    let parsed: serde_json::Value = serde_json::from_slice(&error).unwrap_or_default();
    assert!(parsed["error"]["message"].is_string());
    let _ = usage::of_answer(data);
}
