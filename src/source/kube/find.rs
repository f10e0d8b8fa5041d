//! What of a cluster is a fleet: which workloads serve models, what owns them, and which routes lead to them.

mod owners;
mod routers;
mod routes;

pub(super) use self::routes::provider;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::object::{Key, Meta, Workload};
use super::settings::{Named, Settings};
use super::world::{Home, World};
use crate::fleet::backend::{Hosted, Kind as Sort};
use crate::fleet::cluster::object::{Kind, Object};
use crate::fleet::cluster::place::{Autoscaler, Owner, Router};
use crate::fleet::cluster::{SeenBackend, SeenModel};
use crate::fleet::{BackendId, ModelId};
use crate::source::engine_log::clean;

/// Which set made a workspace.
const MADE_BY: &str = "inferenceset.kaito.sh/created-by";

/// A backend that was found, as far as its pods have no say in it.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub id: BackendId,
    pub model: ModelId,
    pub namespace: Box<str>,
    /// What runs its pods; several for a set of workspaces.
    pub homes: Vec<Home>,
    /// What its replicas are written to.
    pub scaled: Object,
    pub owner: Owner,
    pub autoscaler: Autoscaler,
    /// Replicas asked for, where that is not the workload's own number.
    pub wanted: Option<u32>,
    /// One replica is all pods of a StatefulSet, as KAITO spreads one engine over this many machines.
    pub spread: Option<u32>,
    /// The workspaces whose machines are its own.
    pub workspaces: Vec<Box<str>>,
    /// The kind of machine that it insists on.
    pub instance: Box<str>,
    pub gitops: Option<String>,
    /// Whatever may carry a mark.
    pub marked: Vec<(Kind, Key)>,
    /// Its weight in the first rule that leads to it.
    pub weight: u32,
    /// The config has its engines sleep in their pods.
    pub naps: bool,
    /// What sends to its engines, and is told of it when they sleep.
    pub router: Option<Router>,
}

/// What was found in all.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub found: Vec<Found>,
    pub by_home: HashMap<Home, usize>,
    pub models: Vec<SeenModel>,
    pub hosted: Vec<SeenBackend>,
}

/// Looks at everything.
pub(super) fn find(
    world: &World,
    settings: &Settings,
    served: &dyn Fn(Kind) -> Box<str>,
) -> Findings {
    let mut finder = Finder {
        world,
        settings,
        served,
        scalers: scalers(world, served),
        taken: BTreeSet::new(),
        found: Vec::new(),
    };
    finder.owned();
    finder.plain();
    let mut found = finder.found;
    routers::routers(world, &mut found);
    let routes = routes::routes(world, settings, &mut found, served);
    let models = models(&found, &routes);
    let mut by_home = HashMap::new();
    for (at, it) in found.iter().enumerate() {
        for home in &it.homes {
            by_home.insert(home.clone(), at);
        }
    }
    Findings {
        found,
        by_home,
        models,
        hosted: routes.hosted,
    }
}

struct Finder<'a> {
    world: &'a World,
    settings: &'a Settings,
    served: &'a dyn Fn(Kind) -> Box<str>,
    scalers: HashMap<Home, Autoscaler>,
    taken: BTreeSet<Home>,
    found: Vec<Found>,
}

impl Finder<'_> {
    fn object(&self, kind: Kind, key: &Key) -> Object {
        Object {
            kind,
            version: (self.served)(kind),
            namespace: key.namespace.clone(),
            name: key.name.clone(),
        }
    }

    fn id(&self, key: &Key) -> BackendId {
        let place = format!("{}/{}", key.namespace, key.name);
        self.settings.id(&place)
    }

    /// What changes the replicas of any of these, outermost first.
    fn scaler(&self, homes: &[&Home]) -> Autoscaler {
        let mut all = homes.iter().filter_map(|home| self.scalers.get(*home));
        all.next().cloned().unwrap_or(Autoscaler::None)
    }

    /// Workloads that nothing else has.
    fn plain(&mut self) {
        for (home, it) in &self.world.workloads {
            if self.taken.contains(home) || !self.is_ours(home, it) {
                continue;
            }
            let (kind, key) = home;
            let object = self.object(*kind, key);
            let named = self.settings.named(&key.namespace, &key.name);
            self.found.push(Found {
                id: self.id(key),
                model: model_of(it, named),
                namespace: key.namespace.clone(),
                homes: vec![home.clone()],
                scaled: object,
                owner: Owner::Itself,
                autoscaler: self.scaler(&[home]),
                wanted: None,
                spread: None,
                workspaces: Vec::new(),
                instance: it.engine.instance.clone().unwrap_or_default(),
                gitops: gitops(&it.meta),
                marked: vec![home.clone()],
                weight: 0,
                naps: named.is_some_and(|it| it.naps),
                router: None,
            });
        }
    }

    /// Whether it serves models: by its image, its command, or because the config says so.
    fn is_ours(&self, home: &Home, it: &Workload) -> bool {
        let part = matches!(
            it.meta.controller(),
            Some((
                "LeaderWorkerSet" | "StatefulSet" | "Workspace" | "InferenceSet",
                _
            ))
        ) || it.labels.contains_key("leaderworkerset.sigs.k8s.io/name")
            && home.0 == Kind::StatefulSet;
        let named = self.settings.named(&home.1.namespace, &home.1.name);
        match named {
            Some(named) => !named.ignore,
            None => it.engine.serves && !part,
        }
    }
}

/// The name that clients ask for: where nothing says it, the workload's own.
fn model_of(it: &Workload, named: Option<&Named>) -> ModelId {
    said_of(it, named).unwrap_or_else(|| ModelId::from(clean(&it.meta.name)))
}

/// The name that clients ask for, where something says it.
fn said_of(it: &Workload, named: Option<&Named>) -> Option<ModelId> {
    let said = named.and_then(|named| named.model.as_deref());
    let label = || it.labels.get("model").map(|it| &**it);
    let model = said.or(it.engine.model.as_deref()).or_else(label)?;
    Some(ModelId::from(clean(model)))
}

/// Who has each workload's replicas.
fn scalers(world: &World, served: &dyn Fn(Kind) -> Box<str>) -> HashMap<Home, Autoscaler> {
    let mut all: HashMap<Home, Vec<Autoscaler>> = HashMap::new();
    let kind = |word: &str| Kind::ALL.into_iter().find(|it| it.word() == word);
    let version = keda_version(world);
    for (key, it) in &world.scaled {
        let Some(kind) = kind(&it.target.kind) else {
            continue;
        };
        let home = (kind, Key::new(&key.namespace, &it.target.name));
        let set = it.meta.annotations.iter().filter_map(|(name, value)| {
            let name = name.strip_prefix(crate::fleet::cluster::keda::PREFIX)?;
            Some((name.into(), value.clone()))
        });
        all.entry(home).or_default().push(Autoscaler::Keda {
            object: Object::new(Kind::ScaledObject, &key.namespace, &key.name)
                .at(&served(Kind::ScaledObject)),
            min: it.min,
            max: it.max,
            version,
            set: set.collect(),
            hpa: it.hpa.clone(),
        });
    }
    for (key, it) in &world.hpas {
        // KEDA's own are its business.
        if it
            .meta
            .controller()
            .is_some_and(|(kind, _)| kind == "ScaledObject")
        {
            continue;
        }
        let Some(kind) = kind(&it.target.kind) else {
            continue;
        };
        let home = (kind, Key::new(&key.namespace, &it.target.name));
        all.entry(home).or_default().push(Autoscaler::Hpa {
            object: Object::new(Kind::HorizontalPodAutoscaler, &key.namespace, &key.name),
            min: it.min,
            max: it.max,
            down: it.down.clone(),
            plain: it.plain,
            scaling: it.scaling.clone(),
        });
    }
    all.into_iter()
        .map(|(home, mut all)| {
            if all.len() == 1 {
                return (home, all.remove(0));
            }
            let objects = all.into_iter().filter_map(|it| match it {
                Autoscaler::Hpa { object, .. } | Autoscaler::Keda { object, .. } => Some(object),
                Autoscaler::None | Autoscaler::Several(_) => None,
            });
            (home, Autoscaler::Several(objects.collect()))
        })
        .collect()
}

/// The version of KEDA's operator, by its image.
fn keda_version(world: &World) -> Option<(u32, u32)> {
    let of =
        |it: &&Workload| it.engine.image.contains("/keda:") || it.engine.image.contains("/keda@");
    let by_name = |it: &&Workload| &*it.meta.name == "keda-operator";
    let all = || world.workloads.values();
    let operator = all().find(by_name).or_else(|| all().find(of))?;
    let image = operator.engine.image.split('@').next()?;
    let tag = image.rsplit_once(':').map(|(_, tag)| tag);
    let label = || operator.meta.label("app.kubernetes.io/version");
    let parse = |text: &str| {
        let mut numbers = text.trim_start_matches('v').split('.');
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    };
    tag.and_then(parse).or_else(|| label().and_then(parse))
}

/// The tool that will revert an edit.
pub(super) fn gitops(meta: &Meta) -> Option<String> {
    let app = |text: &str| text.split(':').next().unwrap_or(text).to_owned();
    if let Some(id) = meta.annotation("argocd.argoproj.io/tracking-id") {
        return Some(clean(&format!("Argo CD (app {})", app(id))));
    }
    if let Some(name) = meta.label("argocd.argoproj.io/instance") {
        return Some(format!("Argo CD (app {name})"));
    }
    if let Some(name) = meta.label("kustomize.toolkit.fluxcd.io/name") {
        return Some(format!("Flux (kustomization {name})"));
    }
    let release = meta.label("helm.toolkit.fluxcd.io/name")?;
    Some(format!("Flux (release {release})"))
}

/// The models with their backends: self-hosted ones first, in the order of their names.
fn models(found: &[Found], routes: &routes::Routes) -> Vec<SeenModel> {
    let mut models: BTreeMap<ModelId, SeenModel> = BTreeMap::new();
    for it in found {
        let model = entry(&mut models, &it.model);
        model.backends.push(it.id.clone());
    }
    for it in &routes.hosted {
        let model = entry(&mut models, &it.model);
        model.backends.push(it.id.clone());
    }
    for (model, rule) in &routes.rules {
        entry(&mut models, model).routes.push(rule.clone());
    }
    models.into_values().collect()
}

fn entry<'a>(models: &'a mut BTreeMap<ModelId, SeenModel>, id: &ModelId) -> &'a mut SeenModel {
    models.entry(id.clone()).or_insert_with(|| SeenModel {
        id: id.clone(),
        backends: Vec::new(),
        routes: Vec::new(),
    })
}

/// Somebody else's API.
pub(super) fn somebody_elses(
    id: BackendId,
    model: ModelId,
    provider: String,
    weight: u32,
    settings: &Settings,
) -> SeenBackend {
    SeenBackend {
        kind: Sort::Hosted(Hosted {
            price: settings.token_price(&id),
            provider,
        }),
        id,
        model,
        weight,
        place: None::<Arc<crate::fleet::cluster::place::Place>>,
        down: None,
    }
}
