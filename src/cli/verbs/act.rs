//! The verbs that act: what they would do is said first where it stops work or costs money.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::time::Duration;

use anyhow::Result;
use chrono::TimeDelta;
use serde_json::json;
use tokio::sync::oneshot;

use super::super::exit::{Ended, Kind};
use super::{Form, Output, Verb, names, table, wait};
use crate::fleet::{Actor, BackendId, Command, Fleet, Preview, Receipt, State, preview_by};
use crate::handle::{FleetHandle, Order};

/// How a command is carried out.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct How {
    /// Only says what it would do
    #[arg(long)]
    dry_run: bool,
    /// Does not ask, whatever it stops or costs
    #[arg(long, short)]
    yes: bool,
    /// On a cluster: goes on against what would be refused, where that is possible
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    form: Form,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct OfBackend {
    /// The backend
    backend: String,
    /// Waits until it is done, at most this long [default: 30m]
    #[arg(long, value_name = "SPAN", num_args = 0..=1, default_missing_value = "30m", require_equals = true, value_parser = humantime::parse_duration)]
    wait: Option<Duration>,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Pin {
    /// The backend
    backend: String,
    /// For how long, like 90m, 4h or 2d; without it, until `unpin`
    #[arg(long = "for", value_name = "SPAN", value_parser = humantime::parse_duration)]
    span: Option<Duration>,
    /// At this many replicas, no more and no less; without it, at least as many as there are. Only KEDA holds a number
    #[arg(long, value_name = "REPLICAS")]
    exactly: Option<u32>,
    /// Why: the others will read it
    #[arg(long, short)]
    reason: String,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Weights {
    /// The model
    model: String,
    /// Backends with their weights, like gpu-box=65 hosted=35; those not named keep theirs
    #[arg(required = true, value_name = "BACKEND=WEIGHT", value_parser = weight)]
    new: Vec<(BackendId, u32)>,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct OfModel {
    /// The model
    model: String,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Plain {
    #[command(flatten)]
    how: How,
}

impl How {
    /// Whether nothing is to be changed.
    pub(super) fn only_says(&self) -> bool {
        self.dry_run
    }

    pub(super) fn output(&self) -> Output {
        self.form.output
    }
}

macro_rules! carried_out {
    ($($verb:ty),+) => {
        $(impl $verb {
            /// How it is carried out.
            pub(super) fn how(&self) -> &How {
                &self.how
            }
        })+
    };
}

carried_out!(OfBackend, Pin, Weights, OfModel, Plain);

fn weight(text: &str) -> Result<(BackendId, u32), String> {
    let said = || format!("`{text}` is no weight; write it like gpu-box=65");
    let (backend, weight) = text.split_once('=').ok_or_else(said)?;
    Ok((backend.into(), weight.parse().map_err(|_| said())?))
}

/// Whether all that is wanted is so already, or on its way: in words.
fn is_so(fleet: &Fleet, command: &Command) -> Option<String> {
    match command {
        Command::Wake { backend } if fleet.backend(backend)?.is_left("wake") => None,
        Command::Wake { backend } => match fleet.backend(backend)?.state {
            State::Warm { .. } => Some(format!("{backend} is warm already")),
            State::Waking(_) => Some(format!("{backend} is waking already")),
            _ => None,
        },
        // What is told to keep it up would bring it back.
        Command::Sleep { backend } if fleet.backend(backend)?.is_forced_up() => None,
        Command::Sleep { backend } => match fleet.backend(backend)?.state {
            State::Asleep { .. } => Some(format!("{backend} is asleep already")),
            _ => None,
        },
        _ => None,
    }
}

/// The command that a verb stands for, how it is to be carried out, and how long its end is waited for.
pub(super) fn command<'v>(
    verb: &'v Verb,
    fleet: &Fleet,
    by: &Actor,
) -> Result<(Command, (&'v How, Option<Duration>))> {
    let of = |it: &'v OfBackend, make: fn(BackendId) -> Command| {
        let id = names::backend(fleet, &it.backend)?.id.clone();
        Ok::<_, Ended>((make(id), (&it.how, it.wait)))
    };
    Ok(match verb {
        Verb::Wake(it) => of(it, |backend| Command::Wake { backend })?,
        Verb::Sleep(it) => of(it, |backend| Command::Sleep { backend })?,
        Verb::Drain(it) => of(it, |backend| Command::Drain { backend })?,
        Verb::Undrain(it) => of(it, |backend| Command::Undrain { backend })?,
        Verb::Unpin(it) => of(it, |backend| Command::Unpin { backend })?,
        Verb::Pin(pin) => {
            let until = match pin.span {
                Some(span) => Some(fleet.now + TimeDelta::from_std(span)?),
                None => None,
            };
            let command = Command::Pin {
                backend: names::backend(fleet, &pin.backend)?.id.clone(),
                until,
                exactly: pin.exactly,
                reason: pin.reason.clone(),
            };
            (command, (&pin.how, None))
        }
        Verb::Weights(it) => {
            let model = names::model(fleet, &it.model)?;
            let weights = names::weights(fleet, &model, &it.new)?;
            (Command::Weights { model, weights }, (&it.how, None))
        }
        Verb::Flip(it) => {
            let model = names::model(fleet, &it.model)?;
            (Command::Flip { model }, (&it.how, None))
        }
        Verb::Undo(it) => {
            let command = match fleet.undo_by_marks(by) {
                Some(back) => {
                    let back = back.map_err(Ended::from)?;
                    table::aside(&format!("undo of {}", back.what))?;
                    back.command
                }
                None => Command::Undo,
            };
            (command, (&it.how, None))
        }
        Verb::Status { .. }
        | Verb::Logs(_)
        | Verb::Requests { .. }
        | Verb::Audit { .. }
        | Verb::Wakes { .. }
        | Verb::Events { .. }
        | Verb::Doctor { .. }
        | Verb::Cost { .. } => anyhow::bail!("this verb only looks"),
    })
}

/// Says what it will do, asks where that is due, does it, and waits where that is wanted.
pub(super) async fn order(
    handle: &mut FleetHandle,
    command: Command,
    (how, patience): (&How, Option<Duration>),
    by: Actor,
) -> Result<()> {
    let fleet = handle.snapshots.borrow().clone();
    if let Some(so) = is_so(&fleet, &command) {
        match how.form.output {
            Output::Json => table::document(json!({"said": so, "undoable": false}))?,
            Output::Table => table::say(&so)?,
        }
        return match patience {
            Some(patience) => wait::until_done(handle, &command, patience).await,
            None => Ok(()),
        };
    }
    let command = if how.force && fleet.is_on_clusters() {
        Command::Force {
            command: Box::new(command),
        }
    } else {
        command
    };
    if let Some(refusal) = fleet.refusal(&command) {
        return Err(Ended::from(refusal).into());
    }
    let seen = preview_by(&fleet, &command, &by);
    if how.dry_run {
        let mut accepted = None;
        if !seen.calls.is_empty() {
            accepted = Some(rehearse(handle, &command, &by).await?);
        }
        return match how.form.output {
            Output::Json => table::document(json!({"preview": seen})),
            Output::Table => {
                let calls = seen.calls.iter().map(|call| {
                    let body = serde_json::to_string(&call.body).unwrap_or_default();
                    format!(
                        "{} {}\n  {}: {body}",
                        call.method, call.path, call.content_type
                    )
                });
                let calls: Vec<String> = calls.collect();
                let accepted = accepted.map_or(String::new(), |said| format!("\n{said}"));
                let said = format!("{}{}{accepted}", told(&seen), calls.join("\n"));
                table::say(said.trim_end())
            }
        };
    }
    if seen.confirm && !how.yes {
        confirm(&seen)?;
    }
    let (reply, answer) = oneshot::channel();
    let order = Order {
        expects: Some(fleet.version(&command)),
        rehearse: false,
        command: command.clone(),
        by,
        reply: Some(reply),
    };
    let gone = || {
        Ended::new(
            Kind::Failed,
            "the fleet did not answer",
            "`fleetctl audit` shows what was done",
        )
    };
    handle.orders.send(order).await.map_err(|_| gone())?;
    let receipt = answer.await.map_err(|_| gone())?.map_err(Ended::from)?;
    let target = fleet.target_of(&command);
    if fleet.is_on_clusters() {
        return to_its_end(handle, &command, (how, patience), &target, &receipt).await;
    }
    match how.form.output {
        Output::Json => {
            table::document(json!({"said": receipt.said, "undoable": receipt.undoable}))?;
        }
        Output::Table => {
            let undo = if receipt.undoable {
                " (`fleetctl undo` takes it back)"
            } else {
                ""
            };
            table::say(&format!("{target}: {}{undo}", receipt.said))?;
        }
    }
    match patience {
        Some(patience) => wait::until_done(handle, &command, patience).await,
        None => Ok(()),
    }
}

/// Waits for the end of an operation on a cluster, and says what came of it. Its steps are made from here: who left now
/// would leave it half done.
async fn to_its_end(
    handle: &mut FleetHandle,
    command: &Command,
    (how, patience): (&How, Option<Duration>),
    target: &str,
    receipt: &Receipt,
) -> Result<()> {
    let output = how.form.output;
    if output == Output::Table {
        table::aside(&format!("{target}: {}", receipt.said))?;
    }
    let since = handle.snapshots.borrow().now;
    let mut same = handle.clone();
    let quiet = output == Output::Json || patience.is_some();
    let operated = wait::until_operated(&mut same, command, since, quiet);
    let done = async {
        match patience {
            Some(patience) => wait::until_done(handle, command, patience).await,
            None => Ok(()),
        }
    };
    let (said, ()) = tokio::try_join!(operated, done)?;
    match output {
        Output::Json => table::document(
            json!({"said": said, "begun": receipt.said, "undoable": receipt.undoable}),
        ),
        Output::Table => table::say(&format!("{target}: {} {said}", command.verb())),
    }
}

/// Has the cluster check it, and changes nothing.
async fn rehearse(handle: &FleetHandle, command: &Command, by: &Actor) -> Result<String> {
    let (reply, answer) = oneshot::channel();
    let order = Order {
        command: command.clone(),
        by: by.clone(),
        expects: None,
        rehearse: true,
        reply: Some(reply),
    };
    let gone = || Ended::new(Kind::Failed, "the fleet did not answer", "");
    handle.orders.send(order).await.map_err(|_| gone())?;
    let receipt = answer.await.map_err(|_| gone())?.map_err(Ended::from)?;
    Ok(receipt.said)
}

/// Asks the person at the terminal.
fn confirm(seen: &Preview) -> Result<()> {
    let mut out = io::stderr();
    write!(out, "{}", table::plain(&told(seen)))?;
    if !io::stdin().is_terminal() {
        return Err(Ended::new(
            Kind::Refused,
            "it stops work or costs money, and nobody is here to be asked",
            "add --yes",
        )
        .into());
    }
    write!(out, "go on? [y/N] ")?;
    out.flush()?;
    let mut said = String::new();
    io::stdin().lock().read_line(&mut said)?;
    if matches!(said.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(Ended::new(Kind::Refused, "nothing was done", "").into())
}

/// A preview as plain text.
fn told(seen: &Preview) -> String {
    let mut lines = vec![format!("{} {}", seen.verb, seen.target)];
    lines.extend(seen.what.iter().cloned());
    lines.extend(seen.warnings.iter().map(|warning| format!("! {warning}")));
    for (backend, was, is) in &seen.shares {
        lines.push(format!(
            "{backend}: {:.0} % -> {:.0} %",
            was * 100.0,
            is * 100.0
        ));
    }
    if let Some((was, is)) = seen.burn {
        // What else costs in the fleet may have no price; the difference is exact.
        let least = if seen.partial { "at least " } else { "" };
        lines.push(format!("cost: {least}${was}/h -> {least}${is}/h"));
    }
    for (i, step) in seen.steps.iter().enumerate() {
        lines.push(format!("{}. {step}", i + 1));
    }
    lines.join("\n  ") + "\n"
}
