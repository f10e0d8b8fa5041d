//! Operations on a cluster, carried out: step by step, taken back where one fails.
//!
//! What is decided is in [`crate::fleet::cluster`]; here it only happens. What a step waits for is read from the fleet's own
//! picture: nothing is asked of the cluster twice.

mod engines;
mod lease;
mod may;
mod nudge;
mod patience;
mod quiet;
mod router;
mod running;
mod tell;
mod wait;
mod write;

use std::sync::{Arc, OnceLock};

use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use self::lease::Lease;
use self::patience::{Tried, Undone};
use self::running::{Running, Turn};
use self::write::{told, why_undone};
use crate::cluster::{Api, Attention, Fault, Reach};
use crate::fleet::cluster::plan::{Plan, Planned, Step};
use crate::fleet::{Fleet, Observation};

/// What is said of an operation that this program left.
const LEFT: &str = "left unfinished: any console shows it, takes it over (the same again) or rolls it back (undrain)";

/// What is said of one that another order of this console ended.
const REPLACED: &str = "ended for another order from here; what was done stands";

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
    /// The fleet as it is seen; set when its owner starts.
    fleet: Arc<OnceLock<watch::Receiver<Arc<Fleet>>>>,
    out: Arc<OnceLock<mpsc::Sender<Observation>>>,
    /// The end of this program: what waits then is left as it is, for whoever takes over.
    shutdown: CancellationToken,
    running: Running,
    /// Pods' own addresses lead to this cluster's pods and to no other's.
    direct: bool,
    /// Backends whose readings are waited for.
    attention: Attention,
    /// How much shorter waits are: for tests.
    pace: u32,
}

impl Hand {
    /// One for the cluster behind `api`.
    pub fn new(api: Api, http: reqwest::Client, shutdown: CancellationToken) -> Self {
        Self {
            api,
            http,
            fleet: Arc::default(),
            out: Arc::default(),
            shutdown,
            running: Running::default(),
            direct: false,
            attention: Attention::default(),
            pace: 1,
        }
    }

    /// With engines that are reached in that way.
    #[must_use]
    pub fn reaching(mut self, reach: Reach) -> Self {
        self.direct = reach.on(&self.api) == Reach::Direct;
        self
    }

    /// With a word to whoever reads engines of what is waited for.
    #[must_use]
    pub fn attending(mut self, attention: &Attention) -> Self {
        self.attention = attention.clone();
        self
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
        let mut made = false;
        for (at, Planned { step, .. }) in plan.steps.iter().enumerate() {
            made |= matches!(step, Step::Made { .. });
            match self.write(plan, at, true, &mut Tried::default()).await {
                // That it may not be written down stops nothing.
                Err(Fault::Forbidden(_)) if step.only_tells() => {}
                // What is made on the way is not there to be checked.
                Err(Fault::Absent(_)) if made => {}
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
        let turn = match &plan.backend {
            Some(id) => Some(self.running.next(id).await),
            None => None,
        };
        let lease = if plan.holds_lease {
            let taken = Lease::take(self, plan, turn.as_ref()).await;
            Some(taken.map_err(|why| format!("{why}; nothing was changed"))?)
        } else {
            None
        };
        let steps = self.steps(plan, lease.as_ref(), turn.as_ref());
        let result = match &lease {
            Some(lease) => tokio::select! {
                done = steps => done,
                why = lease.keep() => Err(Failure::standing(format!("{why}; what was done stands"))),
            },
            None => steps.await,
        };
        tell::tell(&self.api, plan, result.as_ref().err()).await;
        if let Some(lease) = lease {
            lease.give_back(self.pace).await;
        }
        result.map_err(|failure| failure.why)
    }

    async fn steps(
        &self,
        plan: &Plan,
        lease: Option<&Lease>,
        turn: Option<&Turn>,
    ) -> Result<(), Failure> {
        if plan.holds_lease || plan.mark.op == "wake" {
            tell::began(&self.api, plan).await;
        }
        // What an autoscaler does meanwhile is written down as what stood before.
        let mut own = plan.clone();
        let mut done: Vec<usize> = Vec::new();
        let mut late: Vec<String> = Vec::new();
        let mut waited = false;
        for at in 0..plan.steps.len() {
            let plan = &own;
            let step = &plan.steps[at].step;
            self.say(plan, step.words(), Some(step)).await;
            let mut tried = Tried::default();
            let result = if step.acts() {
                if std::mem::take(&mut waited)
                    && let Some(lease) = lease
                {
                    // It may have run out while a laptop slept.
                    lease
                        .is_held()
                        .await
                        .map_err(|why| Failure::standing(format!("{why}; what was done stands")))?;
                }
                match self.act(plan, at, &mut tried, turn).await {
                    // It waited to be tried again: it stands like any other wait.
                    Err(Undone::Stopped(why)) => return Err(Failure::standing(why)),
                    done => done.map_err(|why| why_undone(step, &why)),
                }
            } else {
                waited = true;
                // All of it is done: whoever wants something else of it need not wait for a cloud, or for Knative's window.
                let lasts =
                    *step == Step::Released || plan.mark.op == "sleep" && *step == Step::Gone;
                if let (true, Some(lease)) = (lasts, lease) {
                    lease.give_back(self.pace).await;
                }
                tokio::select! {
                    // A step that waits has changed nothing: what stands is on the objects themselves.
                    () = self.shutdown.cancelled() => return Err(Failure::standing(LEFT)),
                    () = over(turn) => return Err(Failure::standing(REPLACED)),
                    done = self.wait(plan, step) => done,
                }
            };
            let lasts = [Step::Gone, Step::Released, Step::Ready, Step::Scaling];
            let stands = lasts.contains(step);
            if let (Err(why), true) = (&result, stands) {
                // The pods go on their way: to take it back now would be another change of mind.
                late.push(why.clone());
                break;
            }
            if let Err(why) = result {
                if step.only_tells() {
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
                let unsure = tried.unsure.then_some(at);
                return Err(self.take_back(plan, &done, unsure, why, turn).await);
            }
            late.append(&mut tried.left);
            if step.acts() {
                done.push(at);
            }
            let before = tried.replicas.as_ref().and_then(Value::as_u64);
            let before = before.and_then(|it| u32::try_from(it).ok());
            if let (Step::Scale { to: 0, .. }, Some(before @ 1..)) = (step, before) {
                own.stood(at, before);
            }
        }
        if late.is_empty() {
            return Ok(());
        }
        let why = late.join("; ");
        Err(Failure::standing(format!("{why}; what was done stands")))
    }

    /// Takes back what was done, newest first: after the step that may have been done, where nothing said whether it was.
    async fn take_back(
        &self,
        plan: &Plan,
        done: &[usize],
        unsure: Option<usize>,
        mut why: String,
        turn: Option<&Turn>,
    ) -> Failure {
        if done.is_empty() && unsure.is_none() {
            return Failure::standing(format!("{why}; nothing was changed"));
        }
        let mut left = Vec::new();
        if let Some(at) = unsure {
            why.push_str("; it may have been done all the same");
            let Planned { step, back } = &plan.steps[at];
            if back.is_none() {
                left.push(format!("{} may stand", step.words()));
            }
            left.extend(self.take_back_one(plan, at, true, turn).await.err());
        }
        for at in done.iter().rev() {
            let Planned { step, back } = &plan.steps[*at];
            if back.is_none() && !step.only_tells() {
                left.push(format!("{} stands", step.words()));
            }
            left.extend(self.take_back_one(plan, *at, false, turn).await.err());
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

    fn seen(&self) -> Option<Arc<Fleet>> {
        self.fleet.get().map(|it| Arc::clone(&it.borrow()))
    }

    /// Tells what is done or waited for now: a step of the plan or what takes it back, or what comes before the first.
    async fn say(&self, plan: &Plan, words: String, step: Option<&Step>) {
        self.report(plan, words, step, false).await;
    }

    /// The same; `asks`: and that somebody has to decide.
    async fn report(&self, plan: &Plan, words: String, step: Option<&Step>, asks: bool) {
        let is = |it: &Planned| {
            let mut both = [Some(&it.step), it.back.as_ref()].into_iter().flatten();
            both.any(|it| step.is_some_and(|step| std::ptr::eq(it, step)))
        };
        let at = plan.steps.iter().position(is);
        let (Some(backend), Some(out)) = (plan.backend.clone(), self.out.get()) else {
            return;
        };
        let observation = Observation::Step {
            backend,
            words,
            step: at.map_or(0, |at| u32::try_from(at + 1).unwrap_or(u32::MAX)),
            of: u32::try_from(plan.steps.len()).unwrap_or(u32::MAX),
            stopping: matches!(
                step,
                Some(Step::Gone | Step::Released | Step::Napping { asleep: true, .. })
            ),
            asks,
        };
        // The hub may have stopped meanwhile; then nobody is left to tell.
        let _ = out.send(observation).await;
    }
}

/// Until another order replaces the one that has this turn; never, where nobody can.
async fn over(turn: Option<&Turn>) {
    match turn {
        Some(turn) => turn.is_over().await,
        None => std::future::pending().await,
    }
}

impl std::fmt::Debug for Hand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hand")
            .field("cluster", self.api.name())
            .finish_non_exhaustive()
    }
}
