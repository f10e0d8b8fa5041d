//! Events: what is told of pods and machines, as far as it says where a start stands.

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::meta::{Key, Meta};

/// An event, trimmed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "Raw")]
pub(in crate::source::kube) struct Event {
    pub meta: Meta,
    /// `Pod`, `Node`, …
    pub kind: Box<str>,
    pub regarding: Key,
    /// Which one of that name it regards: names are used again. Empty where it does not say.
    pub uid: Box<str>,
    pub reason: Box<str>,
    pub note: Box<str>,
    /// The cluster takes it for a warning.
    pub warning: bool,
    /// When it was seen last.
    pub at: Option<DateTime<Utc>>,
    /// When it was seen first.
    pub first: Option<DateTime<Utc>>,
}

/// Reasons that say something of a start.
const TELLING: [&str; 16] = [
    "FailedScheduling",
    "TriggeredScaleUp",
    "NotTriggerScaleUp",
    "Nominated",
    "Scheduled",
    "Pulling",
    "Pulled",
    "Failed",
    "BackOff",
    "Started",
    "Unhealthy",
    "Killing",
    "Evicted",
    "Preempted",
    "FailedMount",
    "FailedCreatePodSandBox",
];

impl Event {
    /// Whether it says something of a start.
    pub(in crate::source::kube) fn tells(&self) -> bool {
        *self.kind == *"Pod" && TELLING.contains(&&*self.reason)
    }

    /// Whether it regards that pod, and not a former one of its name.
    pub(in crate::source::kube) fn is_of(&self, pod: &Meta) -> bool {
        if self.uid.is_empty() {
            return self.at.is_none() || self.at >= pod.creation_timestamp;
        }
        self.uid == pod.uid
    }

    /// Whether it says that pods of a workload could not be made.
    pub(in crate::source::kube) fn refuses(&self) -> bool {
        matches!(
            (&*self.kind, &*self.reason),
            (
                "ReplicaSet" | "StatefulSet" | "LeaderWorkerSet",
                "FailedCreate"
            ) | ("Deployment", "ReplicaSetCreateError")
        )
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    metadata: Meta,
    #[serde(default)]
    regarding: Regarding,
    #[serde(default)]
    reason: Box<str>,
    #[serde(default)]
    note: Box<str>,
    #[serde(default, rename = "type")]
    sort: Box<str>,
    #[serde(default)]
    event_time: Option<DateTime<Utc>>,
    #[serde(default)]
    deprecated_first_timestamp: Option<DateTime<Utc>>,
    #[serde(default)]
    deprecated_last_timestamp: Option<DateTime<Utc>>,
    #[serde(default)]
    series: Option<Series>,
}

#[derive(Default, Deserialize)]
struct Regarding {
    #[serde(default)]
    kind: Box<str>,
    #[serde(default)]
    namespace: Box<str>,
    #[serde(default)]
    name: Box<str>,
    #[serde(default)]
    uid: Box<str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Series {
    #[serde(default)]
    last_observed_time: Option<DateTime<Utc>>,
}

impl From<Raw> for Event {
    fn from(raw: Raw) -> Self {
        let series = raw.series.and_then(|it| it.last_observed_time);
        Self {
            at: series
                .or(raw.deprecated_last_timestamp)
                .or(raw.event_time)
                .or(raw.metadata.creation_timestamp),
            first: (raw.deprecated_first_timestamp)
                .or(raw.event_time)
                .or(raw.metadata.creation_timestamp),
            uid: raw.regarding.uid,
            kind: raw.regarding.kind,
            regarding: Key {
                namespace: raw.regarding.namespace,
                name: raw.regarding.name,
            },
            reason: raw.reason,
            note: raw.note,
            warning: *raw.sort == *"Warning",
            meta: raw.metadata,
        }
    }
}
