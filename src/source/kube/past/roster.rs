//! Whose a pod of the past was, by what made it; and what its node cost.

use std::collections::HashMap;

use crate::fleet::cluster::object::Kind;
use crate::fleet::cluster::place::Owner;
use crate::fleet::{BackendId, Usd};
use crate::source::kube::find::{Findings, Found};
use crate::source::kube::settings::{Prices, Settings};
use crate::source::kube::world::World;
use crate::source::prometheus::Series;

/// Who was there.
#[derive(Debug, Default)]
pub(super) struct Roster {
    /// By namespace, kind and name of what makes pods.
    makers: HashMap<(Box<str>, &'static str, Box<str>), BackendId>,
    /// What nodes that are still there cost an hour.
    nodes: HashMap<Box<str>, Option<Usd>>,
    prices: Prices,
    pub hosted: Vec<BackendId>,
}

const DEPLOYMENT: &str = "Deployment";
const STATEFUL_SET: &str = "StatefulSet";
/// What makes StatefulSets that are named after it, with more behind.
const MANY: &str = "";

impl Roster {
    pub(super) fn of(findings: &Findings, world: &World, settings: &Settings) -> Self {
        let mut all = Self {
            prices: settings.prices.clone(),
            hosted: findings.hosted.iter().map(|it| it.id.clone()).collect(),
            ..Self::default()
        };
        for found in &findings.found {
            all.add(found);
        }
        for node in world.nodes.values() {
            let price = settings
                .prices
                .of(&node.made.instance, &node.made.region, node.made.spot);
            all.nodes.insert(node.meta.name.clone(), price);
        }
        all
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.makers.len()
    }

    fn add(&mut self, found: &Found) {
        let mut add = |kind, name: &str| {
            let key = (found.namespace.clone(), kind, name.into());
            self.makers.insert(key, found.id.clone());
        };
        for (kind, key) in &found.homes {
            match kind {
                Kind::Deployment => add(DEPLOYMENT, &key.name),
                Kind::StatefulSet => add(STATEFUL_SET, &key.name),
                Kind::LeaderWorkerSet => {
                    add(STATEFUL_SET, &key.name);
                    add(MANY, &key.name);
                }
                _ => {}
            }
        }
        // What is not there now was called like this when it was.
        match &found.owner {
            Owner::InferenceSet(it) => add(MANY, &it.name),
            Owner::InferenceService {
                object, revision, ..
            } => match revision {
                Some(it) => add(DEPLOYMENT, &format!("{}-deployment", it.object.name)),
                None => add(DEPLOYMENT, &format!("{}-predictor", object.name)),
            },
            Owner::Revision(it) => add(DEPLOYMENT, &format!("{}-deployment", it.object.name)),
            Owner::LlmInferenceService { object, .. } => {
                add(DEPLOYMENT, &format!("{}-kserve", object.name));
            }
            Owner::Workspace(_) | Owner::Itself => {}
        }
    }

    /// Whose a series is, by the labels `namespace`, `created_by_kind` and `created_by_name`.
    pub(super) fn whose(&self, series: &Series) -> Option<&BackendId> {
        let (kind, name) = (
            series.label("created_by_kind"),
            series.label("created_by_name"),
        );
        let of = |kind: &'static str, name: &str| {
            self.makers
                .get(&(series.label("namespace").into(), kind, name.into()))
        };
        let above = name.rsplit_once('-').map_or("", |it| it.0);
        match kind {
            // A Deployment names its ReplicaSets after itself, with a hash behind.
            "ReplicaSet" => of(DEPLOYMENT, above),
            "StatefulSet" => of(STATEFUL_SET, name).or_else(|| of(MANY, above)),
            _ => None,
        }
    }

    /// Dollars an hour of a node, which may be gone.
    pub(super) fn price(&self, node: &str, labels: &[Series]) -> Option<Usd> {
        if let Some(known) = self.nodes.get(node) {
            return *known;
        }
        let said = labels.iter().find(|it| it.label("node") == node)?;
        let spot = [
            "label_kubernetes_azure_com_scalesetpriority",
            "label_karpenter_sh_capacity_type",
            "label_eks_amazonaws_com_capacity_type",
        ];
        let spot = spot
            .iter()
            .any(|it| said.label(it).eq_ignore_ascii_case("spot"));
        self.prices.of(
            said.label("label_node_kubernetes_io_instance_type"),
            said.label("label_topology_kubernetes_io_region"),
            spot,
        )
    }
}
