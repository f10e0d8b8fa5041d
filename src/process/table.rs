//! The machine's processes, from `/proc`. A pid alone names nobody: it is used again; with its start time it does.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

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

/// What tells an engine's processes from others.
///
/// No single sign is enough: a process that has just begun shows no environment yet, and one that writes its own title over
/// it (as vLLM's workers do) shows none any more; a group alone misses those that left it; and what a process writes to
/// may be changed.
#[derive(Debug)]
pub(super) struct Signs<'a> {
    /// A variable that its processes had in their environment at their start.
    pub(super) mark: &'a str,
    /// Its folder: what they write to stands in it.
    pub(super) folder: &'a Path,
    /// The leader of its group.
    pub(super) leader: Option<&'a Being>,
    /// Its group counts although the leader is gone: we saw it live, and nobody got the number since.
    pub(super) seen: bool,
}

impl Signs<'_> {
    /// Our own processes that show one of them.
    pub(super) fn find(&self) -> Vec<Being> {
        let (Ok(all), Ok(me)) = (fs::read_dir("/proc"), fs::metadata("/proc/self")) else {
            return Vec::new();
        };
        let group = self.group();
        all.filter_map(|entry| {
            let entry = entry.ok()?;
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            // We ourselves may be what an engine started: never an end of our own.
            if pid == std::process::id() || entry.metadata().ok()?.uid() != me.uid() {
                return None;
            }
            let seen = look(pid)?;
            (seen.alive && self.fit(&seen, group)).then_some(seen.being)
        })
        .collect()
    }

    /// Whether this process shows one of them.
    pub(super) fn are_of(&self, pid: u32) -> bool {
        look(pid).is_some_and(|seen| self.fit(&seen, self.group()))
    }

    /// The group that counts. The number of a group without its leader may be another's by now.
    fn group(&self) -> Option<u32> {
        let leader = self.leader?;
        let nobody_elses = look(leader.pid).is_none_or(|seen| seen.being == *leader);
        (leader.lives() || (self.seen && nobody_elses)).then_some(leader.pid)
    }

    fn fit(&self, seen: &Seen, group: Option<u32>) -> bool {
        let pid = seen.being.pid;
        group == Some(seen.group)
            || is_marked(pid, self.mark)
            || [1, 2].iter().any(|fd| self.is_written_by(pid, *fd))
    }

    fn is_written_by(&self, pid: u32, descriptor: u32) -> bool {
        let to = fs::read_link(format!("/proc/{pid}/fd/{descriptor}"));
        to.is_ok_and(|to| to.parent() == Some(self.folder))
    }
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
