//! The log of one run, kept and followed.

use std::collections::VecDeque;
use std::sync::Mutex;

use tokio::sync::watch;

use super::hold;

/// Lines kept of one run; older ones are let go and counted.
const KEPT: usize = 4000;

/// The lines of one run, readable while it goes on.
#[derive(Debug)]
pub(super) struct Log {
    lines: Mutex<Lines>,
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Lines {
    kept: VecDeque<String>,
    dropped: usize,
    ended: bool,
}

/// What a reader gets next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// Text of one or more lines, and where to go on.
    Text(String, usize),
    /// Nothing new yet.
    Later,
    /// The run is over and all of it was read.
    Over,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            lines: Mutex::default(),
            changed: watch::Sender::new(0),
        }
    }
}

impl Log {
    /// Adds a line.
    pub(super) fn say(&self, line: impl Into<String>) {
        let mut lines = hold(&self.lines);
        if lines.kept.len() == KEPT {
            lines.kept.pop_front();
            lines.dropped += 1;
        }
        lines.kept.push_back(line.into());
        drop(lines);
        self.changed.send_modify(|n| *n += 1);
    }

    /// Nothing more will come.
    pub(super) fn end(&self) {
        hold(&self.lines).ended = true;
        self.changed.send_modify(|n| *n += 1);
    }

    /// What there is from the line numbered `from` on.
    pub(super) fn read(&self, from: usize) -> Read {
        let lines = hold(&self.lines);
        let first = from.max(lines.dropped);
        let end = lines.dropped + lines.kept.len();
        if first < end {
            let mut text = String::new();
            for line in lines.kept.iter().skip(first - lines.dropped) {
                text.push_str(line);
                text.push('\n');
            }
            Read::Text(text, end)
        } else if lines.ended {
            Read::Over
        } else {
            Read::Later
        }
    }

    /// Tells of changes.
    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}
