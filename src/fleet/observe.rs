//! Observations: what was read, applied to the picture.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::engine::EngineSample;
use super::live::WINDOW;
use super::machine::Input;
use super::message::{Action, Observation};
use super::request::RequestRecord;
use super::wake::State;
use super::{Backend, BackendId, Fleet, REQUESTS_KEPT};

/// Engine pages are kept this far apart: enough for a quantile over the window, at a bounded size.
const PAGE_STEP: TimeDelta = TimeDelta::seconds(15);
/// The span over which tokens a second are told.
const TOKENS_OVER: TimeDelta = TimeDelta::seconds(30);

impl Fleet {
    /// Applies what was read and gives back what is to be performed.
    #[expect(clippy::too_many_lines, reason = "one arm an observation")]
    pub fn observe(&mut self, observation: Observation) -> Vec<Action> {
        match observation {
            Observation::Engine {
                backend,
                sample,
                at,
            } => {
                // A page from before the present state would put figures back on an engine that sleeps.
                if self.backend(&backend).is_none_or(|b| at < b.state.since()) {
                    return Vec::new();
                }
                let gap = self.gap();
                let asleep = sample.asleep == Some(true);
                let Some(idle) = self.change(&backend, |b| {
                    b.accrue(at, gap);
                    read_engine(b, Arc::new(*sample), at)
                }) else {
                    return Vec::new();
                };
                let placed = self.backend(&backend).is_some_and(|b| b.place.is_some());
                let mut actions = self.after(&backend, at, Input::Load { idle });
                if placed {
                    self.follow_again(&backend, at);
                }
                if asleep {
                    actions.extend(self.after(&backend, at, Input::Sleeps));
                }
                actions
            }
            Observation::Unreachable {
                backend,
                reason,
                at,
            } => {
                self.change(&backend, |b| b.live.error = Some(reason.clone()));
                self.after(
                    &backend,
                    at,
                    Input::Silent {
                        absent: false,
                        reason,
                    },
                )
            }
            Observation::Health {
                backend,
                ok: true,
                at,
            } => {
                self.change(&backend, |b| {
                    b.live.error = None;
                    b.live.read_at = Some(at);
                });
                self.after(&backend, at, Input::Healthy)
            }
            Observation::Health {
                backend,
                ok: false,
                at,
            } => self.after(
                &backend,
                at,
                Input::Silent {
                    absent: false,
                    reason: "it does not answer its health check".into(),
                },
            ),
            Observation::Sleeping {
                backend,
                asleep: true,
                at,
            } => self.after(&backend, at, Input::Sleeps),
            Observation::Sleeping { asleep: false, .. } => Vec::new(),
            Observation::Gpus { backend, gpus, .. } => {
                self.change(&backend, |b| b.hold(gpus));
                Vec::new()
            }
            Observation::Metered {
                backend,
                requests,
                usage,
                counted,
                at,
            } => {
                let hosted = self.change(&backend, |b| {
                    b.meter(requests, usage, counted, at);
                    b.is_hosted()
                });
                if let (Some(hosted), true) = (hosted, requests > 0) {
                    let answered = u32::try_from(requests).unwrap_or(u32::MAX);
                    self.answered += requests;
                    self.point(at, |point| {
                        let side = if hosted {
                            &mut point.to_hosted
                        } else {
                            &mut point.to_self
                        };
                        *side = side.saturating_add(answered);
                    });
                }
                Vec::new()
            }
            Observation::PastBegins { cluster, from } => {
                self.begin_past(&cluster, from);
                Vec::new()
            }
            Observation::Past(told) => {
                self.fill(&told);
                Vec::new()
            }
            Observation::Machine { gpus, .. } => {
                self.take_machine(gpus);
                Vec::new()
            }
            Observation::Log {
                backend,
                line,
                stage,
            } => {
                let at = line.at;
                self.change(&backend, |b| b.push_log(line));
                stage.map_or_else(Vec::new, |mark| self.after(&backend, at, Input::Mark(mark)))
            }
            Observation::Runs { backend, at } => self.after(&backend, at, Input::Runs),
            Observation::Exited {
                backend,
                status,
                reason,
                at,
            } => {
                let reason = match status {
                    Some(code) => format!("{reason} (exit status {code})"),
                    None => reason,
                };
                self.after(&backend, at, Input::Exited { reason })
            }
            Observation::Performed { action, result, at } => match &action {
                Action::Start { backend } => self.after(backend, at, Input::Started(result)),
                Action::Stop { backend } => self.after(backend, at, Input::Stopped(result)),
                Action::Operate { plan } => {
                    self.operated(plan, &result, at);
                    Vec::new()
                }
            },
            Observation::Cluster { seen, at } => {
                self.take_cluster(*seen, at);
                Vec::new()
            }
            Observation::Step {
                backend,
                words,
                step,
                of,
                stopping,
                asks,
            } => {
                self.came_to(&backend, words, (step, of), stopping, asks);
                Vec::new()
            }
            Observation::Request(record) => {
                self.count(record);
                Vec::new()
            }
            Observation::Gateway {
                in_flight,
                held,
                at,
            } => self.read_gateway(&in_flight, &held, at),
            Observation::Limited { backend, until, at } => {
                self.after(&backend, at, Input::Limited { until })
            }
            Observation::Headroom { backend, headroom } => {
                self.change(&backend, |b| b.live.headroom = Some(headroom));
                Vec::new()
            }
            Observation::Dropped { count, .. } => {
                self.dropped += count;
                Vec::new()
            }
        }
    }

    /// Feeds an input that was read at `at`. What is older than the present state says nothing about it.
    fn after(&mut self, id: &BackendId, at: DateTime<Utc>, input: Input) -> Vec<Action> {
        let told = matches!(input, Input::Started(_) | Input::Stopped(_));
        if !told && self.backend(id).is_none_or(|b| at < b.state.since()) {
            return Vec::new();
        }
        let now = self.now.max(at);
        self.now = now;
        self.feed(id, input, now)
    }

    fn count(&mut self, record: Arc<RequestRecord>) {
        let now = self.now.max(record.at + record.took);
        self.now = now;
        self.answered += 1;
        if record.status >= 500 {
            self.failed += 1;
        }
        let hosted = record
            .backend
            .as_ref()
            .and_then(|id| self.backend(id))
            .map(|b| b.is_hosted());
        self.point(now, |point| {
            match hosted {
                Some(true) => point.to_hosted += 1,
                Some(false) => point.to_self += 1,
                None => {}
            }
            if record.status >= 500 {
                point.errors += 1;
            }
        });
        if let Some(id) = &record.backend {
            let gap = self.gap();
            self.change(id, |b| {
                b.accrue(now, gap);
                b.live.active_at = Some(now);
                if record.status < 300 && !record.partial {
                    // A page may count something else than this engine does: whoever answers is not still.
                    b.live.still_since = None;
                }
                b.charge(&record, now);
                if b.is_hosted() {
                    b.live.read_at = Some(now);
                }
            });
        }
        if self.requests.len() == REQUESTS_KEPT {
            self.requests.pop_front();
        }
        self.requests.push_back(record);
    }

    fn read_gateway(
        &mut self,
        in_flight: &[(BackendId, u32)],
        held: &[(super::ModelId, u32)],
        at: DateTime<Utc>,
    ) -> Vec<Action> {
        let now = self.now.max(at);
        self.now = now;
        let gap = self.gap();
        let mut actions = Vec::new();
        for (id, n) in in_flight {
            let draining_blind = self.change(id, |b| {
                let was = b.live.in_flight;
                if (was > 0) != (*n > 0) {
                    b.accrue(now, gap);
                }
                b.live.in_flight = *n;
                if *n > 0 || was > 0 {
                    b.live.active_at = Some(now);
                }
                if b.is_hosted() {
                    b.live.running = Some(*n);
                }
                // An engine that tells its own load decides a drain by its own page; the others by this count.
                matches!(&b.state, State::Draining(_)) && b.sample.is_none()
            });
            if draining_blind == Some(true) {
                actions.extend(self.after(id, at, Input::Load { idle: *n == 0 }));
            }
        }
        let mut all_held = 0;
        for (model, n) in held {
            all_held += n;
            let waking = self.waking_for(model);
            for id in self
                .model(model)
                .map(|m| m.backends.clone())
                .unwrap_or_default()
            {
                let mine = if waking.as_ref() == Some(&id) { *n } else { 0 };
                if self.backend(&id).is_some_and(|b| b.live.held != mine) {
                    self.change(&id, |b| {
                        b.accrue(now, gap);
                        b.live.held = mine;
                    });
                }
            }
        }
        self.point(now, |point| point.held = point.held.max(all_held));
        actions
    }

    /// The backend that held requests of a model wait for: the waking one that is furthest.
    fn waking_for(&self, model: &super::ModelId) -> Option<BackendId> {
        let waking = |b: &&Arc<Backend>| matches!(b.state, State::Waking(_));
        self.backends_of(model)
            .filter(waking)
            .min_by_key(|b| b.state.since())
            .map(|b| b.id.clone())
    }
}

/// Takes in one engine page; says whether the backend is idle by it.
fn read_engine(b: &mut Backend, sample: Arc<EngineSample>, at: DateTime<Utc>) -> bool {
    let whole = |n: Option<f64>| n.map(|n| n.max(0.0).round() as u32);
    let moved = b.sample.as_ref().is_some_and(|before| {
        before.finished != sample.finished
            || before.generation_tokens != sample.generation_tokens
            || before.prompt_tokens != sample.prompt_tokens
    });
    let live = &mut b.live;
    live.read_at = Some(at);
    live.error = None;
    live.running = whole(sample.running);
    live.waiting = whole(sample.waiting);
    live.kv = sample.kv;
    let load = sample.running.unwrap_or(0.0) + sample.waiting.unwrap_or(0.0);
    if moved || load > 0.0 {
        live.active_at = Some(at);
    }
    if moved || sample.running.unwrap_or(0.0) <= 0.0 {
        live.still_since = None;
    } else {
        live.still_since.get_or_insert(at);
    }
    let pages = Arc::make_mut(&mut live.pages);
    // A restarted engine counts from zero: what its predecessor said does not mix with it.
    if b.sample
        .as_ref()
        .is_some_and(|before| sample.generation_tokens < before.generation_tokens)
    {
        pages.clear();
    }
    while pages.front().is_some_and(|(first, _)| at - *first > WINDOW) {
        pages.pop_front();
    }
    let rate = |over: TimeDelta, of: fn(&EngineSample) -> Option<f64>| {
        let (then, page) = pages
            .iter()
            .rev()
            .find(|(t, _)| at - *t >= over)
            .or_else(|| pages.front())?;
        let seconds = (at - *then).num_milliseconds() as f64 / 1000.0;
        (seconds > 0.0)
            .then(|| Some((of(&sample)? - of(page)?).max(0.0) / seconds))
            .flatten()
    };
    live.tokens_per_s = rate(TOKENS_OVER, |s| s.generation_tokens);
    live.requests_per_s = rate(WINDOW, |s| s.finished);
    if let Some(sustained) = rate(WINDOW, |s| s.generation_tokens) {
        live.best_tokens_per_s = Some(
            live.best_tokens_per_s
                .map_or(sustained, |best| best.max(sustained)),
        );
    }
    let recent = match pages.front() {
        Some((_, first)) => sample.ttft.since(&first.ttft),
        None => sample.ttft.clone(),
    };
    live.ttft_p50 = recent.quantile(0.5);
    live.ttft_p95 = recent.quantile(0.95);
    if pages.back().is_none_or(|(last, _)| at - *last >= PAGE_STEP) {
        pages.push_back((at, Arc::clone(&sample)));
    }
    b.sample = Some(sample);
    // Whoever is not reached through a gateway of ours may have had something between two readings.
    let still = b.place.is_none() || !moved;
    load == 0.0 && b.live.in_flight == 0 && still
}
