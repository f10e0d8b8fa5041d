//! What was written to a cluster and what a fleet shows, as text: exact, but for times, versions and names that differ
//! from run to run.

use std::fmt::Write as _;

use fleetctl::fleet::cluster::place::{Autoscaler, Owner, Place};
use fleetctl::fleet::{Backend, Fleet};
use serde_json::Value;

use crate::fake_kube::Call;

/// One write: method, path and query, media type, body.
pub(crate) fn call(call: &Call) -> String {
    let known = |(k, v): &(String, String)| match &**k {
        // What a router makes of a pod's name.
        "id" => "id=<engine>".to_owned(),
        _ => format!("{k}={v}"),
    };
    let query: Vec<String> = call.query.iter().map(known).collect();
    let media = call.content_type.trim_start_matches("application/");
    let body = call.body.clone().map(masked).unwrap_or_default();
    let path = podless(&call.path);
    format!(
        "{} {path}?{} [{media}]\n    {body}",
        call.method,
        query.join("&")
    )
}

/// A path without what a pod is called: the end of the name that a ReplicaSet gives it.
fn podless(path: &str) -> String {
    let Some((of, pod)) = path.split_once("/pods/") else {
        return path.to_owned();
    };
    let (pod, rest) = pod.split_at(pod.find(':').unwrap_or(pod.len()));
    let mut parts: Vec<&str> = pod.rsplitn(3, '-').collect();
    parts.reverse();
    match parts[..] {
        [name, set, own] if set.len() == 10 && own.len() == 5 => {
            format!("{of}/pods/{name}-<set>-<own>{rest}")
        }
        _ => path.to_owned(),
    }
}

/// What is said, without the names of pods.
pub(crate) fn said(text: &str) -> String {
    let words: Vec<String> = text
        .split(' ')
        .map(|word| {
            let bare = word.trim_end_matches(':');
            podless(&format!("/pods/{bare}")).replacen("/pods/", "", 1) + &word[bare.len()..]
        })
        .collect();
    words.join(" ")
}

/// A body without what differs from run to run.
/// A text without its times: `at 12:34:56 UTC` is `at <now>`.
pub(crate) fn timeless(text: &str) -> String {
    match text.split_once(" UTC") {
        Some((before, after)) => {
            let said = before.trim_end_matches(|c: char| c.is_ascii_digit() || c == ':');
            format!("{said}<now>{}", timeless(after))
        }
        None => text.to_owned(),
    }
}

/// What was said without how long it is expected to take: that is learned from how long it took before.
pub(crate) fn unhurried(text: &str) -> String {
    let parts = text
        .split_once("about ")
        .and_then(|(before, rest)| Some((before, rest.split_once(" expected")?.1)));
    parts.map_or_else(
        || text.to_owned(),
        |(before, after)| format!("{before}about <time> expected{after}"),
    )
}

fn masked(mut body: Value) -> Value {
    mask("", &mut body);
    body
}

fn mask(key: &str, value: &mut Value) {
    match value {
        Value::Object(map) => {
            // A JSON patch names what it writes beside it.
            let path = map.get("path").and_then(Value::as_str).unwrap_or_default();
            let path = path
                .rsplit('/')
                .next()
                .unwrap_or_default()
                .replace("~1", "/");
            for (key, value) in map {
                let key = if key == "value" {
                    path.clone()
                } else {
                    key.clone()
                };
                mask(&key, value);
            }
        }
        Value::Array(all) => all.iter_mut().for_each(|it| mask(key, it)),
        Value::String(text) => match key {
            "resourceVersion" => *value = "<version>".into(),
            "acquireTime" | "renewTime" | "eventTime" | "at" => *value = "<now>".into(),
            "uid" => *value = "<uid>".into(),
            "id" | "holderIdentity" => {
                let who = text.rsplit_once('-').map_or("?", |(who, _)| who);
                *value = format!("{who}-<id>").into();
            }
            "note" => *value = said(text).into(),
            // The name of an event ends in when it was.
            "name" => {
                if let Some((of, when)) = text.rsplit_once('.')
                    && when.len() > 10
                {
                    *value = format!("{of}.<id>").into();
                }
            }
            "fleetctl.dev/op" | "fleetctl.dev/pin" => {
                let mut mark: Value = serde_json::from_str(text).unwrap();
                mask("", &mut mark);
                *value = mark;
            }
            _ => {}
        },
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Every backend and every rule as a fleet shows them.
pub(crate) fn fleet(fleet: &Fleet) -> String {
    let mut out = String::new();
    for b in fleet.backends.iter().filter(|b| !b.is_hosted()) {
        let _ = writeln!(out, "{}: {}", b.id, backend(b));
    }
    for model in &fleet.models {
        for rule in &model.routes {
            let share =
                |it: &fleetctl::fleet::cluster::rule::Ref| format!("{} {}", it.name, it.share());
            let refs: Vec<String> = rule.refs.iter().map(share).collect();
            let state = match &rule.programmed {
                Ok(()) => String::new(),
                Err(why) => format!(" ({why})"),
            };
            let _ = writeln!(
                out,
                "{} rule {} of {}: {}{state}",
                model.id,
                rule.at,
                rule.route,
                refs.join(", ")
            );
        }
    }
    out
}

pub(crate) fn backend(b: &Backend) -> String {
    let mut said = vec![b.state.word().to_owned()];
    if let Some(place) = b.place.as_deref() {
        said.push(format!(
            "wants {} and has {} ready of {} pods",
            place.wanted, place.ready, place.pods
        ));
        said.push(scaler(place));
        if let Owner::InferenceService { stopped: true, .. } = &place.owner {
            said.push("stopped".into());
        }
        if let Some(mark) = &place.mark {
            let done = match (mark.done, mark.undone) {
                (_, true) => ", taken back",
                (true, false) => "",
                (false, false) => ", not done",
            };
            said.push(format!("{} by {}{done}", mark.op, mark.by));
        }
        said.extend(place.trouble.as_ref().map(|it| it.what.to_string()));
    }
    said.extend(
        b.pin
            .as_ref()
            .map(|it| format!("pinned{} by {}", it.exact(), it.by)),
    );
    said.extend(b.drained.as_ref().map(|it| format!("drained by {}", it.by)));
    said.extend(b.doing.as_ref().map(|it| format!("doing: {it}")));
    said.join("; ")
}

fn scaler(place: &Place) -> String {
    let mut said = place.scaled_by();
    match &place.autoscaler {
        Autoscaler::Hpa {
            down: Some(down), ..
        } => {
            let _ = write!(said, " scaling down: {down}");
        }
        Autoscaler::Keda { set, .. } => {
            for (key, value) in set {
                let _ = write!(said, " {key}={value}");
            }
        }
        Autoscaler::None | Autoscaler::Hpa { .. } | Autoscaler::Several(_) => {}
    }
    said
}
