//! What an operation does on a cluster, step by step: decided here, carried out by an actuator, shown before it runs.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::call::{Write, scale, told};
use super::edit::Edit;
use super::mark::{self, Mark};
use super::object::{Kind, Object};
use super::place::{Place, Router};
use crate::fleet::id::BackendId;
use crate::fleet::message::Command;

/// Who fleetctl is to the API: the field manager of every write.
pub const MANAGER: &str = "fleetctl";

/// Where a merge patch has the mark.
const MARKED: &str = "/metadata/annotations/fleetctl.dev~1op";

/// An operation: its steps in order, and how each is taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// What was asked for.
    pub command: Command,
    /// Whose backend it is, where it is about one.
    pub backend: Option<BackendId>,
    /// On which cluster.
    pub cluster: std::sync::Arc<str>,
    /// In order.
    pub steps: Vec<Planned>,
    /// What is written on what is changed.
    pub mark: Mark,
    /// What events are told of.
    pub regarding: Object,
    /// Its own, where it is known.
    #[serde(default)]
    pub regarding_uid: Box<str>,
    /// It waits between its steps: a lease says who does it.
    pub holds_lease: bool,
    /// From this step on nothing is taken back any more: its pods end.
    #[serde(default)]
    pub stands_from: Option<usize>,
    /// From this step on a failure leaves what was done as it is, unfinished: the same again goes on from there.
    #[serde(default)]
    pub kept_from: Option<usize>,
    /// What to think about twice.
    pub warnings: Vec<String>,
}

/// A step and what takes it back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// What is done.
    pub step: Step,
    /// What takes it back, where something does.
    pub back: Option<Step>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum Step {
    /// A JSON merge patch.
    Merge {
        /// Of what.
        object: Object,
        /// The patch.
        body: Value,
        /// In a few words.
        why: String,
    },
    /// Replicas, through the scale subresource: read, then written back with what was read as the guard.
    Scale {
        /// Of what.
        object: Object,
        /// To how many.
        to: u32,
        /// How many there were when it was looked at, where nobody but people changes that: else it is not done.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<u32>,
        /// In a few words.
        why: String,
    },
    /// Weights of a route: a JSON patch that holds only for the route as it was read.
    Weights {
        /// Which.
        edit: Box<Edit>,
        /// In a few words.
        why: String,
    },
    /// An order to the engine in every ready pod.
    Post {
        /// The path, with its query.
        path: String,
        /// What is sent, as JSON.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body: Option<Value>,
        /// By way of this router, which knows engines by their ids.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        via: Option<Router>,
        /// In a few words.
        why: String,
    },
    /// Waits until every engine says that it sleeps, or that it does not.
    Napping {
        /// Which of the two.
        asleep: bool,
        /// And until this router has them down as that.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Router>,
    },
    /// Has one token said by the engine: it is ready when it answers, not when it says so.
    Answers,
    /// Waits until its HorizontalPodAutoscaler says that it scales: one whose target had no replicas had stopped.
    Scaling,
    /// Waits until every gateway has the route as it stands, and for it to spread.
    Programmed {
        /// Which.
        route: Object,
    },
    /// Waits until nothing new arrives at the pods, by their own counters.
    Silent,
    /// Waits until every pod said twice in a row that nothing runs or waits.
    Idle,
    /// Waits until no pod is left.
    Gone,
    /// Waits until the machines that were made for it are given back: until then they are billed.
    Released,
    /// Waits until a pod is ready.
    Ready,
    /// Waits until an autoscaler is there that its owner makes.
    Made {
        /// Which.
        object: Object,
    },
    /// Waits until replicas are asked for; where nobody does, one request through the revision's Service has Knative do
    /// it. Before Knative 1.21 what is written on a revision does not reach its autoscaler.
    Nudge {
        /// Which revision.
        revision: Object,
    },
}

impl Step {
    /// The write that it makes, as far as is known before it runs; `None` for one that waits.
    pub fn write(&self) -> Option<Write> {
        match self {
            Self::Merge { object, body, .. } => Some(Write {
                method: "PATCH",
                path: object.path(),
                content_type: "application/merge-patch+json",
                body: body.clone(),
                object: object.clone(),
                subresource: None,
            }),
            Self::Scale { object, to, .. } => Some(scale(object, *to, None)),
            Self::Weights { edit, .. } => Some(edit.write()),
            Self::Post { .. }
            | Self::Napping { .. }
            | Self::Answers
            | Self::Scaling
            | Self::Programmed { .. }
            | Self::Silent
            | Self::Idle
            | Self::Gone
            | Self::Released
            | Self::Ready
            | Self::Made { .. }
            | Self::Nudge { .. } => None,
        }
    }

    /// It changes something, rather than waiting for something.
    pub fn acts(&self) -> bool {
        matches!(self, Self::Post { .. }) || self.write().is_some()
    }

    /// It does nothing but write down who did something.
    pub fn only_tells(&self) -> bool {
        let Self::Merge { body, .. } = self else {
            return false;
        };
        let annotations = body["metadata"]["annotations"].as_object();
        body.as_object().is_some_and(|it| it.len() == 1)
            && annotations.is_some_and(|it| it.len() == 1 && it.contains_key(mark::KEY))
    }

    /// The same with a mark that says that the operation was taken back.
    fn undone(mut self) -> Self {
        self.remark(|mark| mark.undone = true);
        self
    }

    /// Changes the mark that it writes, where it writes one.
    fn remark(&mut self, change: impl FnOnce(&mut Mark)) {
        match self {
            Self::Merge { body, .. } => {
                // A pod is patched without one.
                let text = body.pointer_mut(MARKED);
                if let Some(text) = text
                    && let Some(mut mark) = text.as_str().and_then(Mark::read)
                {
                    change(&mut mark);
                    *text = mark.text().into();
                }
            }
            Self::Weights { edit, .. } => change(&mut edit.mark),
            Self::Scale { .. }
            | Self::Post { .. }
            | Self::Napping { .. }
            | Self::Answers
            | Self::Scaling
            | Self::Programmed { .. }
            | Self::Silent
            | Self::Idle
            | Self::Gone
            | Self::Released
            | Self::Ready
            | Self::Made { .. }
            | Self::Nudge { .. } => {}
        }
    }

    /// In a few words, for people.
    pub fn words(&self) -> String {
        match self {
            Self::Merge { why, .. } | Self::Scale { why, .. } | Self::Weights { why, .. } => {
                why.clone()
            }
            Self::Post { path, via, why, .. } => {
                let path = path.split('?').next().unwrap_or_default();
                match via {
                    Some(router) => {
                        format!("{why} (POST {path} for every pod, by {})", router.service)
                    }
                    None => format!("{why} (POST {path} in every pod)"),
                }
            }
            Self::Napping { asleep: true, .. } => "wait until every engine sleeps".into(),
            Self::Napping { asleep: false, .. } => "wait until every engine is awake".into(),
            Self::Answers => "have one token answered".into(),
            Self::Scaling => "wait until its autoscaler is active".into(),
            Self::Programmed { route } => format!("wait until the gateways have {route}"),
            Self::Silent => "wait until nothing new arrives".into(),
            Self::Idle => "wait for two idle readings of every pod".into(),
            Self::Gone => "wait until its pods are gone".into(),
            Self::Released => "wait until its machines are given back, billed until then".into(),
            Self::Ready => "wait until a pod is ready".into(),
            Self::Made { object } => format!("wait until {object} is made"),
            Self::Nudge { .. } => {
                "wait until Knative starts it, with one request where it does not".into()
            }
        }
    }
}

/// A merge patch of `object` with the mark on it.
pub fn merge(object: &Object, mut body: Value, mark: &Mark, why: impl Into<String>) -> Step {
    body["metadata"]["annotations"][mark::KEY] = mark.text().into();
    Step::Merge {
        object: object.clone(),
        body,
        why: why.into(),
    }
}

/// Annotations of `object`, of which `None` takes one away.
pub fn annotate(
    object: &Object,
    annotations: &[(&str, Option<&str>)],
    mark: &Mark,
    why: impl Into<String>,
) -> Step {
    let mut body = json!({"metadata": {"annotations": {}}});
    for (key, value) in annotations {
        body["metadata"]["annotations"][*key] = value.map_or(Value::Null, Value::from);
    }
    merge(object, body, mark, why)
}

impl Plan {
    /// The writes that it makes, in order.
    pub fn writes(&self) -> impl Iterator<Item = Write> + '_ {
        self.steps.iter().filter_map(|it| it.step.write())
    }

    /// The same with what every engine is told, as far as is known before it runs: for who looks first.
    pub fn calls(&self, place: Option<&Place>) -> Vec<Write> {
        let mut all = Vec::new();
        for planned in &self.steps {
            match (&planned.step, place) {
                (
                    Step::Post {
                        path, body, via, ..
                    },
                    Some(place),
                ) => {
                    let pods = place.live_pods.iter();
                    all.extend(pods.map(|pod| told(place, pod, path, body.as_ref(), via.as_ref())));
                }
                (step, _) => all.extend(step.write()),
            }
        }
        all
    }

    /// Only the last write says that all of it is done: whoever finds it half done can tell.
    pub(super) fn closes_last(&mut self) {
        let last = self.steps.iter().rposition(|it| it.step.write().is_some());
        for (at, planned) in self.steps.iter_mut().enumerate() {
            planned.step.remark(|mark| mark.done = Some(at) == last);
        }
    }

    /// So many replicas stood before the step at `at`, which scaled them: an autoscaler changed that since it was looked at.
    pub fn stood(&mut self, at: usize, replicas: u32) {
        let back = self.steps.get(at).and_then(|it| it.back.as_ref());
        if matches!(back, Some(Step::Scale { to, .. }) if *to == replicas) {
            return;
        }
        self.mark.prev.replicas = Some(replicas);
        if let Some(Step::Scale { to, .. }) = self.steps.get_mut(at).and_then(|it| it.back.as_mut())
        {
            *to = replicas;
        }
        for planned in self.steps.iter_mut().skip(at + 1) {
            for step in [Some(&mut planned.step), planned.back.as_mut()]
                .into_iter()
                .flatten()
            {
                step.remark(|mark| mark.prev.replicas = Some(replicas));
            }
        }
    }

    /// Adds a step that cannot be taken back, or need not be.
    pub(super) fn then(&mut self, step: Step) -> &mut Self {
        self.steps.push(Planned { step, back: None });
        self
    }

    /// Adds a step and what takes it back; the mark says then that it was.
    pub(super) fn or_back(&mut self, step: Step, back: Step) -> &mut Self {
        self.steps.push(Planned {
            step,
            back: Some(back.undone()),
        });
        self
    }
}

/// The kinds whose scale is a part of their own.
pub fn has_scale(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Deployment | Kind::StatefulSet | Kind::LeaderWorkerSet | Kind::InferenceSet
    )
}
