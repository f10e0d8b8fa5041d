//! What a hosted API says of its limits in the headers of its answers.

use std::sync::Mutex;
use std::time::Duration;

use chrono::{DateTime, Utc};
use http::{HeaderMap, HeaderName};
use tokio::time::Instant;

use super::slot::lock;
use crate::fleet::live::{Headroom, Left};

/// One answer in this much wall time is read: the figures are for people.
const EVERY: Duration = Duration::from_secs(1);

const REQUESTS: [HeaderName; 2] = [
    HeaderName::from_static("x-ratelimit-remaining-requests"),
    HeaderName::from_static("x-ratelimit-limit-requests"),
];
const TOKENS: [HeaderName; 2] = [
    HeaderName::from_static("x-ratelimit-remaining-tokens"),
    HeaderName::from_static("x-ratelimit-limit-tokens"),
];

/// Reads the limits of one backend, now and then.
#[derive(Debug, Default)]
pub(crate) struct Teller {
    last: Mutex<Option<Instant>>,
}

impl Teller {
    /// What an answer says of the limits; `None` where it says nothing, or another one just did.
    pub(crate) fn read(&self, headers: &HeaderMap, now: DateTime<Utc>) -> Option<Headroom> {
        let requests = left(headers, &REQUESTS);
        let tokens = left(headers, &TOKENS);
        if requests.is_none() && tokens.is_none() {
            return None;
        }
        let mut last = lock(&self.last);
        if last.is_some_and(|last| last.elapsed() < EVERY) {
            return None;
        }
        *last = Some(Instant::now());
        Some(Headroom {
            requests,
            tokens,
            at: now,
        })
    }
}

/// What is left, and of how much; Azure's -1 says nothing.
fn left(headers: &HeaderMap, [remaining, limit]: &[HeaderName; 2]) -> Option<Left> {
    let number = |name| {
        let text = headers.get(name)?.to_str().ok()?;
        text.trim().parse::<u64>().ok()
    };
    Some(Left {
        left: number(remaining)?,
        limit: number(limit),
    })
}

#[cfg(test)]
mod tests {
    use chrono::Utc;
    use http::{HeaderMap, HeaderValue};

    use super::Teller;

    #[tokio::test(start_paused = true)]
    async fn limits_are_read_now_and_then() {
        let mut headers = HeaderMap::new();
        let teller = Teller::default();
        assert_eq!(teller.read(&headers, Utc::now()), None);
        headers.insert(
            "x-ratelimit-remaining-requests",
            HeaderValue::from_static("499"),
        );
        headers.insert(
            "x-ratelimit-limit-requests",
            HeaderValue::from_static("500"),
        );
        headers.insert(
            "x-ratelimit-remaining-tokens",
            HeaderValue::from_static("-1"),
        );
        let told = teller.read(&headers, Utc::now()).unwrap();
        let requests = told.requests.unwrap();
        assert_eq!((requests.left, requests.limit), (499, Some(500)));
        assert_eq!(told.tokens, None);
        assert_eq!(teller.read(&headers, Utc::now()), None, "just read");
        tokio::time::advance(super::EVERY).await;
        assert!(teller.read(&headers, Utc::now()).is_some());
    }
}
