//! Where a backend lives on a cluster, and what the cluster says of it.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::machine::Machine;
use super::mark::Mark;
use super::object::{Kind, Object};
use super::{DRAIN_PATIENCE, SPREAD_PATIENCE};
use crate::fleet::money::Usd;
use crate::fleet::wake::Stage;

/// What the cluster says of one self-hosted backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The cluster's name: the context, where nobody says otherwise.
    pub cluster: Arc<str>,
    /// What runs its pods.
    pub workload: Object,
    /// That of [`Place::told_on`], by which `kubectl describe` finds what was told of it.
    pub uid: Box<str>,
    /// What its number of replicas is written to.
    pub scaled: Object,
    /// Replicas asked for.
    pub wanted: u32,
    /// Pods there are.
    pub pods: u32,
    /// Replicas that are ready.
    pub ready: u32,
    /// Pods that a replica is made of.
    pub pods_a_replica: u32,
    /// What reconciles the workload, from outside in.
    pub owner: Owner,
    /// What changes the number of replicas by itself.
    pub autoscaler: Autoscaler,
    /// Ready pods, for pins and for what is asked of engines.
    pub live_pods: Vec<LivePod>,
    /// Pods on which requests may run: they are ready, or were since their engine started. One that is too busy for its
    /// readiness probe is among them.
    #[serde(default)]
    pub serving: Vec<Box<str>>,
    /// Where engines listen.
    pub port: u16,
    /// The engines can sleep in their pods.
    pub can_nap: bool,
    /// They are to sleep there, instead of being scaled to zero.
    pub naps: bool,
    /// What sends to its engines, and is told of it when they sleep; `None` where nothing does that knows of sleep.
    #[serde(default)]
    pub router: Option<Router>,
    /// The machines that exist for it.
    pub nodes: Vec<Machine>,
    /// What will revert an edit: `Argo CD (app llm)`.
    pub gitops: Option<String>,
    /// What was done last, or is being done.
    pub mark: Option<Mark>,
    /// Who keeps it up.
    pub pin: Option<Mark>,
    /// How its engines' pages are read: `the API's pod proxy`; `None` where they are not.
    pub read_by: Option<Box<str>>,
    /// Where it is on its way.
    pub phase: Phase,
    /// What stands in its way, in plain words, with what to do.
    pub trouble: Option<Trouble>,
    /// What was told of its pods, and of why some could not be made: as the cluster words it, oldest first.
    #[serde(default)]
    pub told: Arc<[Told]>,
    /// The longest its startup probe lets an engine take, seconds.
    pub probe_allows: Option<u32>,
    /// The log of the pod that is furthest; `None` where none runs yet.
    #[serde(default)]
    pub log: Option<LogOf>,
    /// Whether the pods end what runs when told to: `None` where nothing in them says so.
    pub ends_gently: bool,
}

/// An event of one of its pods.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// When it was seen last.
    pub at: DateTime<Utc>,
    /// What it regards: a pod, or what makes pods.
    pub of: Box<str>,
    /// Such as `FailedScheduling`.
    pub reason: Box<str>,
    /// More of it, free of control characters.
    pub note: Box<str>,
    /// Whether the cluster takes it for a warning.
    pub warning: bool,
}

/// A container with a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogOf {
    /// Whose.
    pub pod: Box<str>,
    /// Its name.
    pub container: Box<str>,
}

/// A router of vLLM's production-stack: it passes orders on to an engine by the engine's id, and sends no requests to one
/// that it put to sleep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Router {
    /// Its Service.
    pub service: Object,
    /// The Service's port.
    pub port: u16,
}

impl Router {
    /// What it calls the engine in a pod: `uuid5` of the pod's name (`src/vllm_router/service_discovery.py`).
    pub fn id(pod: &LivePod) -> String {
        Uuid::new_v5(&Uuid::NAMESPACE_DNS, pod.name.as_bytes()).to_string()
    }

    /// Where it takes an order for the engine in a pod, through the API.
    pub fn path(&self, pod: &LivePod, order: &str) -> String {
        let mark = if order.contains('?') { '&' } else { '?' };
        self.at(&format!("{order}{mark}id={}", Self::id(pod)))
    }

    /// A path of its own, through the API.
    pub fn at(&self, path: &str) -> String {
        format!("{}:{}/proxy{path}", self.service.path(), self.port)
    }
}

/// A pod that is ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LivePod {
    /// Its name.
    pub name: Box<str>,
    /// Its address.
    pub ip: Box<str>,
    /// Its router has it down as sleeping, and sends it nothing (the label `sleeping=true`).
    #[serde(default)]
    pub left_out: bool,
}

/// How pages are read where pods are reached at their own addresses: see [`Place::read_by`].
pub const DIRECTLY: &str = "directly";
/// The same where a Prometheus has them: as they were at its last scrape.
pub const FROM_PROMETHEUS: &str = "from Prometheus";
/// The same where the API passes it on.
pub const BY_PROXY: &str = "through the API's pod proxy";

/// What owns a workload's replicas besides itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Owner {
    /// Nobody.
    Itself,
    /// A KAITO InferenceSet: its replicas are workspaces.
    InferenceSet(Object),
    /// A KAITO Workspace of its own, which has no replicas.
    Workspace(Object),
    /// A KServe InferenceService.
    InferenceService {
        /// Which.
        object: Object,
        /// `hpa`, `keda`, `external` or `none`.
        class: Box<str>,
        /// The stop switch is set.
        stopped: bool,
        /// `spec.predictor.minReplicas`.
        min: Option<u32>,
        /// Run by Knative: the revision that serves.
        revision: Option<Revision>,
        /// While it is stopped: the ScaledObject that it makes again.
        #[serde(default)]
        makes: Option<Box<Autoscaler>>,
    },
    /// A KServe LLMInferenceService.
    LlmInferenceService {
        /// Which.
        object: Object,
        /// An autoscaler has its replicas, see `spec.scaling`.
        scaled: bool,
    },
    /// A Knative service: the revision that serves.
    Revision(Revision),
}

/// A Knative revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// Which.
    pub object: Object,
    /// `autoscaling.knative.dev/min-scale`.
    pub min_scale: Option<Box<str>>,
}

/// What changes the number of replicas by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Autoscaler {
    /// Nothing.
    None,
    /// A HorizontalPodAutoscaler.
    Hpa {
        /// Which.
        object: Object,
        /// Least replicas.
        min: u32,
        /// Most replicas.
        max: u32,
        /// `behavior.scaleDown.selectPolicy`.
        down: Option<Box<str>>,
        /// Nothing else of its behavior is anybody's own.
        #[serde(default)]
        plain: bool,
        /// Whether it scales (`ScalingActive`), or why not; `None` where it has not said.
        #[serde(default)]
        scaling: Option<Result<(), Box<str>>>,
    },
    /// A KEDA ScaledObject.
    Keda {
        /// Which.
        object: Object,
        /// Least replicas.
        min: u32,
        /// Most replicas.
        max: u32,
        /// The operator's version; `None` where it is not seen.
        version: Option<(u32, u32)>,
        /// KEDA's own annotations that are set now, without their prefix.
        set: Vec<(Box<str>, Box<str>)>,
        /// The HorizontalPodAutoscaler that it made.
        hpa: Option<Box<str>>,
    },
    /// More than one: they fight, and we would be the third.
    Several(Vec<Object>),
}

/// Where a backend's pods are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "kebab-case")]
pub enum Phase {
    /// None is wanted, and none is there.
    Absent,
    /// None is wanted; what is there ends.
    Leaving,
    /// On the way, none ready yet.
    Coming {
        /// Since when: the creation of the first pod, or when replicas were seen to be asked for.
        since: DateTime<Utc>,
        /// The stages so far and when each began, in order.
        stages: Vec<(Stage, DateTime<Utc>)>,
        /// A new machine is needed.
        new_node: bool,
    },
    /// At least one is ready.
    Ready {
        /// Since when.
        since: DateTime<Utc>,
    },
    /// None is ready, and it does not get better by itself.
    Broken {
        /// Why, in plain words.
        reason: Box<str>,
    },
}

/// What stands in the way of pods.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// What, in plain words.
    pub what: Box<str>,
    /// What to do.
    pub hint: Box<str>,
}

impl Place {
    /// Dollars an hour for the machines that exist for it; `None` where a price is not known.
    pub fn burn(&self) -> Option<Usd> {
        self.nodes.iter().map(Machine::share).sum()
    }

    /// How long what runs on it may take to end before somebody has to decide.
    pub fn patience(&self) -> TimeDelta {
        if self.pods_a_replica > 1 {
            SPREAD_PATIENCE
        } else {
            DRAIN_PATIENCE
        }
    }

    /// What is written to its scale for so many replicas: a Workspace's StatefulSet has a pod for each machine that its one
    /// engine is spread over.
    pub fn scale_for(&self, replicas: u32) -> u32 {
        if self.is_spread() {
            replicas.min(1) * self.pods_a_replica
        } else {
            replicas
        }
    }

    /// One replica is all that it can have.
    pub fn is_spread(&self) -> bool {
        matches!(self.owner, Owner::Workspace(_)) && self.scaled.kind == Kind::StatefulSet
    }

    /// KEDA is told to keep it up, whatever its triggers say.
    pub fn is_forced_up(&self) -> bool {
        let Autoscaler::Keda { set, .. } = &self.autoscaler else {
            return false;
        };
        let forced = |(key, value): &(Box<str>, Box<str>)| {
            &**key == "force-activation" && value.eq_ignore_ascii_case("true")
        };
        set.iter().any(forced)
    }

    /// The autoscaler in words, for people.
    pub fn scaled_by(&self) -> String {
        match &self.autoscaler {
            Autoscaler::None => "by hand".to_owned(),
            Autoscaler::Hpa {
                object, min, max, ..
            }
            | Autoscaler::Keda {
                object, min, max, ..
            } => format!("{object} ({min} to {max})"),
            Autoscaler::Several(all) => {
                let all: Vec<String> = all.iter().map(ToString::to_string).collect();
                format!("several: {}", all.join(", "))
            }
        }
    }

    /// The Knative revision that serves, where Knative runs it.
    pub fn revision(&self) -> Option<&Revision> {
        match &self.owner {
            Owner::Revision(revision)
            | Owner::InferenceService {
                revision: Some(revision),
                ..
            } => Some(revision),
            Owner::Itself
            | Owner::InferenceSet(_)
            | Owner::Workspace(_)
            | Owner::InferenceService { .. }
            | Owner::LlmInferenceService { .. } => None,
        }
    }

    /// What is written on when only who did something is to be told: what its owner makes, its owner writes.
    pub fn told_on(&self) -> &Object {
        match &self.owner {
            Owner::Revision(revision)
            | Owner::InferenceService {
                revision: Some(revision),
                ..
            } => &revision.object,
            Owner::InferenceService { object, .. } | Owner::LlmInferenceService { object, .. } => {
                object
            }
            Owner::Itself | Owner::InferenceSet(_) | Owner::Workspace(_) => &self.scaled,
        }
    }

    /// The outermost owner in words, for people.
    pub fn owned_by(&self) -> String {
        match &self.owner {
            Owner::Itself => self.workload.to_string(),
            Owner::InferenceSet(object)
            | Owner::Workspace(object)
            | Owner::InferenceService { object, .. }
            | Owner::LlmInferenceService { object, .. } => object.to_string(),
            Owner::Revision(revision) => revision.object.to_string(),
        }
    }
}
