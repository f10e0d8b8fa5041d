//! One engine's HTTP side, read: `/health`, `/metrics`, `/is_sleeping`, `/v1/models`. Never any other path.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::outlet::Outlet;
use super::{LIMIT, Target, vllm};
use crate::fleet::engine::EngineSample;
use crate::web::{self, Fault, Reply};

/// A warm engine is asked for its health only every so many rounds: a page that it writes says almost as much.
const HEALTH_EVERY: u32 = 3;
/// An engine that hangs never answers `/is_sleeping`; the round must go on without.
const SLEEP_LIMIT: Duration = Duration::from_secs(1);

/// What is known of one engine between two rounds.
#[derive(Debug)]
pub(super) struct Engine {
    target: Arc<Target>,
    http: reqwest::Client,
    outlet: Outlet,
    /// It answered and did not sleep.
    warm: bool,
    /// What was said last, so that rounds between the regular ones only tell news.
    said: Option<bool>,
    /// It writes no page of vLLM's, so that only `/health` and `/v1/models` tell whether it lives.
    no_page: bool,
    rounds: u32,
}

/// What `/health` says.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Health {
    Well,
    Ill,
    /// This server has no such path.
    Absent,
}

/// The body of `/is_sleeping`.
#[derive(Deserialize)]
struct IsSleeping {
    is_sleeping: bool,
}

impl Engine {
    pub(super) fn new(target: Arc<Target>, http: reqwest::Client, outlet: Outlet) -> Self {
        Self {
            target,
            http,
            outlet,
            warm: false,
            said: None,
            no_page: false,
            rounds: 0,
        }
    }

    pub(super) fn is_warm(&self) -> bool {
        self.warm
    }

    /// There is no engine now: the next one begins anew.
    pub(super) fn forget(&mut self) {
        self.warm = false;
        self.said = None;
    }

    /// One round. One that is not `regular` says of the health only what is new.
    pub(super) async fn read(&mut self, regular: bool) {
        if let Err(fault) = self.round(regular).await {
            match fault {
                // Not up yet, or gone: its usual state while it sleeps.
                Fault::Refused(_) if !self.warm => self.say(false, regular).await,
                Fault::Refused(reason) | Fault::Failed(reason) => {
                    self.warm = false;
                    self.said = None;
                    self.outlet.unreachable(reason).await;
                }
            }
        }
    }

    async fn round(&mut self, regular: bool) -> Result<(), Fault> {
        let ask_health = !self.warm || self.no_page || self.rounds.is_multiple_of(HEALTH_EVERY);
        self.rounds = self.rounds.wrapping_add(1);
        let mut health = None;
        if ask_health {
            health = Some(self.health().await?);
            if health == Some(Health::Ill) {
                self.say(false, regular).await;
                return Ok(());
            }
        }
        let sample = self.page().await?;
        self.no_page = sample.is_none();
        let mut asleep = sample.as_ref().and_then(|sample| sample.asleep);
        if asleep.is_none() && self.target.sleeps {
            asleep = self.is_sleeping().await;
        }
        let has_page = sample.is_some();
        if let Some(sample) = sample {
            self.outlet.engine(sample).await;
        }
        if let Some(asleep) = asleep.filter(|asleep| ask_health || *asleep) {
            self.outlet.sleeping(asleep).await;
        }
        let awake = asleep != Some(true);
        match health {
            Some(Health::Absent) if !has_page => {
                let lives = self.ask("/v1/models", LIMIT).await?.ok();
                self.say(lives && awake, regular).await;
            }
            Some(_) => self.say(awake, regular).await,
            None if !awake => self.say(false, regular).await,
            None => {}
        }
        Ok(())
    }

    async fn say(&mut self, ok: bool, regular: bool) {
        self.warm = ok;
        if regular || self.said != Some(ok) {
            self.said = Some(ok);
            self.outlet.health(ok).await;
        }
    }

    async fn health(&self) -> Result<Health, Fault> {
        let reply = self.ask("/health", LIMIT).await?;
        Ok(match reply.status {
            200..=299 => Health::Well,
            404 | 405 => Health::Absent,
            _ => Health::Ill,
        })
    }

    /// The page; `None` where there is none or it is not vLLM's.
    async fn page(&self) -> Result<Option<EngineSample>, Fault> {
        let reply = self.ask("/metrics", LIMIT).await?;
        Ok(reply
            .ok()
            .then(|| vllm::read(&String::from_utf8_lossy(&reply.body)))
            .flatten())
    }

    /// Whether it says that it sleeps; `None` where it does not say, which is no fault: an engine that hangs does not.
    async fn is_sleeping(&self) -> Option<bool> {
        let reply = self.ask("/is_sleeping", SLEEP_LIMIT).await.ok()?;
        serde_json::from_slice::<IsSleeping>(&reply.body)
            .ok()
            .map(|it| it.is_sleeping)
    }

    async fn ask(&self, path: &str, limit: Duration) -> Result<Reply, Fault> {
        let url = format!("{}{path}", self.target.url.trim_end_matches('/'));
        web::get(&self.http, &url, self.target.key.as_deref(), limit).await
    }
}
