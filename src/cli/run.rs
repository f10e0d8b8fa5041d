//! Starts a fleet, its gateway and its console, and ends them in order.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use chrono::Utc;
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Args;
use super::assemble::{Assembled, assemble};
use crate::actuator::Actuator;
use crate::clock::Clock;
use crate::fleet::{AuditEntry, Fleet};
use crate::{config, gateway, hub, sim, source, tui, web};

/// Readings of each backend are this far apart on the wall.
const EVERY: Duration = Duration::from_secs(1);
/// What is still under way at the end gets this long.
const FAREWELL: Duration = Duration::from_secs(3);

/// Runs what the command line asks for until it ends.
pub(super) fn run(args: Args) -> Result<()> {
    write_diagnostics(&args)?;
    raise_descriptors();
    let theme = tui::theme::choose(
        args.theme.as_deref(),
        std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty()),
        args.ascii || !speaks_utf8(),
    )?;
    // Two workers: the gateway's streams and the console's frames do not wait for each other.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("no threads to run on")?;
    let result = runtime.block_on(live(args, theme));
    runtime.shutdown_timeout(FAREWELL);
    result
}

async fn live(args: Args, theme: tui::theme::Theme) -> Result<()> {
    let shutdown = CancellationToken::new();
    let tasks = TaskTracker::new();
    let speed = if args.config.is_some() { 1 } else { args.speed };
    let clock = Clock::starting_at(Utc::now(), speed);
    let demo = match &args.config {
        Some(_) => None,
        None => Some(start_demo(&args, clock, &tasks, &shutdown).await?),
    };
    let config = match (&args.config, demo) {
        (Some(path), _) => config::load(path)?,
        (None, Some(config)) => config,
        (None, None) => anyhow::bail!("nothing to look at; name a fleet with --config"),
    };
    let wanted = args.listen.unwrap_or(config.listen);
    anyhow::ensure!(
        wanted.ip().is_loopback() || !config.gateway.keys.is_empty(),
        "{wanted} can be reached from other machines, and the config has no client keys; add a [[gateway.key]], or listen on 127.0.0.1"
    );
    let listener = bind(wanted, args.config.is_none())?;
    let address = listener.local_addr()?;

    let Assembled {
        mut fleet,
        clients,
        targets,
        upstreams,
        reaches,
    } = assemble(&config, speed, clock.now())?;
    fleet.gateway = Some(format!("http://{address}/v1"));
    let http = web::client().map_err(anyhow::Error::msg)?;
    let hub = hub::start(
        fleet,
        Actuator::new(reaches.into_iter().collect(), http.clone()),
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
    if args.config.is_none() {
        tasks.spawn(sim::traffic::run(
            address,
            sim::traffic::demo_mixes(),
            args.seed,
            clock,
            shutdown.clone(),
        ));
    }
    let ended = if args.headless {
        println!("gateway on http://{address}/v1");
        tell_until_interrupted(hub.handle.snapshots.clone()).await
    } else {
        let operator = args
            .operator
            .or_else(|| std::env::var("USER").ok())
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| "operator".into());
        let options = tui::run::Options {
            theme,
            operator,
            read_only: args.read_only,
            mouse: !args.no_mouse,
        };
        tui::run::run(hub.handle.clone(), options, shutdown.clone())
            .await
            .map_err(Into::into)
    };
    shutdown.cancel();
    tasks.close();
    // Streams under way to clients end with us; they do not keep the terminal.
    let _ = tokio::time::timeout(FAREWELL, tasks.wait()).await;
    let _ = tokio::time::timeout(FAREWELL, hub.task).await;
    ended
}

async fn start_demo(
    args: &Args,
    clock: Clock,
    tasks: &TaskTracker,
    shutdown: &CancellationToken,
) -> Result<config::Config> {
    let mut addresses = Vec::new();
    for spec in sim::hosted::demo(args.seed) {
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .context("no loopback port for a simulated hosted API")?;
        addresses.push((spec.name.clone(), listener.local_addr()?));
        tasks.spawn(sim::hosted::run(listener, spec, clock, shutdown.clone()));
    }
    let demo = sim::demo::start(args.seed, clock, &addresses, shutdown.clone())
        .await
        .context("the demo fleet could not start")?;
    Ok(demo.config)
}

/// Clients that wait to be taken; thousands may come at once when a model wakes.
const BACKLOG: u32 = 4096;

/// The gateway's port; the demo takes a free one where the usual one is taken.
fn bind(wanted: std::net::SocketAddr, demo: bool) -> Result<TcpListener> {
    let listen = |at: std::net::SocketAddr| {
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

/// A request that is forwarded takes two descriptors: as many as the system allows are asked for.
fn raise_descriptors() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE)
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, most, most)
    {
        tracing::warn!("no more descriptors could be had: {error}");
    }
}

/// Prints what happens as plain lines until a signal comes.
async fn tell_until_interrupted(mut snapshots: watch::Receiver<Arc<Fleet>>) -> Result<()> {
    let (mut term, mut hup) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::hangup())?,
    );
    let mut told: Option<Arc<AuditEntry>> = None;
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok(()),
            _ = term.recv() => return Ok(()),
            _ = hup.recv() => return Ok(()),
            changed = snapshots.changed() => if changed.is_err() { return Ok(()) },
        }
        let fleet = snapshots.borrow_and_update().clone();
        let fresh: Vec<_> = fleet
            .audit
            .iter()
            .rev()
            .take_while(|e| told.as_ref().is_none_or(|t| !Arc::ptr_eq(e, t)))
            .collect();
        let mut out = std::io::stdout().lock();
        for entry in fresh.into_iter().rev() {
            writeln!(
                out,
                "{}  {}  {}  {}: {}",
                entry.at.format("%H:%M:%S"),
                entry.by.name(),
                entry.verb,
                entry.target,
                entry.result
            )?;
        }
        told = fleet.audit.back().cloned();
    }
}

/// Diagnostics go to a file or nowhere.
fn write_diagnostics(args: &Args) -> Result<()> {
    if let Some(path) = &args.log {
        let file = std::fs::File::create(path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        tracing_subscriber::fmt()
            .with_writer(std::sync::Mutex::new(file))
            .with_ansi(false)
            .init();
    }
    Ok(())
}

/// Whether the locale says that the terminal draws UTF-8; a locale that says nothing is taken to.
fn speaks_utf8() -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|v| !v.is_empty()));
    locale.is_none_or(|l| {
        let l = l.to_ascii_lowercase();
        l.contains("utf-8") || l.contains("utf8")
    })
}
