//! The console on a fleet in this process: of a config, or the demo.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use chrono::Utc;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Args;
use super::assemble::{Engines, placed};
use super::attach;
use super::fleet::{self, Running};
use super::kube;
use super::verbs;
use crate::clock::Clock;
use crate::fleet::{AuditEntry, Fleet};
use crate::{config, sim, tui};

/// What is still under way at the end gets this long.
const FAREWELL: Duration = Duration::from_secs(3);

/// Runs what the command line asks for until it ends.
pub(super) fn run(args: Args) -> Result<()> {
    write_diagnostics(args.shared.log.as_deref())?;
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
    let result = match args.connect.address()? {
        Some(address) => {
            let options = options(&args, theme);
            runtime.block_on(attach::console(address, options))
        }
        None => match clusters(&args) {
            Ok(Some((wanted, name))) => {
                let mut options = options(&args, theme);
                options.operator = args.shared.operator_from_here();
                runtime.block_on(kube::console(wanted, name, options))
            }
            Ok(None) => runtime.block_on(live(args, theme)),
            Err(error) => Err(error),
        },
    };
    runtime.shutdown_timeout(FAREWELL);
    result
}

/// The clusters that are meant; `None` where the fleet is not on any.
fn clusters(args: &Args) -> Result<Option<(kube::Wanted, Option<String>)>> {
    let config = match &args.shared.config {
        Some(path) => Some(config::read(path)?.0),
        None => None,
    };
    if !args.kube.is_meant(config.as_ref()) {
        return Ok(None);
    }
    anyhow::ensure!(
        !args.headless,
        "a cluster has its own gateway: --headless is for the fleets of a config or the demo"
    );
    let name = config.as_ref().map(|it| it.name.clone());
    Ok(Some((args.kube.wanted(config.as_ref())?, name)))
}

async fn live(args: Args, theme: tui::theme::Theme) -> Result<()> {
    let shutdown = CancellationToken::new();
    let tasks = TaskTracker::new();
    let is_demo = args.shared.config.is_none();
    let speed = if is_demo { args.speed } else { 1 };
    let clock = Clock::starting_at(Utc::now(), speed);
    let (config, text) = if let Some(path) = &args.shared.config {
        config::read(path)?
    } else {
        let demo = start_demo(&args, clock, &tasks, &shutdown).await?;
        (demo, String::new())
    };
    let listener = fleet::bind(args.listen.unwrap_or(config.listen), &config, is_demo)?;
    let running = Running::start(
        &config,
        &Engines::new(),
        None,
        listener,
        clock,
        tasks.clone(),
        shutdown.clone(),
    );
    let running = match &args.shared.config {
        Some(path) => placed(running, path, &text)?,
        None => running?,
    };
    if is_demo {
        tasks.spawn(sim::traffic::run(
            running.address,
            sim::traffic::demo_mixes(),
            args.seed,
            clock,
            shutdown.clone(),
        ));
    }
    let ended = if args.headless {
        println!("gateway on http://{}/v1", running.address);
        tell_until_interrupted(running.hub.handle.snapshots.clone(), Hangup::Ends).await
    } else {
        let options = options(&args, theme);
        tui::run::run(running.hub.handle.clone(), options, shutdown.clone())
            .await
            .map_err(Into::into)
    };
    running.end(FAREWELL).await;
    ended
}

fn options(args: &Args, theme: tui::theme::Theme) -> tui::run::Options {
    tui::run::Options {
        theme,
        operator: args.shared.operator(),
        read_only: args.shared.read_only,
        attached: false,
        mouse: !args.no_mouse,
    }
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

/// A request that is forwarded takes two descriptors: as many as the system allows are asked for.
pub(super) fn raise_descriptors() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE)
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, most, most)
    {
        tracing::warn!("no more descriptors could be had: {error}");
    }
}

/// What SIGHUP means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hangup {
    /// The terminal is gone: the end.
    Ends,
    /// Somebody else listens to it.
    GoesOn,
}

/// Prints what happens as plain lines until a signal comes.
pub(super) async fn tell_until_interrupted(
    mut snapshots: watch::Receiver<Arc<Fleet>>,
    hangup: Hangup,
) -> Result<()> {
    let (mut term, mut hup) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::hangup())?,
    );
    // What an earlier process did is not news.
    let mut told: Option<Arc<AuditEntry>> = {
        let fleet = snapshots.borrow();
        let began = fleet.audit.iter().rposition(|entry| entry.verb == "start");
        began.and_then(|at| fleet.audit.get(at.checked_sub(1)?).cloned())
    };
    snapshots.mark_changed();
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok(()),
            _ = term.recv() => return Ok(()),
            _ = hup.recv(), if hangup == Hangup::Ends => return Ok(()),
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
            let line = format!(
                "{}  {}  {}  {}: {}",
                entry.at.format("%H:%M:%S"),
                entry.by.name(),
                entry.verb,
                entry.target,
                entry.result.lines().collect::<Vec<_>>().join(" / ")
            );
            // Nobody may read this any more; the fleet goes on.
            let _ = writeln!(out, "{}", verbs::plain(&line));
        }
        told = fleet.audit.back().cloned();
    }
}

/// Diagnostics go to a file or nowhere.
pub(super) fn write_diagnostics(to: Option<&Path>) -> Result<()> {
    if let Some(path) = to {
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
