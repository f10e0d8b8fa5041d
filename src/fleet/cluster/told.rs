//! What the marks on clusters tell of operations, from wherever they were carried out: as lines of the audit.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::mark::Mark;
use crate::fleet::Fleet;
use crate::fleet::message::{Actor, AuditEntry};

/// What a line ends in that a cluster told.
const FROM: &str = "(from the cluster)";

/// Who did what, in which second.
type Key<'a> = (&'a str, &'a str, i64);

impl Fleet {
    /// The audit with what the marks on clusters tell, oldest first. What this program wrote down itself stands there once.
    pub fn audit_with_marks(&self) -> Vec<Arc<AuditEntry>> {
        let mut all: Vec<Arc<AuditEntry>> = self.audit.iter().cloned().collect();
        if !self.is_on_clusters() {
            return all;
        }
        let mut told: Vec<AuditEntry> = Vec::new();
        for b in &self.backends {
            let Some(place) = b.place.as_deref() else {
                continue;
            };
            let marks = place.mark.iter().chain(place.pin.iter());
            told.extend(marks.map(|mark| line(mark, b.full_name())));
        }
        let rules = self.models.iter().flat_map(|it| it.routes.iter());
        let weights = rules.filter_map(|rule| rule.mark.as_ref());
        let weights = weights.filter(|it| matches!(&*it.op, "weights" | "flip"));
        told.extend(weights.map(|mark| line(mark, mark.of.clone())));
        let told: Vec<Arc<AuditEntry>> = told.into_iter().map(Arc::new).collect();
        // By who did what in which second: there may be thousands of marks.
        let mut known: HashMap<Key<'_>, Vec<DateTime<Utc>>> = HashMap::new();
        for it in &self.audit {
            known.entry(key(it, 0)).or_default().push(it.at);
        }
        for entry in &told {
            let near = (-1..=1).filter_map(|next| known.get(&key(entry, next)));
            let same = |at: &DateTime<Utc>| (*at - entry.at).abs() < TimeDelta::seconds(1);
            if !near.flatten().any(same) {
                known.entry(key(entry, 0)).or_default().push(entry.at);
                all.push(Arc::clone(entry));
            }
        }
        all.sort_by_key(|it| it.at);
        all
    }
}

fn key(it: &AuditEntry, next: i64) -> Key<'_> {
    (it.by.name(), &it.verb, it.at.timestamp() + next)
}

fn line(mark: &Mark, target: String) -> AuditEntry {
    let end = match (mark.undone, mark.done) {
        (true, _) => "rolled back",
        (false, true) => "done",
        (false, false) => "begun, and not ended",
    };
    let reason = if mark.reason.is_empty() {
        String::new()
    } else {
        format!(": {}", mark.reason)
    };
    AuditEntry {
        at: mark.at,
        by: Actor::Operator(mark.by.clone()),
        verb: mark.op.clone(),
        target,
        result: format!("{end}{reason} {FROM}"),
        bad: mark.undone,
    }
}
