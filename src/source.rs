//! Everything that is read. Nothing here changes anything, and nothing here can wake an engine.
//!
//! One task a backend: [`watch`]. It asks only with GET, and only the paths named in `engine` and `launcher`.

mod dcgm;
mod engine;
pub mod engine_log;
pub mod exposition;
mod gen_ai;
pub mod kube;
mod launcher;
mod lines;
mod nvml;
mod outlet;
mod process;
mod prometheus;

mod vllm;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch as state};
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use self::engine::Engine;
use self::launcher::{Launcher, Phase};
use self::outlet::Outlet;
use self::process::Process;
use crate::clock::Clock;
use crate::fleet::{BackendId, Observation};
use crate::web;

pub use dcgm::read as read_gpus;
pub use nvml::{Held, watch_machine};
pub use vllm::read as read_engine;

/// The longest that one reading may take, on the wall.
const LIMIT: Duration = Duration::from_secs(2);
/// The least time between two questions to somebody else's API, on the wall.
const HOSTED_EVERY: Duration = Duration::from_secs(30);
/// Between two questions to an engine whose log says that it comes up any moment, on the wall.
const EAGER_EVERY: Duration = Duration::from_millis(50);
/// How long that lasts.
const EAGER_FOR: Duration = Duration::from_secs(60);

/// What is to be watched: where one backend is read.
#[derive(Clone)]
pub struct Target {
    /// Whose readings these are.
    pub backend: BackendId,
    /// Base address without `/v1`.
    pub url: String,
    /// Somebody else's API.
    pub hosted: bool,
    /// Sent as a bearer token.
    pub key: Option<String>,
    /// The address of its launcher.
    pub launcher: Option<String>,
    /// The process that it is, where it is one of ours.
    pub process: Option<Arc<crate::process::Engine>>,
    /// A dcgm-exporter page.
    pub gpu_metrics: Option<String>,
    /// Which GPUs of that page, by index; empty: all of them.
    pub gpus: Vec<u32>,
    /// Whether it uses vLLM's sleep mode, so that `/is_sleeping` is worth asking.
    pub sleeps: bool,
}

impl Target {
    /// What this machine's own GPU library is asked for; `None` where it is somebody else's process, or has a page.
    pub fn on_this_machine(&self) -> Option<Held> {
        let engine = self
            .process
            .as_ref()
            .filter(|_| self.gpu_metrics.is_none())?;
        Some((self.backend.clone(), Arc::clone(engine), self.gpus.clone()))
    }

    /// Whether both are read alike.
    pub fn is_as(&self, other: &Self) -> bool {
        let process = |it: &Self| it.process.as_ref().map(Arc::as_ptr);
        process(self) == process(other)
            && (&self.backend, &self.url, self.hosted, self.sleeps)
                == (&other.backend, &other.url, other.hosted, other.sleeps)
            && (&self.key, &self.launcher, &self.gpu_metrics, &self.gpus)
                == (&other.key, &other.launcher, &other.gpu_metrics, &other.gpus)
    }
}

/// Sends all readings of one backend to `out`, one round `every` so often on the wall, until `shutdown`.
///
/// A full `out` loses engine and GPU readings, which are counted; everything else waits for its place.
pub async fn watch(
    target: Target,
    http: reqwest::Client,
    every: Duration,
    out: mpsc::Sender<Observation>,
    clock: Clock,
    shutdown: CancellationToken,
) {
    let outlet = Outlet::new(target.backend.clone(), out, clock);
    let target = Arc::new(target);
    let readings = async {
        if target.hosted {
            hosted(&target, &http, every, &outlet).await;
        } else {
            self_hosted(&target, &http, every, &outlet).await;
        }
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = outlet.closed() => {}
        () = readings => {}
    }
}

async fn self_hosted(
    target: &Arc<Target>,
    http: &reqwest::Client,
    every: Duration,
    outlet: &Outlet,
) {
    let (phase, phases) = state::channel(Phase::default());
    let comes_up = Arc::new(Notify::new());
    let engine = engine_rounds(
        Engine::new(Arc::clone(target), http.clone(), outlet.clone()),
        every,
        (target.launcher.is_some() || target.process.is_some()).then_some(phases),
        Arc::clone(&comes_up),
    );
    let launched = async {
        if let Some(engine) = &target.process {
            Process::new(Arc::clone(engine), outlet.clone(), phase, comes_up)
                .watch()
                .await;
        } else if let Some(url) = &target.launcher {
            Launcher::new(url, http.clone(), outlet.clone(), phase, comes_up)
                .watch(every)
                .await;
        }
    };
    let gpus = async {
        if let Some(url) = &target.gpu_metrics {
            gpu_rounds(url, &target.gpus, http, every, outlet).await;
        }
    };
    tokio::join!(engine, launched, gpus);
}

/// Reads the engine round after round; not while its launcher says that there is none.
async fn engine_rounds(
    mut engine: Engine,
    every: Duration,
    phases: Option<state::Receiver<Phase>>,
    comes_up: Arc<Notify>,
) {
    let mut ticks = rounds(every);
    let mut eager_until = Instant::now();
    loop {
        let eager = !engine.is_warm() && Instant::now() < eager_until;
        let regular = tokio::select! {
            _ = ticks.tick() => true,
            () = tokio::time::sleep(EAGER_EVERY), if eager => false,
            () = comes_up.notified() => {
                eager_until = Instant::now() + EAGER_FOR;
                false
            }
        };
        let runs = phases.as_ref().is_none_or(|it| it.borrow().may_answer());
        if runs {
            engine.read(regular).await;
        } else {
            engine.forget();
        }
    }
}

async fn gpu_rounds(
    url: &str,
    wanted: &[u32],
    http: &reqwest::Client,
    every: Duration,
    outlet: &Outlet,
) {
    let mut ticks = rounds(every);
    let mut failing = false;
    loop {
        ticks.tick().await;
        let problem = match web::get(http, url, None, LIMIT).await {
            Ok(reply) if reply.ok() => {
                let mut gpus = dcgm::read(&String::from_utf8_lossy(&reply.body));
                gpus.retain(|gpu| wanted.is_empty() || wanted.contains(&gpu.index));
                outlet.gpus(gpus).await;
                failing = false;
                continue;
            }
            Ok(reply) => reply.words(),
            Err(fault) => fault.to_string(),
        };
        // Once a streak: unknown is unknown, and the engine's own reading says whether it lives.
        if !failing {
            failing = true;
            tracing::warn!(backend = %outlet.backend(), "no GPU readings: {problem}");
            outlet.gpus(Vec::new()).await;
        }
    }
}

/// Asks somebody else's API for its models, which costs nothing, and says whether it answers.
async fn hosted(target: &Target, http: &reqwest::Client, every: Duration, outlet: &Outlet) {
    let url = format!("{}/v1/models", target.url.trim_end_matches('/'));
    let mut ticks = rounds(every.max(HOSTED_EVERY));
    loop {
        ticks.tick().await;
        match web::get(http, &url, target.key.as_deref(), LIMIT * 2).await {
            Ok(reply) => match reply.status {
                401 | 403 => {
                    outlet
                        .unreachable(format!(
                            "it refused the key ({}); check the variable that `api_key_env` names",
                            reply.status
                        ))
                        .await;
                }
                500.. => outlet.unreachable(reply.words()).await,
                // Some have no such path, and one that limits us answers too.
                _ => outlet.health(true).await,
            },
            Err(fault) => outlet.unreachable(fault.to_string()).await,
        }
    }
}

fn rounds(every: Duration) -> Interval {
    let mut ticks = tokio::time::interval(every.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}

impl std::fmt::Debug for Target {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target")
            .field("backend", &self.backend)
            .field("url", &self.url)
            .field("hosted", &self.hosted)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
