//! Where a target of a route leads: to a backend of this fleet, to somebody else's API, or nobody knows where.

use std::borrow::Cow;
use std::collections::HashMap;

use super::super::super::object::{BackendRef, Key, Service, Words};
use super::super::super::world::{Home, World};
use super::super::{Found, MADE_BY};
use crate::fleet::cluster::object::Kind;
use crate::fleet::cluster::place::Owner;

/// Where a target leads.
pub(super) enum Leads {
    /// To a backend that was found, by its place.
    Here(usize),
    /// To somebody else's API: its name here, and who runs it.
    Away(Key, String),
    /// Nobody knows.
    Nowhere,
}

/// Whom names in routes mean.
pub(super) struct Resolver<'a> {
    world: &'a World,
    /// By namespace: the labels of a backend's pods, and its place.
    labels: HashMap<Box<str>, Vec<(Cow<'a, Words>, usize)>>,
    /// By name of what makes a service of its own name.
    names: HashMap<Key, usize>,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(world: &'a World, found: &[Found]) -> Self {
        let mut labels: HashMap<Box<str>, Vec<(Cow<'a, Words>, usize)>> = HashMap::new();
        let mut names = HashMap::new();
        for (at, it) in found.iter().enumerate() {
            for home in &it.homes {
                if let Some(workload) = world.workloads.get(home) {
                    let all = labels.entry(it.namespace.clone()).or_default();
                    all.push((with_injected(home, &workload.labels), at));
                }
                names.insert(home.1.clone(), at);
            }
            match &it.owner {
                // At zero it has no workload whose labels could be asked.
                Owner::InferenceSet(set) => {
                    let made_by = [(MADE_BY.into(), set.name.clone())];
                    let all = labels.entry(it.namespace.clone()).or_default();
                    all.push((Cow::Owned(Words::from(made_by)), at));
                }
                // Nor does one that is stopped.
                Owner::InferenceService { object, .. } => {
                    let predictor = format!("{}-predictor", object.name);
                    names.insert(Key::new(&it.namespace, &predictor), at);
                }
                Owner::Itself
                | Owner::Workspace(_)
                | Owner::LlmInferenceService { .. }
                | Owner::Revision(_) => {}
            }
            let whole = it.id.as_str();
            let name = whole.rsplit('/').next().unwrap_or(whole);
            names.insert(Key::new(&it.namespace, name), at);
        }
        Self {
            world,
            labels,
            names,
        }
    }

    pub(super) fn leads(&self, it: &BackendRef, namespace: &str) -> Leads {
        let key = Key::new(it.namespace.as_deref().unwrap_or(namespace), &it.name);
        match (&*it.group, it.kind.as_deref().unwrap_or("")) {
            ("" | "core", "" | "Service") => self.service(&key),
            ("inference.networking.k8s.io", _) => {
                let pool = self.world.pools.get(&key);
                let selector = pool.map(|it| &it.spec.selector.match_labels);
                selector.map_or(Leads::Nowhere, |it| self.selected(it, &key))
            }
            ("gateway.envoyproxy.io", "Backend") => self.address(&key, &key),
            // An AIGatewayRoute's targets have neither group nor kind said, where they are of its own.
            ("" | "aigateway.envoyproxy.io", _) => self.ai_backend(&key),
            // What these lead to is an API of somebody else, as a rule; what it is, is not looked at.
            (group @ ("agentgateway.dev" | "gateway.kgateway.dev"), _) => {
                Leads::Away(key, provider(group))
            }
            // A kind that is not known here may lead anywhere, or nowhere.
            _ => Leads::Nowhere,
        }
    }

    fn service(&self, key: &Key) -> Leads {
        let Some(service) = self.world.services.get(key) else {
            // The same short form stands for an AIServiceBackend in an AIGatewayRoute.
            return match self.ai_backend(key) {
                Leads::Nowhere => self
                    .names
                    .get(key)
                    .map_or(Leads::Nowhere, |at| Leads::Here(*at)),
                other => other,
            };
        };
        if let Some(host) = &service.spec.external_name {
            return match within(host) {
                // One name for another is followed once: two that name each other lead nowhere.
                Some(other) if other != *key => self.named(&other),
                Some(_) => Leads::Nowhere,
                None => Leads::Away(key.clone(), provider(host)),
            };
        }
        self.selecting(service, key)
    }

    /// A service by its name, which is no name for another one.
    fn named(&self, key: &Key) -> Leads {
        let service = self.world.services.get(key);
        let service = service.filter(|it| it.spec.external_name.is_none());
        service.map_or(Leads::Nowhere, |it| self.selecting(it, key))
    }

    fn selecting(&self, service: &Service, key: &Key) -> Leads {
        match self.selected(&service.spec.selector, key) {
            Leads::Nowhere => {
                let known = self.names.get(key).map(|at| Leads::Here(*at));
                known.unwrap_or(Leads::Nowhere)
            }
            other => other,
        }
    }

    fn selected(&self, selector: &Words, key: &Key) -> Leads {
        if selector.is_empty() {
            return Leads::Nowhere;
        }
        let of = self.labels.get(&key.namespace).into_iter().flatten();
        let mut all = of.filter(|(labels, _)| {
            let mut wanted = selector
                .iter()
                // Which of its pods: any of them is this backend.
                .filter(|(name, _)| !OF_ONE_POD.contains(&&***name));
            wanted.all(|(name, value)| labels.get(name) == Some(value))
        });
        all.next()
            .map_or(Leads::Nowhere, |(_, at)| Leads::Here(*at))
    }

    fn ai_backend(&self, key: &Key) -> Leads {
        let Some(it) = self.world.ai_backends.get(key) else {
            return Leads::Nowhere;
        };
        let Some(to) = &it.spec.backend_ref else {
            return Leads::Away(key.clone(), provider(&it.spec.schema.name));
        };
        let at = Key::new(to.namespace.as_deref().unwrap_or(&key.namespace), &to.name);
        let led = match to.kind.as_deref() {
            Some("Backend") => self.address(&at, key),
            _ => match self.service(&at) {
                Leads::Away(_, who) => Leads::Away(key.clone(), who),
                other => other,
            },
        };
        match (led, &*it.spec.schema.name) {
            // These are nobody's own engines, wherever they are reached; OpenAI's is spoken by all.
            (
                Leads::Nowhere,
                schema @ ("AzureOpenAI" | "AWSBedrock" | "GCPVertexAI" | "Anthropic"),
            ) => Leads::Away(key.clone(), provider(schema)),
            (Leads::Nowhere, _) => Leads::Nowhere,
            (Leads::Away(key, _), schema) if schema == "AzureOpenAI" => {
                Leads::Away(key, provider(schema))
            }
            (led, _) => led,
        }
    }

    /// An address outside, or one of this cluster's own names.
    fn address(&self, at: &Key, shown: &Key) -> Leads {
        let Some(host) = self.world.addresses.get(at).and_then(|it| it.host()) else {
            return Leads::Nowhere;
        };
        match within(host) {
            Some(service) => self.service(&service),
            None => Leads::Away(shown.clone(), provider(host)),
        }
    }
}

/// Labels by which a selector means one pod of several.
const OF_ONE_POD: [&str; 2] = [
    "apps.kubernetes.io/pod-index",
    "statefulset.kubernetes.io/pod-name",
];

/// The service that a host's name within a cluster is of.
fn within(host: &str) -> Option<Key> {
    let mut parts = host.split('.');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(name), Some(namespace), Some("svc")) => Some(Key::new(namespace, name)),
        _ => None,
    }
}

/// The labels of a workload's pods that serve: those of its template, and those that its controller adds.
fn with_injected<'a>((kind, key): &Home, template: &'a Words) -> Cow<'a, Words> {
    if *kind != Kind::LeaderWorkerSet {
        return Cow::Borrowed(template);
    }
    let mut all = template.clone();
    for (name, value) in [
        ("leaderworkerset.sigs.k8s.io/name", &*key.name),
        ("leaderworkerset.sigs.k8s.io/worker-index", "0"),
    ] {
        all.insert(name.into(), value.into());
    }
    Cow::Owned(all)
}

/// Who runs it, for people: by the host's name or the schema's.
pub(in crate::source::kube) fn provider(said: &str) -> String {
    let known = [
        ("azure", "Azure OpenAI"),
        ("AzureOpenAI", "Azure OpenAI"),
        ("openai", "OpenAI"),
        ("OpenAI", "OpenAI"),
        ("anthropic", "Anthropic"),
        ("amazonaws", "AWS Bedrock"),
        ("AWSBedrock", "AWS Bedrock"),
        ("googleapis", "Google Vertex"),
        ("GCPVertexAI", "Google Vertex"),
    ];
    let found = known.iter().find(|(part, _)| said.contains(part));
    found.map_or_else(
        || {
            if said.is_empty() {
                "hosted".into()
            } else {
                said.to_owned()
            }
        },
        |(_, name)| (*name).to_owned(),
    )
}
