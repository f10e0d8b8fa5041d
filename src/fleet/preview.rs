//! What a command will do in this fleet now, before it is sent.

use std::sync::Arc;

use chrono::TimeDelta;
use serde::Serialize;

use super::Fleet;
use super::backend::{Backend, SleepWay};
use super::cluster::plan::{Plan, Write};
use super::figures::over;
use super::id::{BackendId, ModelId};
use super::ledger::Minute;
use super::live::WINDOW;
use super::machine::span;
use super::message::{Actor, Command};
use super::model::{ColdPolicy, DataPath};
use super::money::Usd;
use super::wake::{State, Wake};

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
    /// Burn of the fleet before and after, dollars an hour; `None` where a rate is unknown.
    pub burn: Option<(Usd, Usd)>,
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
    let after = settled(fleet, command);
    for id in touched(fleet, command) {
        if let (Some(before), Some(then)) = (fleet.backend(&id), after.backend(&id)) {
            tell_backend(&mut preview, fleet, before, then);
        }
    }
    for model in models_of(fleet, command) {
        tell_weights(&mut preview, fleet, &after, &model);
        tell_traffic(&mut preview, fleet, &after, &model);
    }
    tell_money(&mut preview, fleet, &after, command);
    for plan in plans(fleet, command, by) {
        preview
            .steps
            .extend(plan.steps.iter().map(|it| it.step.words()));
        preview.calls.extend(plan.writes());
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

#[expect(
    clippy::too_many_lines,
    reason = "every sentence about one backend, in the order in which they are read"
)]
fn tell_backend(preview: &mut Preview, fleet: &Fleet, before: &Backend, then: &Backend) {
    let running = before.live.in_flight.max(before.live.running.unwrap_or(0));
    let stops = before.takes_traffic() && !then.takes_traffic();
    let sleeps =
        matches!(then.state, State::Asleep { .. }) && !matches!(before.state, State::Asleep { .. });
    if stops && let Some(facts) = before.self_hosted() {
        preview.affected = running;
        let grace = span(facts.grace);
        preview.what.push(match running {
            // Its own page alone would know.
            0 if before.place.is_some() && before.live.running.is_none() => {
                "How much runs on it is not known: its pods are not read".into()
            }
            0 => "Nothing runs on it now".into(),
            n => format!(
                "{n} running {} finish, cut after {grace} at most",
                if n == 1 {
                    "request may"
                } else {
                    "requests may"
                }
            ),
        });
        preview.expected = Some(if running == 0 {
            chrono::TimeDelta::zero()
        } else {
            facts.grace
        });
    }
    if let State::Waking(Wake { since, .. }) = &before.state
        && sleeps
    {
        preview.what.push(format!(
            "The wake is called off after {}",
            span(fleet.now - *since)
        ));
    }
    if sleeps {
        let next = then.estimate(fleet.now).map_or(String::new(), |e| {
            format!(
                "; the next wake takes about {} (p95 {})",
                span(e.left_median),
                span(e.left_p95)
            )
        });
        preview.what.push(match then.sleep_way() {
            SleepWay::Release => format!("Then it sleeps: machine released{next}"),
            SleepWay::Level1 | SleepWay::Level2 => {
                format!("Then it sleeps: GPU memory freed, the machine stays billed{next}")
            }
            SleepWay::Never => {
                "Nothing here can put its engine to sleep: it only gets no traffic".into()
            }
        });
        if then.drained.is_none() && then.weight > 0 {
            preview
                .warnings
                .push("a request may wake it again; drain keeps it out".into());
        }
    }
    let up = matches!(
        before.state,
        State::Asleep { .. } | State::Failed(_) | State::Unknown { .. }
    ) && matches!(then.state, State::Warm { .. });
    if up {
        preview.what.extend(fleet.room_for(before));
        preview.expected = then.estimate(fleet.now).map(|e| e.whole());
        if let Some(estimate) = before.estimate(fleet.now) {
            let over_budget = before
                .self_hosted()
                .is_some_and(|f| estimate.left_p95 > f.budget);
            let known = if estimate.learned_from > 0 {
                let cache = match estimate.hot {
                    Some(true) => " with a hot compile cache",
                    Some(false) => " that had to compile",
                    None => "",
                };
                let n = estimate.learned_from;
                let wakes = if n == 1 { "wake" } else { "wakes" };
                format!("learned from {n} {wakes}{cache}")
            } else {
                "from the config".into()
            };
            preview.what.push(format!(
                "It wakes in about {} (p95 {}, {known})",
                span(estimate.left_median),
                span(estimate.left_p95)
            ));
            if over_budget {
                preview.warnings.push(format!(
                    "expected over its budget of {}",
                    before
                        .self_hosted()
                        .map_or(String::new(), |f| span(f.budget))
                ));
            }
        } else {
            preview
                .what
                .push("It wakes; how long that takes is not known yet".into());
        }
    }
    if let (Some(pin), None) = (&before.pin, &then.pin) {
        let until = pin.until.map_or_else(
            || "until lifted".into(),
            |t| format!("to {}", t.format("%H:%M")),
        );
        preview.warnings.push(format!(
            "pinned {until} by {} ({}): the pin is lifted",
            pin.by, pin.reason
        ));
    }
    if let Some(pin) = &then.pin
        && before.pin != then.pin
    {
        let until = pin.until.map_or_else(
            || "until it is lifted".to_owned(),
            |t| format!("until {}", t.format("%a %H:%M")),
        );
        preview.what.push(format!(
            "It stays warm {until}: its idle timer rests, a crash is restarted"
        ));
    }
    if then.drained.is_some() && before.drained.is_none() {
        preview
            .what
            .push("It stays out of service until it is undrained (u)".into());
    }
}

/// Which weights change, also where no share does because a sibling sleeps or is limited.
fn tell_weights(preview: &mut Preview, fleet: &Fleet, after: &Fleet, model: &ModelId) {
    let changed: Vec<String> = fleet
        .backends_of(model)
        .zip(after.backends_of(model))
        .filter(|(was, is)| was.weight != is.weight)
        .map(|(was, is)| format!("{} from {} to {}", was.id, was.weight, is.weight))
        .collect();
    if !changed.is_empty() {
        preview
            .what
            .push(format!("Weights: {}", changed.join(", ")));
    }
}

fn tell_traffic(preview: &mut Preview, fleet: &Fleet, after: &Fleet, model: &ModelId) {
    let (before, then) = (fleet.expected_shares(model), after.expected_shares(model));
    let of = |shares: &[(BackendId, f64)], id: &BackendId| {
        shares
            .iter()
            .find(|(b, _)| b == id)
            .map_or(0.0, |(_, s)| *s)
    };
    for b in fleet.backends_of(model) {
        let (was, is) = (of(&before, &b.id), of(&then, &b.id));
        if (was - is).abs() > 0.0005 {
            preview.shares.push((b.id.clone(), was, is));
        }
    }
    let facts = fleet.model(model);
    if then.is_empty() && !before.is_empty() {
        let meets = match facts.map_or(ColdPolicy::Wait, |m| m.cold) {
            _ if after.backends_of(model).all(|b| b.drained.is_some()) => "new requests get 503",
            ColdPolicy::Wait | ColdPolicy::Bridge { .. } => {
                "the next request is held while it wakes again"
            }
            ColdPolicy::Overflow | ColdPolicy::Reject => "new requests get 503",
        };
        preview
            .warnings
            .push(format!("nothing else answers for {model}: {meets}"));
    } else if let [(only, _)] = then.as_slice()
        && !preview.shares.is_empty()
    {
        preview.what.push(format!("All of {model} goes to {only}"));
    }
    if facts.is_some_and(|m| m.data_path == DataPath::SelfHosted) {
        preview
            .what
            .push(format!("{model} may only use self-hosted backends"));
    }
    let ttft = |picture: &[(BackendId, f64)]| {
        let known: Vec<_> = picture
            .iter()
            .filter_map(|(id, share)| Some((share, fleet.backend(id)?.live.ttft_p50?)))
            .collect();
        let covered: f64 = known.iter().map(|(share, _)| **share).sum();
        (covered > 0.8).then(|| known.iter().map(|(share, t)| **share * t).sum::<f64>() / covered)
    };
    if let (Some(was), Some(is)) = (ttft(&before), ttft(&then))
        && (was - is).abs() > 0.0005
    {
        preview.ttft = Some((was, is));
    }
    tell_capacity(preview, fleet, model, &then);
}

/// Warns where the self-hosted backends that remain cannot carry what they would get.
fn tell_capacity(preview: &mut Preview, fleet: &Fleet, model: &ModelId, then: &[(BackendId, f64)]) {
    let demand: f64 = fleet
        .backends_of(model)
        .filter_map(|b| b.live.tokens_per_s)
        .sum();
    for (id, share) in then {
        let Some(ceiling) = fleet.backend(id).and_then(|b| b.self_hosted()?.ceiling) else {
            continue;
        };
        let wanted = demand * share;
        if wanted > ceiling && preview.shares.iter().any(|(b, ..)| b == id) {
            preview.warnings.push(format!(
                "{id} would get {wanted:.0} tokens/s; it sustains {ceiling:.0}"
            ));
        }
    }
}

/// The fleet's burn before and after: capacity by rate, hosted tokens by the model's demand of the last five minutes at list price.
fn tell_money(preview: &mut Preview, fleet: &Fleet, after: &Fleet, command: &Command) {
    let Some(now) = fleet.burn() else { return };
    let capacity = |f: &Fleet| f.backends.iter().map(|b| b.rate_now()).sum::<Option<Usd>>();
    let (Some(had), Some(has)) = (capacity(fleet), capacity(after)) else {
        return;
    };
    let mut then = now + has - had;
    for model in models_of(fleet, command) {
        for b in fleet.backends_of(&model) {
            let Some((_, was, is)) = preview.shares.iter().find(|(id, ..)| *id == b.id) else {
                continue;
            };
            if !b.is_hosted() {
                continue;
            }
            let Some(price) = b.hosted().and_then(|h| h.price) else {
                return;
            };
            let hour = demand(fleet, &model);
            let part = |tokens: f64| (tokens * (is - was).abs()) as u64;
            let moved = price.of(part(hour.0), 0, part(hour.1));
            then = if is > was { then + moved } else { then - moved };
        }
    }
    preview.burn = Some((now, then));
}

/// Tokens in and out per hour that a model's clients ask for, over the last five minutes.
fn demand(fleet: &Fleet, model: &ModelId) -> (f64, f64) {
    let rows: Vec<&Minute> = fleet
        .backends_of(model)
        .flat_map(|b| {
            b.ledger
                .minutes
                .iter()
                .rev()
                .take_while(|m| m.start > fleet.now - WINDOW)
        })
        .collect();
    let oldest = rows.iter().map(|m| m.start).min().unwrap_or(fleet.now);
    let hours = (fleet.now - oldest).num_milliseconds().max(15_000) as f64 / 3_600_000.0;
    let sum = |of: fn(&Minute) -> u64| rows.iter().map(|m| of(m)).sum::<u64>() as f64 / hours;
    (sum(|m| m.tokens_in), sum(|m| m.tokens_out))
}

impl Preview {
    /// What the change costs or saves in a day, negative for a saving; `None` where unknown.
    pub fn per_day(&self) -> Option<Usd> {
        let (now, then) = self.burn?;
        Some(over(then, chrono::TimeDelta::days(1)) - over(now, chrono::TimeDelta::days(1)))
    }
}
