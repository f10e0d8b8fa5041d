//! Processes: started, told things, ended, and what they cost, from `/proc`.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Ticks of `/proc/PID/stat` in a second; Linux has had this number on every machine it is likely to meet.
const TICKS: f64 = 100.0;

/// A process with its children. Dropped, it is told to end and waited for.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    input: Option<ChildStdin>,
    output: Option<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts a command whose input and output are ours.
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let input = child.stdin.take();
        let output = child.stdout.take().map(BufReader::new);
        Self {
            child,
            input,
            output,
        }
    }

    /// Starts this program in another role.
    pub(crate) fn role(role: &str, job: &str) -> Self {
        let me = std::env::current_exe().unwrap();
        Self::start(Command::new(me).args([role, job]))
    }

    /// The next line that it writes.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        let n = self.output.as_mut().unwrap().read_line(&mut line).unwrap();
        assert!(n > 0, "{:?} ended too early", self.child);
        line.trim_end().to_owned()
    }

    /// Throws away what it writes from now on, so that it never waits for a reader.
    pub(crate) fn mute(&mut self) {
        if let Some(mut output) = self.output.take() {
            std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
        }
    }

    /// Writes a line to it.
    pub(crate) fn tell(&mut self, line: &str) {
        let input = self.input.as_mut().unwrap();
        writeln!(input, "{line}").unwrap();
        input.flush().unwrap();
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// User and system time of it and its children so far, seconds.
    pub(crate) fn cpu(&self) -> f64 {
        let all = stats();
        let ticks: u64 = tree(&all, self.pid()).iter().map(|pid| all[pid].own).sum();
        ticks as f64 / TICKS
    }

    /// The memory of it and its children, KiB: their shares (PSS), so that what they have in common counts once.
    pub(crate) fn memory(&self) -> f64 {
        tree(&stats(), self.pid())
            .into_iter()
            .map(memory_of)
            .sum::<u64>() as f64
    }

    /// Waits for its end by itself.
    pub(crate) fn end(mut self) {
        drop(self.input.take());
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.input.take());
        // Gone already, where this fails.
        let _ = kill(Pid::from_raw(self.pid() as i32), Signal::SIGTERM);
        let end = Instant::now() + Duration::from_secs(8);
        while Instant::now() < end {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that is free now.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Waits until something listens there.
pub(crate) fn wait_for(address: &str, limit: Duration) {
    let end = Instant::now() + limit;
    while TcpStream::connect(address).is_err() {
        assert!(Instant::now() < end, "nothing listens on {address}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// One process as `/proc/PID/stat` has it, ticks.
#[derive(Clone, Copy, Debug)]
struct Stat {
    parent: u32,
    own: u64,
    /// With the children that were waited for.
    whole: u64,
}

/// Every process.
fn stats() -> HashMap<u32, Stat> {
    let mut all = HashMap::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|it| it.parse().ok()) else {
            continue;
        };
        // It may have ended meanwhile.
        let Ok(text) = fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        // The name, in brackets, may have blanks.
        let Some((_, rest)) = text.rsplit_once(") ") else {
            continue;
        };
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let field = |at: usize| fields[at].parse::<u64>().unwrap_or(0);
        let own = field(11) + field(12);
        let stat = Stat {
            parent: field(1) as u32,
            own,
            whole: own + field(13) + field(14),
        };
        all.insert(pid, stat);
    }
    all
}

/// A process and its descendants.
fn tree(all: &HashMap<u32, Stat>, root: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let mut next = vec![root];
    while let Some(pid) = next.pop() {
        if all.contains_key(&pid) {
            found.push(pid);
        }
        next.extend(
            all.iter()
                .filter(|(_, it)| it.parent == pid)
                .map(|it| *it.0),
        );
    }
    found
}

/// KiB.
fn memory_of(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let pss = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    pss.and_then(|it| it.trim().strip_suffix(" kB")?.parse().ok())
        .unwrap_or(0)
}

/// What others did on this machine meanwhile.
#[derive(Debug)]
pub(crate) struct Noise {
    began: Instant,
    busy: [u64; 2],
    ours: u64,
}

impl Noise {
    pub(crate) fn begin() -> Self {
        Self {
            began: Instant::now(),
            busy: busy(),
            ours: ours(),
        }
    }

    pub(crate) fn end(&self, part: &str) -> String {
        let took = self.began.elapsed().as_secs_f64();
        let [busy, stolen] = busy();
        let ours = ours().saturating_sub(self.ours);
        let others = (busy - self.busy[0]).saturating_sub(ours) as f64 / TICKS;
        let stolen = (stolen - self.busy[1]) as f64 / TICKS;
        format!(
            "{part} took {took:.0} s; other processes took {:.1} % of a core meanwhile, the host kept {:.1} % back.",
            others / took * 100.0,
            stolen / took * 100.0
        )
    }
}

/// Ticks that all processes had, and ticks that the host kept back.
fn busy() -> [u64; 2] {
    let text = fs::read_to_string("/proc/stat").unwrap();
    let line = text.lines().next().unwrap();
    let fields: Vec<u64> = line
        .split_whitespace()
        .skip(1)
        .map(|it| it.parse().unwrap_or(0))
        .collect();
    [fields[0] + fields[1] + fields[2], fields[7]]
}

/// Ticks that this process and those below it had, ended ones too.
fn ours() -> u64 {
    let all = stats();
    tree(&all, std::process::id())
        .iter()
        .map(|pid| all[pid].whole)
        .sum()
}
