//! The access log: one JSON line a request, written by a thread of its own.
//!
//! Fields, in this order: `at` (arrival, RFC 3339, UTC), `id`, `key` (the name of the client's key), `model`, `operation`,
//! `backend`, `route`, `status`, `streamed`, `ttft_ms`, `took_ms`, `held_ms`, `input_tokens`, `cached_tokens`,
//! `output_tokens`, `reasoning_tokens` (`null` where the answer did not say), `partial`, `cost` (US dollars as decimal text,
//! `null` where unknown), `error`. No bodies, no secrets.
//!
//! The file is opened anew when its name stands for another file, or for none: a rotation by renaming needs no signal.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::Serialize;

use crate::fleet::request::Route;
use crate::fleet::{BackendId, ModelId, RequestRecord};

/// Lines that wait for the disk; those beyond are counted and gone.
const QUEUE: usize = 65_536;
/// What was written is on its way to the disk within this time, and the file's name is looked at again.
const FLUSH: Duration = Duration::from_millis(200);

/// The log, open.
#[derive(Debug)]
pub(crate) struct AccessLog {
    lines: Option<SyncSender<Arc<RequestRecord>>>,
    dropped: Arc<AtomicU64>,
    writer: Option<JoinHandle<()>>,
}

impl AccessLog {
    /// Opens the file, at its end where it exists.
    ///
    /// # Errors
    /// Where it cannot be opened, or no thread can be had.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let out = Out::open(path)?;
        Self::writing(out)
    }

    fn writing(mut out: Out) -> io::Result<Self> {
        let (lines, queue) = sync_channel(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let lost = Arc::clone(&dropped);
        let writer = std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || out.run(&queue, &lost))?;
        Ok(Self {
            lines: Some(lines),
            dropped,
            writer: Some(writer),
        })
    }

    /// Queues a line; never waits.
    pub(crate) fn write(&self, record: Arc<RequestRecord>) {
        let Some(lines) = &self.lines else { return };
        match lines.try_send(record) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Lines that were not written.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        // The thread ends when the queue does, after all that is in it.
        self.lines = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

/// The writing end.
struct Out {
    path: PathBuf,
    file: BufWriter<File>,
    /// The last write failed, and that was said.
    failing: bool,
}

impl Out {
    fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: BufWriter::new(append(path)?),
            path: path.to_owned(),
            failing: false,
        })
    }

    fn run(&mut self, queue: &Receiver<Arc<RequestRecord>>, lost: &AtomicU64) {
        let mut since = Instant::now();
        let mut unflushed = 0;
        loop {
            match queue.recv_timeout(FLUSH.saturating_sub(since.elapsed())) {
                Ok(record) => {
                    unflushed += 1;
                    if let Err(error) = self.line(&record) {
                        self.failed(&error);
                        lost.fetch_add(1, Ordering::Relaxed);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    self.flush(unflushed, lost);
                    return;
                }
            }
            if since.elapsed() >= FLUSH {
                self.flush(std::mem::take(&mut unflushed), lost);
                self.follow_the_name();
                since = Instant::now();
            }
        }
    }

    fn line(&mut self, record: &RequestRecord) -> io::Result<()> {
        serde_json::to_writer(&mut self.file, &Line::of(record))?;
        self.file.write_all(b"\n")
    }

    fn flush(&mut self, lines: u64, lost: &AtomicU64) {
        match self.file.flush() {
            Ok(()) if lines > 0 => self.failing = false,
            Ok(()) => {}
            Err(error) => {
                self.failed(&error);
                lost.fetch_add(lines, Ordering::Relaxed);
                // What could not be written would be tried again and again, and hold up what comes.
                if let Ok(file) = append(&self.path) {
                    let old = std::mem::replace(&mut self.file, BufWriter::new(file));
                    let _ = old.into_parts();
                }
            }
        }
    }

    fn failed(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.failing, true) {
            tracing::error!(
                "access log {}: {error}; lines are lost",
                self.path.display()
            );
        }
    }

    /// Opens the file anew where its name stands for another one now.
    fn follow_the_name(&mut self) {
        let ours = self.file.get_ref().metadata();
        let named = std::fs::metadata(&self.path);
        let same = match (&ours, &named) {
            (Ok(ours), Ok(named)) => ours.ino() == named.ino() && ours.dev() == named.dev(),
            (_, Err(error)) => error.kind() != io::ErrorKind::NotFound,
            (Err(_), Ok(_)) => false,
        };
        if !same && let Ok(file) = append(&self.path) {
            self.file = BufWriter::new(file);
        }
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

#[derive(Serialize)]
struct Line<'a> {
    at: String,
    id: &'a str,
    key: Option<&'a str>,
    model: &'a ModelId,
    operation: &'static str,
    backend: Option<&'a BackendId>,
    route: Route,
    status: u16,
    streamed: bool,
    ttft_ms: Option<f64>,
    took_ms: f64,
    held_ms: Option<f64>,
    input_tokens: Option<u64>,
    cached_tokens: Option<u64>,
    output_tokens: Option<u64>,
    reasoning_tokens: Option<u64>,
    partial: bool,
    cost: Option<String>,
    error: Option<&'a str>,
}

impl<'a> Line<'a> {
    fn of(record: &'a RequestRecord) -> Self {
        let usage = record.usage;
        Self {
            at: stamp(record.at),
            id: &record.id,
            key: record.key.as_deref(),
            model: &record.model,
            operation: record.operation.path(),
            backend: record.backend.as_ref(),
            route: record.route,
            status: record.status,
            streamed: record.streamed,
            ttft_ms: record.ttft.map(millis),
            took_ms: millis(record.took),
            held_ms: record.held.map(millis),
            input_tokens: usage.map(|it| it.input),
            cached_tokens: usage.map(|it| it.cached),
            output_tokens: usage.map(|it| it.output),
            reasoning_tokens: usage.map(|it| it.reasoning),
            partial: record.partial,
            cost: record.cost.map(|cost| format!("{cost:.12}")),
            error: record.error.as_deref(),
        }
    }
}

fn stamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn millis(span: TimeDelta) -> f64 {
    span.num_microseconds().unwrap_or(i64::MAX) as f64 / 1e3
}

#[cfg(test)]
pub(super) mod tests;
