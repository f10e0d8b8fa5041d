//! A launcher, read: whether there is an engine, how the last one ended, and its log as it grows.
//!
//! Only `GET {launcher}` and `GET {launcher}/log`, which start nothing.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::{Notify, watch};
use tokio_util::task::AbortOnDropHandle;

use super::engine_log::{clean, failure_reason, stage};
use super::lines::Lines;
use super::outlet::Outlet;
use super::{LIMIT, rounds};
use crate::fleet::Stage;
use crate::web;

/// Between two attempts to follow a log, on the wall: from the first doubling to the last.
const WAITS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// How long the log of an ended run may take to be read to its end, on the wall.
const LAST_LINES: Duration = Duration::from_secs(2);
/// Lines of a log that are searched for the reason of an end.
const TAIL: usize = 1000;

/// What a launcher says of its engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum What {
    /// Not asked yet.
    #[default]
    #[serde(skip)]
    Unknown,
    /// The launcher itself does not answer.
    #[serde(skip)]
    Silent,
    Stopped,
    Starting,
    Running,
    Exited,
}

/// The state of an engine as its launcher tells it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Phase {
    what: What,
}

impl Phase {
    /// There is an engine.
    pub(super) fn running() -> Self {
        Self {
            what: What::Running,
        }
    }

    /// There is none.
    pub(super) fn stopped() -> Self {
        Self {
            what: What::Stopped,
        }
    }

    /// Whether there may be an engine that answers.
    pub(super) fn may_answer(self) -> bool {
        match self.what {
            What::Silent | What::Starting | What::Running => true,
            What::Unknown | What::Stopped | What::Exited => false,
        }
    }
}

/// The body of `GET {launcher}`.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Status {
    #[serde(rename = "status")]
    what: What,
    #[serde(default)]
    exit_code: Option<i32>,
    /// Which run this is, counted from 1.
    #[serde(default)]
    started: u64,
}

impl Status {
    fn is_active(self) -> bool {
        matches!(self.what, What::Starting | What::Running)
    }
}

/// Reads one launcher.
#[derive(Clone, Debug)]
pub(super) struct Launcher {
    url: String,
    http: reqwest::Client,
    outlet: Outlet,
    phase: watch::Sender<Phase>,
    comes_up: Arc<Notify>,
}

impl Launcher {
    pub(super) fn new(
        url: &str,
        http: reqwest::Client,
        outlet: Outlet,
        phase: watch::Sender<Phase>,
        comes_up: Arc<Notify>,
    ) -> Self {
        Self {
            url: url.trim_end_matches('/').to_owned(),
            http,
            outlet,
            phase,
            comes_up,
        }
    }

    /// Round after round, for ever.
    pub(super) async fn watch(&self, every: Duration) {
        let mut ticks = rounds(every);
        let mut following: Option<(u64, AbortOnDropHandle<()>)> = None;
        let mut told = None;
        let mut silent = false;
        loop {
            ticks.tick().await;
            let status = match self.status().await {
                Ok(status) => status,
                Err(reason) => {
                    self.phase.send_replace(Phase { what: What::Silent });
                    // Once a streak: the engine's own readings go on and say more.
                    if !silent {
                        silent = true;
                        let reason = format!("its launcher does not tell: {reason}");
                        self.outlet.unreachable(reason).await;
                    }
                    continue;
                }
            };
            silent = false;
            self.phase.send_replace(Phase { what: status.what });
            let run = status.started;
            let ended_untold = status.what == What::Exited && told != Some(run);
            if (status.is_active() || ended_untold)
                && following.as_ref().is_none_or(|(of, _)| *of != run)
            {
                let follower = self.clone();
                let task = tokio::spawn(async move { follower.follow(run).await });
                following = Some((run, AbortOnDropHandle::new(task)));
            }
            if ended_untold {
                told = Some(run);
                // The lines come before the end that they explain.
                if let Some((_, task)) = &mut following {
                    let _ = tokio::time::timeout(LAST_LINES, task).await;
                }
                let reason = self.reason(status.exit_code).await;
                self.outlet.exited(status.exit_code, reason).await;
            }
            if status.what == What::Stopped {
                self.outlet.health(false).await;
            }
        }
    }

    async fn status(&self) -> Result<Status, String> {
        let reply = web::get(&self.http, &self.url, None, LIMIT)
            .await
            .map_err(|fault| fault.to_string())?;
        if !reply.ok() {
            return Err(reply.words());
        }
        serde_json::from_slice(&reply.body).map_err(|_| {
            format!(
                "its answer is not a launcher's ({}); check the address",
                reply.words()
            )
        })
    }

    /// Why the run ended, in plain words.
    async fn reason(&self, exit_code: Option<i32>) -> String {
        let url = format!("{}/log", self.url);
        let log = web::get(&self.http, &url, None, LIMIT).await;
        let said = log.ok().filter(web::Reply::ok).and_then(|reply| {
            let text = String::from_utf8_lossy(&reply.body);
            let lines: Vec<&str> = text.split(['\n', '\r']).collect();
            failure_reason(&lines[lines.len().saturating_sub(TAIL)..])
        });
        said.unwrap_or_else(|| match exit_code {
            Some(137 | -9) => {
                "it was killed, most likely for want of memory on its machine; give it more memory"
                    .to_owned()
            }
            Some(143 | -15) => "it was told to end (SIGTERM) from outside".to_owned(),
            Some(code) => {
                format!("it ended with status {code} and its log does not say why; see the log")
            }
            None => "it ended and its log does not say why; see the log".to_owned(),
        })
    }

    /// Sends the lines of one run until it ends; takes up where it was when the connection breaks.
    async fn follow(&self, run: u64) {
        let mut seen = 0;
        let mut wait = WAITS.0;
        loop {
            let before = seen;
            let whole = self.stream(&mut seen).await;
            if seen > before {
                wait = WAITS.0;
            }
            match self.status().await {
                Ok(status) if status.started != run => return,
                Ok(status) if whole && !status.is_active() => return,
                Ok(_) | Err(_) => {}
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(WAITS.1);
        }
    }

    /// Sends the lines past the first `seen` ones; whether the stream came to its proper end.
    async fn stream(&self, seen: &mut usize) -> bool {
        let url = format!("{}/log?follow=true", self.url);
        let asked = self.http.get(url).send();
        let Ok(Ok(mut response)) = tokio::time::timeout(LIMIT, asked).await else {
            return false;
        };
        if !response.status().is_success() {
            return false;
        }
        let mut lines = Lines::default();
        let mut at = 0;
        loop {
            let (ready, ended) = match response.chunk().await {
                Ok(Some(chunk)) => (lines.push(&chunk), false),
                Ok(None) => (lines.finish(), true),
                // What was cut short comes again whole.
                Err(_) => return false,
            };
            for line in ready {
                at += 1;
                if at > *seen {
                    *seen = at;
                    self.tell(&line).await;
                }
            }
            if ended {
                return true;
            }
        }
    }

    async fn tell(&self, line: &str) {
        let mark = stage(line);
        let text = clean(line);
        if !text.trim().is_empty() {
            self.outlet.log(text, mark).await;
        }
        if mark.is_some_and(|mark| mark.stage == Stage::Health) {
            self.comes_up.notify_one();
        }
    }
}
