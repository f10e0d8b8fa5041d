//! What changes something on a cluster: read first, compared with what was looked at, and written with the version that
//! was read as the guard.
//!
//! What is tried a second time may have been done the first time, its answer lost on the way: it is read again first.

use serde_json::Value;

use super::Hand;
use super::engines::Order;
use super::patience::{Tried, Undone, tried};
use super::running::Turn;
use crate::cluster::Fault;
use crate::fleet::cluster::call::{Write, scale};
use crate::fleet::cluster::edit::{Edit, RuleEdit};
use crate::fleet::cluster::mark;
use crate::fleet::cluster::object::{Kind, Object};
use crate::fleet::cluster::plan::{Plan, Planned, Step};

impl Hand {
    /// Carries out the step at `at`, which changes something; again while what it runs into may pass.
    pub(super) async fn act(
        &self,
        plan: &Plan,
        at: usize,
        tried: &mut Tried,
        turn: Option<&Turn>,
    ) -> Result<(), Undone> {
        let Planned { step, back } = &plan.steps[at];
        let mut patience = self.patience(plan, Some(step), turn);
        if let (Some(order), Some(id)) = (Order::of(step), &plan.backend) {
            let back = back.as_ref().and_then(Order::of);
            return self.post(id, order, back, &mut patience).await;
        }
        loop {
            match self.write(plan, at, false, tried).await {
                Ok(()) => return Ok(()),
                Err(fault) => patience.after(fault).await?,
            }
            tried.again = true;
        }
    }

    /// Takes the step at `at` back. What somebody set meanwhile stays. `unsure`: it may not have been done at all.
    pub(super) async fn take_back_one(
        &self,
        plan: &Plan,
        at: usize,
        unsure: bool,
        turn: Option<&Turn>,
    ) -> Result<(), String> {
        let Some(back) = &plan.steps[at].back else {
            return Ok(());
        };
        let mut patience = self.patience(plan, Some(back), turn);
        let done = match (Order::of(back), &plan.backend) {
            (Some(order), Some(id)) => self.post(id, order, None, &mut patience).await,
            (Some(_), None) => Ok(()),
            (None, _) => {
                let mut tried = Tried::default();
                let mut known = !unsure;
                loop {
                    if !known {
                        match self.stands(plan, at).await {
                            Ok(false) => break Ok(()),
                            Ok(true) => known = true,
                            Err(fault) => {
                                if let Err(why) = patience.after(fault).await {
                                    break Err(why);
                                }
                                continue;
                            }
                        }
                    }
                    match self.write_back(plan, at, &mut tried).await {
                        Ok(()) => break Ok(()),
                        Err(fault) => {
                            if let Err(why) = patience.after(fault).await {
                                break Err(why);
                            }
                        }
                    }
                    tried.again = true;
                }
            }
        };
        done.map_err(|why| why_undone(back, &why))
    }

    /// Whether what the step at `at` writes is there: by its mark, where it writes one.
    async fn stands(&self, plan: &Plan, at: usize) -> Result<bool, Fault> {
        let (object, text) = match &plan.steps[at].step {
            Step::Merge { object, body, .. } => {
                let text = body["metadata"]["annotations"][mark::KEY].as_str();
                (object, text.map(ToOwned::to_owned))
            }
            Step::Weights { edit, .. } => (&edit.route, Some(edit.mark.text())),
            _ => return Ok(true),
        };
        let Some(text) = text else { return Ok(true) };
        let now: Value = self.api.get(&object.path(), None).await?;
        Ok(now["metadata"]["annotations"][mark::KEY].as_str() == Some(&text))
    }

    /// Sends a write, and notes where nothing said whether it was done.
    async fn send(&self, write: &Write, dry: bool, tried: &mut Tried) -> Result<(), Fault> {
        let done = self.api.write(write, dry).await;
        // A pod that went meanwhile needs nothing any more.
        if write.object.kind == Kind::Pod && matches!(done, Err(Fault::Absent(_))) {
            return Ok(());
        }
        if let Err(fault) = &done {
            tried.unsure |= !dry && fault.is_unsure();
        }
        done.map(drop)
    }

    async fn write_back(&self, plan: &Plan, at: usize, tried: &mut Tried) -> Result<(), Fault> {
        let Planned { step, back } = &plan.steps[at];
        match (step, back) {
            (Step::Scale { to: set, .. }, Some(Step::Scale { object, to, .. })) => {
                self.scale_back(object, *set, *to).await
            }
            (_, Some(Step::Weights { edit, .. })) => self.weigh(edit, false, tried).await,
            (_, Some(Step::Merge { object, body, .. })) => {
                let set = |now: &Value| match plan.set_since(at, now) {
                    Some(why) => Err(why),
                    None => Ok((body.clone(), Vec::new())),
                };
                let guard = plan.guarded(at).is_some();
                self.merge(object, body, guard, set, false, tried).await
            }
            _ => Ok(()),
        }
    }

    /// Writes what the step at `at` writes; with `dry` only has it checked.
    pub(super) async fn write(
        &self,
        plan: &Plan,
        at: usize,
        dry: bool,
        tried: &mut Tried,
    ) -> Result<(), Fault> {
        match &plan.steps[at].step {
            Step::Scale {
                object, to, from, ..
            } => {
                tried.replicas = tried.replicas.take().or(from.map(Value::from));
                self.scale(object, *to, dry, tried).await
            }
            Step::Weights { edit, .. } => self.weigh(edit, dry, tried).await,
            Step::Merge { object, body, .. } => {
                let changed = |now: &Value| match plan.changed_since(at, now) {
                    Some(why) => Err(why),
                    None => Ok(plan.still_ours(at, now)),
                };
                let guard = plan.guarded(at).is_some();
                self.merge(object, body, guard, changed, dry, tried).await
            }
            Step::Post { .. }
            | Step::Napping { .. }
            | Step::Answers
            | Step::Scaling
            | Step::Made { .. }
            | Step::Nudge { .. }
            | Step::Programmed { .. }
            | Step::Silent
            | Step::Idle
            | Step::Gone
            | Step::Released
            | Step::Ready => Ok(()),
        }
    }

    /// A merge patch. Somebody may write between the reading and the writing: once more, where it still fits.
    async fn merge(
        &self,
        object: &Object,
        body: &Value,
        guard: bool,
        fit: impl Fn(&Value) -> Result<(Value, Vec<String>), String>,
        dry: bool,
        tried: &mut Tried,
    ) -> Result<(), Fault> {
        let step = Step::Merge {
            object: object.clone(),
            body: body.clone(),
            why: String::new(),
        };
        let Some(mut write) = step.write() else {
            return Ok(());
        };
        if !guard && !tried.again {
            return self.send(&write, dry, tried).await;
        }
        let mut again = true;
        loop {
            let now: Value = self.api.get(&object.path(), None).await?;
            if tried.again && has(&now, body) {
                return Ok(());
            }
            if !guard {
                return self.send(&write, dry, tried).await;
            }
            (write.body, tried.left) = fit(&now).map_err(Fault::Changed)?;
            write.body["metadata"]["resourceVersion"] = now["metadata"]["resourceVersion"].clone();
            match self.send(&write, dry, tried).await {
                Err(Fault::Changed(_)) if again => again = false,
                other => return other,
            }
        }
    }

    /// Replicas: read, then written with what was read as the guard. Somebody may write between the two: once more, where
    /// the number is still the one that was read first.
    async fn scale(
        &self,
        object: &Object,
        to: u32,
        dry: bool,
        tried: &mut Tried,
    ) -> Result<(), Fault> {
        let path = format!("{}/scale", object.path());
        let mut first = true;
        loop {
            let now: Value = self.api.get(&path, None).await?;
            let version = now["metadata"]["resourceVersion"].as_str();
            let replicas = now["spec"]["replicas"].clone();
            // Who wakes never takes away what somebody else asked for meanwhile.
            let is = replicas.as_u64().unwrap_or(0);
            let enough = to > 0 && is > u64::from(to);
            // Where somebody wants the same, or it was done before, there is nothing to do.
            if enough || is == u64::from(to) && tried.replicas.is_some() {
                return Ok(());
            }
            let before = tried.replicas.get_or_insert_with(|| replicas.clone());
            if *before != replicas {
                return Err(Fault::Changed(format!(
                    "somebody asked for {is} meanwhile, and {before} was looked at"
                )));
            }
            match self.send(&scale(object, to, version), dry, tried).await {
                Err(Fault::Changed(_)) if first => first = false,
                other => return other,
            }
        }
    }

    /// The replicas of before, where there are still as many as we `set`.
    async fn scale_back(&self, object: &Object, set: u32, to: u32) -> Result<(), Fault> {
        let path = format!("{}/scale", object.path());
        let mut again = true;
        loop {
            let now: Value = self.api.get(&path, None).await?;
            let version = now["metadata"]["resourceVersion"].as_str();
            let is = now["spec"]["replicas"].as_u64().unwrap_or(0);
            if is == u64::from(to) {
                return Ok(());
            }
            if is != u64::from(set) {
                return Err(Fault::Changed(format!(
                    "somebody asked for {is} meanwhile; that stays"
                )));
            }
            match self.api.write(&scale(object, to, version), false).await {
                Err(Fault::Changed(_)) if again => again = false,
                other => return other.map(drop),
            }
        }
    }

    /// Weights: the route is read again, and written only where it is still what was looked at.
    async fn weigh(&self, edit: &Edit, dry: bool, tried: &mut Tried) -> Result<(), Fault> {
        let mut again = true;
        loop {
            let now: Value = self.api.get(&edit.route.path(), None).await?;
            let marked = now["metadata"]["annotations"][mark::KEY].as_str();
            let ours = marked.is_some_and(|it| it == edit.mark.text());
            if tried.again && ours && weighs(&now, edit, |(_, _, is)| *is).is_none() {
                return Ok(());
            }
            if let Some(at) = weighs(&now, edit, |(_, was, _)| was.unwrap_or(1)) {
                return Err(Fault::Changed(format!(
                    "rule {at} of {} is not what it was when you looked",
                    edit.route
                )));
            }
            let mut edit = edit.clone();
            edit.resource_version = now["metadata"]["resourceVersion"]
                .as_str()
                .unwrap_or_default()
                .into();
            edit.annotated = now["metadata"]["annotations"].is_object();
            match self.send(&edit.write(), dry, tried).await {
                // Its status is written often, which moves its version.
                Err(Fault::Changed(_)) if again => again = false,
                other => return other,
            }
        }
    }
}

/// The first rule of a route that has other targets, or other weights than are `wanted` of it.
fn weighs(
    route: &Value,
    edit: &Edit,
    wanted: impl Fn(&(Box<str>, Option<u32>, u32)) -> u32,
) -> Option<usize> {
    let differs = |rule: &&RuleEdit| {
        let refs = route["spec"]["rules"][rule.at]["backendRefs"].as_array();
        !refs.is_some_and(|refs| {
            refs.len() == rule.refs.len()
                && refs.iter().zip(&rule.refs).all(|(is, want)| {
                    is["name"].as_str() == Some(&want.0)
                        && is["weight"].as_u64().unwrap_or(1) == u64::from(wanted(want))
                })
        })
    };
    edit.rules.iter().find(differs).map(|rule| rule.at)
}

/// Whether an object already is as a merge patch makes it.
fn has(now: &Value, patch: &Value) -> bool {
    match patch {
        Value::Object(map) => map.iter().all(|(key, want)| match now.get(key) {
            Some(is) => has(is, want),
            None => want.is_null() || want.as_object().is_some_and(|_| has(&Value::Null, want)),
        }),
        other => now == other,
    }
}

/// What a step ran into, for people.
pub(super) fn told(step: &Step, fault: &Fault) -> String {
    match fault {
        Fault::Changed(why) => {
            format!(
                "{}: it is not what you looked at any more ({why}); look again",
                step.words()
            )
        }
        Fault::Unfit(why) => format!("{}: the API server does not take it: {why}", step.words()),
        other => format!("{}: {other}", step.words()),
    }
}

/// Why a step was not done, for people.
pub(super) fn why_undone(step: &Step, why: &Undone) -> String {
    match why {
        Undone::Fault(fault) => told(step, fault),
        Undone::Worn(fault) => format!("{}{}", told(step, fault), tried()),
        Undone::Engine(why) => format!("{}: {why}", step.words()),
        Undone::Stopped(why) => format!("{}: {why}", step.words()),
    }
}
