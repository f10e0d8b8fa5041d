//! One request to one backend, up to the beginning of its answer.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::TimeDelta;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::Full;
use tokio::time::timeout;

use crate::fleet::request::Operation;
use crate::gateway::Gate;
use crate::gateway::answer::live::Reading;
use crate::gateway::answer::sse::Scanner;
use crate::gateway::client::envelope;
use crate::gateway::client::peek::Peek;
use crate::gateway::upstream::judge::{Refusal, Verdict, Why, judge, judge_event};
use crate::gateway::upstream::slot::{Flight, Slot};
use crate::gateway::upstream::wire::{self, Answer, Unsent};
use crate::gateway::wait::room::Ticket;

/// The longest wait for the first event of a stream, fleet time.
const FIRST_EVENT: TimeDelta = TimeDelta::seconds(120);
/// The longest wait for an answer that comes in one piece, fleet time: its first byte is its last token's.
const FIRST_BYTE: TimeDelta = TimeDelta::minutes(10);
/// As much of an answer in one piece is kept back until all of it is there, bytes.
const KEPT_BACK: usize = 1 << 20;
/// The longest error body that is read, bytes.
const LONGEST_ERROR: usize = 1 << 20;
/// The longest wait for the rest of an error body, fleet time.
const ERROR_BODY: TimeDelta = TimeDelta::seconds(10);

/// A request, read.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) operation: Operation,
    pub(crate) query: Option<String>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) peek: Peek,
}

/// Why no answer came.
struct Silence {
    what: String,
    /// It is the backend's doing, whatever the request: nobody listens, or nothing comes.
    certain: bool,
}

impl Silence {
    fn certain(error: &dyn std::error::Error) -> Self {
        Self {
            what: cause(error),
            certain: true,
        }
    }

    fn doubtful(error: &dyn std::error::Error) -> Self {
        Self {
            what: cause(error),
            certain: false,
        }
    }
}

/// What came of one attempt.
pub(crate) enum Outcome {
    /// An answer, with its first bytes.
    Answer(http::response::Parts, Answer, Reading, VecDeque<Bytes>),
    /// The client's own error: nobody else would say otherwise.
    ClientError(StatusCode, HeaderMap, Bytes),
    /// No answer.
    Refused(Refusal),
}

impl From<Verdict> for Outcome {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Clients(status, headers, body) => Self::ClientError(status, headers, body),
            Verdict::Refused(refusal) => Self::Refused(refusal),
        }
    }
}

impl Gate {
    /// Sends the request to one backend and waits for the beginning of its answer.
    ///
    /// `leaving` is dropped once the request is on its way.
    pub(in crate::gateway) async fn attempt(
        &self,
        ask: &Ask,
        flight: &mut Flight,
        mut leaving: Option<Ticket>,
    ) -> Outcome {
        let slot = Arc::clone(&flight.slot);
        let refused = |what: String| {
            Outcome::Refused(Refusal {
                backend: slot.id.clone(),
                what,
                why: Why::Failed,
            })
        };
        let patience = if ask.peek.stream {
            FIRST_EVENT
        } else {
            FIRST_BYTE
        };
        let beginning = self.beginning(ask, &slot, &refused, &mut leaving);
        match timeout(self.clock.on_wall(patience), beginning).await {
            Ok(Ok(outcome)) => {
                if !matches!(outcome, Outcome::Refused(_)) {
                    flight.succeed();
                }
                outcome
            }
            Ok(Err(silence)) => {
                if silence.certain {
                    flight.fail(self.clock.now());
                }
                refused(silence.what)
            }
            Err(_) => {
                flight.fail(self.clock.now());
                refused(format!("no first byte within {} s", patience.num_seconds()))
            }
        }
    }

    async fn beginning(
        &self,
        ask: &Ask,
        slot: &Arc<Slot>,
        refused: &impl Fn(String) -> Outcome,
        leaving: &mut Option<Ticket>,
    ) -> Result<Outcome, Silence> {
        let mut sent = wire::send(&slot.opener, slot, request(ask, slot), false, leaving).await;
        if matches!(sent, Err(Unsent::Stale(_))) {
            // Nothing came back of it: the backend gave the connection up, and gets the request on a new one.
            sent = wire::send(&slot.opener, slot, request(ask, slot), true, leaving).await;
        }
        let response = match sent {
            Ok(response) => response,
            Err(Unsent::Unreachable(error)) => return Err(Silence::certain(error.as_ref())),
            Err(Unsent::Stale(error) | Unsent::Ended(error)) => {
                return Err(Silence::doubtful(error.as_ref()));
            }
        };
        let (parts, mut body) = response.into_parts();
        self.tell_headroom(slot, &parts.headers);
        if !parts.status.is_success() {
            let said = timeout(self.clock.on_wall(ERROR_BODY), error_body(&mut body)).await;
            let said = said.unwrap_or_default();
            return Ok(judge(&slot.id, &parts, &said, self.clock.now()).into());
        }
        let stall = self.clock.on_wall(slot.stall_after);
        let mut out = VecDeque::new();
        if !readable(&parts.headers) || !is_event_stream(&parts.headers) {
            let mut reading = if readable(&parts.headers) {
                Reading::Whole(Vec::new(), 0)
            } else {
                Reading::Nothing
            };
            // Nothing has gone out yet: an answer that breaks off here may still come from another backend.
            let mut length = 0;
            while length < KEPT_BACK && !body.is_end_stream() {
                let Some(chunk) = next(&mut body, stall).await? else {
                    break;
                };
                length += chunk.len();
                reading.take(&chunk);
                out.push_back(chunk);
            }
            return Ok(Outcome::Answer(parts, body, reading, out));
        }
        let mut scanner = Scanner::new(ask.peek.telling(slot.continuous_usage));
        while scanner.seen.events == 0 {
            let Some(chunk) = next(&mut body, stall).await? else {
                scanner.finish(&mut out);
                break;
            };
            scanner.feed(chunk, &mut out);
        }
        if scanner.seen.events == 0 {
            return Err(Silence {
                what: "200 and then the end, without an event".to_owned(),
                certain: false,
            });
        }
        Ok(match first_error(&scanner) {
            Some((status, error)) if status.is_client_error() => {
                judge_event(&slot.id, status, error, self.clock.now()).into()
            }
            Some((status, error)) => refused(format!(
                "200 and then {}",
                envelope::message_of(status, error.as_bytes())
            )),
            None => Outcome::Answer(parts, body, Reading::Events(scanner), out),
        })
    }
}

/// The request as the backend gets it.
fn request(ask: &Ask, slot: &Slot) -> Request<Full<Bytes>> {
    let body = ask
        .peek
        .splice(&ask.body, slot.model.as_deref(), slot.continuous_usage);
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = slot.address.of(ask.operation, ask.query.as_deref());
    *request.headers_mut() = ask.headers.clone();
    if let Some((name, key)) = &slot.credentials {
        request.headers_mut().insert(name, key.clone());
    }
    request
}

/// The next piece of a body; `None` at its end.
///
/// # Errors
/// Where it breaks off, or nothing comes for too long.
async fn next(body: &mut Answer, stall: Duration) -> Result<Option<Bytes>, Silence> {
    loop {
        let frame = timeout(stall, body.frame()).await.map_err(|_| Silence {
            what: format!("nothing came of its answer for {} s", stall.as_secs_f32()),
            certain: true,
        })?;
        match frame {
            Some(Ok(frame)) => {
                if let Ok(chunk) = frame.into_data() {
                    return Ok(Some(chunk));
                }
            }
            Some(Err(error)) => return Err(Silence::doubtful(&error)),
            None => return Ok(None),
        }
    }
}

async fn error_body(body: &mut Answer) -> Bytes {
    let mut whole = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        if let Ok(chunk) = frame.into_data() {
            whole.extend_from_slice(&chunk);
        }
        if whole.len() > LONGEST_ERROR {
            return Bytes::new();
        }
    }
    whole.into()
}

/// The error with which a stream began, and its status (502 where it names none).
fn first_error(scanner: &Scanner) -> Option<(StatusCode, &str)> {
    let error = scanner.seen.error.as_deref()?;
    let status = envelope::status_in(error).unwrap_or(StatusCode::BAD_GATEWAY);
    Some((status, error))
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
}

/// Whether the body can be read in passing: nobody asked for a compressed one, and one that comes all the same passes unread.
fn readable(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_ENCODING)
        .is_none_or(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// The last cause of an error, which says most: "Connection refused (os error 111)".
pub(crate) fn cause(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(next) = last.source() {
        last = next;
    }
    envelope::one_line(&last.to_string(), 200)
}
