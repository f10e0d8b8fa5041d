//! A machine with an engine on it: stopped, starting, running or exited.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::TimeDelta;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::engine::lines::{self, Act};
use super::engine::{Engine, Load, Spec};
use super::log::Log;
use super::{hold, mix};
use crate::clock::Clock;

/// Fleet time from an engine's end to its machine's release.
const RELEASE: TimeDelta = TimeDelta::seconds(6);
/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;

/// Where an engine's life is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// No machine, no cost.
    Stopped,
    /// On its way.
    Starting,
    /// Serving.
    Running,
    /// Ended by itself, with this exit status.
    Exited(i32),
}

impl Status {
    /// As the launcher protocol says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Exited(_) => "exited",
        }
    }
}

/// What a GPU of the machine does.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Gpu {
    /// Share of its memory that is taken.
    pub memory: f64,
    /// What the engine computes.
    pub load: Load,
}

/// One engine of a simulated cluster with all its starts.
#[derive(Debug)]
pub struct Unit {
    spec: Arc<Spec>,
    clock: Clock,
    at: SocketAddr,
    status: watch::Sender<Status>,
    life: Mutex<Life>,
    shutdown: CancellationToken,
}

#[derive(Debug)]
struct Life {
    started: u32,
    log: Arc<Log>,
    stop: CancellationToken,
    engine: Option<Arc<Engine>>,
    memory: f64,
    /// The port while nothing listens on it: bound, so that nobody else gets it.
    held: Option<TcpSocket>,
}

impl Unit {
    /// An engine that is stopped; it keeps its port for all its starts.
    ///
    /// # Errors
    /// No port could be bound.
    pub fn new(
        spec: Spec,
        clock: Clock,
        shutdown: CancellationToken,
    ) -> std::io::Result<Arc<Self>> {
        Self::at(0, spec, clock, shutdown)
    }

    /// The same with this port.
    ///
    /// # Errors
    /// It could not be bound.
    pub fn at(
        port: u16,
        spec: Spec,
        clock: Clock,
        shutdown: CancellationToken,
    ) -> std::io::Result<Arc<Self>> {
        let held = bind(([127, 0, 0, 1], port).into())?;
        let at = held.local_addr()?;
        Ok(Arc::new(Self {
            spec: Arc::new(spec),
            clock,
            at,
            status: watch::Sender::new(Status::Stopped),
            life: Mutex::new(Life {
                started: 0,
                log: Arc::default(),
                stop: shutdown.child_token(),
                engine: None,
                memory: 0.0,
                held: Some(held),
            }),
            shutdown,
        }))
    }

    /// What it is like.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Where its engine serves when it does.
    pub fn address(&self) -> SocketAddr {
        self.at
    }

    /// Where its life is.
    pub fn status(&self) -> Status {
        *self.status.borrow()
    }

    /// Starts so far.
    pub fn started(&self) -> u32 {
        hold(&self.life).started
    }

    /// The engine, where there is one.
    pub fn engine(&self) -> Option<Arc<Engine>> {
        hold(&self.life).engine.clone()
    }

    /// What its GPUs do now.
    pub fn gpu(&self) -> Gpu {
        let life = hold(&self.life);
        let load = life.engine.as_ref().map(|e| e.load()).unwrap_or_default();
        Gpu {
            memory: if load.asleep { 0.03 } else { life.memory },
            load,
        }
    }

    pub(super) fn log(&self) -> Arc<Log> {
        hold(&self.life).log.clone()
    }

    pub(super) fn clock(&self) -> Clock {
        self.clock
    }

    /// Begins a start; false where there is one already.
    pub fn start(self: &Arc<Self>) -> bool {
        self.begin(false)
    }

    /// Is running at once, as if it had been started before.
    pub fn warm(self: &Arc<Self>) {
        self.begin(true);
    }

    /// Ends the engine and releases the machine; returns when that is done.
    pub async fn stop(&self) {
        let mut status = self.status.subscribe();
        hold(&self.life).stop.cancel();
        // The sender lives as long as the unit.
        let _ = status
            .wait_for(|s| matches!(s, Status::Stopped | Status::Exited(_)))
            .await;
        self.status.send_replace(Status::Stopped);
    }

    fn begin(self: &Arc<Self>, at_once: bool) -> bool {
        let mut life = hold(&self.life);
        if matches!(self.status(), Status::Starting | Status::Running) {
            return false;
        }
        life.started += 1;
        life.log = Arc::default();
        life.stop = self.shutdown.child_token();
        self.status.send_replace(Status::Starting);
        let run = Run {
            unit: self.clone(),
            log: life.log.clone(),
            stop: life.stop.clone(),
            at_once,
        };
        let started = life.started;
        drop(life);
        if at_once {
            // Nobody should find it starting.
            self.status.send_replace(Status::Running);
        }
        tokio::spawn(run.go(started));
        true
    }

    /// Opens the port.
    fn listen(&self) -> std::io::Result<TcpListener> {
        let held = hold(&self.life).held.take();
        let socket = match held {
            Some(socket) => socket,
            None => bind(self.at)?,
        };
        socket.listen(BACKLOG)
    }
}

fn bind(at: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(at)?;
    Ok(socket)
}

/// One start and what comes after it.
struct Run {
    unit: Arc<Unit>,
    log: Arc<Log>,
    stop: CancellationToken,
    at_once: bool,
}

impl Run {
    async fn go(self, started: u32) {
        let status = tokio::select! {
            () = self.stop.cancelled() => None,
            status = self.life(started) => Some(status),
        };
        let engine = {
            let mut life = hold(&self.unit.life);
            life.memory = 0.0;
            life.engine.take()
        };
        if let Some(engine) = engine {
            engine.stop();
        }
        let end = if let Some(status) = status {
            Status::Exited(status)
        } else {
            self.log.say("Killing: Stopping container vllm");
            tokio::time::sleep(self.unit.clock.on_wall(RELEASE)).await;
            Status::Stopped
        };
        // Kept from everybody else until the next start; where that fails it is tried again then.
        let held = bind(self.unit.at).ok();
        hold(&self.unit.life).held = held;
        self.log.end();
        self.unit.status.send_replace(end);
    }

    /// From the start to the engine's own end; its exit status.
    async fn life(&self, started: u32) -> i32 {
        let spec = &self.unit.spec;
        let mut chance = fastrand::Rng::with_seed(mix(spec.seed, u64::from(started)));
        let failure = spec.first_start.filter(|_| started == 1 && !self.at_once);
        for step in lines::start(spec, &mut chance, failure) {
            if !self.at_once && step.wait > 0.0 {
                let wall = Duration::from_secs_f64(step.wait) / self.unit.clock.speed();
                tokio::time::sleep(wall).await;
            }
            match step.act {
                Act::Say(line) => self.log.say(line),
                Act::Log(process, level, place, message) => {
                    let now = self.unit.clock.now();
                    self.log
                        .say(lines::framed(process, level, now, place, &message));
                }
                Act::Machine => {}
                Act::Memory(share) => hold(&self.unit.life).memory = share,
                Act::Listen => match self.unit.listen() {
                    Ok(listener) => {
                        let (spec, log) = (spec.clone(), self.log.clone());
                        let engine = Engine::start(spec, self.unit.clock, listener, log);
                        hold(&self.unit.life).engine = Some(engine);
                        self.unit.status.send_replace(Status::Running);
                    }
                    Err(e) => {
                        self.log.say(format!("OSError: {e}"));
                        return 1;
                    }
                },
                Act::Exit(status) => return status,
            }
        }
        match self.unit.engine() {
            Some(engine) => engine.exited().await,
            None => 1,
        }
    }
}
