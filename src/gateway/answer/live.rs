//! An answer on its way to the client, read in passing.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::gateway::answer::sse::{Scanner, usage_of_answer};
use crate::gateway::client::envelope;
use crate::gateway::record::account::Account;
use crate::gateway::upstream::slot::Flight;

/// The longest answer whose usage is read, bytes; a longer one passes unmetered.
const LONGEST_READ: usize = 16 << 20;

/// The body of an answer.
#[derive(Debug)]
pub(crate) enum Reply {
    /// The gateway's own words.
    Short(Option<Bytes>),
    /// An upstream's.
    Live(Box<Live>),
}

/// What an upstream sends, chunk by chunk as it comes.
#[derive(Debug)]
pub(crate) struct Live {
    upstream: Incoming,
    reading: Reading,
    out: VecDeque<Bytes>,
    account: Account,
    /// In flight until the end.
    flight: Option<Flight>,
    ended: bool,
}

/// How it is read.
#[derive(Debug)]
pub(crate) enum Reading {
    /// As a stream of events.
    Events(Scanner),
    /// As one piece of JSON: its pieces, and their length.
    Whole(Vec<Bytes>, usize),
}

impl Reply {
    /// The gateway's own words.
    pub(crate) fn short(body: Bytes) -> Self {
        Self::Short((!body.is_empty()).then_some(body))
    }
}

impl Live {
    /// Goes on with `upstream`, of which `out` was read already.
    pub(crate) fn new(
        upstream: Incoming,
        reading: Reading,
        out: VecDeque<Bytes>,
        account: Account,
        flight: Flight,
    ) -> Self {
        let mut live = Self {
            upstream,
            reading,
            out,
            account,
            flight: Some(flight),
            ended: false,
        };
        if live.upstream.is_end_stream() {
            live.end(None);
        }
        live
    }

    fn take(&mut self, chunk: Bytes) {
        match &mut self.reading {
            Reading::Events(scanner) => scanner.feed(chunk, &mut self.out),
            Reading::Whole(pieces, length) => {
                *length += chunk.len();
                if *length <= LONGEST_READ {
                    pieces.push(chunk.clone());
                } else {
                    pieces.clear();
                }
                self.out.push_back(chunk);
            }
        }
    }

    /// The upstream has ended, well or (`broken`) not. What it said goes on record.
    fn end(&mut self, broken: Option<&str>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        if let Some(why) = broken {
            self.account.broke(why);
        }
        match &mut self.reading {
            Reading::Events(scanner) => {
                if let Some(why) = broken {
                    let inside = scanner.cut_inside_event();
                    self.out.push_back(envelope::event(why, inside));
                } else {
                    scanner.finish(&mut self.out);
                }
                let seen = &scanner.seen;
                if let (Some(error), false) = (&seen.error, seen.finished) {
                    let said =
                        envelope::message_of(http::StatusCode::BAD_GATEWAY, error.as_bytes());
                    self.account.broke(&said);
                }
                self.account.used(seen.usage);
            }
            Reading::Whole(pieces, length) => {
                let usage = match pieces.as_slice() {
                    _ if broken.is_some() || *length > LONGEST_READ => None,
                    [one] => usage_of_answer(one),
                    several => usage_of_answer(&several.concat()),
                };
                self.account.used(usage);
            }
        }
        self.flight = None;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        loop {
            if let Some(piece) = self.out.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            match ready!(Pin::new(&mut self.upstream).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    // Trailers are the connection's own and end here.
                    if let Ok(chunk) = frame.into_data() {
                        self.take(chunk);
                    }
                    // With a known length nobody asks for the end: it is known now.
                    if self.upstream.is_end_stream() {
                        self.end(None);
                    }
                }
                Some(Err(error)) => {
                    self.end(Some("the backend broke off its answer"));
                    if matches!(self.reading, Reading::Whole(..)) {
                        return Poll::Ready(Some(Err(error)));
                    }
                }
                None => self.end(None),
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
                Reading::Whole(..) => None,
            };
            self.account.used(usage);
        }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut *self {
            Self::Short(body) => Poll::Ready(body.take().map(|body| Ok(Frame::data(body)))),
            Self::Live(live) => live.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Short(body) => body.is_none(),
            Self::Live(live) => live.ended && live.out.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Short(body) => SizeHint::with_exact(body.as_ref().map_or(0, Bytes::len) as u64),
            // Where the upstream said a length it is in the headers.
            Self::Live(_) => SizeHint::default(),
        }
    }
}
