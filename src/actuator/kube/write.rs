//! What changes something on a cluster: read first, compared with what was looked at, and written with the version that
//! was read as the guard.

use serde_json::Value;

use super::Hand;
use crate::cluster::Fault;
use crate::fleet::cluster::object::Object;
use crate::fleet::cluster::plan::{Edit, Plan, Planned, Step, scale};

impl Hand {
    /// Carries out the step at `at`, which changes something.
    pub(super) async fn act(&self, plan: &Plan, at: usize) -> Result<(), String> {
        let Planned { step, back } = &plan.steps[at];
        if let (Step::Post { path, body, .. }, Some(id)) = (step, &plan.backend) {
            let back = match back {
                Some(Step::Post { path, .. }) => Some(path.as_str()),
                _ => None,
            };
            let done = self.post(id, path, body.as_ref(), back).await;
            return done.map_err(|why| format!("{}: {why}", step.words()));
        }
        let done = self.write(plan, at, false).await;
        done.map_err(|fault| told(step, &fault))
    }

    /// Takes the step at `at` back. What somebody set meanwhile stays.
    pub(super) async fn take_back_one(&self, plan: &Plan, at: usize) -> Result<(), String> {
        let Planned { step, back } = &plan.steps[at];
        let Some(back) = back else { return Ok(()) };
        let done = match (step, back) {
            (_, Step::Post { path, body, .. }) => {
                let Some(id) = &plan.backend else {
                    return Ok(());
                };
                let done = self.post(id, path, body.as_ref(), None).await;
                return done.map_err(|why| format!("{}: {why}", back.words()));
            }
            (Step::Scale { to: set, .. }, Step::Scale { object, to, .. }) => {
                self.scale_back(object, *set, *to).await
            }
            (_, Step::Weights { edit, .. }) => self.weigh(edit, false).await,
            (_, Step::Merge { object, body, .. }) => {
                let set = |now: &Value| plan.set_since(at, now);
                let guard = plan.guarded(at).is_some();
                self.merge(object, body, guard, set, false).await
            }
            _ => Ok(()),
        };
        done.map_err(|fault| told(back, &fault))
    }

    /// Writes what the step at `at` writes; with `dry` only has it checked.
    pub(super) async fn write(&self, plan: &Plan, at: usize, dry: bool) -> Result<(), Fault> {
        match &plan.steps[at].step {
            Step::Scale { object, to, .. } => self.scale(object, *to, dry).await,
            Step::Weights { edit, .. } => self.weigh(edit, dry).await,
            Step::Merge { object, body, .. } => {
                let changed = |now: &Value| plan.changed_since(at, now);
                let guard = plan.guarded(at).is_some();
                self.merge(object, body, guard, changed, dry).await
            }
            Step::Post { .. }
            | Step::Napping { .. }
            | Step::Answers
            | Step::Programmed { .. }
            | Step::Silent
            | Step::Idle
            | Step::Gone
            | Step::Ready => Ok(()),
        }
    }

    /// A merge patch. Somebody may write between the reading and the writing: once more, where it still fits.
    async fn merge(
        &self,
        object: &Object,
        body: &Value,
        guard: bool,
        unfit: impl Fn(&Value) -> Option<String>,
        dry: bool,
    ) -> Result<(), Fault> {
        let step = Step::Merge {
            object: object.clone(),
            body: body.clone(),
            why: String::new(),
        };
        let Some(mut write) = step.write() else {
            return Ok(());
        };
        if !guard {
            return self.api.write(&write, dry).await.map(drop);
        }
        let mut again = true;
        loop {
            let now: Value = self.api.get(&object.path(), None).await?;
            if let Some(why) = unfit(&now) {
                return Err(Fault::Changed(why));
            }
            write.body["metadata"]["resourceVersion"] = now["metadata"]["resourceVersion"].clone();
            match self.api.write(&write, dry).await {
                Err(Fault::Changed(_)) if again => again = false,
                other => return other.map(drop),
            }
        }
    }

    /// Replicas: read, then written with what was read as the guard. Somebody may write between the two: once more, where
    /// the number is still the one that was read first.
    async fn scale(&self, object: &Object, to: u32, dry: bool) -> Result<(), Fault> {
        let path = format!("{}/scale", object.path());
        let mut first: Option<(Value, String)> = None;
        loop {
            let now: Value = self.api.get(&path, None).await?;
            let version = now["metadata"]["resourceVersion"].as_str();
            let replicas = now["spec"]["replicas"].clone();
            // Who wakes never takes away what somebody else asked for meanwhile.
            let is = replicas.as_u64().unwrap_or(0);
            let enough = to > 0 && is > u64::from(to);
            if let Some((_, why)) = first.take_if(|(before, _)| *before != replicas) {
                // Where somebody wants the same there is nothing to fight about.
                return if is == u64::from(to) || enough {
                    Ok(())
                } else {
                    Err(Fault::Changed(why))
                };
            }
            if enough {
                return Ok(());
            }
            match self.api.write(&scale(object, to, version), dry).await {
                Err(Fault::Changed(why)) if first.is_none() => first = Some((replicas, why)),
                other => return other.map(drop),
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
    async fn weigh(&self, edit: &Edit, dry: bool) -> Result<(), Fault> {
        let now: Value = self.api.get(&edit.route.path(), None).await?;
        for rule in &edit.rules {
            let refs = now["spec"]["rules"][rule.at]["backendRefs"].as_array();
            let same = refs.is_some_and(|refs| {
                refs.len() == rule.refs.len()
                    && refs.iter().zip(&rule.refs).all(|(is, (name, was, _))| {
                        is["name"].as_str() == Some(name)
                            && is["weight"].as_u64().unwrap_or(1) == u64::from(was.unwrap_or(1))
                    })
            });
            if !same {
                return Err(Fault::Changed(format!(
                    "rule {} of {} is not what it was when you looked",
                    rule.at, edit.route
                )));
            }
        }
        let mut edit = edit.clone();
        edit.resource_version = now["metadata"]["resourceVersion"]
            .as_str()
            .unwrap_or_default()
            .into();
        edit.annotated = now["metadata"]["annotations"].is_object();
        self.api.write(&edit.write(), dry).await.map(drop)
    }
}

/// What a step ran into, for people.
pub(super) fn told(step: &Step, fault: &Fault) -> String {
    match fault {
        Fault::Changed(why) | Fault::Unfit(why) => {
            format!(
                "{}: it is not what you looked at any more ({why}); look again",
                step.words()
            )
        }
        other => format!("{}: {other}", step.words()),
    }
}
