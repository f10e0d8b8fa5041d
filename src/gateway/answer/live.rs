//! An answer on its way to the client, read in passing.

use std::collections::VecDeque;
use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use crate::gateway::answer::sse::Scanner;
use crate::gateway::answer::usage;
use crate::gateway::client::envelope;
use crate::gateway::record::account::Account;
use crate::gateway::upstream::slot::Flight;
use crate::gateway::upstream::wire::Answer;
use crate::gateway::wait::heartbeat::Held;

/// The longest answer whose usage is read, bytes; a longer one passes unmetered.
const LONGEST_READ: usize = 16 << 20;

/// The body of an answer.
#[derive(Debug)]
pub(crate) enum Reply {
    /// The gateway's own words.
    Short(Option<Bytes>),
    /// An upstream's.
    Live(Box<Live>),
    /// Comments until there is one.
    Held(Box<Held>),
}

/// What an upstream sends, chunk by chunk as it comes.
#[derive(Debug)]
pub(crate) struct Live {
    upstream: Answer,
    reading: Reading,
    out: VecDeque<Bytes>,
    account: Account,
    /// In flight until the end.
    flight: Option<Flight>,
    patience: Patience,
    ended: bool,
}

/// How it is read.
#[derive(Debug)]
pub(crate) enum Reading {
    /// As a stream of events.
    Events(Scanner),
    /// As one piece of JSON: its pieces, and their length.
    Whole(Vec<Bytes>, usize),
    /// Not at all: it is compressed.
    Nothing,
}

/// Notices when nothing came for too long. Looks at the clock once a span, and not with every chunk.
#[derive(Debug)]
struct Patience {
    span: Duration,
    last: Instant,
    alarm: Option<Pin<Box<Sleep>>>,
}

/// How an answer ended before its end.
#[derive(Debug, thiserror::Error)]
enum Cut {
    #[error("the backend broke off its answer")]
    BrokenOff,
    #[error("nothing came from the backend for {} s", .0.as_secs_f32())]
    Silent(Duration),
}

/// An answer that broke off after it had begun; the client sees its connection end.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Broken(String);

impl Reply {
    /// The gateway's own words.
    pub(crate) fn short(body: Bytes) -> Self {
        Self::Short((!body.is_empty()).then_some(body))
    }
}

impl Reading {
    /// Keeps a piece of an answer that is no stream, for its usage.
    pub(crate) fn take(&mut self, chunk: &Bytes) {
        if let Self::Whole(pieces, length) = self {
            *length += chunk.len();
            if *length <= LONGEST_READ {
                pieces.push(chunk.clone());
            } else {
                pieces.clear();
            }
        }
    }
}

impl Patience {
    fn new(span: Duration) -> Self {
        Self {
            span,
            last: Instant::now(),
            alarm: None,
        }
    }

    /// Nothing is there now: whether it has been so for too long.
    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        let alarm = self
            .alarm
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(self.last + self.span)));
        while alarm.as_mut().poll(cx).is_ready() {
            let due = self.last + self.span;
            if Instant::now() >= due {
                return true;
            }
            alarm.as_mut().reset(due);
        }
        false
    }
}

impl Live {
    /// Goes on with `upstream`, of which `out` was read already.
    pub(crate) fn new(
        upstream: Answer,
        reading: Reading,
        out: VecDeque<Bytes>,
        account: Account,
        flight: Flight,
    ) -> Self {
        let span = account.on_wall(flight.slot.stall_after);
        let mut live = Self {
            upstream,
            reading,
            out,
            account,
            flight: Some(flight),
            patience: Patience::new(span),
            ended: false,
        };
        if live.upstream.is_end_stream() {
            live.end(None);
        }
        live
    }

    fn take(&mut self, chunk: Bytes) {
        self.patience.last = Instant::now();
        match &mut self.reading {
            Reading::Events(scanner) => scanner.feed(chunk, &mut self.out),
            reading @ (Reading::Whole(..) | Reading::Nothing) => {
                reading.take(&chunk);
                self.out.push_back(chunk);
            }
        }
    }

    /// The upstream has ended, well or (`broken`) not. What it said goes on record.
    fn end(&mut self, broken: Option<&Cut>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let silent = matches!(broken, Some(Cut::Silent(_)));
        let mut broken = broken.map(Cut::to_string);
        match &mut self.reading {
            Reading::Events(scanner) => {
                if scanner.seen.done {
                    // All was said; how the connection ended is no matter of the client's.
                    broken = None;
                }
                if broken.is_none() {
                    scanner.finish(&mut self.out);
                    // A process that was killed may close its connection in good order.
                    let cut = !scanner.seen.finished
                        && !scanner.seen.done
                        && scanner.seen.error.is_none();
                    broken = cut.then(|| "the backend ended its stream in the middle".to_owned());
                }
                if let Some(why) = &broken {
                    let inside = scanner.cut_inside_event();
                    self.out.push_back(envelope::event(why, inside));
                } else if let (Some(error), false) = (&scanner.seen.error, scanner.seen.finished) {
                    // The client has the event already.
                    broken = Some(envelope::message_of(
                        StatusCode::BAD_GATEWAY,
                        error.as_bytes(),
                    ));
                }
                self.account.used(scanner.seen.usage);
            }
            Reading::Whole(pieces, length) => {
                let usage = match pieces.as_slice() {
                    _ if broken.is_some() || *length > LONGEST_READ => None,
                    [one] => usage::of_answer(one),
                    several => usage::of_answer(&several.concat()),
                };
                self.account.used(usage);
            }
            Reading::Nothing => {}
        }
        if let Some(why) = broken {
            if let Some(flight) = &mut self.flight {
                let now = self.account.now();
                if silent {
                    flight.fail(now);
                } else {
                    flight.broke(now);
                }
            }
            self.account.broke(&why);
        } else if let Some(flight) = &mut self.flight {
            flight.complete();
        }
        self.flight = None;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        loop {
            if let Some(piece) = self.out.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            let why = match self.upstream.poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    // Trailers are the connection's own and end here.
                    if let Ok(chunk) = frame.into_data() {
                        self.take(chunk);
                    }
                    // With a known length nobody asks for the end: it is known now.
                    if self.upstream.is_end_stream() {
                        self.end(None);
                    }
                    continue;
                }
                Poll::Ready(None) => {
                    self.end(None);
                    continue;
                }
                Poll::Ready(Some(Err(_))) => Cut::BrokenOff,
                Poll::Pending if self.patience.is_over(cx) => Cut::Silent(self.patience.span),
                Poll::Pending => return Poll::Pending,
            };
            self.end(Some(&why));
            if !matches!(self.reading, Reading::Events(_)) {
                return Poll::Ready(Some(Err(Broken(why.to_string()))));
            }
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if !self.ended {
            self.account.abandoned();
            let usage = match &self.reading {
                Reading::Events(scanner) => scanner.seen.usage,
                Reading::Whole(..) | Reading::Nothing => None,
            };
            self.account.used(usage);
        }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match &mut *self {
            Self::Short(body) => Poll::Ready(body.take().map(|body| Ok(Frame::data(body)))),
            Self::Live(live) => live.poll(cx),
            Self::Held(held) => held.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Short(body) => body.is_none(),
            Self::Live(live) => live.ended && live.out.is_empty(),
            Self::Held(held) => held.is_over(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Short(body) => SizeHint::with_exact(body.as_ref().map_or(0, Bytes::len) as u64),
            // Where the upstream said a length it is in the headers.
            Self::Live(_) | Self::Held(_) => SizeHint::default(),
        }
    }
}
