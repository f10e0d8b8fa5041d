//! A fleet on clusters, at work.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use chrono::Utc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Wanted;
use super::record::{self, Kept, Records};
use super::seen::sees_something;
use crate::actuator::Actuator;
use crate::actuator::kube::Hand;
use crate::clock::Clock;
use crate::cluster::Api;
use crate::fleet::Fleet;
use crate::fleet::cluster::{Cluster, PartState};
use crate::handle::FleetHandle;
use crate::hub::{self, Hub};
use crate::source::kube::watch_cluster;
use crate::web;

/// What is still under way at the end gets this long.
const FAREWELL: Duration = Duration::from_secs(3);

/// A fleet on clusters, at work.
pub(in crate::cli) struct Open {
    hub: Hub,
    tasks: TaskTracker,
    shutdown: CancellationToken,
    /// What is written down, and the thread that writes.
    kept: Kept,
}

impl Open {
    /// Reaches the clusters, and begins to look.
    pub(in crate::cli) async fn start(
        wanted: Wanted,
        name: Option<String>,
        records: Records,
        shutdown: CancellationToken,
    ) -> Result<Self> {
        let clock = Clock::starting_at(Utc::now(), 1);
        let several = wanted.len() > 1;
        let mut apis = Vec::new();
        let place = record::place(&wanted);
        for (name, access, mut settings) in wanted {
            let api = Api::connect(access, name)
                .await
                .map_err(|why| anyhow!(why))?;
            settings.cluster = Arc::clone(api.name());
            settings.prefix = several.then(|| Arc::clone(api.name()));
            apis.push((api, settings));
        }
        let title = name.unwrap_or_else(|| {
            let names: Vec<&str> = apis.iter().map(|(api, _)| &**api.name()).collect();
            names.join(" + ")
        });
        let mut fleet = Fleet::new(title, clock.now());
        for (api, settings) in &apis {
            fleet.clusters.push(Arc::new(Cluster {
                name: Arc::clone(api.name()),
                priced: settings.prices.date,
                ..Cluster::default()
            }));
        }
        let (kept, journal) = Kept::open(place, records, &mut fleet);
        for (_, settings) in &mut apis {
            settings.past = match records {
                Records::Written => Some(record::fill_from(&fleet)),
                Records::Read => None,
            };
        }
        let http = web::client().map_err(anyhow::Error::msg)?;
        let hands = apis
            .iter()
            .map(|(api, settings)| {
                let hand = Hand::new(api.clone(), http.clone(), shutdown.clone());
                hand.reaching(settings.reach)
            })
            .collect();
        let actuator = Actuator::new(std::collections::HashMap::new(), http.clone()).on(hands);
        let hub = hub::start(fleet, actuator, journal, clock, shutdown.clone());
        let tasks = TaskTracker::new();
        for (api, settings) in apis {
            let out = hub.observations.clone();
            tasks.spawn(watch_cluster(
                api,
                settings,
                http.clone(),
                out,
                clock,
                shutdown.clone(),
            ));
        }
        Ok(Self {
            hub,
            tasks,
            shutdown,
            kept,
        })
    }

    /// The port to it.
    pub(in crate::cli) fn handle(&self) -> FleetHandle {
        self.hub.handle.clone()
    }

    /// Waits until everything that can be seen at first has been.
    ///
    /// # Errors
    /// Where the cluster does not answer within this long.
    pub(in crate::cli) async fn until_seen(&self, patience: Duration) -> Result<()> {
        let mut snapshots = self.hub.handle.snapshots.clone();
        let seen = async {
            loop {
                let fleet = snapshots.borrow_and_update().clone();
                let all = fleet.clusters.iter().all(|it| {
                    it.parts.len() > 1
                        && it.parts.iter().all(|part| part.state != PartState::Loading)
                });
                let known = fleet
                    .backends
                    .iter()
                    .all(|b| b.is_hosted() || b.place.is_some());
                let blind = fleet.clusters.iter().flat_map(|it| &it.parts).any(|part| {
                    part.resource == "pods"
                        && matches!(
                            part.state,
                            PartState::Forbidden { .. } | PartState::Stale { .. }
                        )
                });
                if all && (known || blind) {
                    return sees_something(&fleet);
                }
                if snapshots.changed().await.is_err() {
                    bail!("the fleet is ending");
                }
            }
        };
        if let Ok(done) = tokio::time::timeout(patience, seen).await {
            return done;
        }

        let fleet = self.hub.handle.snapshots.borrow().clone();
        let mut parts = fleet.clusters.iter().flat_map(|it| &it.parts);
        let why = parts.find_map(|it| match &it.state {
            PartState::Stale { why, .. } => Some(format!("{}: {why}", it.resource)),
            _ => None,
        });
        let s = patience.as_secs();
        bail!(
            "the cluster was not seen whole within {s} s: {}",
            why.unwrap_or_else(|| "it is slow".into())
        )
    }

    /// Ends it in order: an operation under way is ended or taken back first.
    pub(in crate::cli) async fn end(self) {
        self.shutdown.cancel();
        self.tasks.close();
        let _ = tokio::time::timeout(FAREWELL, self.tasks.wait()).await;
        let _ = tokio::time::timeout(FAREWELL, self.hub.task).await;
        self.kept.close().await;
    }
}
