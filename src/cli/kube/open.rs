//! A fleet on clusters, at work.

use std::convert::Infallible;
use std::io::{self, IsTerminal as _, Write as _};
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
use crate::cli::exit::{Ended, Kind};
use crate::clock::Clock;
use crate::cluster::{Access, Api, Fault, contexts};
use crate::fleet::cluster::place::{LogOf, Place};
use crate::fleet::cluster::{Cluster, PartState};
use crate::fleet::{Backend, Fleet};
use crate::handle::FleetHandle;
use crate::hub::{self, Hub};
use crate::source::engine_log::clean;
use crate::source::kube::watch_cluster;
use crate::web;

/// What is still under way at the end gets this long.
const FAREWELL: Duration = Duration::from_secs(3);
/// The end of a log takes no longer than this.
const LOG: Duration = Duration::from_secs(15);

/// A fleet on clusters, at work.
pub(in crate::cli) struct Open {
    hub: Hub,
    tasks: TaskTracker,
    shutdown: CancellationToken,
    /// What is written down, and the thread that writes.
    kept: Kept,
    /// How each cluster is reached, and the namespaces that are looked at.
    pub(super) reached: Vec<(Api, Vec<String>)>,
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
            settled(&access)?;
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
                hand.reaching(settings.reach).attending(&settings.attention)
            })
            .collect();
        let actuator = Actuator::new(std::collections::HashMap::new(), http.clone()).on(hands);
        let hub = hub::start(fleet, actuator, journal, clock, shutdown.clone());
        let tasks = TaskTracker::new();
        let reached = apis
            .iter()
            .map(|(api, settings)| (api.clone(), settings.namespaces.clone()))
            .collect();
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
            reached,
        })
    }

    /// Whether an earlier console has left a record of it.
    pub(in crate::cli) fn is_recorded(&self) -> bool {
        self.kept.is_there()
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
        self.may_be_who_it_is().await?;
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
                // Whether what is ready sleeps in its pods only their pages say.
                let awaits = |b: &Arc<Backend>| {
                    let ready = b.place.as_deref().filter(|it| it.ready > 0);
                    ready.is_some_and(|it| b.awaits_page(it, fleet.now))
                };
                let paged = !fleet.backends.iter().any(awaits);
                let blind = fleet.clusters.iter().flat_map(|it| &it.parts).any(|part| {
                    part.resource == "pods"
                        && matches!(
                            part.state,
                            PartState::Forbidden { .. } | PartState::Stale { .. }
                        )
                });
                if all && paged && (known || blind) {
                    sees_something(&fleet)?;
                    return self.serves_something(&fleet).await;
                }
                if snapshots.changed().await.is_err() {
                    bail!("the fleet is ending");
                }
            }
        };
        let done = tokio::select! {
            done = tokio::time::timeout(patience, seen) => done,
            never = self.tell_meanwhile() => match never {},
        };
        forget();
        if let Ok(done) = done {
            return done;
        }

        let s = patience.as_secs();
        let why = self.hold_up().unwrap_or_else(|| "it is slow".into());
        let what = format!("the cluster was not seen whole within {s} s: {why}");
        let hint = "see whether it is reached at all: kubectl version";
        Err(Ended::new(Kind::TimedOut, what, hint).into())
    }

    /// Who may not act as somebody else is refused everything, and waiting does not help.
    async fn may_be_who_it_is(&self) -> Result<()> {
        for (api, _) in &self.reached {
            let said: Result<serde_json::Value, Fault> = api.get("/version", None).await;
            if let Err(Fault::Forbidden(why)) = said
                && why.contains("impersonate")
            {
                let hint = "leave --as out, or ask for the right to impersonate";
                return Err(Ended::new(Kind::Refused, why, hint).into());
            }
        }
        Ok(())
    }

    /// What stands in the way of seeing it.
    fn hold_up(&self) -> Option<String> {
        let fleet = self.hub.handle.snapshots.borrow().clone();
        let mut parts = fleet.clusters.iter().flat_map(|it| &it.parts);
        parts.find_map(|it| match &it.state {
            PartState::Stale { why, .. } => Some(format!("{}: {why}", it.resource)),
            _ => None,
        })
    }

    /// Says what is waited for, where somebody sits there; it goes away again.
    async fn tell_meanwhile(&self) -> Infallible {
        if !io::stderr().is_terminal() {
            return std::future::pending().await;
        }
        let names: Vec<&str> = self.reached.iter().map(|(api, _)| &**api.name()).collect();
        let names = names.join(", ");
        for s in 1_u32.. {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let why = self.hold_up().map_or(String::new(), |it| format!(": {it}"));
            // The terminal may be gone; the end says all the same.
            let _ = write!(
                io::stderr(),
                "\r\x1b[K{}",
                clean(&format!("looking at {names} for {s} s{why}"))
            );
        }
        std::future::pending().await
    }

    /// An empty picture of namespaces that do not exist is a slip of the pen.
    async fn serves_something(&self, fleet: &Fleet) -> Result<()> {
        if !fleet.backends.is_empty() {
            return Ok(());
        }
        for (api, namespaces) in &self.reached {
            for namespace in namespaces {
                let path = format!("/api/v1/namespaces/{namespace}");
                let there: Result<serde_json::Value, Fault> = api.get(&path, None).await;
                let look = "leave --namespace out to look at all of them";
                if let Err(Fault::Absent(_)) = there {
                    let what = format!("{} has no namespace {namespace}", api.name());
                    return Err(Ended::new(Kind::NotFound, what, look).into());
                }
                let what = format!("nothing serves a model in {namespace} of {}", api.name());
                writeln!(io::stderr(), "{what}; {look}")?;
            }
        }
        Ok(())
    }

    /// The end of a container's log.
    ///
    /// # Errors
    /// Where there is none.
    pub(in crate::cli) async fn log_of(
        &self,
        place: &Place,
        of: &LogOf,
        lines: usize,
    ) -> Result<Vec<String>, Fault> {
        let mut all = self.reached.iter();
        let found = all.find(|(api, _)| *api.name() == place.cluster);
        let (api, _) = found.ok_or_else(|| Fault::Away("its cluster is not reached".into()))?;
        let path = format!(
            "/api/v1/namespaces/{}/pods/{}/log?container={}&tailLines={lines}",
            place.workload.namespace, of.pod, of.container
        );
        let text = api.text(&path, LOG).await?;
        Ok(text.lines().map(clean).collect())
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

/// That a context is misspelt is not that a cluster is away.
fn settled(access: &Access) -> Result<()> {
    let (Some(context), Ok(known)) = (&access.context, contexts(access)) else {
        return Ok(());
    };
    if known.is_empty() || known.contains(context) {
        return Ok(());
    }
    let hint = format!("the kubeconfig has {}", known.join(", "));
    Err(Ended::new(Kind::NotFound, format!("no context {context}"), hint).into())
}

/// Takes back what was said meanwhile.
fn forget() {
    if io::stderr().is_terminal() {
        // The terminal may be gone; the end says all the same.
        let _ = write!(io::stderr(), "\r\x1b[K");
    }
}
