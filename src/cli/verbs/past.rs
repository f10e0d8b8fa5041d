//! What happened: who did what, and what a cluster tells of what serves.

use std::sync::Arc;

use anyhow::Result;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::super::exit::{Ended, Kind};
use super::super::kube::{Happened, Open};
use super::{Output, names, table};
use crate::cluster::Fault;
use crate::fleet::{Actor, AuditEntry, Fleet};

/// An operation that was told of longer after it was asked for is another one.
const LONGEST: TimeDelta = TimeDelta::hours(1);

/// Shows who did what, from wherever.
pub(super) async fn audit(
    fleet: &Fleet,
    clusters: Option<&Open>,
    number: usize,
    output: Output,
) -> Result<()> {
    let mut all = fleet.audit_with_marks();
    if let Some(clusters) = clusters {
        match clusters.events(fleet, None).await {
            Ok(events) => take_in(&mut all, &events),
            Err(why) => tracing::warn!("no events: {why}"),
        }
    }
    let newest = &all[all.len().saturating_sub(number)..];
    if output == Output::Json {
        return table::document(json!({"audit": newest}));
    }
    let rows: Vec<Vec<String>> = newest
        .iter()
        .map(|entry| {
            vec![
                clock(entry.at),
                entry.by.name().to_owned(),
                entry.verb.clone(),
                entry.target.clone(),
                entry.result.clone(),
            ]
        })
        .collect();
    table::print(&["TIME", "WHO", "WHAT", "TO", "RESULT"], &rows)
}

/// Adds what events tell of operations that stand nowhere else.
fn take_in(all: &mut Vec<Arc<AuditEntry>>, events: &[Happened]) {
    let mut known: Vec<Arc<AuditEntry>> = all.clone();
    for event in events {
        let Some((by, verb)) = &event.done else {
            continue;
        };
        if event.reason.ends_with("Started") || event.reason.ends_with("Requested") {
            continue;
        }
        // Its end is told of the one that was asked for last.
        let same = known.iter().rposition(|it| {
            let after = event.at - it.at;
            it.by.name() == by
                && it.verb == *verb
                && after >= TimeDelta::seconds(-1)
                && after < LONGEST
        });
        if let Some(at) = same {
            known.remove(at);
            continue;
        }
        all.push(Arc::new(AuditEntry {
            at: event.at,
            by: Actor::Operator(by.clone()),
            verb: verb.clone(),
            target: format!("{}/{}", event.namespace, event.about.1),
            result: format!("{} (from the cluster)", event.note),
            bad: event.bad,
        }));
    }
    all.sort_by_key(|it| it.at);
}

/// Shows what happened to a backend.
pub(super) async fn events(
    fleet: &Fleet,
    clusters: Option<&Open>,
    backend: &str,
    output: Output,
) -> Result<()> {
    let b = names::backend(fleet, backend)?;
    let mut rows: Vec<(DateTime<Utc>, [String; 3])> = Vec::new();
    if let (Some(clusters), Some(place)) = (clusters, b.place.as_deref()) {
        let told = clusters.events(fleet, Some(place)).await;
        let told = told.map_err(|fault| {
            let kind = match fault {
                Fault::Forbidden(_) => Kind::Refused,
                _ => Kind::Failed,
            };
            Ended::new(kind, format!("no events of {}: {fault}", b.id), "")
        })?;
        let told = told.into_iter().filter(|it| it.done.is_none());
        rows.extend(told.map(|it| {
            let about = format!("{}/{}", it.about.0, it.about.1);
            (it.at, [it.reason, about, it.note])
        }));
    }
    let mine = b.full_name();
    let audit = fleet.audit_with_marks();
    let audit = audit.iter().filter(|it| it.target == mine);
    rows.extend(audit.map(|it| {
        let by = format!("by {}", it.by.name());
        (it.at, [it.verb.clone(), by, it.result.clone()])
    }));
    rows.sort_by_key(|(at, _)| *at);
    if output == Output::Json {
        let told: Vec<_> = rows
            .iter()
            .map(|(at, [what, about, note])| {
                json!({"at": at, "what": what, "about": about, "note": note})
            })
            .collect();
        return table::document(json!({"backend": b.id, "events": told}));
    }
    let rows: Vec<Vec<String>> = rows
        .into_iter()
        .map(|(at, [what, about, note])| vec![clock(at), what, about, note])
        .collect();
    table::print(&["TIME", "WHAT", "ABOUT", "NOTE"], &rows)
}

/// A time of today, a day and a time before that.
fn clock(at: DateTime<Utc>) -> String {
    let (at, now) = (at.with_timezone(&chrono::Local), chrono::Local::now());
    let form = if at.date_naive() == now.date_naive() {
        "%H:%M:%S"
    } else {
        "%b %d %H:%M:%S"
    };
    at.format(form).to_string()
}
