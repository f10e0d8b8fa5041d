//! The state of a running engine: who is in it, who waits for what, whether it sleeps.

use std::collections::HashMap;

use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use super::answer::{self, Head};
use super::ask::{self, Ask, Refused};
use super::batch::{Batch, Event, Full, Seq};
use super::meters::{Counter, Meters, Reason};
use super::page::Gauges;

/// Where an answer goes.
#[derive(Debug)]
pub(super) enum To {
    /// Events, as they come.
    Stream(mpsc::Sender<Bytes>),
    /// One body at the end.
    Whole(oneshot::Sender<Ended>),
}

/// How a whole answer ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// With this body.
    Body(String),
    /// With an error.
    Failed(Refused),
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Out {
    pub(super) head: Head,
    pub(super) ask: Ask,
    pub(super) to: To,
}

/// Whether requests get into the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// They do.
    Open,
    /// They are held until it opens.
    Shut {
        /// The sleep level; none while paused or on the way to sleep.
        level: Option<u8>,
        /// Weights are back.
        weights: bool,
        /// The KV cache is back.
        cache: bool,
    },
}

/// The whole state, kept under one lock and never across an await.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) batch: Batch,
    pub(super) meters: Meters,
    pub(super) gate: Gate,
    /// The batch stands still (`mode=keep`).
    pub(super) frozen: bool,
    /// The gauges at the moment when the engine process hung.
    pub(super) hung: Option<Gauges>,
    pub(super) dead: bool,
    outs: HashMap<u64, Out>,
    held: Vec<Seq>,
}

impl Core {
    pub(super) fn new(batch: Batch, meters: Meters) -> Self {
        Self {
            batch,
            meters,
            gate: Gate::Open,
            frozen: false,
            hung: None,
            dead: false,
            outs: HashMap::new(),
            held: Vec::new(),
        }
    }

    /// Whether time does nothing to the batch.
    pub(super) fn stands_still(&self) -> bool {
        self.frozen || self.hung.is_some() || self.dead
    }

    /// Requests known to the server, wherever they are.
    pub(super) fn open(&self) -> usize {
        self.outs.len()
    }

    /// The gauges now.
    pub(super) fn gauges(&self) -> Gauges {
        self.hung.unwrap_or(Gauges {
            running: self.batch.running(),
            waiting: self.batch.waiting(),
            kv: self.batch.kv_usage(),
            level: match self.gate {
                Gate::Open => None,
                Gate::Shut { level, .. } => level,
            },
        })
    }

    /// Lets time pass and hands out what came of it.
    pub(super) fn catch_up(&mut self, now: f64) {
        if self.stands_still() {
            self.batch.skip(now);
            return;
        }
        let width = self.batch.running();
        for event in self.batch.advance(now) {
            self.meters.progress(&event, width);
            self.deliver(&event);
        }
    }

    /// Takes a request in; where there is no place it is given back.
    pub(super) fn submit(&mut self, seq: Seq, out: Out) -> Result<(), (Full, Out)> {
        let id = seq.id;
        if self.gate == Gate::Open && self.hung.is_none() {
            if let Err(full) = self.batch.submit(seq) {
                self.meters.add(Counter::Rejected, 1);
                return Err((full, out));
            }
        } else {
            self.held.push(seq);
        }
        self.outs.insert(id, out);
        Ok(())
    }

    /// Forgets a request whose client left.
    pub(super) fn forget(&mut self, id: u64) {
        if self.outs.remove(&id).is_some() {
            self.held.retain(|s| s.id != id);
            self.batch.cancel(id);
        }
    }

    /// Ends all requests in the batch and before it, as `/sleep` does by default.
    pub(super) fn abort(&mut self, now: f64) {
        for seq in self.batch.clear() {
            let event = Event {
                at: now,
                from: seq.told,
                from_at: seq.told_at,
                seq,
            };
            self.finish(&event, Reason::Abort);
        }
    }

    /// Lets the held requests in. Those that find the queue full are told so.
    pub(super) fn release(&mut self) {
        if self.gate != Gate::Open || self.hung.is_some() {
            return;
        }
        for seq in std::mem::take(&mut self.held) {
            let id = seq.id;
            if self.batch.submit(seq).is_err() {
                self.meters.add(Counter::Rejected, 1);
                if let Some(out) = self.outs.remove(&id) {
                    fail(
                        out,
                        answer::BUSY,
                        "Service Unavailable",
                        StatusCode::SERVICE_UNAVAILABLE,
                    );
                }
            }
        }
    }

    /// The engine process is gone: everything ends with an error.
    pub(super) fn die(&mut self) {
        self.hung = Some(self.gauges());
        self.dead = true;
        self.held.clear();
        self.batch.clear();
        for (_, out) in self.outs.drain() {
            fail(
                out,
                answer::DEAD,
                "InternalServerError",
                StatusCode::INTERNAL_SERVER_ERROR,
            );
        }
    }

    fn deliver(&mut self, event: &Event) {
        let Some(out) = self.outs.get(&event.seq.id) else {
            return;
        };
        if event.seq.told == event.seq.target {
            let full = event.seq.target == out.ask.max_tokens;
            self.finish(event, if full { Reason::Length } else { Reason::Stop });
        } else if let To::Stream(to) = &out.to {
            let text = answer::events(&out.head, &out.ask, event.from, event.seq.told, None);
            // The channel has room for all of an answer; it fails only when the client left.
            let _ = to.try_send(text.into());
        }
    }

    fn finish(&mut self, event: &Event, reason: Reason) {
        let Some(Out { head, ask, to }) = self.outs.remove(&event.seq.id) else {
            return;
        };
        self.meters.finish(event, reason, ask.max_tokens);
        let told = event.seq.told;
        match to {
            To::Stream(to) => {
                let text = answer::events(&head, &ask, event.from, told, Some(reason));
                let _ = to.try_send(text.into());
            }
            To::Whole(to) => {
                let _ = to.send(Ended::Body(answer::whole(&head, &ask, told, reason)));
            }
        }
    }
}

fn fail(out: Out, message: &str, kind: &str, status: StatusCode) {
    match out.to {
        To::Stream(to) => {
            let _ = to.try_send(answer::error_event(message, kind, status.as_u16()).into());
        }
        To::Whole(to) => {
            let _ = to.send(Ended::Failed(ask::error(
                status,
                kind,
                &Value::Null,
                message,
            )));
        }
    }
}
