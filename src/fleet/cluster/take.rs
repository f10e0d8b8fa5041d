//! What a cluster says, applied to the picture.

use std::collections::VecDeque;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::follow::follow;
use super::plan::Plan;
use super::{Seen, SeenBackend, SeenModel};
use crate::fleet::backend::{DrainMark, Kind, Pin};
use crate::fleet::ledger::Ledger;
use crate::fleet::live::Live;
use crate::fleet::message::{Action, Actor, AuditEntry, Command, Receipt, Refusal};
use crate::fleet::model::{ColdPolicy, DataPath, MAX_WAITING, Model};
use crate::fleet::wake::{Drain, Stage, StageSpan, State, Wake};
use crate::fleet::{Backend, BackendId, Fleet};

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
        let there = |id: &BackendId| part.backends.iter().any(|b| b.id == *id);
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
        for backend in seen.backends {
            self.take_backend(backend, now);
        }
        if let Some(models) = seen.models {
            self.take_models(models, &seen.cluster);
        }
        self.review();
    }

    fn take_backend(&mut self, seen: SeenBackend, now: DateTime<Utc>) {
        let at = self.backends.iter().position(|b| b.id == seen.id);
        let at = at.unwrap_or_else(|| {
            self.backends.push(Arc::new(new(&seen, now)));
            self.backends.len() - 1
        });
        let gap = self.gap();
        let b = Arc::make_mut(&mut self.backends[at]);
        b.accrue(now, gap);
        b.model = seen.model;
        b.kind = seen.kind;
        b.weight = seen.weight;
        let Some(place) = seen.place else { return };
        let outcome = follow(b, &place, now);
        let mark = place.mark.as_ref().filter(|mark| mark.stands());
        b.pin = place.pin.as_ref().map(|it| Pin {
            until: it.until,
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
        b.place = Some(place);
        let target = b.full_name();
        for note in outcome.notes {
            self.tell(&target, note.verb, note.said, note.bad, now);
        }
    }

    /// The order of the screen is that of the models; what no model has is gone.
    fn take_models(&mut self, models: Vec<SeenModel>, cluster: &str) {
        let ours = |b: &Backend| {
            b.place.as_ref().map_or_else(
                || b.id.as_str().starts_with(&format!("{cluster}:")) || self.clusters.len() < 2,
                |place| *place.cluster == *cluster,
            )
        };
        let order: std::collections::HashMap<&BackendId, usize> = models
            .iter()
            .flat_map(|model| &model.backends)
            .enumerate()
            .map(|(at, id)| (id, at))
            .collect();
        let mut kept: Vec<Arc<Backend>> = std::mem::take(&mut self.backends)
            .into_iter()
            .filter(|b| order.contains_key(&b.id) || !ours(b))
            .collect();
        kept.sort_by_key(|b| order.get(&b.id).copied().unwrap_or(usize::MAX));
        self.backends = kept;
        let theirs = |model: &Arc<Model>| {
            let mut of = self.backends.iter().filter(|b| b.model == model.id);
            of.any(|b| !order.contains_key(&b.id))
        };
        let others: Vec<Arc<Model>> = self.models.iter().filter(|m| theirs(m)).cloned().collect();
        let known = std::mem::take(&mut self.models);
        self.models = models
            .into_iter()
            .map(|seen| {
                let same = known.iter().find(|it| {
                    it.id == seen.id && it.backends == seen.backends && it.routes == seen.routes
                });
                same.cloned().unwrap_or_else(|| Arc::new(model(seen)))
            })
            .collect();
        for other in others {
            match self.models.iter_mut().find(|it| it.id == other.id) {
                Some(known) => {
                    // The same name on two clusters is one model.
                    let known = Arc::make_mut(known);
                    for id in &other.backends {
                        if !known.backends.contains(id) {
                            known.backends.push(id.clone());
                        }
                    }
                    for rule in &other.routes {
                        if !known.routes.contains(rule) {
                            known.routes.push(rule.clone());
                        }
                    }
                }
                None => self.models.push(other),
            }
        }
    }

    /// Begins an operation on a cluster: the picture says so at once.
    pub(in crate::fleet) fn operate(
        &mut self,
        command: &Command,
        by: &Actor,
        now: DateTime<Utc>,
    ) -> Result<(String, Vec<Action>), Refusal> {
        let plan = self.plan(command, by, now)?;
        let gap = self.gap();
        let inner = command.inner();
        if let Some(id) = &plan.backend {
            let state = match inner {
                Command::Wake { .. } => Some(State::Waking(asked(now, by))),
                Command::Sleep { .. } | Command::Drain { .. } => Some(State::Draining(Drain {
                    since: now,
                    by: by.name().to_owned(),
                    deadline: now + super::DRAIN_PATIENCE,
                    idle_reads: 0,
                    stopping: false,
                    was_warm: true,
                })),
                Command::Undrain { .. }
                | Command::Pin { .. }
                | Command::Unpin { .. }
                | Command::Weights { .. }
                | Command::Flip { .. }
                | Command::Undo
                | Command::Force { .. } => None,
            };
            let first = plan.steps.first().map(|it| it.step.words());
            self.change(id, |b| {
                b.accrue(now, gap);
                let asleep = matches!(b.state, State::Asleep { .. } | State::Failed(_));
                match (state, inner) {
                    // One that sleeps has nothing to end.
                    (Some(_), Command::Sleep { .. } | Command::Drain { .. }) if asleep => {}
                    (Some(state), _) => b.state = state,
                    (None, _) => {}
                }
                b.doing = first;
            });
        }
        let said = if let Command::Wake { backend } = inner {
            format!("waking{}", self.expectation(backend))
        } else {
            let n = plan.writes().count();
            let calls = if n == 1 { "call" } else { "calls" };
            format!("{} on {}: {n} {calls}", inner.verb(), plan.cluster)
        };
        Ok((
            said,
            vec![Action::Operate {
                plan: Box::new(plan),
            }],
        ))
    }

    /// An operation ended.
    pub(in crate::fleet) fn operated(
        &mut self,
        plan: &Plan,
        result: &Result<(), String>,
        at: DateTime<Utc>,
    ) {
        let now = self.now.max(at);
        self.now = now;
        let target = match &plan.backend {
            Some(id) => self
                .backend(id)
                .map_or_else(|| id.to_string(), |b| b.full_name()),
            None => plan.mark.of.clone(),
        };
        let (said, bad) = match result {
            Ok(()) => (format!("done on {}", plan.cluster), false),
            Err(why) => (why.clone(), true),
        };
        self.tell(&target, plan.command.inner().verb(), said, bad, now);
        if let Some(id) = &plan.backend {
            let gap = self.gap();
            self.change(id, |b| {
                b.accrue(now, gap);
                b.doing = None;
                let command = plan.command.inner();
                if result.is_ok() && matches!(command, Command::Undrain { .. }) {
                    // Whatever drained it was ended for this.
                    if matches!(b.state, State::Draining(_)) {
                        b.state = State::Unknown { since: now };
                    }
                    if let Some(place) = b.place.clone() {
                        follow(b, &place, now);
                    }
                }
                if result.is_err() {
                    // What is, is what the pods say: nothing is known until they are looked at again. What another
                    // operation does meanwhile stays its own.
                    let mine = match &b.state {
                        State::Waking(wake) => {
                            wake.by == plan.mark.by
                                && matches!(plan.command.inner(), Command::Wake { .. })
                        }
                        State::Draining(drain) => {
                            drain.by == plan.mark.by
                                && !matches!(plan.command.inner(), Command::Wake { .. })
                        }
                        _ => false,
                    };
                    if mine {
                        b.state = State::Unknown { since: now };
                    }
                    if let Some(place) = b.place.clone() {
                        follow(b, &place, now);
                    }
                }
            });
        }
        self.review();
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

    /// An operation came to its next step.
    pub(in crate::fleet) fn came_to(&mut self, id: &BackendId, words: String, stopping: bool) {
        self.change(id, |b| {
            b.doing = Some(words);
            if stopping && let State::Draining(drain) = &mut b.state {
                drain.stopping = true;
            }
        });
    }

    fn tell(&mut self, target: &str, verb: &str, said: String, bad: bool, now: DateTime<Utc>) {
        self.write(AuditEntry {
            at: now,
            by: Actor::Policy("cluster".into()),
            verb: verb.into(),
            target: target.to_owned(),
            result: said,
            bad,
        });
    }

    /// A receipt for what was only tried: the API took it and changed nothing.
    pub fn rehearsed(plan: &Plan) -> Receipt {
        let n = plan.writes().count();
        let calls = if n == 1 { "call" } else { "calls" };
        Receipt {
            said: format!("{} accepts it (dry run of {n} {calls})", plan.cluster),
            undoable: false,
        }
    }
}

fn asked(now: DateTime<Utc>, by: &Actor) -> Wake {
    Wake {
        since: now,
        by: by.name().to_owned(),
        stages: vec![StageSpan {
            stage: Stage::Queued,
            began: now,
            ended: None,
            percent: None,
        }],
        hot: None,
        late: false,
        begun: true,
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

fn new(seen: &SeenBackend, now: DateTime<Utc>) -> Backend {
    Backend {
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
        live: Live::default(),
        sample: None,
        gpus: Arc::new([]),
        ledger: Ledger {
            until: Some(now),
            ..Ledger::default()
        },
        wakes: VecDeque::new(),
        log: VecDeque::new(),
        place: None,
        doing: None,
    }
}
