//! Sends a request to one backend after the other until one answers.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use tokio::time::timeout;

use crate::fleet::request::Route;
use crate::fleet::{BackendId, Observation};
use crate::gateway::answer::live::{Live, Reading, Reply};
use crate::gateway::answer::sse::Scanner;
use crate::gateway::choose::desk::Desk;
use crate::gateway::client::envelope::{self, Fault};
use crate::gateway::client::headers;
use crate::gateway::client::peek::Peek;
use crate::gateway::record::account::Account;
use crate::gateway::upstream::slot::{Flight, Path};
use crate::gateway::wait::place::Search;
use crate::gateway::{FIRST_BYTE, FIRST_EVENT, Gate};

/// The longest error body that is read, bytes.
const LONGEST_ERROR: usize = 1 << 20;
/// The longest wait for the rest of an error body, fleet time.
const ERROR_BODY: TimeDelta = TimeDelta::seconds(10);
/// The pause after a 429 that says nothing of one, fleet time.
const PAUSE: TimeDelta = TimeDelta::seconds(5);
/// The longest pause that a 429 may ask for, fleet time.
const LONGEST_PAUSE: TimeDelta = TimeDelta::hours(1);

/// A request, read.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) path: Path,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) peek: Peek,
}

/// Why a backend did not answer.
#[derive(Debug)]
struct Refusal {
    backend: BackendId,
    what: String,
    /// With a 429: the pause that was asked for.
    limited: Option<TimeDelta>,
}

/// What came of one attempt.
enum Outcome {
    /// An answer, with its first bytes.
    Answer(http::response::Parts, Incoming, Reading, VecDeque<Bytes>),
    /// The client's own error: nobody else would say otherwise.
    ClientError(StatusCode, HeaderMap, Bytes),
    /// No answer.
    Refused(Refusal),
}

impl Gate {
    /// Answers a request that was read and whose model is known.
    pub(in crate::gateway) async fn forward(
        self: &Arc<Self>,
        desk: &Arc<Desk>,
        ask: Ask,
        mut search: Search,
        mut account: Account,
    ) -> Response<Reply> {
        let mut refusals: Vec<Refusal> = Vec::new();
        loop {
            let (seat, route, mut flight) = match self.place(desk, &mut search, &mut account).await
            {
                Ok(found) => found,
                Err(fault) => {
                    let fault = self.summed_up(fault, &refusals);
                    account.failed(fault.status.as_u16(), &fault.message);
                    let mut response = fault.response();
                    tell(&mut response, None, Route::None, &account);
                    return response;
                }
            };
            if let Some(backend) = desk.seats[seat].backend(&self.picture()) {
                account.sent(backend, route);
            }
            let name = flight.slot.name.clone();
            let mut response = match self.attempt(&ask, &mut flight).await {
                Outcome::Answer(mut parts, body, reading, out) => {
                    account.first_byte(parts.status.as_u16());
                    headers::inward(&mut parts.headers);
                    if matches!(reading, Reading::Events(_)) {
                        parts.headers.remove(CONTENT_LENGTH);
                    }
                    let mut response = Response::new(());
                    *response.status_mut() = parts.status;
                    *response.headers_mut() = parts.headers;
                    tell(&mut response, Some(name), route, &account);
                    let live = Live::new(body, reading, out, account, flight);
                    return response.map(|()| Reply::Live(Box::new(live)));
                }
                Outcome::ClientError(status, from, body) => {
                    account.failed(status.as_u16(), &envelope::message_of(status, &body));
                    let mut response = envelope::json_response(status, body);
                    for (name, value) in &from {
                        if *name != CONTENT_TYPE && *name != CONTENT_LENGTH {
                            response.headers_mut().append(name, value.clone());
                        }
                    }
                    response
                }
                Outcome::Refused(refusal) => {
                    self.refused(&refusal, &mut flight);
                    account.refused();
                    refusals.push(refusal);
                    search.tried.push(seat);
                    continue;
                }
            };
            tell(&mut response, Some(name), route, &account);
            return response;
        }
    }

    /// What a refusal means for the requests after this one.
    fn refused(&self, refusal: &Refusal, flight: &mut Flight) {
        let now = self.clock.now();
        let Some(pause) = refusal.limited else {
            flight.fail(now);
            return;
        };
        let until = now + pause;
        flight.limit(until);
        let hosted = self
            .picture()
            .backends
            .iter()
            .any(|backend| backend.id == refusal.backend && backend.is_hosted());
        if hosted {
            let said = Observation::Limited {
                backend: refusal.backend.clone(),
                until,
                at: now,
            };
            if let Err(tokio::sync::mpsc::error::TrySendError::Full(said)) =
                self.observations.try_send(said)
            {
                let to = self.observations.clone();
                let send = async move {
                    let _ = to.send(said).await;
                };
                self.tasks.spawn_on(send, &self.runtime);
            }
        }
    }

    /// The last word to the client: what each backend answered.
    fn summed_up(&self, fault: Fault, refusals: &[Refusal]) -> Fault {
        if refusals.is_empty() {
            return fault;
        }
        let mut message = String::from("no backend answered: ");
        for (at, refusal) in refusals.iter().enumerate() {
            let lead = if at == 0 { "" } else { "; " };
            let _ = write!(message, "{lead}{}: {}", refusal.backend, refusal.what);
        }
        let pauses: Option<Vec<TimeDelta>> = refusals.iter().map(|it| it.limited).collect();
        match pauses.and_then(|pauses| pauses.into_iter().min()) {
            Some(pause) => Fault::new(
                StatusCode::TOO_MANY_REQUESTS,
                "rate_limit_exceeded",
                message,
            )
            .after(self.clock.on_wall(pause)),
            None => Fault::new(StatusCode::BAD_GATEWAY, "upstream_error", message),
        }
    }

    /// Sends the request to one backend and waits for the beginning of its answer.
    async fn attempt(&self, ask: &Ask, flight: &mut Flight) -> Outcome {
        let slot = Arc::clone(&flight.slot);
        let refused = |what: String| {
            Outcome::Refused(Refusal {
                backend: slot.id.clone(),
                what,
                limited: None,
            })
        };
        let body = ask.peek.splice(&ask.body, slot.model.as_deref());
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = slot.uri(ask.path);
        *request.headers_mut() = ask.headers.clone();
        if let Some(key) = &slot.authorization {
            request.headers_mut().insert(AUTHORIZATION, key.clone());
        }
        let patience = if ask.peek.stream {
            FIRST_EVENT
        } else {
            FIRST_BYTE
        };
        let beginning = async {
            let response = self
                .client
                .request(request)
                .await
                .map_err(|error| cause(&error))?;
            let (parts, mut body) = response.into_parts();
            if !parts.status.is_success() {
                let rest = Limited::new(body, LONGEST_ERROR).collect();
                let error = timeout(self.clock.on_wall(ERROR_BODY), rest).await;
                let said = error
                    .ok()
                    .and_then(Result::ok)
                    .map(http_body_util::Collected::to_bytes);
                return Ok(judge(
                    &slot.id,
                    parts,
                    &said.unwrap_or_default(),
                    &self.clock.now(),
                ));
            }
            if !is_event_stream(&parts.headers) {
                let reading = Reading::Whole(Vec::new(), 0);
                return Ok(Outcome::Answer(parts, body, reading, VecDeque::new()));
            }
            let mut scanner = Scanner::new(ask.peek.withholds_usage());
            let mut out = VecDeque::new();
            while scanner.seen.events == 0 {
                match body.frame().await {
                    Some(Ok(frame)) => {
                        if let Ok(chunk) = frame.into_data() {
                            scanner.feed(chunk, &mut out);
                        }
                    }
                    Some(Err(error)) => return Err(cause(&error)),
                    None => {
                        scanner.finish(&mut out);
                        break;
                    }
                }
            }
            if scanner.seen.events == 0 {
                return Err("200 and then the end, without an event".to_owned());
            }
            Ok(match first_error(&scanner) {
                Some((status, error)) if status.is_client_error() => {
                    parts_of_error(&slot.id, status, error, &self.clock.now())
                }
                Some((status, error)) => refused(format!(
                    "200 and then {}",
                    envelope::message_of(status, error.as_bytes())
                )),
                None => Outcome::Answer(parts, body, Reading::Events(scanner), out),
            })
        };
        match timeout(self.clock.on_wall(patience), beginning).await {
            Ok(Ok(outcome)) => {
                if !matches!(outcome, Outcome::Refused(_)) {
                    flight.succeed();
                }
                outcome
            }
            Ok(Err(what)) => refused(what),
            Err(_) => refused(format!("no first byte within {} s", patience.num_seconds())),
        }
    }
}

/// The error with which a stream began, and its status (502 where it names none).
fn first_error(scanner: &Scanner) -> Option<(StatusCode, &str)> {
    let error = scanner.seen.error.as_deref()?;
    let status = envelope::status_in(error).unwrap_or(StatusCode::BAD_GATEWAY);
    Some((status, error))
}

fn parts_of_error(
    backend: &BackendId,
    status: StatusCode,
    error: &str,
    now: &DateTime<Utc>,
) -> Outcome {
    let mut response = Response::new(());
    *response.status_mut() = status;
    let (parts, ()) = response.into_parts();
    judge(
        backend,
        parts,
        &Bytes::copy_from_slice(error.as_bytes()),
        now,
    )
}

/// What a status that is no success means: the client's own error, or a refusal.
fn judge(
    backend: &BackendId,
    mut parts: http::response::Parts,
    body: &Bytes,
    now: &DateTime<Utc>,
) -> Outcome {
    let status = parts.status;
    let limited = (status == StatusCode::TOO_MANY_REQUESTS)
        .then(|| pause(&parts.headers, now).unwrap_or(PAUSE));
    let clients_own =
        status.is_client_error() && limited.is_none() && status != StatusCode::REQUEST_TIMEOUT;
    if clients_own {
        headers::inward(&mut parts.headers);
        return Outcome::ClientError(status, parts.headers, envelope::normalise(status, body));
    }
    Outcome::Refused(Refusal {
        backend: backend.clone(),
        what: format!("{} {}", status.as_u16(), envelope::message_of(status, body)),
        limited,
    })
}

/// The pause that a 429 asks for: `retry-after-ms` first, then `retry-after` in seconds or as a date.
fn pause(headers: &HeaderMap, now: &DateTime<Utc>) -> Option<TimeDelta> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let number = |name| text(name).and_then(|text| text.trim().parse::<f64>().ok());
    let millis = number("retry-after-ms")
        .or_else(|| number(RETRY_AFTER.as_str()).map(|seconds| seconds * 1000.0));
    let asked = match millis {
        Some(millis) if millis.is_finite() => TimeDelta::try_milliseconds(millis as i64)?,
        Some(_) | None => {
            let date = DateTime::parse_from_rfc2822(text(RETRY_AFTER.as_str())?).ok()?;
            date.with_timezone(&Utc) - *now
        }
    };
    Some(asked.clamp(TimeDelta::zero(), LONGEST_PAUSE))
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
}

/// The last cause of an error, which says most: "Connection refused (os error 111)".
fn cause(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(next) = last.source() {
        last = next;
    }
    envelope::one_line(&last.to_string(), 200)
}

/// Says to the client where its request went.
fn tell<B>(response: &mut Response<B>, name: Option<HeaderValue>, route: Route, account: &Account) {
    let headers = response.headers_mut();
    if let Some(name) = name {
        headers.insert(headers::BACKEND, name);
        headers.insert(headers::ROUTE, HeaderValue::from_static(route.word()));
    }
    if let Some(held) = account.held() {
        headers.insert(headers::WAKE_MS, HeaderValue::from(held.num_milliseconds()));
    }
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
            assert_eq!(pause(&headers, &Utc::now()), expected, "{given:?}");
        }
    }
}
