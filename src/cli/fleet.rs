//! Starts a fleet with its gateway in this process, and ends them in order.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::assemble::{Assembled, Engines, assemble};
use crate::actuator::Actuator;
use crate::clock::Clock;
use crate::config::Config;
use crate::fleet::restore::Past;
use crate::fleet::{BackendId, Fleet};
use crate::store::{Journal, Kept, Store};
use crate::{gateway, hub, source, web};

/// Readings of each backend are this far apart on the wall.
const EVERY: Duration = Duration::from_secs(1);
/// Clients that wait to be taken; thousands may come at once when a model wakes.
const BACKLOG: u32 = 4096;

/// A fleet at work.
pub(super) struct Running {
    pub(super) hub: hub::Hub,
    /// Where the gateway listens.
    pub(super) address: SocketAddr,
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
        fleet.gateway = Some(format!("http://{address}/v1"));
        let journal = past.map(|(store, kept)| {
            let configured = fleet.backends.iter().map(|b| (b.id.clone(), b.weight));
            let configured = configured.collect();
            restore(&mut fleet, kept, &configured);
            Journal::new(store, &fleet, configured)
        });
        let http = web::client().map_err(anyhow::Error::msg)?;
        let hub = hub::start(
            fleet,
            Actuator::new(reaches.into_iter().collect(), http.clone()),
            journal,
            clock,
            shutdown.clone(),
        );
        for target in targets {
            tasks.spawn(source::watch(
                target,
                http.clone(),
                EVERY,
                hub.observations.clone(),
                clock,
                shutdown.clone(),
            ));
        }
        let door = gateway::Door {
            settings: config.gateway.clone(),
            clients,
            upstreams,
            fleet: hub.handle.snapshots.clone(),
            orders: hub.handle.orders.clone(),
            observations: hub.observations.clone(),
            clock,
        };
        tasks.spawn(gateway::run(listener, door, shutdown.clone()));
        Ok(Self {
            hub,
            address,
            tasks,
            shutdown,
        })
    }

    /// Ends all of it; what is still under way gets this long, and then once more for the owner's last actions.
    pub(super) async fn end(self, farewell: Duration) {
        self.shutdown.cancel();
        self.tasks.close();
        let _ = tokio::time::timeout(farewell, self.tasks.wait()).await;
        let _ = tokio::time::timeout(farewell, self.hub.task).await;
    }
}

/// Goes on where an earlier process left off. What the config says anew since then wins over what an operator wanted before.
fn restore(fleet: &mut Fleet, mut kept: Kept, configured: &HashMap<BackendId, u32>) {
    fleet.restore(kept.started, kept.requests, kept.audit);
    for (id, weight) in configured {
        let desired = kept.desired.remove(id);
        let past = Past {
            weight: desired
                .as_ref()
                .filter(|desired| desired.configured == *weight)
                .map(|desired| desired.weight),
            pin: desired.as_ref().map(|desired| desired.pin.clone()),
            drained: desired.and_then(|desired| desired.drained),
            ledger: kept.ledgers.remove(id),
            wakes: kept.wakes.remove(id).unwrap_or_default(),
        };
        fleet.restore_backend(id, past);
    }
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
