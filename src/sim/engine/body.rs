//! A streamed answer's body, and what happens when its client leaves.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::sync::mpsc;

use super::Engine;
use crate::sim::hold;

/// Events of one answer, as a body.
#[derive(Debug)]
pub(super) struct Frames {
    from: mpsc::Receiver<Bytes>,
    _guard: Guard,
}

impl Frames {
    /// The events that come through `from`.
    pub(super) fn new(from: mpsc::Receiver<Bytes>, guard: Guard) -> Self {
        Self {
            from,
            _guard: guard,
        }
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.from.poll_recv(cx);
        next.map(|some| some.map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// Takes the request out of the engine when its client is gone.
#[derive(Debug)]
pub(super) struct Guard {
    engine: Arc<Engine>,
    id: u64,
}

impl Guard {
    /// For a request that was taken in.
    pub(super) fn new(engine: Arc<Engine>, id: u64) -> Self {
        Self { engine, id }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut core = hold(&self.engine.core);
        core.catch_up(self.engine.t());
        core.forget(self.id);
        drop(core);
        self.engine.nudge.notify_one();
    }
}
