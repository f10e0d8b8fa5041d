//! Comments to a streaming client that is held, so that nothing between cuts an idle connection.
//!
//! A request is answered with 200 and a comment line once it has been held for one heartbeat, and with another each
//! heartbeat until its turn comes. From then on the answer follows in the same stream; a failure ends it with an error event.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use http_body::{Body as _, Frame};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use crate::gateway::answer::live::{Broken, Reply};

/// The shortest time between two comments.
pub(crate) const SHORTEST: Duration = Duration::from_secs(1);
/// The longest error that ends a held stream, bytes.
const LONGEST_ERROR: usize = 1 << 20;
const COMMENT: &[u8] = b": waiting for the model to wake\n\n";

type Answering = Pin<Box<dyn Future<Output = Response<Reply>> + Send>>;

/// A stream whose answer is still to come.
pub(crate) struct Held {
    stage: Stage,
    every: Duration,
    alarm: Pin<Box<Sleep>>,
}

enum Stage {
    /// The answer is on its way; the flag says that a comment is due.
    Waiting(Answering, bool),
    /// It is here.
    Answered(Pin<Box<Reply>>),
    /// It is an error, of which this much was read.
    Refused(Pin<Box<Reply>>, Vec<u8>),
    Over,
}

/// Waits for an answer, and begins one with comments where it takes longer than `every` and `is_held` says that it is held.
pub(crate) async fn with_comments(
    mut answering: Answering,
    every: Duration,
    is_held: impl Fn() -> bool,
) -> Response<Reply> {
    loop {
        tokio::select! {
            biased;
            response = &mut answering => return response,
            () = sleep(every) => if is_held() { break },
        }
    }
    let held = Held {
        stage: Stage::Waiting(answering, true),
        every,
        alarm: Box::pin(sleep_until(Instant::now() + every)),
    };
    let mut response = Response::new(Reply::Held(Box::new(held)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

impl Held {
    /// Whether nothing comes any more.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over)
    }

    /// The next part of the stream.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        loop {
            match &mut self.stage {
                Stage::Waiting(answering, due) => {
                    if let Poll::Ready(response) = answering.as_mut().poll(cx) {
                        let (parts, body) = response.into_parts();
                        let body = Box::pin(body);
                        self.stage = if parts.status == StatusCode::OK {
                            Stage::Answered(body)
                        } else {
                            Stage::Refused(body, Vec::new())
                        };
                        continue;
                    }
                    if std::mem::take(due) {
                        return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(COMMENT)))));
                    }
                    ready!(self.alarm.as_mut().poll(cx));
                    self.alarm.as_mut().reset(Instant::now() + self.every);
                    *due = true;
                }
                Stage::Answered(body) => return body.as_mut().poll_frame(cx),
                Stage::Refused(body, said) => {
                    if let Some(Ok(frame)) = ready!(body.as_mut().poll_frame(cx)) {
                        if let Ok(chunk) = frame.into_data()
                            && said.len() + chunk.len() <= LONGEST_ERROR
                        {
                            said.extend_from_slice(&chunk);
                        }
                        continue;
                    }
                    // One line: the envelope is compact JSON, and an upstream's own is made so.
                    let error = compact(said);
                    self.stage = Stage::Over;
                    let event = [b"data: ", error.as_slice(), b"\n\n"].concat();
                    return Poll::Ready(Some(Ok(Frame::data(event.into()))));
                }
                Stage::Over => return Poll::Ready(None),
            }
        }
    }
}

/// JSON without line breaks between its parts.
fn compact(json: &[u8]) -> Vec<u8> {
    json.iter()
        .map(|byte| {
            if matches!(byte, b'\n' | b'\r') {
                b' '
            } else {
                *byte
            }
        })
        .collect()
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match self.stage {
            Stage::Waiting(..) => "waiting",
            Stage::Answered(_) => "answered",
            Stage::Refused(..) => "refused",
            Stage::Over => "over",
        };
        write!(f, "Held({stage})")
    }
}
