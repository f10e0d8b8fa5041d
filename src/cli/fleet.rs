//! Starts a fleet with its gateway in this process, and ends them in order.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::assemble::{Assembled, Engines, assemble};
use crate::actuator::Actuator;
use crate::clock::Clock;
use crate::config::{Config, Difference};
use crate::fleet::reload::Reload;
use crate::fleet::restore::Past;
use crate::fleet::{Backend, BackendId, Fleet};
use crate::gateway::{self, Gateway};
use crate::hub::{self, Configured};
use crate::source::{self, Target};
use crate::store::{Journal, Kept, Store};
use crate::web;

/// Readings of each backend are this far apart on the wall.
const EVERY: Duration = Duration::from_secs(1);
/// Clients that wait to be taken; thousands may come at once when a model wakes.
const BACKLOG: u32 = 4096;

/// A fleet at work.
pub(super) struct Running {
    pub(super) hub: hub::Hub,
    /// Where the gateway listens.
    pub(super) address: SocketAddr,
    pub(super) gateway: Gateway,
    /// The fleet as the config describes it, untouched by time and operators.
    plain: Arc<Fleet>,
    /// Who is read, and what ends the reading.
    watched: Vec<(Target, CancellationToken)>,
    /// What ends the reading of this machine's GPUs.
    gpus: CancellationToken,
    /// What is known of backends that are not in the config now.
    pasts: HashMap<BackendId, Past>,
    http: reqwest::Client,
    clock: Clock,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

impl Running {
    /// Starts everything that the config describes; it ends with `shutdown`.
    pub(super) fn start(
        config: &Config,
        engines: &Engines,
        past: Option<(Store, Kept)>,
        listener: TcpListener,
        clock: Clock,
        tasks: TaskTracker,
        shutdown: CancellationToken,
    ) -> Result<Self> {
        let address = listener.local_addr()?;
        let Assembled {
            mut fleet,
            clients,
            targets,
            upstreams,
            reaches,
        } = assemble(config, engines, clock.speed(), clock.now())?;
        let plain = Arc::new(fleet.clone());
        fleet.gateway = Some(format!("http://{address}/v1"));
        let (journal, pasts) = match past {
            Some((store, kept)) => {
                let weights = weights(&fleet);
                let pasts = restore(&mut fleet, kept, &weights);
                (Some(Journal::new(store, &fleet, weights)), pasts)
            }
            None => (None, HashMap::new()),
        };
        let http = web::client().map_err(anyhow::Error::msg)?;
        let actuator = Actuator::new(reaches.into_iter().collect(), http.clone());
        let hub = hub::start(fleet, actuator, journal, clock, shutdown.clone());
        let door = gateway::Door {
            settings: config.gateway.clone(),
            clients,
            upstreams,
            fleet: hub.handle.snapshots.clone(),
            orders: hub.handle.orders.clone(),
            observations: hub.observations.clone(),
            clock,
        };
        let gateway = Gateway::new(door, shutdown.clone());
        tasks.spawn(gateway.clone().serve(listener));
        let mut running = Self {
            hub,
            address,
            gateway,
            plain,
            watched: Vec::new(),
            gpus: CancellationToken::new(),
            pasts,
            http,
            clock,
            tasks,
            shutdown,
        };
        running.watch(targets);
        Ok(running)
    }

    /// Goes on by a changed config. Gives back the backends that are gone from it.
    pub(super) async fn renew(
        &mut self,
        settings: gateway::Settings,
        new: Assembled,
        differences: Vec<Difference>,
    ) -> Result<Vec<Arc<Backend>>> {
        let after = Arc::new(new.fleet);
        let reload = Reload {
            before: Arc::clone(&self.plain),
            after: Arc::clone(&after),
            pasts: self.pasts.clone(),
            differences: differences
                .into_iter()
                .map(|it| (it.place, it.what))
                .collect(),
        };
        let (done, gone) = oneshot::channel();
        let renewed = Configured::Renewed {
            reload: Box::new(reload),
            actuator: Actuator::new(new.reaches.into_iter().collect(), self.http.clone()),
            weights: weights(&after),
            done,
        };
        let ended = "the fleet is ending";
        self.hub.configs.send(renewed).await.context(ended)?;
        let gone = gone.await.context(ended)?;
        // The picture has what is new by now.
        self.gateway.renew(settings, new.clients, new.upstreams);
        self.watch(new.targets);
        self.pasts.retain(|id, _| after.backend(id).is_none());
        self.pasts.extend(gone.iter().map(|b| {
            let past = Past {
                ledger: Some(b.ledger.clone()),
                wakes: b.wakes.clone(),
                ..Past::default()
            };
            (b.id.clone(), past)
        }));
        self.plain = after;
        Ok(gone)
    }

    /// Reads these from now on, and nobody else; who was read so already goes on.
    fn watch(&mut self, targets: Vec<Target>) {
        self.watch_gpus(&targets);
        let mut before = std::mem::take(&mut self.watched);
        for target in targets {
            let known = before.iter().position(|(known, _)| known.is_as(&target));
            if let Some(at) = known {
                self.watched.push(before.swap_remove(at));
                continue;
            }
            let end = self.shutdown.child_token();
            self.tasks.spawn(source::watch(
                target.clone(),
                self.http.clone(),
                EVERY,
                self.hub.observations.clone(),
                self.clock,
                end.clone(),
            ));
            self.watched.push((target, end));
        }
        for (_, end) in before {
            end.cancel();
        }
    }

    /// The GPUs of this machine, where engines of it have no page of their own.
    fn watch_gpus(&mut self, targets: &[Target]) {
        let engines: Vec<_> = targets.iter().filter_map(Target::on_this_machine).collect();
        self.gpus.cancel();
        if engines.is_empty() {
            return;
        }
        self.gpus = self.shutdown.child_token();
        self.tasks.spawn(source::watch_machine(
            engines,
            EVERY,
            self.hub.observations.clone(),
            self.clock,
            self.gpus.clone(),
        ));
    }

    /// Ends all of it; what is still under way gets this long, and then once more for the owner's last actions.
    pub(super) async fn end(self, farewell: Duration) {
        self.shutdown.cancel();
        self.tasks.close();
        let _ = tokio::time::timeout(farewell, self.tasks.wait()).await;
        let _ = tokio::time::timeout(farewell, self.hub.task).await;
    }
}

/// The weights of a fleet as its config has them.
fn weights(plain: &Fleet) -> HashMap<BackendId, u32> {
    let weights = plain.backends.iter().map(|b| (b.id.clone(), b.weight));
    weights.collect()
}

/// Goes on where an earlier process left off. What the config says anew since then wins over what an operator wanted before.
/// Gives back what is known of backends that are not in the config.
fn restore(
    fleet: &mut Fleet,
    mut kept: Kept,
    configured: &HashMap<BackendId, u32>,
) -> HashMap<BackendId, Past> {
    fleet.restore(kept.started, kept.requests, kept.audit);
    for (id, weight) in configured {
        let desired = kept.desired.remove(id);
        let past = Past {
            weight: desired
                .as_ref()
                .filter(|desired| desired.configured == *weight)
                .map(|desired| desired.weight),
            pin: desired.as_ref().map(|desired| desired.pin.clone()),
            scheduled: desired.as_ref().and_then(|desired| desired.scheduled),
            drained: desired.and_then(|desired| desired.drained),
            ledger: kept.ledgers.remove(id),
            wakes: kept.wakes.remove(id).unwrap_or_default(),
        };
        fleet.restore_backend(id, past);
    }
    let rest = kept.ledgers.into_iter().map(|(id, ledger)| {
        let past = Past {
            ledger: Some(ledger),
            wakes: kept.wakes.remove(&id).unwrap_or_default(),
            ..Past::default()
        };
        (id, past)
    });
    rest.collect()
}

/// The gateway's port; a demo takes a free one where the usual one is taken.
pub(super) fn bind(wanted: SocketAddr, config: &Config, demo: bool) -> Result<TcpListener> {
    ensure!(
        wanted.ip().is_loopback() || !config.gateway.keys.is_empty(),
        "{wanted} can be reached from other machines, and the config has no client keys; add a [[gateway.key]], or listen on 127.0.0.1"
    );
    let listen = |at: SocketAddr| {
        let socket = if at.is_ipv4() {
            TcpSocket::new_v4()
        } else {
            TcpSocket::new_v6()
        }?;
        socket.set_reuseaddr(true)?;
        socket.bind(at)?;
        socket.listen(BACKLOG)
    };
    match listen(wanted) {
        Err(error) if demo && error.kind() == std::io::ErrorKind::AddrInUse => {
            listen((wanted.ip(), 0).into())
                .with_context(|| format!("no free port on {}", wanted.ip()))
        }
        result => result.with_context(|| {
            format!("cannot listen on {wanted}; choose another address with --listen")
        }),
    }
}
