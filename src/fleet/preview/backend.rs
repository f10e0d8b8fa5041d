//! What happens to one backend, in sentences.

use chrono::TimeDelta;

use super::Preview;
use crate::fleet::Fleet;
use crate::fleet::backend::{Backend, SleepWay};
use crate::fleet::machine::span;
use crate::fleet::message::Command;
use crate::fleet::wake::{State, Wake};

#[expect(
    clippy::too_many_lines,
    reason = "every sentence about one backend, in the order in which they are read"
)]
pub(super) fn tell(
    preview: &mut Preview,
    fleet: &Fleet,
    before: &Backend,
    then: &Backend,
    command: &Command,
) {
    let running = before.live.in_flight.max(before.live.running.unwrap_or(0));
    let stops = before.takes_traffic() && !then.takes_traffic();
    let sleeps =
        matches!(then.state, State::Asleep { .. }) && !matches!(before.state, State::Asleep { .. });
    if stops && let Some(facts) = before.self_hosted() {
        preview.affected = running;
        let grace = span(facts.grace);
        preview.what.push(match running {
            // Its own page alone would know.
            0 if before.place.is_some() && before.live.running.is_none() => {
                "How much runs on it is not known: its pods are not read".into()
            }
            0 => "Nothing runs on it now".into(),
            n => format!(
                "{n} running {} finish, cut after {grace} at most",
                if n == 1 {
                    "request may"
                } else {
                    "requests may"
                }
            ),
        });
        preview.expected = Some(if running == 0 {
            TimeDelta::zero()
        } else {
            facts.grace
        });
    }
    if let State::Waking(Wake { since, .. }) = &before.state
        && sleeps
    {
        preview.what.push(format!(
            "The wake is called off after {}",
            span(fleet.now - *since)
        ));
    }
    if sleeps {
        let next = then.estimate(fleet.now).map_or(String::new(), |e| {
            format!(
                "; the next wake takes about {} (p95 {})",
                span(e.left_median),
                span(e.left_p95)
            )
        });
        preview.what.push(match then.sleep_way() {
            SleepWay::Release => format!("Then it sleeps: machine released{next}"),
            SleepWay::Level1 | SleepWay::Level2 => {
                format!("Then it sleeps: GPU memory freed, the machine stays billed{next}")
            }
            SleepWay::Never => {
                "Nothing here can put its engine to sleep: it only gets no traffic".into()
            }
        });
        // What is drained is kept out, whatever still has weight there.
        let stays = !matches!(command.inner(), Command::Drain { .. });
        if stays && !fleet.is_on_clusters() && then.drained.is_none() && then.weight > 0 {
            preview
                .warnings
                .push("a request may wake it again; drain keeps it out".into());
        }
    }
    let up = matches!(
        before.state,
        State::Asleep { .. } | State::Failed(_) | State::Unknown { .. }
    ) && matches!(then.state, State::Warm { .. });
    if up {
        preview.what.extend(fleet.room_for(before));
        preview.expected = then.estimate(fleet.now).map(|e| e.whole());
        if let Some(estimate) = before.estimate(fleet.now) {
            let over_budget = before
                .self_hosted()
                .is_some_and(|f| estimate.left_p95 > f.budget);
            let known = if estimate.learned_from > 0 {
                let cache = match estimate.hot {
                    Some(true) => " with a hot compile cache",
                    Some(false) => " that had to compile",
                    None => "",
                };
                let n = estimate.learned_from;
                let wakes = if n == 1 { "wake" } else { "wakes" };
                format!("learned from {n} {wakes}{cache}")
            } else {
                "from the config".into()
            };
            preview.what.push(format!(
                "It wakes in about {} (p95 {}, {known})",
                span(estimate.left_median),
                span(estimate.left_p95)
            ));
            if over_budget {
                preview.warnings.push(format!(
                    "expected over its budget of {}",
                    before
                        .self_hosted()
                        .map_or(String::new(), |f| span(f.budget))
                ));
            }
        } else {
            preview
                .what
                .push("It wakes; how long that takes is not known yet".into());
        }
    }
    if let (Some(pin), None) = (&before.pin, &then.pin) {
        let until = pin.until.map_or_else(
            || "until lifted".into(),
            |t| format!("to {}", t.format("%H:%M")),
        );
        preview.warnings.push(format!(
            "pinned{} {until} by {} ({}): the pin is lifted",
            pin.exact(),
            pin.by,
            pin.reason
        ));
    }
    if let Some(pin) = &then.pin
        && before.pin != then.pin
    {
        let until = pin.until.map_or_else(
            || "until it is lifted".to_owned(),
            |t| format!("until {}", t.format("%a %H:%M")),
        );
        preview.what.push(match pin.exactly {
            Some(1) => format!("It stays at exactly 1 replica {until}"),
            Some(n) => format!("It stays at exactly {n} replicas {until}"),
            None if then.place.is_some() => {
                format!("It is kept at as many as there are, or more, {until}")
            }
            None => format!("It stays warm {until}: its idle timer rests, a crash is restarted"),
        });
    }
    let drains = matches!(command.inner(), Command::Drain { .. }) && before.place.is_some();
    if drains || then.drained.is_some() && before.drained.is_none() {
        preview
            .what
            .push("It stays out of service until it is undrained (u)".into());
    }
}
