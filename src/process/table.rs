//! The machine's processes, from `/proc`. A pid alone names nobody: it is used again; with its start time it does.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// One process that is or was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Being {
    pub(super) pid: u32,
    /// Ticks from the machine's start to its own.
    pub(super) started: u64,
    /// Which start of the machine.
    pub(super) boot: String,
}

impl Being {
    /// Whether it is still this one, and no zombie.
    pub(super) fn lives(&self) -> bool {
        look(self.pid).is_some_and(|seen| seen.alive && seen.being == *self)
    }

    /// Sends it a signal, where it still is this one.
    pub(super) fn signal(&self, signal: Signal) {
        if self.lives()
            && let Ok(pid) = i32::try_from(self.pid)
            && let Err(error) = kill(Pid::from_raw(pid), signal)
        {
            tracing::debug!("process {pid} did not get {signal}: {error}");
        }
    }
}

/// The process of this pid, which may have ended already and not been waited for.
pub(super) fn being(pid: u32) -> Option<Being> {
    look(pid).map(|seen| seen.being)
}

/// What `/proc` says of a process.
struct Seen {
    being: Being,
    group: u32,
    /// It is no zombie.
    alive: bool,
}

fn look(pid: u32) -> Option<Seen> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold anything; what counts comes behind it: fields 3 (state), 5 (group) and 22 (start)
    // of proc(5).
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let being = Being {
        pid,
        started: fields.get(19)?.parse().ok()?,
        boot: boot(),
    };
    Some(Seen {
        being,
        group: fields.get(2)?.parse().ok()?,
        alive: !matches!(*fields.first()?, "Z" | "X" | "x"),
    })
}

/// Our processes that belong together: those whose environment had `mark` at their start, and the group of `leader`.
///
/// One that has just begun shows no environment yet, so that the mark alone would miss it; a group alone would miss those
/// that left it.
pub(super) fn of(mark: &str, leader: Option<&Being>) -> Vec<Being> {
    let (Ok(all), Ok(me)) = (fs::read_dir("/proc"), fs::metadata("/proc/self")) else {
        return Vec::new();
    };
    // The number of a group without its leader may be another's by now.
    let leader = leader.filter(|it| it.lives()).map(|it| it.pid);
    all.filter_map(|entry| {
        let entry = entry.ok()?;
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        // We ourselves may be what an engine started: never an end of our own.
        if pid == std::process::id() || entry.metadata().ok()?.uid() != me.uid() {
            return None;
        }
        let seen = look(pid)?;
        let ours = leader.is_some_and(|leader| seen.group == leader) || is_marked(pid, mark);
        (ours && seen.alive).then_some(seen.being)
    })
    .collect()
}

/// Whether a process has `mark` in its environment, or is of the group of `leader`.
pub(super) fn belongs(pid: u32, mark: &str, leader: u32) -> bool {
    look(pid).is_some_and(|seen| seen.group == leader) || is_marked(pid, mark)
}

fn is_marked(pid: u32, mark: &str) -> bool {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment
        .split(|byte| *byte == 0)
        .any(|variable| variable == mark.as_bytes())
}

/// The name of a process: `VLLM::EngineCore`; `None` where it is gone, or another user's.
pub fn name(pid: u32) -> Option<String> {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(name.trim().to_owned())
}

/// The name of this machine.
pub fn host() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname")
        .map(|name| name.trim().to_owned())
        .unwrap_or_default()
}

fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}
