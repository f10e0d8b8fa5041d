//! Events: the cluster's own eyes see what was done. They expire; the annotation is the record.

use chrono::Utc;
use http::Method;
use serde_json::json;

use super::Failure;
use crate::cluster::Api;
use crate::fleet::cluster::LONGEST_NAME;
use crate::fleet::cluster::object::{Kind, collection};
use crate::fleet::cluster::plan::{MANAGER, Plan};

/// The longest note that the API takes, bytes.
const NOTE: usize = 1024;
/// The longest name of who tells.
const TELLER: usize = 128;

/// An operation of several steps began.
pub(super) async fn began(api: &Api, plan: &Plan) {
    let reason = match &*plan.mark.op {
        "drain" => "FleetDrainStarted",
        "sleep" => "FleetSleepStarted",
        "undrain" => "FleetUndrainStarted",
        _ => "FleetWakeRequested",
    };
    let note = format!("{} by {}", plan.mark.op, plan.mark.who());
    publish(api, plan, "Normal", reason, note).await;
}

/// An operation ended.
pub(super) async fn tell(api: &Api, plan: &Plan, failed: Option<&Failure>) {
    let op = &*plan.mark.op;
    let by = plan.mark.who();
    let (kind, reason, note) = match (failed, op) {
        (Some(failure), _) => {
            let reason = if failure.taken_back {
                "FleetRolledBack"
            } else {
                "FleetFailed"
            };
            ("Warning", reason, format!("{op} by {by}: {}", failure.why))
        }
        (None, "wake") => ("Normal", "FleetWoken", format!("woken by {by}")),
        (None, "drain") => ("Normal", "FleetDrained", format!("drained by {by}")),
        (None, "undrain") => (
            "Normal",
            "FleetUndrained",
            format!("back in service by {by}"),
        ),
        (None, "sleep") => ("Normal", "FleetSlept", format!("put to sleep by {by}")),
        (None, "pin") => (
            "Normal",
            "FleetPinned",
            format!("pinned{} by {by}: {}", plan.mark.exact(), plan.mark.reason),
        ),
        (None, "unpin") => ("Normal", "FleetUnpinned", format!("pin lifted by {by}")),
        (None, _) => (
            "Normal",
            "FleetWeightsChanged",
            format!("weights changed by {by}"),
        ),
    };
    publish(api, plan, kind, reason, note).await;
}

/// An event's name; with its suffix it may be no longer than any other.
fn name(about: &str, micros: i64) -> String {
    let suffix = format!(".{micros:x}");
    let about: String = about.chars().take(LONGEST_NAME - suffix.len()).collect();
    format!("{}{suffix}", about.trim_end_matches(['-', '.']))
}

async fn publish(api: &Api, plan: &Plan, kind: &str, reason: &str, note: String) {
    let now = Utc::now();
    let about = &plan.regarding;
    let mut regarding = json!({
        "apiVersion": about.api_version(),
        "kind": about.kind.word(),
        "namespace": about.namespace,
        "name": about.name,
    });
    if !plan.regarding_uid.is_empty() {
        regarding["uid"] = (*plan.regarding_uid).into();
    }
    let body = json!({
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {
            "name": name(&about.name, now.timestamp_micros()),
            "namespace": about.namespace,
        },
        "eventTime": now.to_rfc3339_opts(chrono::SecondsFormat::Micros, true),
        "reportingController": MANAGER,
        "reportingInstance": cut(&plan.mark.by, TELLER),
        "action": plan.mark.op,
        "reason": reason,
        "type": kind,
        "note": cut(&note, NOTE),
        "regarding": regarding,
    });
    let path = collection(Kind::Event, "v1", Some(&about.namespace));
    if let Err(fault) = api
        .send(
            Method::POST,
            &format!("{path}?fieldManager={MANAGER}"),
            &body,
        )
        .await
    {
        // The annotation is the record; an event is a courtesy.
        tracing::info!("no event of {}: {fault}", plan.mark.op);
    }
}

/// As much of a text as fits into so many bytes.
fn cut(text: &str, bytes: usize) -> &str {
    let mut ends = text.char_indices().map(|(at, c)| at + c.len_utf8());
    let end = ends.by_ref().take_while(|end| *end <= bytes).last();
    &text[..end.unwrap_or(0)]
}
