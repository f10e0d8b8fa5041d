//! What a command will do in this fleet now, before it is sent.

use chrono::TimeDelta;
use serde::Serialize;

use super::Fleet;
use super::id::BackendId;
use super::message::Command;
use super::money::Usd;

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
}

/// What `command` will do in `fleet` now. Pure: nothing changes.
pub fn preview(fleet: &Fleet, command: &Command) -> Preview {
    let _ = (fleet, command);
    Preview::default()
}
