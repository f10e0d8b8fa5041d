//! Events: one stored thing that the server shows in two groups.

use serde_json::Value;

use super::resources::{self, Kind};

/// The names of the same value in `v1` and in `events.k8s.io/v1`.
const NAMES: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

/// The other face of an event kind.
pub(super) fn twin(kind: &Kind) -> Option<&'static Kind> {
    match (kind.group, kind.plural) {
        ("", "events") => resources::at("events.k8s.io", "v1", "events"),
        ("events.k8s.io", "events") => resources::at("", "v1", "events"),
        _ => None,
    }
}

/// An event under the names of the other group.
pub(super) fn convert(event: &Value, to: &Kind) -> Value {
    let mut out = event.clone();
    if let Some(map) = out.as_object_mut() {
        for (core, new) in NAMES {
            let (from, to) = if to.group.is_empty() {
                (new, core)
            } else {
                (core, new)
            };
            if let Some(value) = map.remove(*from) {
                map.insert((*to).to_owned(), value);
            }
        }
        map.insert("apiVersion".into(), to.api_version().into());
    }
    out
}
