//! A process of ours, read: whether it runs, how it ended, and its log as it grows.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::engine_log::{clean, failure_reason, stage};
use super::launcher::Phase as Reachable;
use super::lines::Lines;
use super::outlet::Outlet;
use crate::fleet::Stage;
use crate::process::{End, Engine, Phase, Tail};

/// Between two looks at a log that grows, on the wall.
const LOOK: Duration = Duration::from_millis(50);
/// How long the log of an ended run is read on: what its processes left on the way comes at once.
const LAST_LINES: Duration = Duration::from_millis(200);
/// Lines that are searched for the reason of an end.
const TAIL: usize = 1000;

/// Reads one process.
#[derive(Debug)]
pub(super) struct Process {
    engine: Arc<Engine>,
    outlet: Outlet,
    reachable: watch::Sender<Reachable>,
    comes_up: Arc<Notify>,
}

impl Process {
    pub(super) fn new(
        engine: Arc<Engine>,
        outlet: Outlet,
        reachable: watch::Sender<Reachable>,
        comes_up: Arc<Notify>,
    ) -> Self {
        Self {
            engine,
            outlet,
            reachable,
            comes_up,
        }
    }

    /// Run after run, for ever.
    pub(super) async fn watch(&self) {
        let mut phases = self.engine.phase();
        loop {
            let phase = phases.borrow_and_update().clone();
            match phase {
                Phase::Stopped => {
                    self.reachable.send_replace(Reachable::stopped());
                    self.outlet.health(false).await;
                }
                Phase::Running { run, .. } => {
                    self.reachable.send_replace(Reachable::running());
                    self.outlet.runs().await;
                    self.follow(run, &mut phases).await;
                    continue;
                }
                // Told by `follow`, or an end that nobody here saw begin.
                Phase::Exited { .. } => {
                    self.reachable.send_replace(Reachable::stopped());
                }
            }
            if phases.changed().await.is_err() {
                return;
            }
        }
    }

    /// Sends the lines of one run until it ends, and how it ended.
    async fn follow(&self, run: u64, phases: &mut watch::Receiver<Phase>) {
        let mut tail = Tail::of(self.engine.log());
        let mut lines = Lines::default();
        let mut recent: Vec<String> = Vec::new();
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            self.pass_on(&mut tail, &mut lines, &mut recent).await;
            tokio::select! {
                _ = ticks.tick() => {}
                changed = phases.changed() => if changed.is_err() { return },
            }
            let phase = phases.borrow_and_update().clone();
            if matches!(phase, Phase::Running { run: of, .. } if of == run) {
                continue;
            }
            let until = Instant::now() + LAST_LINES;
            while self.pass_on(&mut tail, &mut lines, &mut recent).await || Instant::now() < until {
                sleep(LOOK).await;
            }
            for line in lines.finish() {
                self.tell(&line, &mut recent).await;
            }
            if let Phase::Exited { run: of, end } = phase
                && of == run
            {
                self.reachable.send_replace(Reachable::stopped());
                let status = match end {
                    Some(End::Status(code)) => Some(code),
                    Some(End::Signal(_)) | None => None,
                };
                self.outlet.exited(status, reason(&recent, end)).await;
            }
            return;
        }
    }

    /// Sends what has come; whether anything has.
    async fn pass_on(&self, tail: &mut Tail, lines: &mut Lines, recent: &mut Vec<String>) -> bool {
        let came = match tail.read() {
            Ok(came) => came,
            Err(error) => {
                tracing::warn!(backend = %self.outlet.backend(), "its log cannot be read: {error}");
                Vec::new()
            }
        };
        for line in lines.push(&came) {
            self.tell(&line, recent).await;
        }
        !came.is_empty()
    }

    async fn tell(&self, line: &str, recent: &mut Vec<String>) {
        let mark = stage(line);
        let text = clean(line);
        if text.trim().is_empty() {
            return;
        }
        if recent.len() == 2 * TAIL {
            recent.drain(..TAIL);
        }
        recent.push(text.clone());
        self.outlet.log(text, mark).await;
        if mark.is_some_and(|mark| mark.stage == Stage::Health) {
            self.comes_up.notify_one();
        }
    }
}

/// Why a run ended, in plain words.
fn reason(recent: &[String], end: Option<End>) -> String {
    let last = &recent[recent.len().saturating_sub(TAIL)..];
    let said = failure_reason(last);
    // A signal is the cause; what the log says may be of long ago.
    match end {
        Some(End::Signal(9)) => said.unwrap_or_else(|| {
            "it was killed (SIGKILL), by hand or for want of memory on this machine; `dmesg` tells which".to_owned()
        }),
        Some(End::Signal(15)) => "it was told to end (SIGTERM), not from here".to_owned(),
        Some(End::Signal(signal)) => {
            let said = said.map_or(String::new(), |said| format!(": {said}"));
            format!("it died of signal {signal}{said}")
        }
        Some(End::Status(0)) => said.unwrap_or_else(|| "it ended by itself, with status 0".to_owned()),
        Some(End::Status(_)) | None => {
            said.or_else(|| last.last().map(|line| format!("it ended; its last line: {line}")))
                .unwrap_or_else(|| "it ended and wrote nothing".to_owned())
        }
    }
}
