//! Which backends the table shows, and in which order.

use std::cmp::Ordering;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::fleet::{Backend, BackendId, State};
use crate::tui::app::{App, Column};

/// The visible backends in the order of the table.
pub fn visible_order(app: &App) -> Vec<BackendId> {
    visible(app).into_iter().map(|b| b.id.clone()).collect()
}

/// The same, whole. The default order groups by model; every other one is flat.
pub(super) fn visible(app: &App) -> Vec<&Arc<Backend>> {
    let wanted = app.filter.to_lowercase();
    let mut all: Vec<_> = app
        .fleet
        .backends
        .iter()
        .filter(|b| wanted.is_empty() || matches(b, &wanted))
        .collect();
    let now = app.fleet.now;
    let flip = |o: Ordering| if app.sort.descending { o.reverse() } else { o };
    match app.sort.column {
        Column::Backend if !app.sort.descending => {}
        Column::Backend | Column::Cluster => all.sort_by(|a, b| b.id.cmp(&a.id)),
        Column::State => all.sort_by(|a, b| flip(rank(a).cmp(&rank(b)))),
        Column::Pin => all.sort_by_key(|b| b.pin.is_none()),
        column => all.sort_by(
            |a, b| match (figure(a, column, now), figure(b, column, now)) {
                (Some(a), Some(b)) => flip(a.total_cmp(&b)),
                // Unknown goes last whichever way.
                (None, None) => Ordering::Equal,
                (None, Some(_)) => Ordering::Greater,
                (Some(_), None) => Ordering::Less,
            },
        ),
    }
    all
}

/// Whether rows stand under their models.
pub(super) fn grouped(app: &App) -> bool {
    app.sort.column == Column::Backend && !app.sort.descending
}

fn matches(b: &Backend, wanted: &str) -> bool {
    let contains = |text: &str| text.to_lowercase().contains(wanted);
    contains(b.id.as_str())
        || contains(b.model.as_str())
        || b.state.word().contains(wanted)
        || stage(b).is_some_and(|word| word.contains(wanted))
        || (b.is_hosted() && "hosted".contains(wanted))
        || (b.unfinished().is_some() && "unfinished".contains(wanted))
}

/// The word that stands in the state cell of a waking backend.
fn stage(b: &Backend) -> Option<&'static str> {
    match &b.state {
        State::Waking(wake) => Some(wake.current()?.stage.word()),
        State::Unknown { .. }
        | State::Asleep { .. }
        | State::Warm { .. }
        | State::Draining(_)
        | State::Failed(_)
        | State::Ready { .. }
        | State::Limited { .. }
        | State::Down { .. } => None,
    }
}

/// Worst first.
fn rank(b: &Backend) -> u8 {
    match b.state.word() {
        "failed" | "down" => 0,
        _ if b.unfinished().is_some() => 0,
        "waking" => 1,
        "draining" | "limited" => 2,
        "unknown" => 3,
        "warm" | "ready" => 4,
        _ => 5,
    }
}

/// What the column shows, as a number to order by.
fn figure(b: &Backend, column: Column, now: DateTime<Utc>) -> Option<f64> {
    match column {
        Column::Backend | Column::Cluster | Column::State | Column::Pin => None,
        Column::Weight => Some(f64::from(b.weight)),
        Column::Requests => b.live.requests_per_s,
        Column::Running => b.live.running.map(f64::from),
        // What is held here counts before what waits in the engine, as in the cell.
        Column::Waiting if b.live.held > 0 => Some(f64::from(b.live.held)),
        Column::Waiting => b.live.waiting.map(f64::from),
        Column::Ttft => b.live.ttft_p50,
        Column::Tokens => b.live.tokens_per_s,
        Column::Gpu => b.live.gpu,
        Column::Kv => b.live.kv,
        Column::Rate => b.burn(now).map(crate::fleet::Usd::as_f64),
        Column::Realised => b.ledger.per_million_output().map(crate::fleet::Usd::as_f64),
    }
}
