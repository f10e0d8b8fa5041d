//! What a step waits for: read from the fleet's own picture, never asked of the cluster again.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::Hand;
use super::engines::Answered;
use crate::fleet::cluster::edit::Edit;
use crate::fleet::cluster::object::Object;
use crate::fleet::cluster::place::{Autoscaler, Phase, Place};
use crate::fleet::cluster::plan::{Plan, Step};
use crate::fleet::cluster::rule::Rule;
use crate::fleet::{BackendId, Fleet};

/// How long the gateways may take to have a route.
const PROGRAMMED: Duration = Duration::from_secs(60);
/// What is programmed reaches every proxy within this long.
const SPREADS: Duration = Duration::from_secs(10);
/// How long pods may take to be gone.
const GONE: Duration = Duration::from_secs(300);
/// How long machines may take to be given back: a cloud's API deletes them one after the other.
const RELEASED: Duration = Duration::from_secs(900);
/// What was asked for is seen within this long.
const ASKED: Duration = Duration::from_secs(60);
/// How long a wake that has to be let go of afterwards is waited for.
const READY: Duration = Duration::from_secs(3600);
/// How long an autoscaler may take to scale again: it looks every 15 s, and metrics of new pods come a little later.
const SCALING: Duration = Duration::from_secs(120);

/// Whoever wants it back has the last word.
const AGAIN: &str = "somebody asked for it again meanwhile";

impl Hand {
    pub(super) async fn wait(&self, plan: &Plan, step: &Step) -> Result<(), String> {
        match (step, &plan.backend) {
            (Step::Programmed { route }, _) => self.until_programmed(plan, route).await,
            (Step::Silent, Some(id)) => self.until_silent(id).await,
            (Step::Idle, Some(id)) => {
                self.until_idle(plan, step, id).await?;
                self.still_without(plan)
            }
            (Step::Gone, Some(id)) => self.until_gone(id).await,
            (Step::Released, Some(id)) => self.until_released(id).await,
            (Step::Made { object }, Some(id)) => {
                let made = |fleet: &Fleet| {
                    let place = fleet.backend(id).and_then(|b| b.place.as_deref());
                    let scaler = place.map(|it| &it.autoscaler);
                    matches!(scaler, Some(Autoscaler::Keda { object: it, .. }) if it.name == object.name)
                };
                let late = |()| format!("{object} is not there after {} s", ASKED.as_secs());
                self.until(ASKED, made).await.map_err(late)
            }
            (Step::Ready, Some(id)) => {
                let place = |fleet: &Fleet| fleet.backend(id).and_then(|b| b.place.clone());
                // Whoever scales it to zero meanwhile has the last word.
                let told = Instant::now() + ASKED;
                let mut was_asked = false;
                let mut off = false;
                let ready = |fleet: &Fleet| {
                    place(fleet).is_none_or(|it| {
                        was_asked |= it.wanted > 0;
                        off = it.wanted == 0 && (was_asked || Instant::now() >= told);
                        off || matches!(it.phase, Phase::Ready { .. })
                    })
                };
                let late = || format!("no pod of {id} was ready within an hour");
                self.until(READY, ready).await.map_err(|()| late())?;
                if off {
                    return Err("it was scaled to zero again meanwhile".into());
                }
                Ok(())
            }
            (Step::Napping { asleep, by }, Some(id)) => {
                self.until_napping(id, *asleep, by.as_ref()).await
            }
            (Step::Answers, Some(id)) => {
                let patience = self.patience(plan, Some(step), None);
                if let Answered::Unasked(why) = self.one_token(id, patience).await? {
                    tracing::warn!("{id}: whether it answers was not tried: {why}");
                }
                Ok(())
            }
            (Step::Nudge { revision }, Some(id)) => self.nudge(plan, step, id, revision).await,
            (Step::Scaling, Some(id)) => self.until_scaling(id).await,
            _ => Ok(()),
        }
    }

    /// Until no pod is left.
    async fn until_gone(&self, id: &BackendId) -> Result<(), String> {
        let mut again = false;
        let mut let_go = false;
        let gone = |fleet: &Fleet| {
            let place = fleet.backend(id).and_then(|b| b.place.as_deref());
            // What Knative keeps after all, somebody wants again.
            if let Some(revision) = place.and_then(Place::revision) {
                let keeps = revision.min_scale.as_deref() != Some("0");
                let_go |= !keeps;
                again = let_go && keeps;
            }
            again || place.is_none_or(|it| it.pods == 0)
        };
        let gone = self.until(GONE, gone).await;
        if again {
            return Err(AGAIN.into());
        }
        gone.map_err(|()| format!("the pods of {id} are not gone after {} s", GONE.as_secs()))
    }

    /// Until no machine is left that was made for it.
    async fn until_released(&self, id: &BackendId) -> Result<(), String> {
        let mut again = false;
        let mut asleep = false;
        let mut names: Vec<Box<str>> = Vec::new();
        let released = |fleet: &Fleet| {
            let place = fleet.backend(id).and_then(|b| b.place.as_deref());
            asleep |= place.is_none_or(|it| it.wanted == 0);
            again = asleep && place.is_some_and(|it| it.wanted > 0);
            let nodes = place.iter().flat_map(|it| &it.nodes);
            names = nodes.map(|it| it.name.clone()).collect();
            again || place.is_none_or(|it| it.wanted == 0 && it.pods == 0 && it.nodes.is_empty())
        };
        let released = self.until(RELEASED, released).await;
        if again {
            return Err(AGAIN.into());
        }
        if released.is_ok() {
            return Ok(());
        }
        let are = if names.len() == 1 {
            "a machine is"
        } else {
            "machines are"
        };
        Err(format!(
            "{are} still billed after {} s: {}; look at its NodeClaims",
            RELEASED.as_secs(),
            names.join(", ")
        ))
    }

    /// Until its HorizontalPodAutoscaler says that it scales; one that is not there any more has no say.
    async fn until_scaling(&self, id: &BackendId) -> Result<(), String> {
        let mut last = None;
        let scales = |fleet: &Fleet| {
            let place = fleet.backend(id).and_then(|b| b.place.as_deref());
            let Some(Autoscaler::Hpa {
                object, scaling, ..
            }) = place.map(|it| &it.autoscaler)
            else {
                return true;
            };
            last = Some((object.clone(), scaling.clone()));
            *scaling == Some(Ok(()))
        };
        if self.until(SCALING, scales).await.is_ok() {
            return Ok(());
        }
        let Some((object, scaling)) = last else {
            return Ok(());
        };
        let why = match scaling {
            Some(Err(why)) => why,
            Some(Ok(())) | None => "it has not said that it does".into(),
        };
        Err(format!(
            "it is up, and {object} does not scale it after {} s: {why}; `kubectl describe` of it says more",
            SCALING.as_secs()
        ))
    }

    async fn until_programmed(&self, plan: &Plan, route: &Object) -> Result<(), String> {
        let wanted: Vec<&Edit> = edits(plan).filter(|it| it.route == *route).collect();
        let has = |fleet: &Fleet| {
            let mut rules = fleet
                .models
                .iter()
                .flat_map(|it| &it.routes)
                .filter(|it| it.cluster == plan.cluster && it.route == *route);
            rules.all(|rule| rule.programmed.is_ok() && has_weights(rule, &wanted))
        };
        if self.until(PROGRAMMED, has).await.is_err() {
            let fleet = self.seen();
            let rules = fleet
                .iter()
                .flat_map(|it| &it.models)
                .flat_map(|it| &it.routes);
            let mut why = rules
                .filter(|it| it.cluster == plan.cluster && it.route == *route)
                .filter_map(|it| it.programmed.as_ref().err());
            let said = why.next().map_or_else(
                || "its weights were changed again".to_owned(),
                ToString::to_string,
            );
            return Err(format!(
                "the gateways do not have {route} after {} s: {said}",
                PROGRAMMED.as_secs()
            ));
        }
        sleep(SPREADS / self.pace).await;
        Ok(())
    }

    /// Whether the weights that were taken off are off still: pods that end now must have none.
    fn still_without(&self, plan: &Plan) -> Result<(), String> {
        let fleet = self.seen();
        let rules = fleet
            .iter()
            .flat_map(|it| &it.models)
            .flat_map(|it| &it.routes)
            .filter(|it| it.cluster == plan.cluster);
        for rule in rules {
            let of = |edit: &&Edit| edit.route == rule.route;
            let wanted: Vec<&Edit> = edits(plan).filter(of).collect();
            if !has_weights(rule, &wanted) {
                return Err(format!(
                    "somebody changed the weights of {} meanwhile",
                    rule.route
                ));
            }
        }
        Ok(())
    }

    /// Waits until the picture is as wanted.
    pub(super) async fn until(
        &self,
        limit: Duration,
        mut wanted: impl FnMut(&Fleet) -> bool,
    ) -> Result<(), ()> {
        let Some(mut fleet) = self.fleet.get().cloned() else {
            return Err(());
        };
        let ends = Instant::now() + limit / self.pace;
        loop {
            let now = Arc::clone(&fleet.borrow_and_update());
            if wanted(&now) {
                return Ok(());
            }
            let left = ends.saturating_duration_since(Instant::now());
            match timeout(left, fleet.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return Err(()),
            }
        }
    }
}

/// What a plan does to weights.
fn edits(plan: &Plan) -> impl Iterator<Item = &Edit> {
    plan.steps.iter().filter_map(|it| match &it.step {
        Step::Weights { edit, .. } => Some(&**edit),
        _ => None,
    })
}

/// Whether the rule has the weights that were wanted of it.
fn has_weights(rule: &Rule, wanted: &[&Edit]) -> bool {
    let mut of = wanted
        .iter()
        .flat_map(|it| &it.rules)
        .filter(|it| it.at == rule.at);
    of.all(|edit| {
        let shares = rule.refs.iter().zip(&edit.refs);
        shares
            .into_iter()
            .all(|(is, (_, _, want))| is.share() == *want)
    })
}
