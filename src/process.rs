//! Engines as processes of this machine: started in a group of their own, followed, stopped, and found again.
//!
//! An engine outlives us: it writes its log to a file, is remembered on disk by pid and start time, and carries a mark in
//! its environment. So what a killed supervisor leaves behind is adopted by the next one where it is whole, and ended
//! where it is not; no process that we began keeps a GPU unseen.

mod record;
mod start;
mod table;
mod tail;
#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;
use tokio::process::Child;
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, sleep};

use record::Record;
use start::free_port;
use table::{Being, Signs};

pub use table::{host, name};
pub use tail::Tail;

/// Between two looks whether processes are gone that are no children of ours.
const LOOK: Duration = Duration::from_millis(50);
/// How long processes may take to go after KILL; what takes longer hangs in the kernel.
const KILLED: Duration = Duration::from_secs(10);
/// The variable that marks an engine's processes, with the folder of its records.
const MARK: &str = "FLEETCTL_ENGINE";

/// What is to be run.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The program and its arguments; `{port}` stands for the port.
    pub command: Vec<String>,
    /// Set beside what this process has; `{port}` stands for the port.
    pub env: Vec<(String, String)>,
    /// Where it is run; here, where nothing is said.
    pub dir: Option<PathBuf>,
    /// The port that it listens on, on 127.0.0.1; `None`: a free one is chosen, and kept while it runs.
    pub port: Option<u16>,
    /// The GPUs that it sees, by index; empty: all of them.
    pub gpus: Vec<u32>,
    /// How long it may take to end by itself once it is told to, on the wall.
    pub stop_within: Duration,
    /// The folder of its log and its record.
    pub folder: PathBuf,
}

/// Whether an engine runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It does not, and that is meant.
    Stopped,
    /// Its process is there.
    Running {
        /// Which run this is, counted from 1 and over restarts of ours.
        run: u64,
        /// Its first process, which leads the group.
        pid: u32,
        /// When it was started.
        since: SystemTime,
    },
    /// It ended by itself.
    Exited {
        /// Which run.
        run: u64,
        /// How; `None` where it was adopted, and so nobody was told.
        end: Option<End>,
    },
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With this status.
    Status(i32),
    /// By this signal.
    Signal(i32),
}

/// One engine. Orders to it are carried out one after the other.
#[derive(Debug)]
pub struct Engine {
    /// How it is started next time, and how long it gets to stop.
    spec: RwLock<Arc<Spec>>,
    /// Of its log and its record; stays.
    folder: PathBuf,
    port: u16,
    phase: watch::Sender<Phase>,
    led: std::sync::Mutex<Option<Being>>,
    orders: Mutex<Runs>,
}

/// What only orders change.
#[derive(Debug)]
struct Runs {
    /// Runs so far.
    count: u64,
}

impl Engine {
    /// Takes up what the records in its folder say: an engine that still runs as it is to be run is adopted, what else is
    /// left of one is ended. Within a tokio runtime.
    ///
    /// # Errors
    /// Where the folder cannot be used.
    pub async fn open(spec: Spec) -> io::Result<Arc<Self>> {
        fs::create_dir_all(&spec.folder)?;
        let record = Record::read(&spec.folder)?;
        let found = record
            .as_ref()
            .filter(|record| record.of == record::fingerprint(&spec))
            .and_then(|record| Some((record, record.being()?)));
        let count = record.as_ref().map_or(0, |record| record.run);
        let port = match (&found, spec.port) {
            (Some((record, _)), _) => record.port,
            (None, Some(wanted)) => wanted,
            (None, None) => free_port()?,
        };
        let (phase, _) = watch::channel(Phase::Stopped);
        let engine = Arc::new(Self {
            port,
            phase,
            led: std::sync::Mutex::default(),
            orders: Mutex::new(Runs { count }),
            // As /proc names it.
            folder: fs::canonicalize(&spec.folder)?,
            spec: RwLock::new(Arc::new(spec)),
        });
        if let Some((record, being)) = found {
            engine.lead(Some(being.clone()));
            tracing::info!("{} runs still, as process {}", engine.name(), being.pid);
            engine.phase.send_replace(Phase::Running {
                run: record.run,
                pid: being.pid,
                since: record.since,
            });
            tokio::spawn(Arc::clone(&engine).keep(Keep::Adopted(being), record.run));
        } else {
            engine.end_all().await.map_err(io::Error::other)?;
        }
        Ok(engine)
    }

    /// The port that it listens on, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Is to be run otherwise from its next start on; what runs now goes on. See [`Self::may_become`].
    pub fn renew(&self, spec: Spec) {
        *self.spec.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(spec);
    }

    /// Whether it can be renewed so.
    ///
    /// # Errors
    /// Where it would have to be found at another port.
    pub fn may_become(&self, spec: &Spec) -> Result<(), String> {
        match spec.port {
            Some(port) if port != self.port => Err(format!(
                "its port is {} as long as this `serve` runs, and cannot become {port}; restart `serve`, or give the backend another name",
                self.port
            )),
            Some(_) | None => Ok(()),
        }
    }

    fn spec(&self) -> Arc<Spec> {
        Arc::clone(&self.spec.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether this process is one of its own.
    pub fn owns(&self, pid: u32) -> bool {
        if !matches!(*self.phase.borrow(), Phase::Running { .. }) {
            return false;
        }
        let (mark, led) = (self.mark(), self.led());
        self.signs(&mark, led.as_ref(), true).are_of(pid)
    }

    /// The log of its present run; before the first one it is not there.
    pub fn log(&self) -> PathBuf {
        self.folder.join("engine.log")
    }

    /// Whether it runs, now and from now on.
    pub fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Starts it; returns when its process is there. One that runs already is left as it is.
    ///
    /// # Errors
    /// In plain words: what could not be done, and what to do.
    pub async fn start(self: &Arc<Self>) -> Result<(), String> {
        let mut runs = self.orders.lock().await;
        if matches!(*self.phase.borrow(), Phase::Running { .. }) {
            return Ok(());
        }
        self.end_all().await?;
        self.look_at_port()?;
        runs.count += 1;
        let run = runs.count;
        let log = self.new_log().map_err(|error| {
            let folder = self.folder.display();
            format!("its log in {folder} cannot be written: {error}")
        })?;
        let spec = self.spec();
        let child = self.spawn(&spec, log)?;
        let being = child
            .id()
            .and_then(table::being)
            .ok_or("it ended at once; see its log")?;
        self.lead(Some(being.clone()));
        let record = Record::new(run, &being, &spec, self.port);
        record.write(&self.folder).map_err(|error| {
            let folder = self.folder.display();
            format!("what runs cannot be remembered in {folder}: {error}")
        })?;
        self.phase.send_replace(Phase::Running {
            run,
            pid: being.pid,
            since: record.since,
        });
        tokio::spawn(Arc::clone(self).keep(Keep::Child(child), run));
        Ok(())
    }

    /// Stops it: tells it to end, and ends the whole group where it does not in time. Returns when nothing of it is left.
    ///
    /// # Errors
    /// In plain words, where processes stay.
    pub async fn stop(&self) -> Result<(), String> {
        let _runs = self.orders.lock().await;
        // Told before the deed: an end that was asked for is none by itself.
        self.phase.send_replace(Phase::Stopped);
        self.end_all().await?;
        Record::forget(&self.folder);
        Ok(())
    }

    /// Ends every process of this engine: in peace first, then what is left.
    async fn end_all(&self) -> Result<(), String> {
        let within = self.spec().stop_within;
        let begun = Instant::now();
        let mut told: Vec<Being> = Vec::new();
        loop {
            let alive = self.alive();
            if alive.is_empty() {
                self.lead(None);
                return Ok(());
            }
            let signal = if begun.elapsed() < within {
                Signal::SIGTERM
            } else {
                Signal::SIGKILL
            };
            if begun.elapsed() > within + KILLED {
                let left: Vec<_> = alive.iter().map(|it| it.pid.to_string()).collect();
                return Err(format!(
                    "processes {} do not end, not even by KILL; they may hang in the GPU driver",
                    left.join(", ")
                ));
            }
            for being in alive {
                // Asked once; one that came into being meanwhile as well.
                if signal == Signal::SIGKILL || !told.contains(&being) {
                    tracing::debug!("{} gets {signal}: process {}", self.name(), being.pid);
                    being.signal(signal);
                    told.push(being);
                }
            }
            sleep(LOOK).await;
        }
    }

    /// What runs of it.
    fn alive(&self) -> Vec<Being> {
        let (mark, led) = (self.mark(), self.led());
        if led.is_some() {
            return self.signs(&mark, led.as_ref(), true).find();
        }
        // Whoever began it is gone: its record says what it was.
        let record = Record::read(&self.folder).ok().flatten();
        let leader = record.and_then(|record| record.being());
        self.signs(&mark, leader.as_ref(), false).find()
    }

    fn signs<'a>(&'a self, mark: &'a str, leader: Option<&'a Being>, seen: bool) -> Signs<'a> {
        Signs {
            mark,
            folder: &self.folder,
            leader,
            seen,
        }
    }

    /// The leader of the newest run that we saw live, until nothing is left of it.
    fn led(&self) -> Option<Being> {
        self.led
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn lead(&self, leader: Option<Being>) {
        *self.led.lock().unwrap_or_else(PoisonError::into_inner) = leader;
    }

    /// Waits for the end of a run. What is left of a group whose leader is gone is ended: it may hold a GPU.
    async fn keep(self: Arc<Self>, mut keep: Keep, run: u64) {
        let end = match &mut keep {
            Keep::Child(child) => child.wait().await.ok().and_then(how),
            Keep::Adopted(being) => {
                while being.lives() {
                    sleep(LOOK).await;
                }
                None
            }
        };
        let exited = self.phase.send_if_modified(|phase| {
            let by_itself = matches!(phase, Phase::Running { run: of, .. } if *of == run);
            if by_itself {
                *phase = Phase::Exited { run, end };
            }
            by_itself
        });
        if exited {
            let _runs = self.orders.lock().await;
            if matches!(*self.phase.borrow(), Phase::Exited { run: of, .. } if of == run)
                && let Err(why) = self.end_all().await
            {
                tracing::warn!("{}: {why}", self.name());
            }
        }
    }

    fn mark(&self) -> String {
        self.folder.display().to_string()
    }

    fn name(&self) -> String {
        let name = self.folder.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }
}

/// A run whose end is waited for.
enum Keep {
    Child(Child),
    Adopted(Being),
}

fn how(status: ExitStatus) -> Option<End> {
    status
        .code()
        .map(End::Status)
        .or_else(|| status.signal().map(End::Signal))
}
