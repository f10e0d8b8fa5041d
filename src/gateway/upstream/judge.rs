//! What an upstream's refusal means: the client's own error, or a reason to ask another backend.

use chrono::{DateTime, TimeDelta, Utc};
use http::header::{CONTENT_ENCODING, RETRY_AFTER};
use http::{HeaderMap, Response, StatusCode, response};

use bytes::Bytes;

use crate::fleet::BackendId;
use crate::gateway::client::{envelope, headers};

/// The pause after a 429 that says nothing of one, fleet time.
const PAUSE: TimeDelta = TimeDelta::seconds(5);
/// The longest pause that a 429 may ask for, fleet time.
const LONGEST_PAUSE: TimeDelta = TimeDelta::hours(1);
/// The pause after a 429 that only somebody with a credit card can end, fleet time.
const NO_MONEY: TimeDelta = TimeDelta::minutes(5);

/// Why a backend did not answer.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) backend: BackendId,
    pub(crate) what: String,
    pub(crate) why: Why,
}

/// What a refusal says of the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// It failed, or this request makes it fail.
    Failed,
    /// It wants to be left alone that long (429), fleet time.
    Limited(TimeDelta),
    /// It does not know the path or the model (404, 405): nothing for the requests to its other paths.
    Unknown,
}

/// What a status that is no success means.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// The client's own error: nobody else would say otherwise.
    Clients(StatusCode, HeaderMap, Bytes),
    /// Another backend may answer.
    Refused(Refusal),
}

/// Judges an answer that is no success.
pub(crate) fn judge(
    backend: &BackendId,
    parts: &response::Parts,
    body: &Bytes,
    now: DateTime<Utc>,
) -> Verdict {
    let status = parts.status;
    if clients_own(status) {
        let mut passed = headers::inward(&parts.headers);
        // What was compressed could not be read, and is said anew.
        passed.remove(CONTENT_ENCODING);
        return Verdict::Clients(status, passed, envelope::normalise(status, body));
    }
    let said = envelope::message_of(status, body);
    let what = match status {
        // Whatever key it was, it was ours: the client's never gets there.
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            format!("{} to this gateway's own key: {said}", status.as_u16())
        }
        _ => format!("{} {said}", status.as_u16()),
    };
    let why = match status {
        StatusCode::TOO_MANY_REQUESTS if out_of_money(body) => Why::Limited(NO_MONEY),
        StatusCode::TOO_MANY_REQUESTS => Why::Limited(pause(&parts.headers, now).unwrap_or(PAUSE)),
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Why::Unknown,
        _ => Why::Failed,
    };
    Verdict::Refused(Refusal {
        backend: backend.clone(),
        what,
        why,
    })
}

/// Judges an error event with which a stream began.
pub(crate) fn judge_event(
    backend: &BackendId,
    status: StatusCode,
    event: &str,
    now: DateTime<Utc>,
) -> Verdict {
    let mut response = Response::new(());
    *response.status_mut() = status;
    let (parts, ()) = response.into_parts();
    judge(
        backend,
        &parts,
        &Bytes::copy_from_slice(event.as_bytes()),
        now,
    )
}

/// Whether the request itself is at fault.
///
/// The gateway chose backend, path, model and key: what is wrong with these is not the client's.
fn clients_own(status: StatusCode) -> bool {
    status.is_client_error()
        && !matches!(
            status,
            StatusCode::UNAUTHORIZED
                | StatusCode::FORBIDDEN
                | StatusCode::NOT_FOUND
                | StatusCode::METHOD_NOT_ALLOWED
                | StatusCode::REQUEST_TIMEOUT
                | StatusCode::TOO_MANY_REQUESTS
        )
}

/// Codes of OpenAI's 429 that no pause ends.
fn out_of_money(body: &[u8]) -> bool {
    let said = envelope::code_of(body).unwrap_or_default();
    matches!(
        said.as_str(),
        "insufficient_quota"
            | "credit_balance_exhausted"
            | "organization_spend_limit_exceeded"
            | "project_spend_limit_exceeded"
            | "organization_usage_limit_exceeded"
    )
}

/// The pause that a 429 asks for: `retry-after-ms` first, then `retry-after` in seconds or as a date.
fn pause(headers: &HeaderMap, now: DateTime<Utc>) -> Option<TimeDelta> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let number = |name| text(name).and_then(|text| text.trim().parse::<f64>().ok());
    let millis = number("retry-after-ms")
        .or_else(|| number(RETRY_AFTER.as_str()).map(|seconds| seconds * 1000.0));
    let asked = match millis {
        Some(millis) if millis.is_finite() => TimeDelta::try_milliseconds(millis as i64)?,
        Some(_) | None => {
            let date = DateTime::parse_from_rfc2822(text(RETRY_AFTER.as_str())?).ok()?;
            date.with_timezone(&Utc) - now
        }
    };
    Some(asked.clamp(TimeDelta::zero(), LONGEST_PAUSE))
}

#[cfg(test)]
mod tests {
    use chrono::{TimeDelta, Utc};
    use http::{HeaderMap, HeaderValue};

    use super::pause;

    #[test]
    fn a_pause_is_read_in_every_spelling() {
        type Case = (&'static [(&'static str, &'static str)], Option<i64>);
        let cases: [Case; 6] = [
            (&[("retry-after", "7")], Some(7_000)),
            (&[("retry-after", "0.5")], Some(500)),
            (
                &[("retry-after-ms", "1250"), ("retry-after", "9")],
                Some(1_250),
            ),
            (&[("retry-after", "-3")], Some(0)),
            (&[("retry-after", "soon")], None),
            (&[], None),
        ];
        for (given, expected) in cases {
            let mut headers = HeaderMap::new();
            for (name, value) in given {
                headers.insert(*name, HeaderValue::from_static(value));
            }
            let expected = expected.map(TimeDelta::milliseconds);
            assert_eq!(pause(&headers, Utc::now()), expected, "{given:?}");
        }
    }
}
