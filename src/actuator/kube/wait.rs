//! What a step waits for: read from the fleet's own picture, never asked of the cluster again.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::Hand;
use super::engines::Answered;
use crate::fleet::cluster::DRAIN_PATIENCE;
use crate::fleet::cluster::edit::Edit;
use crate::fleet::cluster::object::Object;
use crate::fleet::cluster::place::{Autoscaler, FROM_PROMETHEUS, Phase, Place};
use crate::fleet::cluster::plan::{Plan, Step};
use crate::fleet::cluster::rule::Rule;
use crate::fleet::{Backend, BackendId, Fleet, State};

/// How long the gateways may take to have a route.
const PROGRAMMED: Duration = Duration::from_secs(60);
/// What is programmed reaches every proxy within this long.
const SPREADS: Duration = Duration::from_secs(10);
/// Nothing new in so long is silence: a client that asks now and then is heard.
const STILL: Duration = Duration::from_secs(10);
/// New requests have to end within this long once the weight is off: else another way leads there.
const SILENT: Duration = Duration::from_secs(30);
/// How long it may take to find out whether pods can be read.
const READABLE: Duration = Duration::from_secs(20);
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

    /// Until the pods' own counter of prompt tokens stands still for a while.
    async fn until_silent(&self, id: &BackendId) -> Result<(), String> {
        let _read_first = self.attention.attend(id);
        self.readable(id).await?;
        // Since when it stands, and where. One that falls is of other pods: it counts from there.
        let mut before: Option<(chrono::DateTime<chrono::Utc>, f64)> = None;
        let long = chrono::TimeDelta::from_std(STILL / self.pace).unwrap_or_default();
        let mut rises = 0;
        let mut gone = false;
        let still = |fleet: &Fleet| {
            let Some(b) = fleet.backend(id) else {
                gone = true;
                return true;
            };
            if serves_nothing(b) {
                return true;
            }
            let Some((at, tokens)) = b
                .live
                .read_at
                .zip(b.sample.as_ref().and_then(|it| it.prompt_tokens))
            else {
                return false;
            };
            match before {
                Some((then, was)) if was.to_bits() == tokens.to_bits() => at - then >= long,
                Some(_) | None => {
                    rises += u32::from(before.is_some_and(|(_, was)| was < tokens));
                    before = Some((at, tokens));
                    false
                }
            }
        };
        let silent = self.until(SILENT, still).await;
        if gone {
            return Err(unseen(id));
        }
        if silent.is_ok() {
            return Ok(());
        }
        // What it rose by first may have come before the weight was off.
        if rises < 2 {
            return Err(format!(
                "whether requests still arrive at {id} is not known: its counters were not read often enough within {} s; --force goes on without",
                SILENT.as_secs()
            ));
        }
        Err(format!(
            "requests still arrive at {id} after {} s without weight: {}",
            SILENT.as_secs(),
            self.ways_to(id)
        ))
    }

    /// What may still lead to it, as far as it is seen.
    fn ways_to(&self, id: &BackendId) -> String {
        let fleet = self.seen();
        let rules = fleet
            .iter()
            .flat_map(|it| &it.models)
            .flat_map(|it| &it.routes);
        let leads = |rule: &&Rule| {
            let mut refs = rule.refs.iter();
            refs.any(|it| it.backend.as_ref() == Some(id) && it.share() > 0)
        };
        let mut names: Vec<String> = rules.filter(leads).map(|it| it.route.to_string()).collect();
        names.dedup();
        if names.is_empty() {
            return "no route that is seen sends it any: a client of its Service, or of its pods"
                .into();
        }
        format!("{} still sends it some", names.join(", "))
    }

    /// Whether its pods say anything; waits until that is known.
    async fn readable(&self, id: &BackendId) -> Result<(), String> {
        let unread = |fleet: &Fleet| {
            let place = fleet.backend(id).and_then(|b| b.place.clone())?;
            let cluster = fleet.clusters.iter().find(|it| it.name == place.cluster)?;
            cluster.unread().map(ToOwned::to_owned)
        };
        let mut gone = false;
        let known = |fleet: &Fleet| {
            let Some(b) = fleet.backend(id) else {
                gone = true;
                return true;
            };
            b.live.read_at.is_some() || serves_nothing(b) || unread(fleet).is_some()
        };
        let known = self.until(READABLE * self.pace, known).await;
        if gone {
            return Err(unseen(id));
        }
        let fleet = self.seen();
        let coarse =
            |it: &Place| !it.serving.is_empty() && it.read_by.as_deref() == Some(FROM_PROMETHEUS);
        let place = fleet.as_ref().and_then(|it| it.backend(id)?.place.clone());
        if place.is_some_and(|it| coarse(&it)) {
            return Err(format!(
                "the pods of {id} are only read from Prometheus: what runs between two of its scrapes is not seen; --force goes on without"
            ));
        }
        let why = fleet.and_then(|fleet| unread(&fleet));
        match (known, why) {
            (Ok(()), None) => Ok(()),
            (_, why) => Err(format!(
                "whether the pods of {id} are idle is not known: {}; --force goes on without",
                why.unwrap_or_else(|| "their pages are not answered".to_owned())
            )),
        }
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

    /// Until nothing runs any more. What runs for too long is told, and waited for once more: an operator has that long to cut
    /// it or to take the drain back; then it is taken back.
    async fn until_idle(&self, plan: &Plan, step: &Step, id: &BackendId) -> Result<(), String> {
        let _read_first = self.attention.attend(id);
        self.readable(id).await?;
        let seen = self.seen();
        let place = seen
            .as_ref()
            .and_then(|it| it.backend(id)?.place.as_deref());
        let limit = place.map_or(DRAIN_PATIENCE, Place::patience);
        let limit = limit.to_std().unwrap_or_default();
        let mut gone = false;
        let mut idle = |fleet: &Fleet| {
            let Some(b) = fleet.backend(id) else {
                gone = true;
                return true;
            };
            match &b.state {
                State::Draining(drain) if drain.idle_reads >= 2 => true,
                // Where nothing serves nothing runs. Who is not ready may be too busy to say so: that one is asked.
                _ => serves_nothing(b),
            }
        };
        let mut done = self.until(limit, &mut idle).await;
        if let (Err(()), Some(n @ 1..)) = (&done, self.runs(id)) {
            let seconds = limit.as_secs();
            let run = if n == 1 {
                "request still runs"
            } else {
                "requests still run"
            };
            let words = format!("{n} {run} after {seconds} s: taken back in {seconds} s more");
            self.report(plan, words, Some(step), true).await;
            done = self.until(limit, idle).await;
        }
        if gone {
            return Err(unseen(id));
        }
        if done.is_ok() {
            return Ok(());
        }
        let fleet = self.seen();
        let b = fleet.as_ref().and_then(|it| it.backend(id));
        let unread = b.and_then(|b| b.live.error.clone());
        let seconds = limit.as_secs();
        Err(match self.runs(id) {
            Some(1) => format!(
                "1 request still runs on {id} after {} s; --force cuts it",
                2 * seconds
            ),
            Some(n) if n > 1 => format!(
                "{n} requests still run on {id} after {} s; --force cuts them",
                2 * seconds
            ),
            Some(_) => format!(
                "whether the pods of {id} are idle is not known: they were not read often enough within {seconds} s; --force goes on without"
            ),
            None => format!(
                "whether the pods of {id} are idle is not known: {}; --force goes on without",
                unread.unwrap_or_else(|| "they cannot be read".to_owned())
            ),
        })
    }

    /// Requests that run on it, where its pods say so.
    fn runs(&self, id: &BackendId) -> Option<u32> {
        let seen = self.seen();
        let b = seen.as_ref()?.backend(id)?;
        b.live.running.filter(|_| b.live.error.is_none())
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

/// Whether it is known that no request can run on it.
fn serves_nothing(b: &Backend) -> bool {
    b.place.as_ref().is_some_and(|it| it.serving.is_empty())
}

/// One that is gone from the picture may run all the same.
fn unseen(id: &BackendId) -> String {
    format!("{id} is not seen any more: whether anything runs on it is not known")
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
