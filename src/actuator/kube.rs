//! Operations on a cluster, carried out: step by step, taken back where one fails.
//!
//! What is decided is in [`crate::fleet::cluster`]; here it only happens. What a step waits for is read from the fleet's own
//! picture: nothing is asked of the cluster twice.

mod engines;
mod lease;
mod tell;
mod wait;

use std::sync::{Arc, OnceLock};

use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use self::lease::Lease;
use crate::clock::Clock;
use crate::cluster::{Api, Fault};
use crate::fleet::cluster::object::Object;
use crate::fleet::cluster::plan::{Edit, Plan, Planned, Step, scale};
use crate::fleet::{Fleet, Observation};

/// What is said of an operation that this program left.
const LEFT: &str = "left unfinished: any console shows it, takes it over (the same again) or rolls it back (undrain)";

/// How an operation did not work out.
#[derive(Clone, Debug)]
struct Failure {
    why: String,
    /// All that was done stands as before again.
    taken_back: bool,
}

impl Failure {
    fn standing(why: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            taken_back: false,
        }
    }
}

/// What operates one cluster.
#[derive(Clone)]
pub struct Hand {
    api: Api,
    /// For engines that are reached at their own addresses.
    http: reqwest::Client,
    clock: Clock,
    /// The fleet as it is seen; set when its owner starts.
    fleet: Arc<OnceLock<watch::Receiver<Arc<Fleet>>>>,
    out: Arc<OnceLock<mpsc::Sender<Observation>>>,
    /// The end of this program: what waits then is left as it is, for whoever takes over.
    shutdown: CancellationToken,
    /// How much shorter waits are: for tests.
    pace: u32,
}

impl Hand {
    /// One for the cluster behind `api`.
    pub fn new(api: Api, http: reqwest::Client, clock: Clock, shutdown: CancellationToken) -> Self {
        Self {
            api,
            http,
            clock,
            fleet: Arc::default(),
            out: Arc::default(),
            shutdown,
            pace: 1,
        }
    }

    /// With waits that are so many times shorter.
    #[must_use]
    pub fn paced(mut self, pace: u32) -> Self {
        self.pace = pace.max(1);
        self
    }

    /// The cluster's name.
    pub fn cluster(&self) -> &Arc<str> {
        self.api.name()
    }

    /// Says where the fleet is seen, and where progress is told.
    pub fn attach(&self, fleet: &watch::Receiver<Arc<Fleet>>, out: &mpsc::Sender<Observation>) {
        // A second owner would be a mistake of ours; the first one stays.
        let _ = self.fleet.set(fleet.clone());
        let _ = self.out.set(out.clone());
    }

    /// Has the cluster check every write of a plan, and changes nothing.
    ///
    /// # Errors
    /// What it would not take, and why.
    pub async fn rehearse(&self, plan: &Plan) -> Result<(), String> {
        for Planned { step, .. } in &plan.steps {
            match self.write(step, true).await {
                // That it may not be written down stops nothing.
                Err(Fault::Forbidden(_)) if only_tells(step) => {}
                done => done.map_err(|fault| told(step, &fault))?,
            }
        }
        Ok(())
    }

    /// Carries out a plan. What was done is taken back where a later step fails.
    ///
    /// # Errors
    /// What did not work out, why, and what was done about it.
    pub async fn operate(&self, plan: &Plan) -> Result<(), String> {
        let lease = if plan.holds_lease {
            let taken = Lease::take(&self.api, plan).await;
            Some(taken.map_err(|why| format!("{why}; nothing was changed"))?)
        } else {
            None
        };
        let result = match &lease {
            Some(lease) => tokio::select! {
                done = self.steps(plan) => done,
                by = lease.keep() => Err(Failure::standing(format!("{by} has taken it over; what was done stands"))),
            },
            None => self.steps(plan).await,
        };
        tell::tell(&self.api, plan, result.as_ref().err()).await;
        if let Some(lease) = lease {
            lease.give_back().await;
        }
        result.map_err(|failure| failure.why)
    }

    async fn steps(&self, plan: &Plan) -> Result<(), Failure> {
        if plan.holds_lease || plan.mark.op == "wake" {
            tell::began(&self.api, plan).await;
        }
        let mut done: Vec<&Step> = Vec::new();
        let mut late: Vec<String> = Vec::new();
        for (at, Planned { step, back }) in plan.steps.iter().enumerate() {
            self.say(plan, step).await;
            let result = if step.acts() {
                self.act(plan, step, back.as_ref()).await
            } else {
                tokio::select! {
                    // A step that waits has changed nothing: what stands is on the objects themselves.
                    () = self.shutdown.cancelled() => return Err(Failure::standing(LEFT)),
                    done = self.wait(plan, step) => done,
                }
            };
            // Without a lease nothing was held for it either: what was asked for stands.
            let stands = matches!(step, Step::Gone | Step::Ready)
                || matches!(step, Step::Answers) && !plan.holds_lease;
            if let (Err(why), true) = (&result, stands) {
                // The pods go on their way: to take it back now would be another change of mind.
                late.push(why.clone());
                break;
            }
            if let Err(why) = result {
                if only_tells(step) {
                    // That it could not be written down is no reason to take it back.
                    tracing::warn!("{}: {why}", step.words());
                    continue;
                }
                if plan.stands_from.is_some_and(|from| at >= from) {
                    late.push(why);
                    continue;
                }
                if plan.kept_from.is_some_and(|from| at >= from) {
                    let how = "what was done stands; the same again goes on from there";
                    return Err(Failure::standing(format!("{why}; {how}")));
                }
                return Err(self.take_back(plan, &done, why).await);
            }
            done.extend(back.as_ref());
        }
        if late.is_empty() {
            return Ok(());
        }
        let why = late.join("; ");
        Err(Failure::standing(format!("{why}; what was done stands")))
    }

    /// Takes back what was done, newest first.
    async fn take_back(&self, plan: &Plan, done: &[&Step], why: String) -> Failure {
        if done.is_empty() {
            return Failure::standing(format!("{why}; nothing was changed"));
        }
        let mut left = Vec::new();
        for step in done.iter().rev() {
            left.extend(self.act(plan, step, None).await.err());
        }
        if left.is_empty() {
            Failure {
                why: format!("{why}; all of it was taken back"),
                taken_back: true,
            }
        } else {
            let left = left.join("; ");
            Failure::standing(format!("{why}; this could not be taken back: {left}"))
        }
    }

    /// Carries out a step that changes something. `back`: what takes it back where only a part of it worked out.
    async fn act(&self, plan: &Plan, step: &Step, back: Option<&Step>) -> Result<(), String> {
        if let (Step::Post { path, body, .. }, Some(id)) = (step, &plan.backend) {
            let back = match back {
                Some(Step::Post { path, .. }) => Some(path.as_str()),
                _ => None,
            };
            let done = self.post(id, path, body.as_ref(), back).await;
            return done.map_err(|why| format!("{}: {why}", step.words()));
        }
        let done = self.write(step, false).await;
        done.map_err(|fault| told(step, &fault))
    }

    async fn write(&self, step: &Step, dry: bool) -> Result<(), Fault> {
        match step {
            Step::Scale { object, to, .. } => self.scale(object, *to, dry).await,
            Step::Weights { edit, .. } => self.weigh(edit, dry).await,
            Step::Merge { .. } => match step.write() {
                Some(write) => self.api.write(&write, dry).await.map(drop),
                None => Ok(()),
            },
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

    /// Replicas: read, then written with what was read as the guard. Somebody may write between the two: once more, where
    /// the number is still the one that was read first.
    async fn scale(&self, object: &Object, to: u32, dry: bool) -> Result<(), Fault> {
        let path = format!("{}/scale", object.path());
        let mut first: Option<(Value, String)> = None;
        loop {
            let now: Value = self.api.get(&path, None).await?;
            let version = now["metadata"]["resourceVersion"].as_str();
            let replicas = now["spec"]["replicas"].clone();
            if let Some((_, why)) = first.take_if(|(before, _)| *before != replicas) {
                // Where somebody wants the same there is nothing to fight about.
                let same = replicas.as_u64().unwrap_or(0) == u64::from(to);
                return if same {
                    Ok(())
                } else {
                    Err(Fault::Changed(why))
                };
            }
            match self.api.write(&scale(object, to, version), dry).await {
                Err(Fault::Changed(why)) if first.is_none() => first = Some((replicas, why)),
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

    fn seen(&self) -> Option<Arc<Fleet>> {
        self.fleet.get().map(|it| Arc::clone(&it.borrow()))
    }

    async fn say(&self, plan: &Plan, step: &Step) {
        let (Some(backend), Some(out)) = (plan.backend.clone(), self.out.get()) else {
            return;
        };
        let observation = Observation::Step {
            backend,
            words: step.words(),
            stopping: matches!(step, Step::Gone | Step::Napping { asleep: true }),
        };
        // The hub may have stopped meanwhile; then nobody is left to tell.
        let _ = out.send(observation).await;
        let _ = self.clock;
    }
}

/// Whether a step does nothing but write down who did something.
fn only_tells(step: &Step) -> bool {
    let Step::Merge { body, .. } = step else {
        return false;
    };
    let annotations = body["metadata"]["annotations"].as_object();
    body.as_object().is_some_and(|it| it.len() == 1)
        && annotations
            .is_some_and(|it| it.keys().all(|key| key == crate::fleet::cluster::mark::KEY))
}

fn told(step: &Step, fault: &Fault) -> String {
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

impl std::fmt::Debug for Hand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hand")
            .field("cluster", self.api.name())
            .finish_non_exhaustive()
    }
}
