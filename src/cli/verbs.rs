//! What the console does, from the command line: the same pictures, the same commands.

mod act;
mod doctor;
mod logs;
mod look;
mod names;
mod past;
mod table;
mod wait;

use anyhow::{Context, Result};
use clap::{Subcommand, ValueEnum};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::attach::Connect;
use super::exit::{Ended, Kind};
use super::kube::{Kube, Open, Records};
use crate::config::Config;
use crate::fleet::Actor;
use crate::handle::FleetHandle;
use crate::remote;

pub(super) use table::{plain, say, tell};

/// Where `serve` is attached to unless somebody says otherwise.
const USUAL: &str = "http://127.0.0.1:4001";

/// How long a cluster may take to be seen whole.
const SEEN: std::time::Duration = std::time::Duration::from_secs(30);

/// How a table is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// For people.
    #[default]
    Table,
    /// For programs: one document, with `schema_version`.
    Json,
}

#[derive(Debug, clap::Args)]
pub(super) struct Form {
    /// table, or json for programs
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,
}

/// The verbs that speak to a running fleet.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Shows every backend: state, traffic, cost
    Status {
        #[command(flatten)]
        form: Form,
    },
    /// Brings a backend to warm
    Wake(act::OfBackend),
    /// Lets what runs finish, then puts it to sleep; where fleetctl is the gateway a request may wake it again
    Sleep(act::OfBackend),
    /// Takes it out of service: lets what runs finish, then sleeps until `undrain`
    Drain(act::OfBackend),
    /// Puts it back in service
    Undrain(act::OfBackend),
    /// Keeps it warm
    Pin(act::Pin),
    /// Lifts a pin
    Unpin(act::OfBackend),
    /// Sets the weights of a model's backends
    Weights(act::Weights),
    /// Swaps the shares of the hosted and the self-hosted side of a model
    Flip(act::OfModel),
    /// Restores what stood before the newest command that can be undone
    Undo(act::Plain),
    /// Prints an engine's log
    Logs(logs::Logs),
    /// Shows the newest requests
    Requests {
        /// The newest so many
        #[arg(long, short = 'n', default_value_t = 20)]
        number: usize,
        /// Goes on as they come
        #[arg(long, short)]
        follow: bool,
        #[command(flatten)]
        form: Form,
    },
    /// Shows who did what
    Audit {
        /// The newest so many
        #[arg(long, short = 'n', default_value_t = 20)]
        number: usize,
        #[command(flatten)]
        form: Form,
    },
    /// Shows past wakes by stage
    Wakes {
        /// Of this backend only
        backend: Option<String>,
        #[command(flatten)]
        form: Form,
    },
    /// Shows what each backend has cost
    Cost {
        #[command(flatten)]
        form: Form,
    },
    /// Shows what happened to a backend: what its cluster tells, and who did what
    Events {
        /// Which
        backend: String,
        #[command(flatten)]
        form: Form,
    },
    /// Says what is in reach and what is missing, each with what to do
    Doctor {
        #[command(flatten)]
        form: Form,
    },
}

impl Verb {
    /// What it does and how, where it acts rather than looks.
    fn how(&self) -> Option<(&'static str, &act::How)> {
        Some(match self {
            Self::Wake(it) => ("wake", it.how()),
            Self::Sleep(it) => ("sleep", it.how()),
            Self::Drain(it) => ("drain", it.how()),
            Self::Undrain(it) => ("undrain", it.how()),
            Self::Unpin(it) => ("unpin", it.how()),
            Self::Pin(it) => ("pin", it.how()),
            Self::Weights(it) => ("weights", it.how()),
            Self::Flip(it) => ("flip", it.how()),
            Self::Undo(it) => ("undo", it.how()),
            Self::Status { .. }
            | Self::Logs(_)
            | Self::Requests { .. }
            | Self::Audit { .. }
            | Self::Wakes { .. }
            | Self::Events { .. }
            | Self::Doctor { .. }
            | Self::Cost { .. } => return None,
        })
    }

    /// What it does, where it changes something.
    fn acts(&self) -> Option<&'static str> {
        let (word, how) = self.how()?;
        (!how.only_says()).then_some(word)
    }

    /// It looks until somebody has seen enough.
    fn goes_on(&self) -> bool {
        match self {
            Self::Logs(wanted) => wanted.goes_on(),
            Self::Requests { follow, .. } => *follow,
            _ => false,
        }
    }

    /// Whether a program reads what it says.
    pub(super) fn is_for_programs(&self) -> bool {
        let output = match self {
            Self::Status { form }
            | Self::Requests { form, .. }
            | Self::Audit { form, .. }
            | Self::Wakes { form, .. }
            | Self::Events { form, .. }
            | Self::Doctor { form }
            | Self::Cost { form } => form.output,
            Self::Logs(wanted) => wanted.output(),
            _ => self.how().map(|(_, how)| how.output()).unwrap_or_default(),
        };
        output == Output::Json
    }
}

/// Carries a verb out.
pub(super) fn run(verb: &Verb, shared: &Shared, connect: &Connect, kube: &Kube) -> Result<()> {
    if let Some(what) = verb.acts() {
        shared.may_act(what)?;
    }
    let config = match &shared.config {
        Some(path) if connect.address()?.is_none() => Some(crate::config::load(path)?),
        _ => None,
    };
    if kube.is_meant(config.as_ref()) {
        return on_clusters(verb, shared, kube, config.as_ref());
    }
    let address = match connect.address()? {
        Some(address) => address,
        None => connect.at(USUAL)?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no thread to run on")?;
    let shutdown = CancellationToken::new();
    let done = runtime.block_on(async {
        let handle = remote::attach(address, shutdown.clone())
            .await
            .map_err(Ended::from)?;
        carry_out(verb, handle, None, shared.operator()).await
    });
    shutdown.cancel();
    done
}

/// The same on clusters, which are looked at from here for as long as it takes.
fn on_clusters(verb: &Verb, shared: &Shared, kube: &Kube, config: Option<&Config>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("no threads to run on")?;
    let wanted = kube.wanted(config)?;
    let name = config.map(|it| it.name.clone());
    runtime.block_on(async {
        let shutdown = CancellationToken::new();
        let open = Open::start(wanted, name, Records::Read, shutdown).await?;
        let work = async {
            let seen = open.until_seen(SEEN).await;
            if let Verb::Doctor { form } = verb {
                if seen.is_ok() {
                    open.until_asked().await;
                }
                let fleet = open.handle().snapshots.borrow().clone();
                return doctor::examine(&fleet, Some(&open), seen, form.output).await;
            }
            seen?;
            if verb.how().is_some() {
                // What may be done, and what runs, is said before it is done.
                open.until_asked().await;
            }
            let operator = shared.operator_from_here();
            carry_out(verb, open.handle(), Some(&open), operator).await
        };
        let done = tokio::select! {
            done = work => done,
            // Whoever only looks has seen enough.
            () = interrupted() => if verb.goes_on() { Ok(()) } else { Err(if verb.acts().is_none() {
                Ended::new(Kind::Failed, "interrupted", "")
            } else { Ended::new(
                Kind::Failed,
                "interrupted: an operation under way is left unfinished where it is",
                "the same again takes it over, `undrain` rolls it back; `fleetctl status` shows what stands",
            ) }
            .into()) },
        };
        open.end().await;
        done
    })
}

/// Until somebody wants this program to end.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut term) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = term.recv() => {}
    }
}

async fn carry_out(
    verb: &Verb,
    mut handle: FleetHandle,
    clusters: Option<&Open>,
    operator: String,
) -> Result<()> {
    let fleet = handle.snapshots.borrow().clone();
    match verb {
        Verb::Status { form } => {
            let watched = clusters.is_none_or(Open::is_recorded);
            look::status(&fleet, watched, form.output)
        }
        Verb::Logs(wanted) => logs::log(&mut handle, clusters, wanted).await,
        Verb::Requests {
            number,
            follow,
            form,
        } => look::requests(&mut handle, *number, *follow, form.output).await,
        Verb::Audit { number, form } => past::audit(&fleet, clusters, *number, form.output).await,
        Verb::Events { backend, form } => {
            past::events(&fleet, clusters, backend, form.output).await
        }
        Verb::Doctor { form } => doctor::examine(&fleet, clusters, Ok(()), form.output).await,
        Verb::Wakes { backend, form } => look::wakes(&fleet, backend.as_deref(), form.output),
        Verb::Cost { form } => {
            let watched = clusters.is_none_or(Open::is_recorded);
            look::cost(&fleet, watched, form.output)
        }
        Verb::Wake(_)
        | Verb::Sleep(_)
        | Verb::Drain(_)
        | Verb::Undrain(_)
        | Verb::Pin(_)
        | Verb::Unpin(_)
        | Verb::Weights(_)
        | Verb::Flip(_)
        | Verb::Undo(_) => {
            let by = Actor::Operator(operator);
            let (command, how) = act::command(verb, &fleet, &by)?;
            act::order(&mut handle, command, how, by).await
        }
    }
}
