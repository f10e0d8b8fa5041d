//! Fleets on Kubernetes: what is known of a cluster, where backends live on it, and how they are operated there.
//!
//! A cluster is as it is: nothing of ours runs on it. What is read arrives as [`Seen`]; what an operator asks for becomes
//! a [`plan::Plan`], which an actuator carries out. The facts about Kubernetes and its extensions are in
//! docs/kubernetes.md.

mod busy;
pub mod call;
mod decide;
pub mod edit;
mod fixed;
pub(in crate::fleet) mod follow;
mod guard;
mod hpa;
pub mod keda;
mod look;
pub mod machine;
pub mod mark;
mod nap;
pub mod object;
mod operate;
mod permitted;
mod pin;
pub mod place;
pub mod plan;
pub mod rule;
mod sleep;
mod take;
mod told;
mod undo;
mod undrain;
mod verify;
mod wake;
mod weigh;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::backend::Kind;
use super::id::{BackendId, ModelId};
pub use decide::{LONGEST_NAME, is_workload, lease_of, wakes_to};
pub use hpa::is_plain;
use machine::Machine;
pub use permitted::Need;
pub use pin::holds_exactly;
use place::Place;
use rule::Rule;
pub use undo::Back;
pub use wake::{ACTIVATOR, MIN_SCALE, STOP};

/// How long a drain waits for what runs before somebody has to decide.
pub const DRAIN_PATIENCE: chrono::TimeDelta = chrono::TimeDelta::minutes(5);

/// The same of an engine that is spread over several machines: its requests are the longest.
const SPREAD_PATIENCE: chrono::TimeDelta = chrono::TimeDelta::seconds(330);

/// What is known of a cluster as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Its name: the context, where nobody says otherwise.
    pub name: Arc<str>,
    /// Who this program is to it.
    pub user: Option<String>,
    /// What is watched, and what is not, and why.
    pub parts: Vec<Part>,
    /// What this user may do and may not, as far as was asked.
    pub permits: Vec<Permit>,
    /// Machines with GPUs on which nothing of this fleet runs.
    pub spare: Vec<Machine>,
    /// The date of the price table.
    pub priced: Option<chrono::NaiveDate>,
}

/// One kind of object that is watched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// `pods`, `scaledobjects.keda.sh`.
    pub resource: String,
    /// How it stands.
    pub state: PartState,
    /// Objects of it that are not understood and so not shown; `None` where all are.
    #[serde(default)]
    pub odd: Option<Odd>,
}

/// Objects that are not understood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Odd {
    /// How many.
    pub count: u32,
    /// The first of them, as `namespace/name`.
    pub first: String,
    /// What is wrong with it.
    pub why: String,
}

/// How a kind of object stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum PartState {
    /// Not all of it has come yet.
    Loading,
    /// Known and followed.
    Followed,
    /// The cluster does not have it.
    Absent,
    /// This user may not see it.
    Forbidden {
        /// What the API said.
        why: String,
    },
    /// What is shown is old.
    Stale {
        /// Since when.
        since: DateTime<Utc>,
        /// Why, in plain words.
        why: String,
    },
}

/// Whether something may be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permit {
    /// Where; empty: everywhere.
    pub namespace: Box<str>,
    /// `patch`, `update`.
    pub verb: Box<str>,
    /// `deployments.apps/scale`.
    pub resource: Box<str>,
    /// Whether it may.
    pub allowed: bool,
    /// What the API said of it.
    pub why: Box<str>,
}

/// What pages of engines are called among the parts.
pub const PAGES: &str = "engine pages";
/// What answers all of it is called among the parts, where it does not.
pub const SERVER: &str = "the API server";
/// What a Prometheus tells of the time before is called among the parts.
pub const PAST: &str = "what nobody watched";

impl Cluster {
    /// Whether its pods or its machines are not seen now: what they cost is not known then.
    pub fn is_blind(&self) -> bool {
        let mut old = self
            .parts
            .iter()
            .filter(|it| matches!(it.state, PartState::Stale { .. }));
        old.any(|it| matches!(&*it.resource, "pods" | "nodes" | SERVER))
    }

    /// Why no pod's page can be read; `None` where they can, or nobody knows yet.
    pub fn unread(&self) -> Option<&str> {
        let pages = self.parts.iter().find(|it| it.resource == PAGES)?;
        match &pages.state {
            PartState::Forbidden { why } | PartState::Stale { why, .. } => Some(why),
            PartState::Loading | PartState::Followed | PartState::Absent => None,
        }
    }

    /// Why something may not be done, with a space before it; `None` where it may, or nobody asked yet.
    pub fn denies(&self, namespace: &str, verb: &str, resource: &str) -> Option<&str> {
        let permit = self.permits.iter().find(|it| {
            *it.verb == *verb && *it.resource == *resource && *it.namespace == *namespace
        })?;
        (!permit.allowed).then_some(&*permit.why)
    }
}

impl super::Fleet {
    /// Who this program is to a cluster.
    fn user_of(&self, cluster: &str) -> Option<&str> {
        let known = self.clusters.iter().find(|it| *it.name == *cluster)?;
        known.user.as_deref()
    }
}

/// What changed on a cluster, as a whole or in part.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Which cluster.
    pub cluster: Arc<str>,
    /// The cluster itself, where that changed.
    pub facts: Option<Box<Cluster>>,
    /// Models with their backends in order, and the rules that lead to them: all of the cluster's, where they changed.
    pub models: Option<Vec<SeenModel>>,
    /// Backends that are new or changed.
    pub backends: Vec<SeenBackend>,
    /// Everything that there is has been told once.
    pub whole: bool,
}

/// A model that is served.
#[derive(Clone, Debug, PartialEq)]
pub struct SeenModel {
    /// The name that clients ask for.
    pub id: ModelId,
    /// Its backends, self-hosted ones first.
    pub backends: Vec<BackendId>,
    /// The rules that lead to them.
    pub routes: Vec<Rule>,
}

/// A backend that was found.
#[derive(Clone, Debug)]
pub struct SeenBackend {
    /// Its name.
    pub id: BackendId,
    /// The model that it answers for.
    pub model: ModelId,
    /// What it is made of.
    pub kind: Kind,
    /// Its weight in the first rule that leads to it.
    pub weight: u32,
    /// Where it lives; `None` for a hosted one.
    pub place: Option<Arc<Place>>,
    /// Why a hosted one does not answer, as far as the cluster's gateways say so.
    pub down: Option<Box<str>>,
}
