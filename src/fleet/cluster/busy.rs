//! Whether somebody is at a backend already: what takes one call asks for no lease, and is not to cross what takes many.

use chrono::{DateTime, TimeDelta, Utc};

use super::decide::refusal;
use super::mark::Mark;
use super::place::Place;
use crate::fleet::message::{Actor, Command, Refusal};
use crate::fleet::{Backend, BackendId, Fleet};

/// What began longer ago and has not ended was left by somebody who is gone.
const AT_IT: TimeDelta = TimeDelta::minutes(30);

/// Refuses what would cross what somebody began on this backend and has not ended.
pub(super) fn nobody_else(
    command: &Command,
    b: &Backend,
    place: &Place,
    by: &Actor,
    now: DateTime<Utc>,
) -> Result<(), Refusal> {
    let Some(mark) = under_way(place, now) else {
        return Ok(());
    };
    // The same again takes it over; and one may change one's mind about a wake or a sleep.
    let own = mark.by == by.name() && matches!(&*mark.op, "wake" | "sleep");
    if mark.op == command.verb() || own {
        return Ok(());
    }
    Err(crossed(&b.id, mark))
}

impl Fleet {
    /// Refuses new weights for a backend whose weight somebody's drain or undrain holds.
    pub(super) fn nobody_weighs(
        &self,
        weights: &[(BackendId, u32)],
        now: DateTime<Utc>,
    ) -> Result<(), Refusal> {
        for (id, _) in weights {
            let place = self.backend(id).and_then(|b| b.place.as_deref());
            let mark = place.and_then(|it| under_way(it, now));
            if let Some(mark) = mark.filter(|it| matches!(&*it.op, "drain" | "undrain")) {
                return Err(crossed(id, mark));
            }
        }
        Ok(())
    }
}

fn under_way(place: &Place, now: DateTime<Utc>) -> Option<&Mark> {
    let mark = place.mark.as_ref()?;
    let many = matches!(&*mark.op, "drain" | "undrain" | "sleep" | "wake");
    (many && mark.is_open() && now - mark.at < AT_IT).then_some(mark)
}

fn crossed(id: &BackendId, mark: &Mark) -> Refusal {
    let since = mark.at.format("%H:%M:%S");
    let hint = match &*mark.op {
        "drain" => "undrain it (u) to take that back; wait for its end; or use --force",
        _ => "wait for its end; or use --force",
    };
    refusal(
        format!(
            "{} began to {} {id} at {since} UTC and has not ended",
            mark.by, mark.op
        ),
        hint,
    )
}
