//! `fleetctl serve`: a fleet without a screen, with the engines of this machine.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use chrono::Utc;
use etcetera::BaseStrategy as _;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Shared;
use super::assemble::{self, Engines, Place, placed, secret};
use super::exit::{Ended, Kind};
use super::fleet::{self, Running};
#[cfg(target_os = "linux")]
use super::notify;
use super::reload::Follower;
use super::run::{Hangup, raise_descriptors, tell_until_interrupted, write_diagnostics};
use crate::admin::{self, Access, Role, Token};
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::fleet::BackendId;
use crate::process::{self, Spec};
use crate::secret::Hashed;
use crate::store::{self, Store};

/// How long the last rows may take to be written.
const LAST_ROWS: Duration = Duration::from_secs(5);

/// Runs the gateway and the engines of this machine, until interrupted.
#[derive(Debug, clap::Args)]
pub(super) struct Serve {
    /// Where the gateway listens; overrides the config (port 0 takes a free one)
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    /// Where consoles and programs attach; overrides the config
    #[arg(long, value_name = "ADDR:PORT")]
    admin: Option<SocketAddr>,
    /// Where logs and records of engines lie [default: fleetctl/NAME in $XDG_STATE_HOME]
    #[arg(long, value_name = "FOLDER", env = "FLEETCTL_STATE")]
    state: Option<PathBuf>,
    /// How long streams under way get to end when it is told to stop
    #[arg(long, value_name = "SPAN", default_value = "30s", value_parser = humantime::parse_duration)]
    farewell: Duration,
    /// Leaves the engines running when it stops; the next `serve` takes them up again
    #[arg(long)]
    keep_engines: bool,
}

/// Serves until it is told to stop.
pub(super) fn run(serve: &Serve, shared: &Shared) -> Result<()> {
    write_diagnostics(shared.log.as_deref())?;
    if shared.read_only {
        let what = "serve starts engines and cannot be read-only";
        let hint = "leave --read-only out; tokens with role = \"view\" only look";
        return Err(Ended::new(Kind::Refused, what, hint).into());
    }
    raise_descriptors();
    let Some(path) = &shared.config else {
        bail!("serve needs a fleet; name its file with --config");
    };
    let (config, text) = config::read(path)?;
    placed(checked(&config), path, &text)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("no threads to run on")?;
    let served = runtime.block_on(live(serve, path, config, text));
    runtime.shutdown_timeout(Duration::from_secs(1));
    served
}

/// Whether all that the config says can be.
pub(super) fn checked(config: &Config) -> Result<()> {
    assemble::check(config, Utc::now())?;
    access(config).map(|_| ())
}

async fn live(serve: &Serve, path: &Path, config: Config, text: String) -> Result<()> {
    anyhow::ensure!(
        config.clusters.is_empty(),
        "{}: it has [[cluster]]; clusters are looked at by the console itself: fleetctl --config {}",
        path.display(),
        path.display()
    );
    let state = match &serve.state {
        Some(folder) => folder.clone(),
        None => usual_state(&config.name)?,
    };
    let _lock = lock(&state)?;
    let listener = fleet::bind(serve.listen.unwrap_or(config.listen), &config, false)?;
    let access = placed(access(&config), path, &text)?;
    let door = bind_admin(serve.admin.unwrap_or(config.admin.listen), &access)?;
    let admin_address = door.local_addr()?;
    let here = path.parent().unwrap_or(Path::new("."));
    let engines = open_engines(&config, &state, here).await?;
    let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
    let (store, kept, writer) = Store::start(store::file(&state), keep(&config.store));
    let running = Running::start(
        &config,
        &engines,
        Some((store, kept)),
        listener,
        Clock::starting_at(Utc::now(), 1),
        tasks.clone(),
        shutdown.clone(),
    );
    let mut running = placed(running, path, &text)?;
    let scheme = if access.tls.is_some() {
        "https"
    } else {
        "http"
    };
    let (tell, known) = watch::channel(Arc::new(access));
    tasks.spawn(admin::run(
        door,
        running.hub.handle.clone(),
        known,
        shutdown,
    ));
    let mut follower = Follower {
        path: path.to_owned(),
        state,
        config,
        text,
        engines,
        leaving: HashMap::new(),
        access: tell,
        open: (
            !running.address.ip().is_loopback(),
            !admin_address.ip().is_loopback(),
        ),
    };
    println!("gateway on http://{}/v1", running.address);
    println!("admin on {scheme}://{admin_address}");
    #[cfg(target_os = "linux")]
    notify::tell("READY=1");
    let pictures = running.hub.handle.snapshots.clone();
    let ended = tokio::select! {
        ended = tell_until_interrupted(pictures, Hangup::GoesOn) => ended,
        ended = follower.follow(&mut running) => ended,
    };
    #[cfg(target_os = "linux")]
    notify::tell("STOPPING=1");
    running.end(serve.farewell).await;
    // All that recorded are gone by now; what they left in the queue is written.
    let written = tokio::task::spawn_blocking(move || writer.join());
    let _ = tokio::time::timeout(LAST_ROWS, written).await;
    if !serve.keep_engines {
        let leaving = follower
            .leaving
            .drain()
            .map(|(id, (engine, _))| (id, engine));
        follower.engines.extend(leaving);
        stop_all(&follower.engines).await;
    }
    ended
}

/// Who is let in to the admin API, and how.
pub(super) fn access(config: &Config) -> Result<Access> {
    let tls = match (&config.admin.cert_file, &config.admin.key_file) {
        (Some(chain), Some(key)) => Some(
            admin::certificate(chain, key)
                .map_err(anyhow::Error::msg)
                .context("[admin]")?,
        ),
        (None, None) => None,
        (Some(_), None) => bail!("[admin] has a cert_file and no key_file; name both"),
        (None, Some(_)) => bail!("[admin] has a key_file and no cert_file; name both"),
    };
    Ok(Access {
        tokens: tokens(config)?,
        tls,
    })
}

/// Who may look and act, with their secrets.
fn tokens(config: &Config) -> Result<Vec<Token>> {
    let mut tokens: Vec<Token> = Vec::new();
    for token in &config.admin.tokens {
        let place = || Place::Token(token.name.clone());
        let known = tokens.iter().any(|other| other.name == token.name);
        let found = if known {
            Err(anyhow!("that name stands twice; give each token one name"))
        } else {
            secret(token.env.as_deref(), token.file.as_deref())
        };
        let found = found.with_context(place)?;
        tokens.push(Token {
            name: token.name.clone(),
            role: match token.role {
                config::AdminRole::View => Role::View,
                config::AdminRole::Operate => Role::Operate,
            },
            secret: Hashed::of(found.as_bytes()),
        });
    }
    Ok(tokens)
}

fn bind_admin(wanted: SocketAddr, access: &Access) -> Result<TcpListener> {
    ensure!(
        wanted.ip().is_loopback() || !access.tokens.is_empty(),
        "the admin API on {wanted} can be reached from other machines, and the config has no [[admin.token]]; add one, or listen on 127.0.0.1"
    );
    if !wanted.ip().is_loopback() && access.tls.is_none() {
        eprintln!(
            "fleetctl: the admin API on {wanted} is plain HTTP: whoever is on the way can read its tokens; give [admin] a cert_file and a key_file"
        );
    }
    let listener = std::net::TcpListener::bind(wanted).with_context(|| {
        format!("the admin API cannot listen on {wanted}; choose another address with --admin")
    })?;
    listener.set_nonblocking(true)?;
    Ok(TcpListener::from_std(listener)?)
}

/// Ends all engines side by side.
async fn stop_all(engines: &Engines) {
    let stopping = engines.iter().map(|(name, engine)| async move {
        if let Err(why) = engine.stop().await {
            eprintln!("fleetctl: {name}: {why}");
        }
    });
    futures_util::future::join_all(stopping).await;
}

/// The engines that a config describes, with their places in it.
pub(super) fn specs(config: &Config, state: &Path, here: &Path) -> Vec<(BackendId, Place, Spec)> {
    let all = config
        .models
        .iter()
        .flat_map(|model| model.backends.iter().map(move |backend| (model, backend)))
        .filter(|(_, backend)| !backend.command.is_empty());
    let spec = |(model, backend): (&config::Model, &config::Backend)| {
        let spec = Spec {
            command: backend.command.clone(),
            env: backend.env.clone().into_iter().collect(),
            dir: Some(backend.dir.clone().unwrap_or_else(|| here.to_owned()))
                .filter(|dir| !dir.as_os_str().is_empty()),
            port: backend.port,
            gpus: backend.gpus.clone(),
            stop_within: backend.stop_within.to_std().unwrap_or_default(),
            folder: state.join("engines").join(file_name(&backend.name)),
        };
        let place = Place::Backend(model.name.clone(), backend.name.clone());
        (backend.name.as_str().into(), place, spec)
    };
    all.map(spec).collect()
}

/// Takes up the engines that the config describes.
async fn open_engines(config: &Config, state: &Path, here: &Path) -> Result<Engines> {
    let mut engines = Engines::new();
    for (id, place, spec) in specs(config, state, here) {
        let engine = process::Engine::open(spec).await.with_context(|| place)?;
        engines.insert(id, engine);
    }
    Ok(engines)
}

fn keep(store: &config::Store) -> store::Keep {
    store::Keep {
        age: store.keep.to_std().unwrap_or_default(),
        bytes: u64::from(store.max_mib) << 20,
    }
}

/// One `serve` a folder: two would end each other's engines.
fn lock(state: &Path) -> Result<File> {
    fs::create_dir_all(state).with_context(|| {
        format!(
            "{} cannot be made; choose another folder with --state",
            state.display()
        )
    })?;
    let path = state.join("lock");
    let file = File::create(&path).with_context(|| path.display().to_string())?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => bail!(
            "another `fleetctl serve` works in {}; stop it, or choose another folder with --state",
            state.display()
        ),
        Err(fs::TryLockError::Error(error)) => {
            Err(error).with_context(|| path.display().to_string())
        }
    }
}

/// The folder that was named, or the usual one of the fleet in the config.
pub(super) fn state_of(named: Option<&Path>, shared: &Shared) -> Result<PathBuf> {
    match (named, &shared.config) {
        (Some(folder), _) => Ok(folder.to_owned()),
        (None, Some(path)) => usual_state(&config::load(path)?.name),
        (None, None) => {
            bail!("which fleet? name its file with --config, or its folder with --state")
        }
    }
}

fn usual_state(fleet: &str) -> Result<PathBuf> {
    let base = etcetera::choose_base_strategy().context("no home folder; name one with --state")?;
    let folder = base.state_dir().unwrap_or_else(|| base.data_dir());
    Ok(folder.join("fleetctl").join(file_name(fleet)))
}

/// A name as a file's: what a path could take for something else is written as its number.
pub(super) fn file_name(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for (at, letter) in name.char_indices() {
        let plain = letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
        if plain || (letter == '.' && at > 0) {
            out.push(letter);
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{:x}", u32::from(letter));
        }
    }
    out
}
