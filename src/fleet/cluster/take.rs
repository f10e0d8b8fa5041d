//! What a cluster says, applied to the picture.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::follow::follow;
use super::{Cluster, Seen, SeenBackend, SeenModel};
use crate::fleet::backend::{DrainMark, Kind, Pin};
use crate::fleet::ledger::Ledger;
use crate::fleet::live::Live;
use crate::fleet::message::{Actor, AuditEntry};
use crate::fleet::model::{ColdPolicy, DataPath, MAX_WAITING, Model};
use crate::fleet::restore::Past;
use crate::fleet::wake::State;
use crate::fleet::{Backend, BackendId, Fleet, ModelId};

impl Fleet {
    /// Whether its backends live on clusters, which decide what is.
    pub fn is_on_clusters(&self) -> bool {
        !self.clusters.is_empty()
    }

    /// The part of it that lives on one cluster: its figures are of that alone.
    #[must_use]
    pub fn only(&self, cluster: &str) -> Self {
        let prefix = format!("{cluster}:");
        let here = |b: &Backend| match &b.place {
            Some(place) => *place.cluster == *cluster,
            None => b.id.as_str().starts_with(&prefix),
        };
        let mut part = self.clone();
        part.backends.retain(|b| here(b));
        let ids: HashSet<&BackendId> = part.backends.iter().map(|b| &b.id).collect();
        let there = |id: &BackendId| ids.contains(id);
        let models = self.models.iter().filter_map(|model| {
            let mut model = Model::clone(model);
            model.backends.retain(there);
            model.routes.retain(|rule| {
                rule.refs
                    .iter()
                    .any(|it| it.backend.as_ref().is_some_and(there))
            });
            (!model.backends.is_empty()).then(|| Arc::new(model))
        });
        part.models = models.collect();
        Arc::make_mut(&mut part.past).retain(|id, _| id.as_str().starts_with(&prefix));
        part.clusters.retain(|it| *it.name == *cluster);
        part.name = format!("{}: {cluster}", self.name);
        part.review();
        part
    }

    /// A backend's cluster and its name there; the cluster is empty where there is only one.
    pub fn name_within<'a>(&'a self, id: &'a BackendId) -> (&'a str, &'a str) {
        let whole = id.as_str();
        let mut clusters = self.clusters.iter().map(|it| &*it.name);
        let found = clusters.find_map(|name| {
            let rest = whole.strip_prefix(name)?.strip_prefix(':')?;
            Some((name, rest))
        });
        found.unwrap_or(("", whole))
    }

    /// Applies what a cluster said.
    pub(in crate::fleet) fn take_cluster(&mut self, seen: Seen, at: DateTime<Utc>) {
        let now = self.now.max(at);
        self.now = now;
        if let Some(facts) = seen.facts {
            match self.clusters.iter_mut().find(|it| it.name == seen.cluster) {
                Some(known) => *known = Arc::new(*facts),
                None => self.clusters.push(Arc::new(*facts)),
            }
        }
        if !seen.backends.is_empty() {
            // Looked for once: all of thousands may be told.
            let all = self.backends.iter().enumerate();
            let mut known: HashMap<BackendId, usize> =
                all.map(|(at, b)| (b.id.clone(), at)).collect();
            for backend in seen.backends {
                self.take_backend(backend, &mut known, now);
            }
        }
        if let Some(models) = seen.models {
            self.take_models(models, &seen.cluster);
        }
        self.watch_costs(&seen.cluster, now);
        self.review();
    }

    /// Where its machines or pods are not seen any more, nothing is charged for them until they are.
    fn watch_costs(&mut self, cluster: &str, now: DateTime<Utc>) {
        let known = self.clusters.iter().find(|it| *it.name == *cluster);
        let blind = known.is_some_and(|it| it.is_blind());
        let gap = self.gap();
        for b in &mut self.backends {
            let here = b.place.as_ref().is_some_and(|it| *it.cluster == *cluster);
            if here && b.ledger.blind != blind {
                let b = Arc::make_mut(b);
                b.accrue(now, gap);
                b.ledger.blind = blind;
            }
        }
    }

    fn take_backend(
        &mut self,
        seen: SeenBackend,
        known: &mut HashMap<BackendId, usize>,
        now: DateTime<Utc>,
    ) {
        let at = *known.entry(seen.id.clone()).or_insert_with(|| {
            let past = self.past.get(&seen.id).cloned();
            if past.is_some() {
                Arc::make_mut(&mut self.past).remove(&seen.id);
            }
            self.backends
                .push(Arc::new(new(&seen, past.as_deref(), now)));
            self.backends.len() - 1
        });
        let gap = self.gap();
        let b = Arc::make_mut(&mut self.backends[at]);
        b.accrue(now, gap);
        b.model = seen.model;
        b.kind = seen.kind;
        b.weight = seen.weight;
        let Some(place) = seen.place else {
            b.state = match (seen.down, &b.state) {
                (Some(why), State::Down { since, .. }) => State::Down {
                    since: *since,
                    reason: why.into(),
                },
                (Some(why), _) => State::Down {
                    since: now,
                    reason: why.into(),
                },
                (None, State::Down { .. }) => State::Ready { since: now },
                (None, other) => other.clone(),
            };
            return;
        };
        if matches!(b.state, State::Unknown { .. }) {
            b.live.met_at = Some(now);
        }
        let outcome = follow(b, &place, now);
        let mark = place.mark.as_ref().filter(|mark| mark.stands());
        b.pin = place.pin.as_ref().map(|it| Pin {
            until: it.until,
            exactly: it.exactly,
            reason: it.reason.clone(),
            by: it.by.clone(),
        });
        let taken_back = place
            .mark
            .as_ref()
            .filter(|it| it.undone && it.op == "undrain");
        let drained = mark.filter(|it| it.op == "drain").or(taken_back);
        b.drained = drained.map(|it| DrainMark {
            since: it.at,
            by: it.by.clone(),
        });
        // What was read of other pods says nothing of these.
        let before = b.place.as_ref().map(|it| &it.serving);
        if before.is_some_and(|it| *it != place.serving)
            && let State::Draining(drain) = &mut b.state
        {
            drain.idle_reads = 0;
        }
        b.place = Some(place);
        let target = b.full_name();
        for note in outcome.notes {
            self.tell(&target, note.verb, note.said, note.bad, now);
        }
    }

    /// The order of the screen is that of the clusters, and on each that of its models; what no model has is gone.
    fn take_models(&mut self, models: Vec<SeenModel>, cluster: &str) {
        let order: HashMap<&BackendId, usize> = models
            .iter()
            .flat_map(|model| &model.backends)
            .enumerate()
            .map(|(at, id)| (id, at))
            .collect();
        let clusters = &self.clusters;
        let at_of = |b: &Backend| cluster_of(b, clusters);
        let here = clusters.iter().position(|it| *it.name == *cluster);
        let stays = |b: &Backend| order.contains_key(&b.id) || at_of(b) != here;
        for gone in self.backends.iter().filter(|b| !stays(b)) {
            let past = Past::of(gone);
            Arc::make_mut(&mut self.past).insert(gone.id.clone(), Arc::new(past));
        }
        self.backends.retain(|b| stays(b));
        // Stable: those of another cluster keep the order that it gave them.
        self.backends
            .sort_by_key(|b| (at_of(b), order.get(&b.id).copied()));
        let theirs: HashSet<&BackendId> = self
            .backends
            .iter()
            .filter(|b| !order.contains_key(&b.id))
            .map(|b| &b.id)
            .collect();
        // What other clusters say of a model stays; what this one said before is what it says now.
        let known = std::mem::take(&mut self.models);
        let others = known.iter().filter_map(|model| {
            let backends = model.backends.iter().filter(|id| theirs.contains(id));
            let routes = model.routes.iter().filter(|it| *it.cluster != *cluster);
            let seen = SeenModel {
                id: model.id.clone(),
                backends: backends.cloned().collect(),
                routes: routes.cloned().collect(),
            };
            (!seen.backends.is_empty()).then_some(seen)
        });
        let mut all: Vec<SeenModel> = others.collect();
        let each = all.iter().enumerate();
        let mut places: HashMap<ModelId, usize> =
            each.map(|(at, it)| (it.id.clone(), at)).collect();
        for seen in models {
            // The same name on two clusters is one model.
            match places.entry(seen.id.clone()) {
                Entry::Occupied(at) => {
                    let known = &mut all[*at.get()];
                    known.backends.extend(seen.backends);
                    known.routes.extend(seen.routes);
                }
                Entry::Vacant(free) => {
                    free.insert(all.len());
                    all.push(seen);
                }
            }
        }
        let rank: HashMap<&BackendId, usize> = self
            .backends
            .iter()
            .enumerate()
            .map(|(at, b)| (&b.id, at))
            .collect();
        let at = |id: &BackendId| rank.get(id).copied().unwrap_or(usize::MAX);
        for model in &mut all {
            model.backends.sort_by_key(at);
            model.routes.sort_by_key(|rule| {
                let mut names = clusters.iter().map(|it| &it.name);
                names.position(|name| *name == rule.cluster)
            });
        }
        all.sort_by_key(|model| model.backends.first().map_or(usize::MAX, at));
        let known: HashMap<&ModelId, &Arc<Model>> = known.iter().map(|it| (&it.id, it)).collect();
        self.namespace = self.one_namespace();
        self.models = all
            .into_iter()
            .map(|seen| match known.get(&seen.id) {
                Some(it) if it.backends == seen.backends && it.routes == seen.routes => {
                    Arc::clone(it)
                }
                _ => Arc::new(model(seen)),
            })
            .collect();
    }

    fn one_namespace(&self) -> Option<Arc<str>> {
        let mut all = self.backends.iter().map(|b| {
            let (_, name) = self.name_within(&b.id);
            name.split_once('/').map(|(namespace, _)| namespace)
        });
        let first = all.next()??;
        all.all(|it| it == Some(first)).then(|| first.into())
    }

    /// Looks at a backend's place again: what its engines say of sleep has changed.
    pub(in crate::fleet) fn follow_again(&mut self, id: &BackendId, at: DateTime<Utc>) {
        let outcome = self.change(id, |b| {
            let place = b.place.clone()?;
            Some((follow(b, &place, at), b.full_name()))
        });
        let Some(Some((outcome, target))) = outcome else {
            return;
        };
        for note in outcome.notes {
            self.tell(&target, note.verb, note.said, note.bad, at);
        }
    }

    pub(super) fn tell(
        &mut self,
        target: &str,
        verb: &str,
        said: String,
        bad: bool,
        now: DateTime<Utc>,
    ) {
        self.write(AuditEntry {
            at: now,
            by: Actor::Policy("cluster".into()),
            verb: verb.into(),
            target: target.to_owned(),
            result: said,
            bad,
        });
    }
}

fn model(seen: SeenModel) -> Model {
    Model {
        id: seen.id,
        backends: seen.backends,
        cold: ColdPolicy::Wait,
        data_path: DataPath::Any,
        rules: Vec::new(),
        max_waiting: MAX_WAITING,
        choose_backend: false,
        evals: Vec::new(),
        routes: seen.routes,
    }
}

fn new(seen: &SeenBackend, past: Option<&Past>, now: DateTime<Utc>) -> Backend {
    let mut one = Backend {
        id: seen.id.clone(),
        model: seen.model.clone(),
        kind: seen.kind.clone(),
        state: match &seen.kind {
            // Its pods may not be known yet.
            Kind::SelfHosted(_) => State::Unknown { since: now },
            Kind::Hosted(_) => State::Ready { since: now },
        },
        max_running: None,
        weight: seen.weight,
        pin: None,
        scheduled: None,
        drained: None,
        live: Live {
            met_at: Some(now),
            ..Live::default()
        },
        sample: None,
        gpus: Arc::new([]),
        ledger: Ledger {
            since: Some(now),
            until: Some(now),
            ..Ledger::default()
        },
        wakes: past.map(|it| it.wakes.clone()).unwrap_or_default(),
        log: VecDeque::new(),
        place: None,
        doing: None,
        progress: None,
    };
    if let Some(ledger) = past.and_then(|it| it.ledger.clone()) {
        one.take_up(ledger, now);
    }
    // Until a gateway's page says otherwise.
    one.ledger.uncounted = one.is_hosted();
    one
}

/// Which cluster a backend is on, by its place in the list; one that is hosted is by its name.
fn cluster_of(b: &Backend, clusters: &[Arc<Cluster>]) -> Option<usize> {
    if clusters.len() == 1 {
        return Some(0);
    }
    clusters.iter().position(|it| {
        if let Some(place) = &b.place {
            return place.cluster == it.name;
        }
        let rest = b.id.as_str().strip_prefix(&*it.name);
        rest.is_some_and(|rest| rest.starts_with(':'))
    })
}
