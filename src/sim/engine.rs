//! One simulated vLLM server: an event-driven batch behind vLLM's HTTP interface.

mod answer;
mod ask;
mod batch;
mod body;
mod core;
mod http;
pub(super) mod lines;
mod meters;
mod page;
pub mod spec;
mod state;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use self::spec::{Failure, Shape, Spec, Stages};

use self::batch::Batch;
use self::core::Core;
use self::meters::{Counter, Meters};
use self::page::Page;
use super::hold;
use super::log::Log;
use crate::clock::Clock;

/// Seconds between two lines about throughput.
const STATS_EVERY: f64 = 10.0;
/// Seconds from the engine process's end to the port's.
const PORT_OUTLIVES: TimeDelta = TimeDelta::milliseconds(400);
/// Seconds from there to the server's own end.
const SERVER_OUTLIVES: TimeDelta = TimeDelta::milliseconds(2500);
/// One in this many requests gets an access line.
const ACCESS_EVERY: u64 = 40;

/// A running engine.
#[derive(Debug)]
pub struct Engine {
    spec: Arc<Spec>,
    clock: Clock,
    born: DateTime<Utc>,
    core: Mutex<Core>,
    page: Page,
    log: Arc<Log>,
    /// The batch changed: look again when the next event is.
    nudge: Notify,
    /// The batch is empty.
    quiet: Notify,
    hung: watch::Sender<bool>,
    exit: watch::Sender<Option<i32>>,
    stop: CancellationToken,
    ids: AtomicU64,
}

/// What an engine does to its GPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// Requests in the batch.
    pub running: usize,
    /// Share of the ceiling that it computes at, 0 to 1.
    pub share: f64,
    /// The weights are not on the GPU.
    pub asleep: bool,
}

impl Engine {
    /// Starts an engine on a free port of its own, without a launcher.
    ///
    /// # Errors
    /// No port could be bound.
    pub async fn alone(spec: Spec, clock: Clock) -> std::io::Result<(Arc<Self>, SocketAddr)> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let at = listener.local_addr()?;
        Ok((
            Self::start(Arc::new(spec), clock, listener, Arc::default()),
            at,
        ))
    }

    pub(super) fn start(
        spec: Arc<Spec>,
        clock: Clock,
        listener: TcpListener,
        log: Arc<Log>,
    ) -> Arc<Self> {
        let (page, bounds) = Page::new(&spec);
        let core = Core::new(Batch::new(spec.shape, 0.0), Meters::new(bounds));
        let engine = Arc::new(Self {
            clock,
            born: clock.now(),
            core: Mutex::new(core),
            page,
            log,
            nudge: Notify::new(),
            quiet: Notify::new(),
            hung: watch::Sender::new(false),
            exit: watch::Sender::new(None),
            stop: CancellationToken::new(),
            ids: AtomicU64::new(0),
            spec,
        });
        tokio::spawn(http::serve(engine.clone(), listener));
        tokio::spawn(engine.clone().run());
        engine
    }

    /// The engine process dies, as by SIGKILL; the server follows with exit status 0.
    pub fn kill(self: &Arc<Self>) {
        {
            let mut core = hold(&self.core);
            if core.dead {
                return;
            }
            core.catch_up(self.t());
            core.die();
        }
        self.say(
            "APIServer",
            "ERROR",
            "core_client.py:812",
            "Engine core proc EngineCore died unexpectedly, shutting down client.",
        );
        self.say(
            "APIServer",
            "WARNING",
            "core_client.py:461",
            "[shutdown] MPClient: engine core exited unexpectedly; starting cleanup",
        );
        let engine = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(engine.clock.on_wall(PORT_OUTLIVES)).await;
            engine.stop.cancel();
            tokio::time::sleep(engine.clock.on_wall(SERVER_OUTLIVES)).await;
            engine.exit.send_replace(Some(0));
        });
    }

    /// The engine process stops answering, as by SIGSTOP; the server goes on.
    pub fn hang(&self) {
        let mut core = hold(&self.core);
        core.catch_up(self.t());
        core.hung = Some(core.gauges());
        drop(core);
        self.hung.send_replace(true);
        self.nudge.notify_one();
    }

    /// Ends a hang.
    pub fn resume(&self) {
        let mut core = hold(&self.core);
        if !core.dead {
            core.catch_up(self.t());
            core.hung = None;
            core.release();
        }
        drop(core);
        self.hung.send_replace(false);
        self.nudge.notify_one();
    }

    /// Ends the server: the port closes and connections are cut.
    pub fn stop(&self) {
        self.stop.cancel();
        self.exit.send_replace(Some(0));
    }

    /// Waits for the server's end; its exit status.
    pub async fn exited(&self) -> i32 {
        let mut exit = self.exit.subscribe();
        match exit.wait_for(Option::is_some).await {
            Ok(status) => status.unwrap_or_default(),
            Err(_) => 0,
        }
    }

    /// What it does to its GPUs now.
    pub fn load(&self) -> Load {
        let core = hold(&self.core);
        let gauges = core.gauges();
        Load {
            running: gauges.running,
            share: if gauges.running == 0 {
                0.0
            } else {
                core.batch.load()
            },
            asleep: gauges.level.is_some_and(|l| l > 0),
        }
    }

    /// Seconds of fleet time since it began.
    fn t(&self) -> f64 {
        let since = self.clock.now() - self.born;
        since.num_microseconds().unwrap_or(i64::MAX) as f64 / 1e6
    }

    fn say(&self, process: &str, level: &str, place: &str, message: &str) {
        let line = lines::framed(process, level, self.clock.now(), place, message);
        self.log.say(line);
    }

    fn access(&self, what: &str, status: u16) {
        self.log.say(format!(
            "INFO:     127.0.0.1:40112 - \"{what} HTTP/1.1\" {status} OK"
        ));
    }

    /// Moves the batch from event to event; sleeps as long as there is none.
    async fn run(self: Arc<Self>) {
        let mut stats = Stats::default();
        loop {
            let (wake, quiet) = {
                let mut core = hold(&self.core);
                let now = self.t();
                core.catch_up(now);
                if let Some(text) = stats.line(now, &core) {
                    self.say("APIServer", "INFO", "loggers.py:335", &text);
                }
                let next = if core.stands_still() {
                    None
                } else {
                    core.batch.next()
                };
                let wake = next.into_iter().chain(stats.due).min_by(f64::total_cmp);
                (wake.map(|w| w - now), core.batch.is_idle())
            };
            if quiet {
                self.quiet.notify_waiters();
            }
            let wait = wake.map(|w| {
                let wall = Duration::from_secs_f64(w.max(0.0)) / self.clock.speed();
                Instant::now() + wall
            });
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = self.nudge.notified() => {}
                () = async {
                    match wait {
                        Some(at) => tokio::time::sleep_until(at).await,
                        None => std::future::pending().await,
                    }
                } => {}
            }
        }
    }

    fn next_id(&self) -> u64 {
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        if id.is_multiple_of(ACCESS_EVERY) {
            self.access("POST /v1/chat/completions", 200);
        }
        id
    }
}

/// What the last line about throughput said.
#[derive(Debug, Default)]
struct Stats {
    due: Option<f64>,
    at: f64,
    prompt: u64,
    generated: u64,
}

impl Stats {
    fn line(&mut self, now: f64, core: &Core) -> Option<String> {
        let busy = !core.batch.is_idle();
        let Some(due) = self.due else {
            if busy {
                self.due = Some(now + STATS_EVERY);
                self.at = now;
                self.prompt = core.meters.count(Counter::Prompt);
                self.generated = core.meters.count(Counter::Generated);
            }
            return None;
        };
        if now < due || core.hung.is_some() {
            return None;
        }
        let (prompt, generated) = (
            core.meters.count(Counter::Prompt),
            core.meters.count(Counter::Generated),
        );
        let span = (now - self.at).max(1e-3);
        let gauges = core.gauges();
        let hits = core.meters.count(Counter::PromptCached) as f64 / prompt.max(1) as f64;
        let text = format!(
            "Engine 000: Avg prompt throughput: {:.1} tokens/s, Avg generation throughput: {:.1} tokens/s, Running: {} reqs, Waiting: {} reqs, GPU KV cache usage: {:.1}%, Prefix cache hit rate: {:.1}%",
            (prompt - self.prompt) as f64 / span,
            (generated - self.generated) as f64 / span,
            gauges.running,
            gauges.waiting,
            gauges.kv * 100.0,
            hits * 100.0,
        );
        (self.at, self.prompt, self.generated) = (now, prompt, generated);
        self.due = busy.then_some(now + STATS_EVERY);
        Some(text)
    }
}

#[cfg(test)]
pub(in crate::sim) mod tests;
