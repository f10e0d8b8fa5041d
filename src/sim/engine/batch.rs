//! Continuous batching as arithmetic: rates are constant between events, so time moves from event to event.

use std::collections::VecDeque;

use super::spec::Shape;

/// A request as the scheduler sees it. Times are fleet seconds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Seq {
    /// Which.
    pub(super) id: u64,
    /// Prompt tokens.
    pub(super) prompt: u32,
    /// Of these, found in the prefix cache.
    pub(super) cached: u32,
    /// Tokens that the answer will have; at least 1.
    pub(super) target: u32,
    /// Tokens between two tellings of progress; at least 1.
    pub(super) stride: u32,
    /// When it came.
    pub(super) arrived: f64,
    /// When it joined the batch.
    pub(super) admitted: f64,
    /// When its first token was there.
    pub(super) first: f64,
    /// When progress was told last.
    pub(super) told_at: f64,
    /// Tokens told of so far.
    pub(super) told: u32,
    prefill_left: f64,
    done: f64,
}

impl Seq {
    /// A request that came at `now`, to be told of in about `events` pieces after its first token.
    pub(super) fn new(
        id: u64,
        prompt: u32,
        cached: u32,
        target: u32,
        events: u32,
        now: f64,
    ) -> Self {
        let target = target.max(1);
        Self {
            id,
            prompt,
            cached: cached.min(prompt),
            target,
            stride: (target - 1).div_ceil(events.max(1)).max(1),
            arrived: now,
            admitted: now,
            first: now,
            told_at: now,
            told: 0,
            prefill_left: f64::from((prompt - cached.min(prompt)).max(1)),
            done: 0.0,
        }
    }

    fn needs(&self) -> u64 {
        u64::from(self.prompt) + u64::from(self.target)
    }

    fn decoding(&self) -> bool {
        self.told > 0
    }

    fn next_mark(&self) -> u32 {
        (self.told + self.stride).min(self.target)
    }
}

/// Something that happened in the batch.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Event {
    /// When, fleet seconds.
    pub(super) at: f64,
    /// Tokens told of before.
    pub(super) from: u32,
    /// When they were told of.
    pub(super) from_at: f64,
    /// The request as it is now; `told == target` when it is finished and gone from the batch.
    pub(super) seq: Seq,
}

/// The queue is full.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

/// Requests in the batch and before it.
#[derive(Debug)]
pub(super) struct Batch {
    shape: Shape,
    running: Vec<Seq>,
    waiting: VecDeque<Seq>,
    now: f64,
}

/// Share of its speed that decoding keeps while a prompt is read.
const DECODE_BESIDE_PREFILL: f64 = 0.85;
/// Share of its speed that prefill loses to a full batch.
const PREFILL_LOST_TO_DECODE: f64 = 0.5;
/// Tokens that are as good as done: what floating point leaves over.
const NEARLY: f64 = 1e-6;

impl Batch {
    pub(super) fn new(shape: Shape, now: f64) -> Self {
        Self {
            shape,
            running: Vec::new(),
            waiting: VecDeque::new(),
            now,
        }
    }

    /// Requests in the batch.
    pub(super) fn running(&self) -> usize {
        self.running.len()
    }

    /// Requests before it.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Share of the KV cache in use, 0 to 1.
    pub(super) fn kv_usage(&self) -> f64 {
        let used: f64 = self
            .running
            .iter()
            .map(|s| {
                let left = if s.decoding() { 0.0 } else { s.prefill_left };
                (f64::from(s.prompt) - left).max(0.0) + s.done
            })
            .sum();
        (used / f64::from(self.shape.kv_tokens.max(1))).clamp(0.0, 1.0)
    }

    /// Share of the ceiling that it computes at, 0 to 1.
    pub(super) fn load(&self) -> f64 {
        self.shape.total(self.running.len()) / self.shape.ceiling
    }

    /// Whether there is nothing to do.
    pub(super) fn is_idle(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty()
    }

    /// Takes a request in, in order of arrival.
    pub(super) fn submit(&mut self, mut seq: Seq) -> Result<(), Full> {
        if self
            .shape
            .max_queued
            .is_some_and(|most| self.waiting.len() >= most)
        {
            return Err(Full);
        }
        seq.prefill_left += self.shape.first * self.shape.prefill;
        self.waiting.push_back(seq);
        self.admit();
        Ok(())
    }

    /// Takes a request out, wherever it is.
    pub(super) fn cancel(&mut self, id: u64) -> Option<Seq> {
        let gone = if let Some(at) = self.running.iter().position(|s| s.id == id) {
            Some(self.running.remove(at))
        } else {
            let at = self.waiting.iter().position(|s| s.id == id)?;
            self.waiting.remove(at)
        };
        self.admit();
        gone
    }

    /// Takes everything out, in order of admission.
    pub(super) fn clear(&mut self) -> Vec<Seq> {
        self.running
            .drain(..)
            .chain(self.waiting.drain(..))
            .collect()
    }

    /// Lets time pass in which nothing is computed.
    pub(super) fn skip(&mut self, to: f64) {
        self.now = self.now.max(to);
    }

    /// When the next event comes if nothing is added, fleet seconds.
    pub(super) fn next(&self) -> Option<f64> {
        self.until_next().map(|dt| self.now + dt)
    }

    /// Lets time pass; what happened, in order.
    pub(super) fn advance(&mut self, to: f64) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(dt) = self.until_next() {
            if self.now + dt > to {
                break;
            }
            self.pass(dt);
            self.tell(&mut events);
        }
        if to > self.now {
            self.pass(to - self.now);
        }
        events
    }

    fn rates(&self) -> (f64, f64) {
        let decoding = self.running.iter().filter(|s| s.decoding()).count();
        let total = self.shape.total(decoding);
        let each = total / (decoding.max(1) as f64);
        let beside = decoding < self.running.len();
        (
            if beside {
                each * DECODE_BESIDE_PREFILL
            } else {
                each
            },
            self.shape.prefill * (1.0 - PREFILL_LOST_TO_DECODE * total / self.shape.ceiling),
        )
    }

    fn until_next(&self) -> Option<f64> {
        let (decode, prefill) = self.rates();
        let reading = self
            .running
            .iter()
            .find(|s| !s.decoding())
            .map(|s| s.prefill_left / prefill);
        self.running
            .iter()
            .filter(|s| s.decoding())
            .map(|s| (f64::from(s.next_mark()) - s.done) / decode)
            .chain(reading)
            .min_by(f64::total_cmp)
            .map(|dt| dt.max(0.0))
    }

    fn pass(&mut self, dt: f64) {
        let (decode, prefill) = self.rates();
        let mut reading = true;
        for seq in &mut self.running {
            if seq.decoding() {
                seq.done = (seq.done + decode * dt).min(f64::from(seq.next_mark()));
            } else if reading {
                reading = false;
                seq.prefill_left = (seq.prefill_left - prefill * dt).max(0.0);
            }
        }
        self.now += dt;
    }

    fn tell(&mut self, events: &mut Vec<Event>) {
        let now = self.now;
        let mut ended = false;
        for seq in &mut self.running {
            let (from, from_at) = (seq.told, seq.told_at);
            if seq.decoding() {
                let mark = seq.next_mark();
                if f64::from(mark) - seq.done > NEARLY {
                    continue;
                }
                seq.told = mark;
            } else if seq.prefill_left <= NEARLY {
                seq.told = 1;
                seq.first = now;
            } else {
                continue;
            }
            seq.done = f64::from(seq.told);
            seq.told_at = now;
            ended |= seq.told == seq.target;
            events.push(Event {
                at: now,
                from,
                from_at,
                seq: seq.clone(),
            });
        }
        if ended {
            self.running.retain(|s| s.told < s.target);
            self.admit();
        }
    }

    fn admit(&mut self) {
        let most = u64::from(self.shape.kv_tokens);
        let mut held: u64 = self.running.iter().map(Seq::needs).sum();
        while let Some(next) = self.waiting.front() {
            let fits = self.running.is_empty() || held + next.needs() <= most;
            if self.running.len() >= self.shape.max_seqs || !fits {
                break;
            }
            held += next.needs();
            if let Some(mut seq) = self.waiting.pop_front() {
                seq.admitted = self.now.max(seq.arrived);
                self.running.push(seq);
            }
        }
    }
}

#[cfg(test)]
mod tests;
