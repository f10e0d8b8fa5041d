//! Everything that is done: engines started, woken, put to sleep and stopped. The only code that changes anything.

pub mod kube;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use self::kube::Hand;

use crate::fleet::backend::SleepWay;
use crate::fleet::cluster::plan::Plan;
use crate::fleet::cluster::{Need, Permit};
use crate::fleet::{Action, BackendId, Fleet, Observation};
use crate::process::{Engine, Phase};
use crate::web::{self, Reply};

/// How long an order that is answered at once may take, on the wall.
const SHORT: Duration = Duration::from_secs(10);
/// How long one may take that is answered when it is done: running requests end first, weights are read.
const LONG: Duration = Duration::from_secs(300);
/// How long an engine may take to be asleep after it said that it would, on the wall.
const ASLEEP_WITHIN: Duration = Duration::from_secs(60);
/// Between two questions whether it is, on the wall: from the first doubling to the last.
const WAITS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// How one backend is reached.
#[derive(Clone)]
pub struct Reach {
    /// Base address without `/v1`.
    pub url: String,
    /// The address of its launcher.
    pub launcher: Option<String>,
    /// The process that it is, where it is one of ours.
    pub process: Option<Arc<Engine>>,
    /// How it sleeps.
    pub sleep: SleepWay,
    /// Sent to the engine as a bearer token.
    pub key: Option<String>,
}

/// Carries out actions.
#[derive(Clone, Debug)]
pub struct Actuator {
    reaches: HashMap<BackendId, Reach>,
    http: reqwest::Client,
    clusters: Vec<Hand>,
}

/// The body of `/is_sleeping`.
#[derive(Deserialize)]
struct IsSleeping {
    is_sleeping: bool,
}

impl Actuator {
    /// One for these backends. `http` is best [`web::client`]'s.
    pub fn new(reaches: HashMap<BackendId, Reach>, http: reqwest::Client) -> Self {
        Self {
            reaches,
            http,
            clusters: Vec::new(),
        }
    }

    /// One that operates these clusters as well.
    #[must_use]
    pub fn on(mut self, clusters: Vec<Hand>) -> Self {
        self.clusters = clusters;
        self
    }

    /// Says where the fleet is seen, and where progress is told.
    pub fn attach(&self, fleet: &watch::Receiver<Arc<Fleet>>, out: &mpsc::Sender<Observation>) {
        for hand in &self.clusters {
            hand.attach(fleet, out);
        }
    }

    /// Has a cluster check what a plan would write, and changes nothing.
    ///
    /// # Errors
    /// What it would not take, and why.
    pub async fn rehearse(&self, plan: &Plan) -> Result<(), String> {
        self.hand(plan)?.rehearse(plan).await
    }

    /// Asks whether this user may do what a plan needs.
    pub async fn may(&self, plan: &Plan, needs: &[Need]) -> Vec<Permit> {
        match self.hand(plan) {
            Ok(hand) => hand.may(needs).await,
            // What reaches nothing changes nothing: it is said when it is tried.
            Err(_) => Vec::new(),
        }
    }

    fn hand(&self, plan: &Plan) -> Result<&Hand, String> {
        let hand = self
            .clusters
            .iter()
            .find(|it| *it.cluster() == plan.cluster);
        hand.ok_or_else(|| format!("nothing here reaches the cluster {}", plan.cluster))
    }

    /// Carries out `action`; returns when it is done, or for a start when it has begun.
    ///
    /// # Errors
    /// In plain words: what could not be done, why, and what to do.
    pub async fn perform(&self, action: &Action) -> Result<(), String> {
        if let Action::Operate { plan } = action {
            return self.hand(plan)?.operate(plan).await;
        }
        let Some(backend) = action.backend() else {
            return Ok(());
        };
        let reach = self
            .reaches
            .get(backend)
            .ok_or_else(|| format!("{backend} is not in this fleet; check its name"))?;
        match action {
            Action::Start { .. } => self
                .start(reach)
                .await
                .map_err(|why| format!("cannot start {backend}: {why}")),
            Action::Stop { .. } => self
                .stop(reach)
                .await
                .map_err(|why| format!("cannot put {backend} to sleep: {why}")),
            Action::Operate { .. } => Ok(()),
        }
    }

    async fn start(&self, reach: &Reach) -> Result<(), String> {
        match reach.sleep {
            SleepWay::Never => Err(
                "fleetctl has no way to start it; start it by hand, or give it `sleep` in the config"
                    .to_owned(),
            ),
            SleepWay::Release => {
                if let Some(engine) = &reach.process {
                    return engine.start().await;
                }
                let url = format!("{}/start", launcher(reach)?);
                self.post(&url, None, None, SHORT).await
            }
            SleepWay::Level1 | SleepWay::Level2 => {
                // One that is not there cannot be woken: it is started, and comes up awake.
                if let Some(engine) = &reach.process
                    && !matches!(*engine.phase().borrow(), Phase::Running { .. })
                {
                    return engine.start().await;
                }
                match reach.sleep {
                    SleepWay::Level2 => self.wake_from_level2(reach).await,
                    _ => self.engine(reach, "/wake_up", None).await,
                }
            }
        }
    }

    /// Level 2 has dropped the weights. A plain wake would give memory back with nothing in it, and the engine would
    /// answer nonsense; so: memory for the weights, the weights, then memory for the cache. Until the last step the
    /// engine counts as asleep.
    async fn wake_from_level2(&self, reach: &Reach) -> Result<(), String> {
        self.engine(reach, "/wake_up?tags=weights", None).await?;
        self.engine(
            reach,
            "/collective_rpc",
            Some(r#"{"method":"reload_weights"}"#),
        )
        .await
        .map_err(|why| format!("its weights were not loaded again: {why}"))?;
        self.engine(reach, "/wake_up?tags=kv_cache", None).await
    }

    async fn stop(&self, reach: &Reach) -> Result<(), String> {
        let level = match reach.sleep {
            SleepWay::Never => {
                return Err(
                    "its `sleep` is `never`; set it to `level1`, `level2` or `release` in the config"
                        .to_owned(),
                );
            }
            SleepWay::Release => {
                if let Some(engine) = &reach.process {
                    return engine.stop().await;
                }
                let url = format!("{}/stop", launcher(reach)?);
                return self.post(&url, None, None, LONG).await;
            }
            SleepWay::Level1 => 1,
            SleepWay::Level2 => 2,
        };
        // Running requests end first; versions before 0.16.0 know no mode and do not mind it.
        let path = format!("/sleep?level={level}&mode=wait");
        self.engine(reach, &path, None).await?;
        self.until_asleep(reach).await
    }

    /// Asks until the engine says that it sleeps.
    async fn until_asleep(&self, reach: &Reach) -> Result<(), String> {
        let url = format!("{}/is_sleeping", base(reach));
        let give_up = Instant::now() + ASLEEP_WITHIN;
        let mut wait = WAITS.0;
        loop {
            let answer = web::get(&self.http, &url, reach.key.as_deref(), SHORT).await;
            let said = answer.map_err(|fault| fault.to_string()).and_then(|reply| {
                serde_json::from_slice::<IsSleeping>(&reply.body).map_err(|_| reply.words())
            });
            let last = match said {
                Ok(said) if said.is_sleeping => return Ok(()),
                Ok(_) => "it says that it is awake".to_owned(),
                Err(why) => why,
            };
            if Instant::now() + wait > give_up {
                let within = ASLEEP_WITHIN.as_secs();
                return Err(format!(
                    "it was told to, and {within} s later {last}; look at its log"
                ));
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(WAITS.1);
        }
    }

    /// An order to the engine itself.
    async fn engine(
        &self,
        reach: &Reach,
        path: &str,
        json: Option<&'static str>,
    ) -> Result<(), String> {
        let url = format!("{}{path}", base(reach));
        self.post(&url, reach.key.as_deref(), json, LONG)
            .await
            .map_err(|why| {
                if why.starts_with("404") {
                    format!("{why}; start vLLM with --enable-sleep-mode and VLLM_SERVER_DEV_MODE=1")
                } else {
                    why
                }
            })
    }

    async fn post(
        &self,
        url: &str,
        key: Option<&str>,
        json: Option<&'static str>,
        limit: Duration,
    ) -> Result<(), String> {
        let reply = web::post(&self.http, url, key, json.map(ToOwned::to_owned), limit)
            .await
            .map_err(|fault| {
                format!("{fault}; check that it runs and that its address is right")
            })?;
        if Reply::ok(&reply) {
            Ok(())
        } else {
            Err(reply.words())
        }
    }
}

fn base(reach: &Reach) -> &str {
    reach.url.trim_end_matches('/')
}

fn launcher(reach: &Reach) -> Result<&str, String> {
    reach
        .launcher
        .as_deref()
        .map(|url| url.trim_end_matches('/'))
        .ok_or_else(|| "its `sleep` is `release` and it has no `launcher` in the config".to_owned())
}

impl fmt::Debug for Reach {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reach")
            .field("url", &self.url)
            .field("launcher", &self.launcher)
            .field("sleep", &self.sleep)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
