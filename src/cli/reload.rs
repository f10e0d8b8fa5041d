//! The config file, followed while `serve` runs: read again on SIGHUP and when it changes, taken as a whole or refused as a
//! whole.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail, ensure};
use chrono::Utc;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior};

use super::assemble::{self, Engines, assemble, placed};
use super::fleet::Running;
use super::serve::{access, specs};
use crate::admin::Access;
use crate::config::{self, Config};
use crate::fleet::{Backend, BackendId};
use crate::gateway::Gateway;
use crate::hub::Configured;
use crate::process::{Engine, Spec};

/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How often the requests are counted that a removed backend has under way.
const COUNT: Duration = Duration::from_millis(200);

/// What the file system says of a file; another one may have another text.
type Stamp = Option<(SystemTime, u64, u64)>;

/// Follows a config file.
pub(super) struct Follower {
    pub(super) path: PathBuf,
    pub(super) state: PathBuf,
    /// What is in force, and its text.
    pub(super) config: Config,
    pub(super) text: String,
    pub(super) engines: Engines,
    /// Engines that are no longer in the config and have requests yet, and what ends them.
    pub(super) leaving: HashMap<BackendId, (Arc<Engine>, AbortHandle)>,
    pub(super) access: watch::Sender<Arc<Access>>,
    /// Whether others than this machine reach the gateway, and the admin API.
    pub(super) open: (bool, bool),
}

impl Follower {
    /// Follows it for ever.
    pub(super) async fn follow(&mut self, running: &mut Running) -> Result<()> {
        let mut hangup = signal(SignalKind::hangup())?;
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut known = self.stamp();
        let mut seen = known;
        loop {
            let asked = tokio::select! {
                _ = hangup.recv() => true,
                _ = looks.tick() => false,
            };
            let now = self.stamp();
            // Whoever writes it may be half through: it counts when it stayed as it is for a look.
            let settled = std::mem::replace(&mut seen, now) == now;
            if !asked && (!settled || now == known || now.is_none()) {
                continue;
            }
            known = now;
            let taken = match config::read(&self.path) {
                Ok((config, text)) => {
                    let taken = self.take(running, config, &text, asked).await;
                    placed(taken, &self.path, &text)
                }
                Err(error) => Err(error.into()),
            };
            if let Err(why) = taken {
                let refused = Configured::Refused(format!("{why:#}"));
                running.hub.configs.send(refused).await?;
            }
        }
    }

    fn stamp(&self) -> Stamp {
        let found = fs::metadata(&self.path).ok()?;
        Some((found.modified().ok()?, found.len(), found.ino()))
    }

    /// Takes the file as it is now. One with the same text is taken only where somebody `asked`: secrets may have changed.
    async fn take(
        &mut self,
        running: &mut Running,
        config: Config,
        text: &str,
        asked: bool,
    ) -> Result<()> {
        let healed = running
            .hub
            .handle
            .snapshots
            .borrow()
            .config_refused
            .is_some();
        if text == self.text && !asked && !healed {
            return Ok(());
        }
        let now = Utc::now();
        assemble::check(&config, now)?;
        self.may_follow(&config)?;
        let access = access(&config)?;
        ensure!(
            !self.open.1 || !access.tokens.is_empty(),
            "other machines reach the admin API, and it would have no [[admin.token]]; leave at least one"
        );
        let (engines, renewed) = self.engines_of(&config).await?;
        let new = assemble(&config, &engines, 1, now)?;
        ensure!(
            !self.open.0 || !new.clients.is_empty(),
            "other machines reach the gateway, and it would have no [[gateway.key]]; leave at least one"
        );
        let differences = config::differences(&self.text, text);
        let gone = running
            .renew(config.gateway.clone(), new, differences)
            .await?;
        self.access.send_replace(Arc::new(access));
        for (engine, spec) in renewed {
            engine.renew(spec);
        }
        let before = std::mem::replace(&mut self.engines, engines);
        for (id, engine) in before {
            if !self.engines.contains_key(&id) {
                let backend = gone.iter().find(|backend| backend.id == id).cloned();
                let leave = leave(Arc::clone(&engine), backend, running.gateway.clone());
                let ends = tokio::spawn(leave).abort_handle();
                self.leaving.insert(id, (engine, ends));
            }
        }
        // Who came back stays; who has left is forgotten.
        self.leaving.retain(|id, (_, ends)| {
            let back = self.engines.contains_key(id);
            if back {
                ends.abort();
            }
            !back && !ends.is_finished()
        });
        (self.config, self.text) = (config, text.to_owned());
        Ok(())
    }

    /// What cannot change while it runs is said, and nothing is half taken.
    fn may_follow(&self, new: &Config) -> Result<()> {
        let old = &self.config;
        let fixed = [
            ("name", old.name != new.name),
            ("listen", old.listen != new.listen),
            ("[admin] listen", old.admin.listen != new.admin.listen),
            (
                "[admin] cert_file",
                old.admin.cert_file.is_some() != new.admin.cert_file.is_some(),
            ),
            ("[store]", old.store != new.store),
            (
                "[gateway] threads",
                old.gateway.threads != new.gateway.threads,
            ),
            (
                "[gateway] max_connections",
                old.gateway.max_connections != new.gateway.max_connections,
            ),
            (
                "[gateway] access_log",
                old.gateway.access_log != new.gateway.access_log,
            ),
        ];
        for (what, changed) in fixed {
            if changed {
                bail!(
                    "`{what}` cannot change while `serve` runs; restart it for that, or put it back"
                );
            }
        }
        Ok(())
    }

    /// The engines of a config, and how those that are known are to be run from their next start on.
    async fn engines_of(&self, config: &Config) -> Result<(Engines, Vec<(Arc<Engine>, Spec)>)> {
        let here = self.path.parent().unwrap_or(Path::new("."));
        let mut engines = Engines::new();
        let mut renewed = Vec::new();
        for (id, place, spec) in specs(config, &self.state, here) {
            let leaving = self.leaving.get(&id).map(|(engine, _)| engine);
            let engine = if let Some(engine) = self.engines.get(&id).or(leaving) {
                let refused = engine.may_become(&spec).map_err(anyhow::Error::msg);
                refused.with_context(|| place)?;
                renewed.push((Arc::clone(engine), spec));
                Arc::clone(engine)
            } else {
                Engine::open(spec).await.with_context(|| place)?
            };
            engines.insert(id, engine);
        }
        Ok((engines, renewed))
    }
}

/// Ends an engine that is no longer in the config, once its requests are done or their time is over.
async fn leave(engine: Arc<Engine>, backend: Option<Arc<Backend>>, gateway: Gateway) {
    if let Some(backend) = backend {
        let grace = backend.self_hosted().map(|facts| facts.grace);
        let until = Instant::now() + grace.and_then(|it| it.to_std().ok()).unwrap_or_default();
        while gateway.in_flight(&backend.id) > 0 && Instant::now() < until {
            tokio::time::sleep(COUNT).await;
        }
    }
    if let Err(why) = engine.stop().await {
        eprintln!("fleetctl: an engine that is no longer in the config: {why}");
    }
}
