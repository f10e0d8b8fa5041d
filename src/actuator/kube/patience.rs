//! Trying again: an API server that is unwell for a moment is no reason to take back what was done.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::running::Turn;
use super::{Hand, LEFT, REPLACED, over};
use crate::cluster::Fault;
use crate::fleet::cluster::plan::{Plan, Step};

/// How long one step is tried again. What is done under a lease ends earlier where the lease cannot be kept.
const LONGEST: Duration = Duration::from_secs(60);
/// Between the first try and the second; doubled from try to try.
const FIRST: Duration = Duration::from_millis(500);
/// The longest between two tries, unless the server asks for more.
const MOST: Duration = Duration::from_secs(5);
/// What a server may ask for (`Retry-After`); more than that is no hiccup.
const ASKED: Duration = Duration::from_secs(30);

/// Why something was not done.
#[derive(Clone, Debug)]
pub(super) enum Undone {
    /// That is how it is.
    Fault(Fault),
    /// It might pass, and did not for so long that nobody waits any more.
    Worn(Fault),
    /// An engine did not take it, and why.
    Engine(String),
    /// It waited to be tried again when this program was told to end, or somebody wanted something else.
    Stopped(&'static str),
}

impl From<Fault> for Undone {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// What was seen of a step when it was tried before: its answer may have been lost on the way.
#[derive(Debug, Default)]
pub(super) struct Tried {
    /// It was tried before: it may have been done.
    pub again: bool,
    /// A write was sent, and nothing said whether it was done.
    pub unsure: bool,
    /// What somebody set meanwhile, which was left as it is.
    pub left: Vec<String>,
    /// The replicas that were read first.
    pub replicas: Option<serde_json::Value>,
}

/// How long one step is tried again.
pub(super) struct Patience<'a> {
    hand: &'a Hand,
    plan: &'a Plan,
    step: Option<&'a Step>,
    turn: Option<&'a Turn>,
    ends: Instant,
    next: Duration,
    /// The API server was only starting when it forbade something.
    starting: bool,
}

impl Hand {
    /// For one step of a plan; without a step for what has to come before the first.
    pub(super) fn patience<'a>(
        &'a self,
        plan: &'a Plan,
        step: Option<&'a Step>,
        turn: Option<&'a Turn>,
    ) -> Patience<'a> {
        Patience {
            hand: self,
            plan,
            step,
            turn,
            ends: Instant::now() + LONGEST / self.pace,
            next: FIRST,
            starting: false,
        }
    }
}

impl Patience<'_> {
    /// Waits until it is time to try again after `fault`, and says so meanwhile.
    ///
    /// # Errors
    /// Where another try would not help, or nobody waits for it any more.
    pub(super) async fn after(&mut self, fault: Fault) -> Result<(), Undone> {
        if !fault.passes() && !self.may_be_allowed(&fault).await {
            return Err(Undone::Fault(fault));
        }
        let left = self.ends.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Undone::Worn(fault));
        }
        let asked = match fault {
            Fault::Busy(asked) => asked.unwrap_or_default().min(ASKED),
            _ => Duration::ZERO,
        };
        let wait = (self.next.max(asked) / self.hand.pace).min(left);
        self.next = (self.next * 2).min(MOST);
        let words = match self.step {
            Some(step) => step.words(),
            None => "hold its lease".to_owned(),
        };
        let left = (left * self.hand.pace).as_secs_f64().ceil();
        let words = format!("{words}: {}: tried again for {left} s", brief(&fault));
        self.hand.say(self.plan, words, self.step).await;
        if matches!(fault, Fault::Stranger(_) | Fault::Login(_)) {
            self.hand.api.renew().await;
        }
        tokio::select! {
            () = sleep(wait) => {}
            () = self.hand.shutdown.cancelled() => return Err(Undone::Stopped(LEFT)),
            () = over(self.turn) => return Err(Undone::Stopped(REPLACED)),
        }
        Ok(())
    }

    /// Whether something was forbidden by a server that only starts, and has not read its roles yet: one more try once it
    /// is ready.
    async fn may_be_allowed(&mut self, fault: &Fault) -> bool {
        if !matches!(fault, Fault::Forbidden(_)) {
            return false;
        }
        let before = std::mem::replace(&mut self.starting, self.hand.api.is_starting().await);
        self.starting || before
    }
}

/// A fault that may pass, in few words.
fn brief(fault: &Fault) -> String {
    match fault {
        Fault::Away(why) => format!("the API server does not answer ({why})"),
        Fault::Forbidden(why) => format!("the API server only starts ({why})"),
        other => other.to_string(),
    }
}

/// How long it was tried again, in words.
pub(super) fn tried() -> String {
    format!("; it was tried again for {} s", LONGEST.as_secs())
}
