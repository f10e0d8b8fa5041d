//! Pod logs.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, SubsecRound as _, TimeDelta, Utc};
use futures_util::stream;
use serde_json::Value;
use tokio::sync::watch;

use super::failure::{Answer, Failure, typed};
use super::inner::Inner;
use super::object::Key;
use super::request::{Request, Target};

/// Pod and container; a previous container's log is under its name with a `-` before.
type Place = (Key, String);

#[derive(Debug, Clone, Default)]
struct Log {
    lines: Vec<(DateTime<Utc>, String)>,
    over: bool,
}

/// What all containers have written.
#[derive(Debug, Default)]
pub(super) struct Logs {
    logs: HashMap<Place, watch::Sender<Log>>,
}

impl Logs {
    pub(super) fn append(&mut self, pod: &Key, container: &str, line: &str) {
        self.of(pod, container).send_modify(|log| {
            log.over = false;
            log.lines.push((Utc::now(), line.to_owned()));
        });
    }

    /// Those who follow now do not hear of it: the way to them is dead, and nobody says so.
    pub(super) fn append_unheard(&mut self, pod: &Key, container: &str, line: &str) {
        self.of(pod, container).send_if_modified(|log| {
            log.lines.push((Utc::now(), line.to_owned()));
            false
        });
    }

    /// A container starts again: what it wrote so far is its previous run's, and those who follow hear no more.
    pub(super) fn restart(&mut self, pod: &Key, container: &str) {
        let before = self.of(pod, container).send_replace(Log {
            lines: Vec::new(),
            over: true,
        });
        let previous = format!("-{container}");
        self.of(pod, &previous).send_replace(before);
    }

    fn of(&mut self, pod: &Key, container: &str) -> &watch::Sender<Log> {
        self.logs
            .entry((pod.clone(), container.to_owned()))
            .or_default()
    }

    /// Ends all who follow the logs of a pod.
    pub(super) fn end_pod(&mut self, pod: &Key) {
        for (_, log) in self.logs.iter().filter(|((p, _), _)| p == pod) {
            log.send_modify(|log| log.over = true);
        }
    }
}

/// The container whose log is meant.
fn container(pod: &Value, asked: &str) -> Result<String, Failure> {
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    let names: Vec<&str> = ["initContainers", "containers"]
        .iter()
        .filter_map(|list| pod["spec"][list].as_array())
        .flatten()
        .filter_map(|c| c["name"].as_str())
        .collect();
    let main: Vec<&str> = pod["spec"]["containers"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|c| c["name"].as_str())
        .collect();
    match (asked, main.as_slice()) {
        ("", [only]) => Ok((*only).to_owned()),
        ("", _) => Err(Failure::bad_request(format!(
            "a container name must be specified for pod {name}, choose one of: [{}]",
            main.join(" ")
        ))),
        (asked, _) if names.contains(&asked) => Ok(asked.to_owned()),
        (asked, _) => Err(Failure::bad_request(format!(
            "container {asked} is not valid for pod {name}"
        ))),
    }
}

/// Why a container has no log yet.
fn waiting(pod: &Value, container: &str) -> Option<String> {
    pod["status"]["containerStatuses"]
        .as_array()?
        .iter()
        .find(|s| s["name"] == container)
        .and_then(|s| s["state"]["waiting"]["reason"].as_str())
        .filter(|reason| {
            [
                "ContainerCreating",
                "ImagePullBackOff",
                "ErrImagePull",
                "PodInitializing",
            ]
            .contains(reason)
        })
        .map(str::to_owned)
}

/// Answers a request for a log.
pub(super) fn log(inner: &Arc<Inner>, request: &Request, target: &Target) -> Answer {
    let key = target.key();
    let pod = inner
        .store()
        .get(target.kind, &key)
        .ok_or_else(|| Failure::not_found(target.kind, &key.1))?
        .value();
    let container = container(&pod, request.param("container"))?;
    let since = match (request.param("sinceTime"), request.number("sinceSeconds")?) {
        ("", None) => None,
        ("", Some(seconds)) => Some(Utc::now() - TimeDelta::seconds(seconds as i64)),
        (text, _) => Some(
            DateTime::parse_from_rfc3339(text)
                .map_err(|e| Failure::bad_request(format!("sinceTime: {e}")))?
                .to_utc()
                // It is passed on to the kubelet as whole seconds.
                .trunc_subsecs(0),
        ),
    };
    let place = if request.on("previous") {
        format!("-{container}")
    } else {
        container.clone()
    };
    let mut receiver = inner.logs().of(&key, &place).subscribe();
    let log = receiver.borrow_and_update().clone();
    if request.on("previous") && log.lines.is_empty() {
        return Err(Failure::bad_request(format!(
            "previous terminated container \"{container}\" in pod \"{}\" not found",
            key.1
        )));
    }
    if log.lines.is_empty()
        && let Some(reason) = waiting(&pod, &container)
    {
        return Err(Failure::bad_request(format!(
            "container \"{container}\" in pod \"{}\" is waiting to start: {reason}",
            key.1
        )));
    }
    let stamps = request.on("timestamps");
    let fresh = log
        .lines
        .partition_point(|(at, _)| since.is_some_and(|s| *at < s));
    let tail = request
        .number("tailLines")?
        .map_or(usize::MAX, |n| n as usize);
    let from = fresh.max(log.lines.len().saturating_sub(tail));
    let first = text(&log, from, stamps);
    let told = log.lines.len();
    let follow = request.on("follow") && place == container;
    if !follow {
        return Ok(typed(200, "text/plain", first));
    }
    let state = (receiver, told, first, log.over);
    let body = stream::unfold(state, move |(mut receiver, told, first, over)| async move {
        if !first.is_empty() {
            return Some((
                Ok::<_, std::io::Error>(first),
                (receiver, told, Bytes::new(), over),
            ));
        }
        if over {
            return None;
        }
        receiver.changed().await.ok()?;
        let (chunk, told, over) = {
            let log = receiver.borrow_and_update();
            let again = log.lines.len() < told;
            (text(&log, told, stamps), log.lines.len(), log.over || again)
        };
        Some((Ok(chunk), (receiver, told, Bytes::new(), over)))
    });
    Ok(typed(200, "text/plain", Body::from_stream(body)))
}

fn text(log: &Log, from: usize, stamps: bool) -> Bytes {
    let lines = log.lines.get(from..).unwrap_or_default();
    let text: String = lines
        .iter()
        .map(|(at, line)| {
            if stamps {
                format!(
                    "{} {line}\n",
                    at.to_rfc3339_opts(SecondsFormat::Nanos, true)
                )
            } else {
                format!("{line}\n")
            }
        })
        .collect();
    text.into()
}
