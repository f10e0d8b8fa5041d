//! What a command will do in this fleet now, before it is sent.

mod backend;
mod money;
mod traffic;

use std::sync::Arc;

use chrono::TimeDelta;
use serde::Serialize;

use super::Fleet;
use super::backend::{Backend, Kind, Pin, SleepWay};
use super::cluster::call::Write;
use super::cluster::plan::Plan;
use super::figures::over;
use super::id::{BackendId, ModelId};
use super::message::{Actor, Command};
use super::money::Usd;
use super::wake::State;

/// What a command will do in this fleet now.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Preview {
    /// The verb, capitalised: `Drain`.
    pub verb: String,
    /// To what: `llama-3.3-70b/a100-ondemand`.
    pub target: String,
    /// Sentences, most important first: "11 running requests finish, at most 120 s".
    pub what: Vec<String>,
    /// Where the model's traffic goes: backend, share before, share after (0 to 1). Only what changes.
    pub shares: Vec<(BackendId, f64, f64)>,
    /// On a cluster: the same rule by rule, where weights of routes change.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleShares>,
    /// Burn of the fleet before and after, dollars an hour; `None` where a rate of what is concerned is unknown.
    pub burn: Option<(Usd, Usd)>,
    /// Something else in the fleet has no price: the burn is at least that, the difference is exact.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// Why the burn is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unpriced: Option<String>,
    /// Requests that run or wait on what is stopped.
    pub affected: u32,
    /// Median TTFT of the model before and after, seconds, weighted by share.
    pub ttft: Option<(f64, f64)>,
    /// How long it is expected to take.
    pub expected: Option<TimeDelta>,
    /// What to think about twice: "pinned to 18:00 by olga: the pin is lifted".
    pub warnings: Vec<String>,
    /// Why it would be refused now, with what to do.
    pub refused: Option<String>,
    /// It stops work or costs money: show this and ask first.
    pub confirm: bool,
    /// It would be refused, and can be forced.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub forceable: bool,
    /// On a cluster: what is done there, in order, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<String>,
    /// On a cluster: the calls that change something, in order, as the API gets them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<Write>,
}

/// How a rule of a route divides its requests, before and after.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RuleShares {
    /// `HTTPRoute llm/chat rule 0`.
    pub rule: String,
    /// Each target's name, and its share before and after (0 to 1), in the order of the rule.
    pub shares: Vec<(String, f64, f64)>,
}

/// What `command` will do in `fleet` now. Pure: nothing changes.
///
/// Two pictures are compared: this one, and a copy in which the command has been carried out and its wakes and drains have ended.
pub fn preview(fleet: &Fleet, command: &Command) -> Preview {
    preview_by(fleet, command, &Actor::Operator(String::new()))
}

/// The same for somebody by name: what is written on a cluster says who did it.
pub fn preview_by(fleet: &Fleet, command: &Command, by: &Actor) -> Preview {
    let verb = command.verb();
    let mut preview = Preview {
        verb: verb[..1].to_uppercase() + &verb[1..],
        target: fleet.target_of(command),
        refused: fleet.refusal(command).map(|r| r.to_string()),
        ..Preview::default()
    };
    if preview.refused.is_some() {
        let forced = Command::Force {
            command: Box::new(command.clone()),
        };
        preview.forceable = fleet.is_on_clusters()
            && !matches!(command, Command::Force { .. })
            && fleet.refusal(&forced).is_none();
        return preview;
    }
    let plans = plans(fleet, command, by);
    let mut after = settled(fleet, command);
    for plan in &plans {
        traffic::weigh(&mut after, plan);
    }
    for id in touched(fleet, command) {
        if let (Some(before), Some(then)) = (fleet.backend(&id), after.backend(&id)) {
            backend::tell(&mut preview, fleet, before, then, command);
        }
    }
    for model in models_of(fleet, command) {
        traffic::tell(&mut preview, fleet, &after, &model, &plans);
    }
    money::tell(&mut preview, fleet, &after, command);
    for plan in plans {
        preview
            .steps
            .extend(plan.steps.iter().map(|it| it.step.words()));
        let b = plan.backend.as_ref().and_then(|id| fleet.backend(id));
        preview
            .calls
            .extend(plan.calls(b.and_then(|it| it.place.as_deref())));
        preview.warnings.extend(plan.warnings);
    }
    preview.confirm = match command.inner() {
        Command::Sleep { .. }
        | Command::Drain { .. }
        | Command::Weights { .. }
        | Command::Flip { .. } => true,
        _ if fleet.is_on_clusters() => true,
        Command::Wake { .. }
        | Command::Pin { .. }
        | Command::Undrain { .. }
        | Command::Unpin { .. }
        | Command::Undo
        | Command::Force { .. } => {
            preview.affected > 0
                || preview.burn.is_none_or(|(now, then)| then > now)
                || !preview.shares.is_empty()
        }
    };
    preview
}

/// What a command does on clusters.
fn plans(fleet: &Fleet, command: &Command, by: &Actor) -> Vec<Plan> {
    if !fleet.is_on_clusters() {
        return Vec::new();
    }
    if matches!(command.inner(), Command::Undo) {
        let entry = fleet.next_undo().map(|(_, entry)| Arc::clone(entry));
        let steps = entry.iter().flat_map(|entry| &entry.restore);
        return steps.flat_map(|step| plans(fleet, step, by)).collect();
    }
    fleet.plan(command, by, fleet.now).into_iter().collect()
}

/// The picture once `command` has been carried out and nothing is under way any more.
fn settled(fleet: &Fleet, command: &Command) -> Fleet {
    let mut after = fleet.clone();
    let _ = after.order(command, &Actor::Operator(String::new()), fleet.now);
    // Whoever has to leave for it is gone by then as well.
    let leaves = |b: &&Arc<Backend>| {
        let before = fleet.backend(&b.id);
        matches!(b.state, State::Draining(_))
            && before.is_some_and(|before| !matches!(before.state, State::Draining(_)))
    };
    let left = after.backends.iter().filter(leaves).map(|b| b.id.clone());
    let mut ids: Vec<_> = left.collect();
    ids.extend(touched(fleet, command));
    if let Command::Pin {
        backend,
        until,
        exactly,
        reason,
    } = command.inner()
    {
        let pin = Pin {
            until: *until,
            exactly: *exactly,
            reason: reason.clone(),
            by: String::new(),
        };
        after.change(backend, |b| pinned(b, pin));
    }
    for id in ids {
        after.change(&id, |b| {
            let since = b.state.since();
            match &b.state {
                State::Waking(_) => b.state = State::Warm { since },
                State::Draining(_) if b.sleep_way() == SleepWay::Never => {
                    b.state = State::Warm { since }
                }
                State::Draining(_) => {
                    b.state = State::Asleep { since };
                    // Its machines are given back in time, but for a workspace's.
                    if b.sleep_way() == SleepWay::Release
                        && let Some(place) = &mut b.place
                    {
                        Arc::make_mut(place).nodes.clear();
                    }
                }
                State::Unknown { .. }
                | State::Asleep { .. }
                | State::Warm { .. }
                | State::Failed(_)
                | State::Ready { .. }
                | State::Limited { .. }
                | State::Down { .. } => {}
            }
        });
    }
    after
}

/// A backend on a cluster once a pin stands: it is up, and where it is held at a number it costs as many replicas.
fn pinned(b: &mut Backend, pin: Pin) {
    let Some(place) = &mut b.place else {
        return;
    };
    let exactly = pin.exactly;
    b.pin = Some(pin);
    let since = b.state.since();
    let sleeps = matches!(b.state, State::Asleep { .. } | State::Failed(_));
    if sleeps {
        b.state = State::Warm { since };
    }
    if let (Some(n), Kind::SelfHosted(facts)) = (exactly, &mut b.kind)
        && (sleeps || n != place.wanted)
    {
        facts.replicas = n;
        Arc::make_mut(place).nodes.clear();
    }
}

/// The backends whose state a command may change.
fn touched(fleet: &Fleet, command: &Command) -> Vec<BackendId> {
    match command {
        Command::Wake { backend }
        | Command::Sleep { backend }
        | Command::Drain { backend }
        | Command::Undrain { backend }
        | Command::Pin { backend, .. }
        | Command::Unpin { backend } => vec![backend.clone()],
        Command::Weights { .. } | Command::Flip { .. } => Vec::new(),
        Command::Force { command } => touched(fleet, command),
        Command::Undo => fleet
            .next_undo()
            .map(|(_, e)| e.restore.iter().flat_map(|c| touched(fleet, c)).collect())
            .unwrap_or_default(),
    }
}

/// The models whose traffic a command may move.
fn models_of(fleet: &Fleet, command: &Command) -> Vec<ModelId> {
    let mut models: Vec<ModelId> = match command {
        Command::Weights { model, .. } | Command::Flip { model } => vec![model.clone()],
        Command::Force { command } => models_of(fleet, command),
        Command::Undo => fleet
            .next_undo()
            .map(|(_, e)| e.restore.iter().flat_map(|c| models_of(fleet, c)).collect())
            .unwrap_or_default(),
        Command::Wake { .. }
        | Command::Sleep { .. }
        | Command::Drain { .. }
        | Command::Undrain { .. }
        | Command::Pin { .. }
        | Command::Unpin { .. } => touched(fleet, command)
            .iter()
            .filter_map(|id| fleet.backend(id))
            .map(|b| b.model.clone())
            .collect(),
    };
    models.dedup();
    models
}

impl Preview {
    /// What the change costs or saves in a day, negative for a saving; `None` where unknown.
    pub fn per_day(&self) -> Option<Usd> {
        let (now, then) = self.burn?;
        Some(over(then, chrono::TimeDelta::days(1)) - over(now, chrono::TimeDelta::days(1)))
    }
}
