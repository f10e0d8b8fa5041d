//! What the marks on clusters tell of operations, from wherever they were carried out: as lines of the audit.

use std::sync::Arc;

use chrono::TimeDelta;

use super::mark::Mark;
use crate::fleet::Fleet;
use crate::fleet::message::{Actor, AuditEntry};

/// What a line ends in that a cluster told.
const FROM: &str = "(from the cluster)";

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
        for entry in told {
            let same = |it: &Arc<AuditEntry>| {
                it.by.name() == entry.by.name()
                    && it.verb == entry.verb
                    && (it.at - entry.at).abs() < TimeDelta::seconds(1)
            };
            if !all.iter().any(same) {
                all.push(Arc::new(entry));
            }
        }
        all.sort_by_key(|it| it.at);
        all
    }
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
