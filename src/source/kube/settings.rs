//! What the config says of a cluster.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use crate::cluster::{Attention, Reach};
use crate::fleet::backend::Price;
use crate::fleet::{BackendId, Usd};

/// What is looked at on a cluster, and what it costs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The cluster's name.
    pub cluster: Arc<str>,
    /// Put before every backend's name: where there are several clusters.
    pub prefix: Option<Arc<str>>,
    /// Namespaces; empty: all, or that of the context where this user may not list all.
    pub namespaces: Vec<String>,
    /// All of them in any case.
    pub everywhere: bool,
    /// Between two times that the cluster is asked what it serves.
    pub served_every: Duration,
    /// Labels that workloads and pods must have.
    pub selector: Option<String>,
    /// What is called otherwise, or not found by itself.
    pub named: Vec<Named>,
    /// What machines cost.
    pub prices: Prices,
    /// What tokens cost, by the name of a backend.
    pub tokens: HashMap<String, Price>,
    /// A wake longer than this is late.
    pub budget: TimeDelta,
    /// The hard cap of a wake.
    pub cap: TimeDelta,
    /// Where a Prometheus is, which has what pods say.
    pub prometheus: Option<String>,
    /// Since when that Prometheus is asked for what nobody watched; `None`: not at all.
    pub past: Option<DateTime<Utc>>,
    /// How pods are reached.
    pub reach: Reach,
    /// What operations wait for, which is read first.
    pub attention: Attention,
}

/// A workload that the config names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The model that it answers for.
    pub model: Option<String>,
    /// It is none of this fleet's.
    pub ignore: bool,
    /// Its engines sleep in their pods instead of being scaled to zero.
    pub naps: bool,
}

/// What machines cost, with the date of the table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prices {
    /// Of when it is.
    pub date: Option<NaiveDate>,
    /// Its lines; the first that fits counts.
    pub lines: Vec<NodePrice>,
}

/// A line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePrice {
    /// The kind of machine.
    pub instance: String,
    /// `None`: wherever.
    pub region: Option<String>,
    /// Dollars an hour.
    pub on_demand: Option<Usd>,
    /// Dollars an hour for one that may be taken back.
    pub spot: Option<Usd>,
}

impl Prices {
    /// Dollars an hour of a machine; `None` where the table does not say.
    pub fn of(&self, instance: &str, region: &str, spot: bool) -> Option<Usd> {
        let line = self.lines.iter().find(|it| {
            it.instance == instance && it.region.as_deref().is_none_or(|here| here == region)
        })?;
        if spot { line.spot } else { line.on_demand }
    }
}

impl Settings {
    /// For one cluster, with nothing said of it.
    pub fn new(cluster: &str) -> Self {
        Self {
            cluster: cluster.into(),
            prefix: None,
            namespaces: Vec::new(),
            everywhere: false,
            served_every: Duration::from_secs(180),
            selector: None,
            named: Vec::new(),
            prices: Prices::default(),
            tokens: HashMap::new(),
            budget: TimeDelta::minutes(8),
            cap: TimeDelta::minutes(10),
            prometheus: None,
            past: None,
            reach: Reach::Auto,
            attention: Attention::default(),
        }
    }

    /// A backend's name within its fleet.
    pub(super) fn id(&self, name: &str) -> BackendId {
        match &self.prefix {
            Some(prefix) => BackendId::from(format!("{prefix}:{name}")),
            None => BackendId::from(name),
        }
    }

    pub(super) fn named(&self, namespace: &str, name: &str) -> Option<&Named> {
        let mut all = self.named.iter();
        all.find(|it| it.namespace == namespace && it.name == name)
    }

    pub(super) fn token_price(&self, id: &BackendId) -> Option<Price> {
        let name = id.as_str();
        let bare = self
            .prefix
            .as_ref()
            .and_then(|it| name.strip_prefix(&format!("{it}:")));
        let short = name.rsplit('/').next().unwrap_or(name);
        let mut names = [name, bare.unwrap_or(name), short].into_iter();
        names.find_map(|it| self.tokens.get(it)).copied()
    }
}
