//! Engines' logs, followed through the API while they start, and in a small fleet for good.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, FixedOffset};
use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::watch::form;
use crate::clock::Clock;
use crate::cluster::{Api, Fault};
use crate::fleet::backend::LogLine;
use crate::fleet::{BackendId, Observation};
use crate::source::engine_log::{clean, failure_reason, stage};

/// Logs that are followed at once.
const MOST: usize = 32;
/// Lines that are fetched of what was said before.
const BEFORE: u32 = 300;
/// Between two tries that bring nothing new, as of a container that waits to be started again: from the first doubling to
/// the last.
const WAITS: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(30));
/// A log that says nothing for this long is asked for again: an engine may load for minutes without a word, and a
/// connection that broke while this machine slept says nothing either.
const SILENT: Duration = Duration::from_secs(120);

/// A container whose log is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Source {
    pub backend: BackendId,
    pub namespace: Box<str>,
    pub pod: Box<str>,
    /// Which pod of that name.
    pub uid: Box<str>,
    pub container: Box<str>,
    /// Which run of it: a restarted one has a log of its own.
    pub run: u32,
}

impl Source {
    fn path(&self, query: &str) -> String {
        format!(
            "/api/v1/namespaces/{}/pods/{}/log?container={}&{query}",
            self.namespace, self.pod, self.container
        )
    }
}

/// Those that are followed now.
#[derive(Debug)]
pub(super) struct Logs {
    api: Api,
    out: mpsc::Sender<Observation>,
    clock: Clock,
    followed: HashMap<Source, AbortOnDropHandle<()>>,
}

impl Logs {
    pub(super) fn new(api: Api, out: mpsc::Sender<Observation>, clock: Clock) -> Self {
        Self {
            api,
            out,
            clock,
            followed: HashMap::new(),
        }
    }

    /// Follows these and no others.
    pub(super) fn follow(&mut self, wanted: Vec<Source>) {
        self.followed.retain(|source, _| wanted.contains(source));
        for source in wanted.into_iter().take(MOST) {
            if !self.followed.contains_key(&source) {
                let task = follow(
                    self.api.clone(),
                    source.clone(),
                    self.out.clone(),
                    self.clock,
                );
                let task = AbortOnDropHandle::new(tokio::spawn(task));
                self.followed.insert(source, task);
            }
        }
    }
}

/// The longest line that is read; what is longer is a bar that draws itself over, or no text.
const LONGEST: usize = 16 << 10;

/// Follows one log until nobody wants it.
async fn follow(api: Api, source: Source, out: mpsc::Sender<Observation>, clock: Clock) {
    let mut seen: Option<DateTime<FixedOffset>> = None;
    let mut wait = WAITS.0;
    loop {
        // From the last line on, which comes again: a kubelet that has nothing to say does not even begin to answer.
        let since = seen.map_or_else(String::new, |at| {
            format!("&sinceTime={}", form(&at.to_rfc3339()))
        });
        let query = format!("follow=true&timestamps=true&tailLines={BEFORE}{since}");
        match api.lines(&source.path(&query), LONGEST).await {
            Ok(mut lines) => {
                // What comes again after a break was said before.
                let mut news = seen.is_none();
                let silent = loop {
                    let line = match timeout(SILENT, lines.next()).await {
                        Ok(Some(Ok(line))) => line,
                        Ok(Some(Err(_)) | None) => break false,
                        Err(_) => break true,
                    };
                    let stamped = line.split_once(' ').and_then(|(at, text)| {
                        Some((Some(DateTime::parse_from_rfc3339(at).ok()?), text))
                    });
                    // What the kubelet itself has to say has no time.
                    let (at, text) = stamped.unwrap_or((None, &line));
                    news = news || at.is_some() && at > seen;
                    if !news {
                        continue;
                    }
                    seen = at.or(seen);
                    wait = WAITS.0;
                    if tell(&source, text, &out, clock).await.is_err() {
                        return;
                    }
                };
                if silent {
                    continue;
                }
            }
            // Its container is not there yet, or its pod is gone: whoever wants it knows.
            Err(Fault::Forbidden(why)) => {
                tracing::warn!("no logs of {}: {why}", source.pod);
                return;
            }
            // Nothing was written yet: the kubelet begins to answer with the first line.
            Err(Fault::Away(_)) if seen.is_none() => wait = WAITS.0,
            Err(_) => {}
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(WAITS.1);
    }
}

async fn tell(
    source: &Source,
    line: &str,
    out: &mpsc::Sender<Observation>,
    clock: Clock,
) -> Result<(), ()> {
    let text = clean(line);
    if text.trim().is_empty() {
        return Ok(());
    }
    let observation = Observation::Log {
        backend: source.backend.clone(),
        stage: stage(line),
        line: LogLine {
            at: clock.now(),
            text,
        },
    };
    out.send(observation).await.map_err(drop)
}

/// Why the run before the present one ended, as its own log has it.
pub(super) async fn why_it_ended(api: &Api, source: &Source) -> Option<String> {
    let path = source.path(&format!("previous=true&tailLines={BEFORE}"));
    let text = api.text(&path, Duration::from_secs(5)).await.ok()?;
    let lines: Vec<&str> = text.lines().collect();
    failure_reason(&lines)
}
