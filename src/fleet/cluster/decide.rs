//! From a command to a plan: what is refused, and which calls the rest becomes.

use chrono::{DateTime, Utc};

use super::PartState;
use super::busy;
use super::fixed;
use super::keda;
use super::mark::{Before, Mark};
use super::object::{Kind, Object};
use super::pin;
use super::place::{Autoscaler, Phase, Place};
use super::plan::{Plan, Step};
use super::rule::Rule;
use super::sleep;
use super::undrain::undrain;
use super::verify::{scaling, troubles, verify};
use super::wake;
use super::weigh::weights_now;
use crate::fleet::id::{BackendId, ModelId};
use crate::fleet::message::{Actor, Command, Refusal, RefusalKind};
use crate::fleet::wake::State;
use crate::fleet::{Backend, Fleet};

impl Fleet {
    /// What `command` does on its cluster.
    ///
    /// # Errors
    /// What stands in the way, and what to do.
    pub fn plan(&self, command: &Command, by: &Actor, now: DateTime<Utc>) -> Result<Plan, Refusal> {
        let (command, force) = match command {
            Command::Force { command } => (&**command, true),
            other => (other, false),
        };
        let mut plan = match command {
            Command::Wake { backend }
            | Command::Sleep { backend }
            | Command::Drain { backend }
            | Command::Undrain { backend }
            | Command::Pin { backend, .. }
            | Command::Unpin { backend } => {
                let (b, place) = self.placed(backend)?;
                let user = self.user_of(&place.cluster);
                let mut plan = begin(command, Some(backend), place, by, user, now);
                self.plan_backend(&mut plan, command, b, place, force)
                    .map_err(|(what, hint)| Refusal {
                        kind: RefusalKind::Refused,
                        what,
                        hint,
                    })?;
                if !plan.holds_lease && !force {
                    busy::nobody_else(command, b, place, by, now)?;
                }
                if let Some(tool) = &place.gitops {
                    plan.warnings
                        .push(format!("{tool} manages it and is likely to revert this"));
                }
                plan
            }
            Command::Weights { model, weights } => {
                self.plan_weights(model, weights, command, by, now, force)?
            }
            Command::Flip { model } => {
                let flipped = self.flipped(model);
                self.plan_weights(model, &flipped, command, by, now, force)?
            }
            Command::Undo | Command::Force { .. } => {
                return Err(refusal(
                    "there is nothing to plan",
                    "ask for one thing at a time",
                ));
            }
        };
        self.permitted(&plan)?;
        plan.warnings.extend(self.left_out(&plan));
        plan.warnings.extend(self.reverted(&plan));
        Ok(plan)
    }

    fn plan_backend(
        &self,
        plan: &mut Plan,
        command: &Command,
        b: &Backend,
        place: &Place,
        force: bool,
    ) -> Result<(), (String, String)> {
        several(place, force)?;
        let bare = force.then(|| without_router(plan, place)).flatten();
        let place = bare.as_ref().unwrap_or(place);
        let mut rules = self.rules_to(&b.id, place);
        if matches!(command, Command::Sleep { .. } | Command::Drain { .. }) {
            if !force {
                fixed::weightless(&rules, &b.id)?;
            }
            rules.retain(|it| it.fixed.is_none());
        }
        let healthy = |id: &BackendId| self.backend(id).is_some_and(|it| it.takes_traffic());
        match command {
            Command::Wake { .. } => {
                if let (Phase::Broken { reason }, false) = (&place.phase, force) {
                    if place.pods == 0 {
                        let hint = "mend that: it is tried again by itself, at once after a sleep";
                        return Err((format!("it is asked for already: {reason}"), hint.into()));
                    }
                    return Err((
                        format!("its pods are there and fail: {reason}"),
                        "mend that, and delete the pod to have it tried at once".into(),
                    ));
                }
                plan.warnings.extend(troubles(b, place, &rules));
                let left = unfinished(b, place, &rules, "wake");
                plan.mark.prev.min = left.and_then(|mark| mark.prev.min);
                wake::wake(plan, b, place, wakes_to(place), b.pin.is_none())?;
                // Under a lease somebody waits anyway; the autoscaler has it back once it answers.
                verify(plan, place);
                scaling(plan, place);
                Ok(())
            }
            Command::Sleep { .. } => {
                if !force && let Some(rule) = rules.iter().find(|it| has_weight(it, &b.id)) {
                    return Err((
                        format!("it still has weight in {}", rule.route),
                        "drain it (d): that takes the weight off first".into(),
                    ));
                }
                if sleep::waits(place, force) {
                    plan.holds_lease = true;
                    plan.then(Step::Idle);
                }
                pin::lift(plan, b, place, false);
                if !force && let Some(why) = self.routes_unknown(place) {
                    return Err((
                        format!("whether anything leads to it is not known: {why}"),
                        "ask for a role like examples/kubernetes/read-only.yaml, or wait until the routes are followed again; or use --force".into(),
                    ));
                }
                sleep::to_zero(plan, place, force)?;
                sleep::ended(plan, place);
                Ok(())
            }
            Command::Drain { .. } => {
                before_drain(plan, b, place, &rules);
                sleep::drain(plan, b, place, &rules, healthy, force)
            }
            Command::Undrain { .. } => undrain(plan, b, place, &rules),
            Command::Pin {
                until,
                exactly,
                reason,
                ..
            } => {
                plan.mark.until = *until;
                plan.mark.exactly = *exactly;
                plan.mark.reason.clone_from(reason);
                let keep = exactly.unwrap_or_else(|| wakes_to(place).max(place.ready));
                // A pin that is renewed ends where the first one began.
                let pinned = place.pin.as_ref();
                plan.mark.prev =
                    pinned.map_or_else(|| pin::before(place), |mark| mark.prev.clone());
                pin::pin(plan, place, keep)?;
                // KEDA itself goes to the number that it holds; but it wakes no engine that sleeps in its pod.
                if (exactly.is_none() || b.naps())
                    && matches!(b.state, State::Asleep { .. } | State::Failed(_))
                {
                    pin::wake_up(plan, b, place, keep)?;
                }
                Ok(())
            }
            Command::Unpin { .. } => {
                pin::unpin(plan, place, false);
                Ok(())
            }
            Command::Weights { .. }
            | Command::Flip { .. }
            | Command::Undo
            | Command::Force { .. } => Ok(()),
        }
    }

    /// The rules that lead to backends of a model.
    pub fn rules_of(&self, model: &ModelId) -> impl Iterator<Item = &Rule> {
        self.model(model)
            .into_iter()
            .flat_map(|it| it.routes.iter())
    }

    /// The rules of its cluster that lead to a backend, whatever model they are for: it may answer to several names.
    pub fn rules_to(&self, id: &BackendId, place: &Place) -> Vec<&Rule> {
        let all = self.models.iter().flat_map(|it| it.routes.iter());
        let leads = |rule: &&Rule| {
            let mut refs = rule.refs.iter();
            rule.cluster == place.cluster && refs.any(|it| it.backend.as_ref() == Some(id))
        };
        all.filter(leads).collect()
    }

    /// Why routes of its cluster may lead to it that are not seen; `None` where all of them are.
    fn routes_unknown(&self, place: &Place) -> Option<String> {
        let cluster = self.clusters.iter().find(|it| it.name == place.cluster)?;
        let routes = [Kind::HttpRoute, Kind::AiGatewayRoute].map(Kind::resource);
        let mut parts = cluster.parts.iter();
        parts.find_map(|it| match &it.state {
            _ if !routes.contains(&it.resource) => None,
            PartState::Followed | PartState::Absent => None,
            PartState::Loading => Some(format!("{} were not listed yet", it.resource)),
            PartState::Forbidden { why } | PartState::Stale { why, .. } => {
                Some(format!("{}: {why}", it.resource))
            }
        })
    }

    fn placed(&self, id: &BackendId) -> Result<(&Backend, &Place), Refusal> {
        let b = self.backend(id).ok_or_else(|| Refusal {
            kind: RefusalKind::NotFound,
            what: format!("no backend {id}"),
            hint: "the Fleet screen and `fleetctl status` list them".into(),
        })?;
        if b.place.is_none() && !b.is_hosted() {
            return Err(refusal(
                format!("nothing is known of the pods of {id} yet"),
                "wait until they were listed, or look at what may be seen (the header says it)",
            ));
        }
        let place = b.place.as_deref().ok_or_else(|| {
            refusal(
                format!("{id} is hosted"),
                "change its weight (r): it can neither wake, sleep nor be pinned",
            )
        })?;
        Ok((b, place))
    }
}

pub(super) fn refusal(what: impl Into<String>, hint: &str) -> Refusal {
    Refusal {
        kind: RefusalKind::Refused,
        what: what.into(),
        hint: hint.to_owned(),
    }
}

fn begin(
    command: &Command,
    backend: Option<&BackendId>,
    place: &Place,
    by: &Actor,
    user: Option<&str>,
    now: DateTime<Utc>,
) -> Plan {
    let of = backend.map_or("", |it| it.within(&place.cluster));
    let mut mark = marked(command, of, by, user, now);
    mark.prev = Before {
        replicas: Some(place.wanted),
        ..Before::default()
    };
    Plan {
        command: command.clone(),
        backend: backend.cloned(),
        cluster: place.cluster.clone(),
        steps: Vec::new(),
        mark,
        regarding: place.told_on().clone(),
        regarding_uid: place.uid.clone(),
        holds_lease: false,
        stands_from: None,
        kept_from: None,
        warnings: Vec::new(),
    }
}

///
/// `user`: who this program is to the cluster; it is written down where it is not the operator's own name.
pub(super) fn marked(
    command: &Command,
    of: &str,
    by: &Actor,
    user: Option<&str>,
    now: DateTime<Utc>,
) -> Mark {
    Mark {
        op: command.verb().to_owned(),
        of: of.to_owned(),
        by: by.name().to_owned(),
        user: user.filter(|it| *it != by.name()).map(Into::into),
        at: now,
        id: format!("{}-{:x}", by.name(), now.timestamp_micros()),
        ..Mark::default()
    }
}

/// Replicas that a wake asks for: as many as there were, at least one, at most what its autoscaler allows.
pub fn wakes_to(place: &Place) -> u32 {
    let before = place.mark.as_ref().and_then(|mark| mark.prev.replicas);
    let wanted = place.wanted.max(before.unwrap_or(0)).max(1);
    let wanted = if place.is_spread() { 1 } else { wanted };
    match &place.autoscaler {
        Autoscaler::Hpa { min, max, .. } | Autoscaler::Keda { min, max, .. } => {
            wanted.max(*min).min((*max).max(1))
        }
        Autoscaler::None | Autoscaler::Several(_) => wanted,
    }
}

fn several(place: &Place, force: bool) -> Result<(), (String, String)> {
    let Autoscaler::Several(all) = &place.autoscaler else {
        return Ok(());
    };
    if force {
        return Ok(());
    }
    let all: Vec<String> = all.iter().map(ToString::to_string).collect();
    Err((
        format!("more than one autoscaler has it: {}", all.join(", ")),
        "leave one of them; or use --force, and they may take it back".into(),
    ))
}

pub(super) fn has_weight(rule: &Rule, id: &BackendId) -> bool {
    let mut mine = rule
        .refs
        .iter()
        .filter(|it| it.backend.as_ref() == Some(id));
    mine.any(|it| it.share() > 0)
}

/// The mark of an operation of that kind that has begun and not ended.
fn unfinished<'a>(b: &Backend, place: &'a Place, rules: &[&'a Rule], op: &str) -> Option<&'a Mark> {
    let marks = rules.iter().filter_map(|rule| rule.mark.as_ref());
    let mine = |mark: &&Mark| mark.of == b.id.within(&place.cluster);
    let all: Vec<&Mark> = place
        .mark
        .as_ref()
        .into_iter()
        .chain(marks)
        .filter(mine)
        .collect();
    let newest = all.iter().max_by_key(|mark| mark.at).copied()?;
    let over = |mark: &&&Mark| mark.id == newest.id && !mark.is_open();
    (newest.op == op && all.iter().find(over).is_none()).then_some(newest)
}

/// What stands before a drain.
fn before_drain(plan: &mut Plan, b: &Backend, place: &Place, rules: &[&Rule]) {
    plan.mark.prev.weights = weights_now(rules, &b.id);
    if let Autoscaler::Hpa { down, .. } = &place.autoscaler {
        plan.mark.prev.policy = down.as_deref().map(Into::into);
    }
    if let Some(revision) = place.revision() {
        plan.mark.prev.annotations = wake::min_scale(revision);
    }
    if let Autoscaler::Keda { .. } = &place.autoscaler {
        plan.mark.prev.annotations = keda::before(place);
    }
    // One that takes over goes on from what stood before the first.
    if let Some(mark) = unfinished(b, place, rules, "drain") {
        plan.mark.prev = mark.prev.clone();
    }
}

/// The same for engines that are told themselves, whatever their router makes of it.
fn without_router(plan: &mut Plan, place: &Place) -> Option<Place> {
    let router = place.router.as_ref().filter(|_| place.naps)?;
    plan.warnings.push(format!(
        "{} is not told: it may send requests to who sleeps, or none to who woke",
        router.service
    ));
    Some(Place {
        router: None,
        ..place.clone()
    })
}

/// Whether the kind is operated as a whole by what owns it.
pub fn is_workload(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Deployment | Kind::StatefulSet | Kind::LeaderWorkerSet
    )
}

/// The longest name of an object.
pub const LONGEST_NAME: usize = 253;

/// The lease that says who operates a backend.
pub fn lease_of(plan: &Plan) -> Object {
    // By the backend's name, which stays the same whatever runs its pods now.
    let mut name = format!("fleetctl-{}", plan.mark.of.replace('/', "-"));
    if name.len() > LONGEST_NAME {
        let sum = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
            (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        name = format!(
            "{}-{sum:016x}",
            name[..LONGEST_NAME - 17].trim_end_matches(['-', '.'])
        );
    }
    Object::new(Kind::Lease, &plan.regarding.namespace, &name)
}
