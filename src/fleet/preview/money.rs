//! What a command does to the burn: of the backends that it concerns, whatever else has no price.

use std::sync::Arc;

use super::{Preview, models_of};
use crate::fleet::Fleet;
use crate::fleet::backend::Backend;
use crate::fleet::ledger::Minute;
use crate::fleet::live::WINDOW;
use crate::fleet::message::Command;
use crate::fleet::money::Usd;

/// The fleet's burn before and after: capacity by rate, hosted tokens by the model's demand of the last five minutes at list price.
pub(super) fn tell(preview: &mut Preview, fleet: &Fleet, after: &Fleet, command: &Command) {
    match change(preview, fleet, after, command) {
        Ok(change) => {
            let (now, partial) = fleet.burn_known();
            preview.burn = Some((now, now + change));
            preview.partial = partial;
        }
        Err(why) => preview.unpriced = Some(why),
    }
}

/// By how much the burn changes, or whose price is not known.
fn change(
    preview: &Preview,
    fleet: &Fleet,
    after: &Fleet,
    command: &Command,
) -> Result<Usd, String> {
    let mut change = Usd::ZERO;
    for (was, is) in fleet.backends.iter().zip(&after.backends) {
        // Who is left as it is costs what it costs.
        if Arc::ptr_eq(was, is) || was.state == is.state && was.place == is.place {
            continue;
        }
        let (Some(had), Some(has)) = (was.rate_now(), is.rate_now()) else {
            return Err(format!("the rate of {} is unknown", was.id));
        };
        change = change + has - had;
    }
    for model in models_of(fleet, command) {
        for b in fleet.backends_of(&model) {
            let Some((_, was, is)) = preview.shares.iter().find(|(id, ..)| *id == b.id) else {
                continue;
            };
            let Some(facts) = b.hosted() else {
                continue;
            };
            let Some(price) = facts.price else {
                return Err(format!("the price of {} is unknown", b.id));
            };
            let peers = fleet.peers(b);
            if let Some(blind) = peers.iter().find(|it| it.ledger.uncounted) {
                return Err(format!("nobody counts the tokens of {}", blind.id));
            }
            let (input, output) = demand(fleet, &peers);
            let part = |tokens: f64| (tokens * (is - was).abs()) as u64;
            let moved = price.of(part(input), 0, part(output));
            change = if is > was {
                change + moved
            } else {
                change - moved
            };
        }
    }
    Ok(change)
}

/// Tokens in and out per hour that clients ask of these, over the last five minutes.
fn demand(fleet: &Fleet, of: &[&Arc<Backend>]) -> (f64, f64) {
    let rows: Vec<&Minute> = of
        .iter()
        .flat_map(|b| {
            let rows = b.ledger.minutes.iter().rev();
            rows.take_while(|m| m.start > fleet.now - WINDOW)
        })
        .collect();
    let oldest = rows.iter().map(|m| m.start).min().unwrap_or(fleet.now);
    let hours = (fleet.now - oldest).num_milliseconds().max(15_000) as f64 / 3_600_000.0;
    let sum = |of: fn(&Minute) -> u64| rows.iter().map(|m| of(m)).sum::<u64>() as f64 / hours;
    (sum(|m| m.tokens_in), sum(|m| m.tokens_out))
}
