//! Workloads that something else owns: KAITO, KServe, Knative. The outermost owner is the backend.

use std::collections::BTreeMap;

use super::super::object::{Key, Meta, Workspace};
use super::super::world::Home;
use super::{Finder, Found, MADE_BY, gitops, keda_version, said_of};
use crate::fleet::ModelId;
use crate::fleet::cluster::object::Kind;
use crate::fleet::cluster::place::{Autoscaler, Owner, Revision};
use crate::fleet::cluster::{MIN_SCALE, STOP};
use crate::web::clean;

/// Of which service a workload is.
const OF_SERVICE: &str = "serving.kserve.io/inferenceservice";
/// Of which revision a workload is.
const OF_REVISION: &str = "serving.knative.dev/revision";

impl Finder<'_> {
    /// Finds what has owners, from outside in.
    pub(super) fn owned(&mut self) {
        self.sets();
        self.workspaces();
        self.kserve();
        self.llm();
        self.revisions();
    }

    fn sets(&mut self) {
        for (key, set) in &self.world.sets {
            let mine = self.world.workspaces.iter().filter(|(it, workspace)| {
                it.namespace == key.namespace && workspace.meta.label(MADE_BY) == Some(&key.name)
            });
            let mine: Vec<Key> = mine.map(|(it, _)| it.clone()).collect();
            let homes: Vec<Home> = mine
                .iter()
                .map(|it| (Kind::StatefulSet, it.clone()))
                .collect();
            let object = self.object(Kind::InferenceSet, key);
            let home = (Kind::InferenceSet, key.clone());
            let mut found = self.begin(key, &set.meta);
            found.model = ModelId::from(&*key.name);
            found.wanted = Some(set.spec.replicas.unwrap_or(1));
            found.scaled = object.clone();
            found.owner = Owner::InferenceSet(object);
            found.autoscaler = self.scaler(&[&home]);
            found.spread = mine
                .iter()
                .filter_map(|it| self.world.workspaces.get(it))
                .map(Workspace::machines)
                .max()
                .or(Some(1));
            found.workspaces = mine.into_iter().map(|it| it.name).collect();
            found.instance = set.spec.template.resource.instance_type.clone();
            self.taken.extend(homes.iter().cloned());
            found.homes = homes;
            found.marked.push(home);
            self.found.push(found);
        }
    }

    fn workspaces(&mut self) {
        for (key, workspace) in &self.world.workspaces {
            if workspace.meta.label(MADE_BY).is_some() {
                continue;
            }
            let Some(inference) = &workspace.inference else {
                // Tuning serves nobody.
                continue;
            };
            let home = self.home_of(key);
            let preset = inference.preset.as_ref().map(|it| it.name.clone());
            let served = self
                .world
                .workloads
                .get(&home)
                .and_then(|it| it.engine.model.clone());
            let mut found = self.begin(key, &workspace.meta);
            found.model = ModelId::from(clean(
                &served.or(preset).unwrap_or_else(|| key.name.clone()),
            ));
            found.scaled = self.object(home.0, key);
            found.spread = (home.0 == Kind::StatefulSet).then(|| workspace.machines());
            found.owner = Owner::Workspace(self.object(Kind::Workspace, key));
            found.autoscaler = self.scaler(&[&home]);
            found.workspaces = vec![key.name.clone()];
            found.instance = workspace.resource.instance_type.clone();
            self.taken.insert(home.clone());
            found.marked.push(home.clone());
            found.homes = vec![home];
            self.found.push(found);
        }
    }

    /// What runs a workspace's pods: a StatefulSet of its name; before KAITO 0.8, whose 0.6 is AKS's own, a Deployment.
    fn home_of(&self, key: &Key) -> Home {
        let set = (Kind::StatefulSet, key.clone());
        let before = (Kind::Deployment, key.clone());
        let its_own = |home: &Home| {
            let of = self.world.workloads.get(home);
            of.and_then(|it| it.meta.controller()) == Some(("Workspace", &key.name))
        };
        if !self.world.workloads.contains_key(&set) && its_own(&before) {
            return before;
        }
        set
    }

    fn kserve(&mut self) {
        for (key, service) in &self.world.kserve {
            let mut homes = self.labelled(key, OF_SERVICE, &key.name);
            // A transformer or an explainer before it is none of its replicas.
            homes.retain(|home| {
                let of = self.world.workloads.get(home);
                of.and_then(|it| it.labels.get("component"))
                    .is_none_or(|it| &**it == "predictor")
            });
            let annotation = |name: &str| service.meta.annotation(name);
            let knative = matches!(&*service.status.deployment_mode, "Knative" | "Serverless")
                || matches!(
                    annotation("serving.kserve.io/deploymentMode"),
                    Some("Knative" | "Serverless")
                );
            let serving = homes.iter().filter(|_| knative);
            let serving = serving.max_by_key(|home| self.serves_by(home)).cloned();
            let revision = serving.as_ref().and_then(|home| self.revision_of(home));
            if revision.is_some() {
                // Those of before are kept at zero, in case somebody goes back to them.
                homes.retain(|home| serving.as_ref() == Some(home));
            }
            let mut found = self.begin(key, &service.meta);
            self.take_homes(&mut found, homes, key);
            if let Some(revision) = &revision {
                let at = Key::new(&key.namespace, &revision.object.name);
                found.marked.push((Kind::Revision, at));
            }
            let class = annotation("serving.kserve.io/autoscalerClass").unwrap_or("hpa");
            let stopped = annotation(STOP) == Some("true");
            let predictor = &service.spec.predictor;
            let makes = (stopped && class == "keda").then(|| {
                let at = Key::new(&key.namespace, &format!("{}-predictor", key.name));
                Box::new(Autoscaler::Keda {
                    object: self.object(Kind::ScaledObject, &at),
                    min: predictor.min_replicas.unwrap_or(1),
                    max: predictor.max_replicas.unwrap_or(1).max(1),
                    version: keda_version(self.world),
                    set: Vec::new(),
                    hpa: None,
                })
            });
            found.owner = Owner::InferenceService {
                object: self.object(Kind::InferenceService, key),
                class: class.into(),
                stopped,
                min: predictor.min_replicas,
                revision,
                makes,
            };
            if stopped {
                found.wanted = Some(0);
            }
            found.marked.push((Kind::InferenceService, key.clone()));
            self.found.push(found);
        }
    }

    fn llm(&mut self) {
        for (key, service) in &self.world.llm {
            let of = |home: &Home, labels: &super::super::object::Words| {
                home.1.namespace == key.namespace
                    && labels
                        .get("app.kubernetes.io/part-of")
                        .is_some_and(|it| &**it == "llminferenceservice")
                    && labels
                        .get("app.kubernetes.io/name")
                        .is_some_and(|it| *it == key.name)
                    // Its endpoint picker has the same labels, and serves nobody.
                    && labels
                        .get("app.kubernetes.io/component")
                        .is_none_or(|it| !it.contains("scheduler"))
            };
            let all = self
                .world
                .workloads
                .iter()
                .filter(|(home, it)| of(home, &it.labels));
            let homes: Vec<Home> = all.map(|(home, _)| home.clone()).collect();
            let mut found = self.begin(key, &service.meta);
            self.take_homes(&mut found, homes, key);
            if let Some(model) = service.spec.model.as_ref().filter(|it| !it.name.is_empty()) {
                found.model = ModelId::from(clean(&model.name));
            }
            found.owner = Owner::LlmInferenceService {
                object: self.object(Kind::LlmInferenceService, key),
                scaled: service.spec.scaling,
            };
            if !service.spec.scaling && service.spec.replicas.is_some() {
                found.wanted = service.spec.replicas;
            }
            found.marked.push((Kind::LlmInferenceService, key.clone()));
            self.found.push(found);
        }
    }

    /// Knative's own: the revision that has a workload.
    fn revisions(&mut self) {
        let mut services: BTreeMap<Key, Vec<Home>> = BTreeMap::new();
        for (home, it) in &self.world.workloads {
            if self.taken.contains(home) || !it.engine.serves {
                continue;
            }
            let Some(revision) = self
                .revision_key(home)
                .and_then(|at| self.world.revisions.get(&at))
            else {
                continue;
            };
            let service = revision.meta.label("serving.knative.dev/service");
            let name = service.unwrap_or(&revision.meta.name);
            let key = Key::new(&home.1.namespace, name);
            services.entry(key).or_default().push(home.clone());
        }
        for (key, mut homes) in services {
            homes.sort_by_key(|home| std::cmp::Reverse(self.serves_by(home)));
            for (at, home) in homes.into_iter().enumerate() {
                let (Some(revision), Some(of)) =
                    (self.revision_of(&home), self.revision_key(&home))
                else {
                    continue;
                };
                let replicas = self.world.workloads.get(&home).map_or(0, |it| it.replicas);
                self.taken.insert(home.clone());
                if at > 0 && replicas == 0 {
                    // One of before, kept in case somebody goes back to it.
                    continue;
                }
                let Some(meta) = self.world.revisions.get(&of).map(|it| it.meta.clone()) else {
                    continue;
                };
                // The one that serves stands for its service.
                let name = if at == 0 { &key } else { &of };
                let mut found = self.begin(name, &meta);
                self.take_homes(&mut found, vec![home], name);
                found.owner = Owner::Revision(revision);
                found.marked.push((Kind::Revision, of));
                self.found.push(found);
            }
        }
    }

    /// The revision that a workload is of.
    fn revision_key(&self, home: &Home) -> Option<Key> {
        let name = self.world.workloads.get(home)?.labels.get(OF_REVISION)?;
        Some(Key::new(&home.1.namespace, name))
    }

    fn revision_of(&self, home: &Home) -> Option<Revision> {
        let at = self.revision_key(home)?;
        let revision = self.world.revisions.get(&at)?;
        Some(Revision {
            object: self.object(Kind::Revision, &at),
            min_scale: revision.meta.annotation(MIN_SCALE).map(Into::into),
        })
    }

    /// Which revision serves: one that traffic is sent to, and the newest of these.
    fn serves_by(&self, home: &Home) -> (bool, u64) {
        let at = self.revision_key(home);
        let Some(revision) = at.and_then(|at| self.world.revisions.get(&at)) else {
            return (false, 0);
        };
        let label = |key: &str| revision.meta.label(key);
        let newest = label("serving.knative.dev/configurationGeneration");
        (
            label("serving.knative.dev/routingState") == Some("active"),
            newest.and_then(|it| it.parse().ok()).unwrap_or(0),
        )
    }

    /// Workloads of a namespace whose pods have that label.
    fn labelled(&self, key: &Key, label: &str, value: &str) -> Vec<Home> {
        let of = |home: &Home, it: &super::super::object::Workload| {
            home.1.namespace == key.namespace
                && it.labels.get(label).is_some_and(|it| **it == *value)
        };
        let all = self
            .world
            .workloads
            .iter()
            .filter(|(home, it)| of(home, it));
        all.map(|(home, _)| home.clone()).collect()
    }

    /// What its workloads say of it.
    fn take_homes(&mut self, found: &mut Found, homes: Vec<Home>, key: &Key) {
        self.taken.extend(homes.iter().cloned());
        let first = homes
            .iter()
            .find_map(|home| Some((home, self.world.workloads.get(home)?)));
        if let Some((home, it)) = first {
            let named = self.settings.named(&key.namespace, &key.name);
            if let Some(model) = said_of(it, named) {
                found.model = model;
            }
            found.instance = it.engine.instance.clone().unwrap_or_default();
            found.scaled = self.object(home.0, &home.1);
            found.marked.push(home.clone());
        }
        let all: Vec<&Home> = homes.iter().collect();
        found.autoscaler = self.scaler(&all);
        found.homes = homes;
    }

    fn begin(&self, key: &Key, meta: &Meta) -> Found {
        Found {
            id: self.id(key),
            model: ModelId::from(&*key.name),
            namespace: key.namespace.clone(),
            homes: Vec::new(),
            scaled: self.object(Kind::Deployment, key),
            owner: Owner::Itself,
            autoscaler: Autoscaler::None,
            wanted: None,
            spread: None,
            workspaces: Vec::new(),
            instance: Box::default(),
            gitops: gitops(meta),
            marked: Vec::new(),
            weight: 0,
            naps: self
                .settings
                .named(&key.namespace, &key.name)
                .is_some_and(|it| it.naps),
            router: None,
        }
    }
}
