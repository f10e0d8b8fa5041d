//! Which routes lead to which backends, and which of these are somebody else's.

mod target;

use std::collections::{HashMap, HashSet};

pub(in crate::source::kube) use self::target::provider;
use self::target::{Leads, Resolver};
use super::super::object::{Key, Route, RouteRule};
use super::super::settings::Settings;
use super::super::world::World;
use super::{Found, gitops, somebody_elses};
use crate::fleet::ModelId;
use crate::fleet::cluster::SeenBackend;
use crate::fleet::cluster::mark::{KEY, Mark};
use crate::fleet::cluster::object::{Kind, Object};
use crate::fleet::cluster::rule::{Ref, Rule};
use crate::source::engine_log::clean;

/// What routes say.
#[derive(Debug, Default)]
pub(super) struct Routes {
    pub rules: Vec<(ModelId, Rule)>,
    pub hosted: Vec<SeenBackend>,
}

/// A rule that leads to something of this fleet.
struct Led<'a> {
    model: ModelId,
    object: Object,
    at: usize,
    rule: &'a RouteRule,
    route: &'a Route,
    leads: Vec<Leads>,
}

/// Reads all routes; what they say of a backend's weight and model is written into it.
pub(super) fn routes(
    world: &World,
    settings: &Settings,
    found: &mut [Found],
    served: &dyn Fn(Kind) -> Box<str>,
) -> Routes {
    let resolver = Resolver::new(world, found);
    let led = led(world, &resolver, found, served);
    let weights = Weights::of(&led);
    let mut away: HashMap<Key, Vec<ModelId>> = HashMap::new();
    let mut named: HashSet<usize> = HashSet::new();
    for one in &led {
        for lead in &one.leads {
            match lead {
                Leads::Here(at) => {
                    found[*at].weight = weights.here.get(at).copied().unwrap_or(1);
                    if one.rule.model().is_some() && named.insert(*at) {
                        // The first name in a route is what clients ask for; others are for adapters and the like.
                        found[*at].model = one.model.clone();
                    }
                }
                Leads::Away(key, _) => {
                    let of = away.entry(key.clone()).or_default();
                    if !of.contains(&one.model) {
                        of.push(one.model.clone());
                    }
                }
                Leads::Nowhere => {}
            }
        }
    }
    let mut out = Routes::default();
    for one in led {
        let first = one.rule.first();
        let fixed = fixed(&one);
        let refs = one
            .rule
            .backend_refs
            .iter()
            .zip(one.leads)
            .map(|(it, lead)| {
                let backend = match lead {
                    Leads::Here(at) => Some(found[at].id.clone()),
                    Leads::Away(key, provider) => {
                        let mut name = format!("{}/{}", key.namespace, key.name);
                        if away.get(&key).is_some_and(|of| of.len() > 1) {
                            name = format!("{name}@{}", one.model);
                        }
                        let id = settings.id(&name);
                        if !out.hosted.iter().any(|it| it.id == id) {
                            let model = one.model.clone();
                            let weight = weights.away.get(&(key.clone(), model.clone()));
                            let weight = weight.copied().unwrap_or(1);
                            let mut one =
                                somebody_elses(id.clone(), model, provider, weight, settings);
                            let said = world.ai_backends.get(&key);
                            one.down = said.and_then(|it| it.refused.clone());
                            out.hosted.push(one);
                        }
                        Some(id)
                    }
                    Leads::Nowhere => None,
                };
                Ref {
                    name: it.name.clone(),
                    weight: it.weight,
                    backend,
                    fallback: it.priority() > first,
                }
            });
        let rule = Rule {
            cluster: settings.cluster.clone(),
            at: one.at,
            matches: clean(&one.rule.words()).into(),
            resource_version: one.route.meta.resource_version.clone(),
            annotated: one.route.annotated,
            refs: refs.collect(),
            programmed: programmed(world, &one.object, one.route),
            refused: is_refused(world, &one.object, one.route),
            mark: one.route.meta.annotation(KEY).and_then(Mark::read),
            fixed,
            gitops: gitops(&one.route.meta),
            route: one.object,
        };
        out.rules.push((one.model, rule));
    }
    out
}

/// The weight that is shown of each: that of the first rule which chooses between several, or else of any.
#[derive(Default)]
struct Weights {
    here: HashMap<usize, u32>,
    away: HashMap<(Key, ModelId), u32>,
}

impl Weights {
    fn of(led: &[Led<'_>]) -> Self {
        let mut out = Self::default();
        let (choosing, others): (Vec<&Led<'_>>, Vec<&Led<'_>>) =
            led.iter().partition(|it| it.rule.backend_refs.len() > 1);
        for one in choosing.into_iter().chain(others) {
            for (it, lead) in one.rule.backend_refs.iter().zip(&one.leads) {
                let is_first = it.priority() == one.rule.first();
                let weight = it.weight.filter(|_| is_first);
                let weight = weight.unwrap_or(u32::from(is_first));
                match lead {
                    Leads::Here(at) => {
                        out.here.entry(*at).or_insert(weight);
                    }
                    Leads::Away(key, _) => {
                        let key = (key.clone(), one.model.clone());
                        out.away.entry(key).or_insert(weight);
                    }
                    Leads::Nowhere => {}
                }
            }
        }
        out
    }
}

/// The rules that lead to something of ours, or are for a model by name.
fn led<'a>(
    world: &'a World,
    resolver: &Resolver<'_>,
    found: &[Found],
    served: &dyn Fn(Kind) -> Box<str>,
) -> Vec<Led<'a>> {
    let mut out = Vec::new();
    for ((kind, key), route) in &world.routes {
        // What is made of another route is its own business: that one has the weights.
        if let Some(("AIGatewayRoute", of)) = route.meta.controller()
            && world
                .routes
                .contains_key(&(Kind::AiGatewayRoute, Key::new(&key.namespace, of)))
        {
            continue;
        }
        for (at, rule) in route.rules.iter().enumerate() {
            let refs = rule.backend_refs.iter();
            let leads: Vec<Leads> = refs.map(|it| resolver.leads(it, &key.namespace)).collect();
            let here = leads.iter().find_map(|it| match it {
                Leads::Here(at) => Some(*at),
                Leads::Away(..) | Leads::Nowhere => None,
            });
            let model = match (rule.model(), here) {
                (Some(model), _) => ModelId::from(clean(model)),
                (None, Some(at)) => found[at].model.clone(),
                (None, None) => continue,
            };
            out.push(Led {
                model,
                object: Object {
                    kind: *kind,
                    version: served(*kind),
                    namespace: key.namespace.clone(),
                    name: key.name.clone(),
                },
                at,
                rule,
                route,
                leads,
            });
        }
    }
    out
}

/// Why the weights of its rule are not edited here, and where they are.
fn fixed(of: &Led<'_>) -> Option<Box<str>> {
    if let Some((kind, name)) = of.route.meta.controller() {
        let place = match kind {
            "LLMInferenceService" => ": its spec.router.route has the weight",
            _ => "",
        };
        return Some(clean(&format!("{kind} {name} makes it{place}")).into());
    }
    let first = of.rule.first();
    let mut all = of.rule.backend_refs.iter();
    all.any(|it| it.priority() != first).then(|| {
        "its targets have priorities, and those that come later get requests only when the first ones fail".into()
    })
}

/// An AIGatewayRoute says little of itself: the HTTPRoute that is made of it has the gateways' word.
fn programmed(world: &World, object: &Object, route: &Route) -> Result<(), Box<str>> {
    if object.kind != Kind::AiGatewayRoute {
        return route.programmed();
    }
    let made = (Kind::HttpRoute, Key::new(&object.namespace, &object.name));
    route.programmed()?;
    let Some(made) = world.routes.get(&made) else {
        if world.knows(Kind::HttpRoute, &object.namespace) {
            return Ok(());
        }
        return Err("whether the gateways have it is not known: the HTTPRoute that is made of it is not seen".into());
    };
    // Its status is about what was made of it last, which may be what it was before.
    let shares = |it: &RouteRule| -> Vec<u32> {
        let refs = it.backend_refs.iter();
        refs.map(|it| it.weight.unwrap_or(1)).collect()
    };
    let mut rules = route.rules.iter().zip(&made.rules);
    if rules.any(|(is, made)| {
        is.backend_refs.len() == made.backend_refs.len() && shares(is) != shares(made)
    }) {
        return Err("the HTTPRoute that is made of it does not have its weights yet".into());
    }
    made.programmed()
}

/// The same of its gateway's refusal.
fn is_refused(world: &World, object: &Object, route: &Route) -> bool {
    let made = (Kind::HttpRoute, Key::new(&object.namespace, &object.name));
    let made = world
        .routes
        .get(&made)
        .filter(|_| object.kind == Kind::AiGatewayRoute);
    route.is_refused() || made.is_some_and(Route::is_refused)
}
