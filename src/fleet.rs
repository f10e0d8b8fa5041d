//! The domain: what a fleet is, what it costs, and what happens to it. Pure: no async, no clock, no I/O.
//!
//! Everything that happens is one of three calls on [`Fleet`]: [`Fleet::observe`] for what was read,
//! [`Fleet::order`] for what somebody asks, [`Fleet::tick`] for the passing of time. Each returns the [`Action`]s to perform.

mod accrual;
mod attention;
pub mod backend;
pub mod change;
mod clean;
pub mod cluster;
pub mod compare;
pub mod engine;
pub mod estimate;
pub mod figures;
pub mod fill;
pub mod finding;
pub mod gpu;
pub mod group;
pub mod history;
pub mod id;
pub mod ledger;
pub mod live;
pub mod machine;
pub mod message;
pub mod model;
pub mod money;
mod observe;
pub mod order;
pub mod preview;
pub mod reload;
pub mod request;
mod restart;
pub mod restore;
pub mod rule;
pub mod schedule;
mod share;
mod tick;
mod version;
pub mod wake;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

pub use backend::{Backend, Kind};
pub use clean::clean;
pub use estimate::Estimate;
pub use finding::{Finding, Severity};
pub use id::{BackendId, ModelId};
pub use message::{Action, Actor, AuditEntry, Command, Observation, Receipt, Refusal};
pub use model::Model;
pub use money::Usd;
pub use preview::{Preview, preview, preview_by};
pub use request::RequestRecord;
pub use wake::{Stage, State};

/// Requests kept for the live tail.
pub const REQUESTS_KEPT: usize = 1000;
/// Commands that can be undone.
pub const UNDO_KEPT: usize = 50;
/// Audit lines kept in memory.
pub const AUDIT_KEPT: usize = 500;

/// Everything one console looks at: the one picture out.
///
/// Cloning is cheap: what is large is shared, and copied only when it changes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fleet {
    /// Its name; `demo` always exists.
    pub name: String,
    /// How many times faster than the wall's clock its time runs; 1 but for the demo.
    pub speed: u32,
    /// When it was first watched: by this process, or by the first of those whose record this one goes on with.
    pub started: DateTime<Utc>,
    /// The fleet time of this picture.
    pub now: DateTime<Utc>,
    /// Where clients send requests: `http://127.0.0.1:4000/v1`; `None` without a gateway.
    pub gateway: Option<String>,
    /// Dollars a month that come with self-hosting whatever the traffic.
    pub fixed_per_month: Usd,
    /// In the order of the config.
    pub models: Vec<Arc<Model>>,
    /// In the order of the config, grouped by model.
    pub backends: Vec<Arc<Backend>>,
    /// The newest answered requests, oldest first.
    pub requests: VecDeque<Arc<RequestRecord>>,
    /// Requests answered since the start, and of these the ones that failed (status 500 and above).
    pub answered: u64,
    /// See `answered`.
    pub failed: u64,
    /// Who did what, oldest first.
    pub audit: VecDeque<Arc<AuditEntry>>,
    /// The GPUs of this machine; `None` where no engine of it is in the fleet.
    #[serde(default)]
    pub machine: Option<Arc<gpu::Machine>>,
    /// The clusters that its backends live on; empty: they are reached from here.
    #[serde(default)]
    pub clusters: Vec<Arc<cluster::Cluster>>,
    /// The namespace that all of it is in, where that is one.
    #[serde(default)]
    pub namespace: Option<Arc<str>>,
    /// Backends that are not here any more, or not yet again, with their accounts; of fleets on clusters.
    #[serde(skip)]
    pub past: Arc<BTreeMap<BackendId, Arc<restore::Past>>>,
    /// What needs attention, worst first.
    pub findings: Vec<Finding>,
    /// The last two hours.
    pub history: Arc<history::History>,
    /// What `undo` would restore, newest last.
    pub undo: VecDeque<Arc<message::Undoable>>,
    /// Why what happens is not kept on disk now; `None` while it is, or nobody wants it to be.
    #[serde(default)]
    pub not_recorded: Option<String>,
    /// Why the config on disk is not in force, where it is wrong.
    #[serde(default)]
    pub config_refused: Option<String>,
    /// Readings that were dropped because a queue was full.
    pub dropped: u64,
}

impl Fleet {
    /// A fleet of nothing, watched from now on.
    pub fn new(name: impl Into<String>, now: DateTime<Utc>) -> Self {
        Self {
            name: name.into(),
            speed: 1,
            started: now,
            now,
            gateway: None,
            fixed_per_month: Usd::ZERO,
            models: Vec::new(),
            backends: Vec::new(),
            requests: VecDeque::new(),
            answered: 0,
            failed: 0,
            audit: VecDeque::new(),
            machine: None,
            clusters: Vec::new(),
            namespace: None,
            past: Arc::default(),
            findings: Vec::new(),
            history: Arc::default(),
            undo: VecDeque::new(),
            not_recorded: None,
            config_refused: None,
            dropped: 0,
        }
    }
}
