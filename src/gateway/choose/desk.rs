//! One model as the gateway sees it: its backends, whose turn it is, and who waits.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use tokio::sync::Notify;

use crate::fleet::model::DataPath;
use crate::fleet::rule::Rule;
use crate::fleet::{Backend, BackendId, Fleet, Model, ModelId};
use crate::gateway::Gate;
use crate::gateway::choose::balance::Balance;
use crate::gateway::choose::route::{Row, Standing, standing};
use crate::gateway::plan::Plan;
use crate::gateway::upstream::slot::{Slot, lock};
use crate::gateway::wait::room::{Group, Room};
use crate::gateway::wait::wake::Asked;

/// One model as the config has it; when that changes, a new desk takes its place. The picture says how its backends are.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) model: ModelId,
    pub(crate) seats: Vec<Seat>,
    pub(crate) room: Arc<Room>,
    /// Told when a backend that runs as many requests as it may has a place again.
    pub(crate) freed: Arc<Notify>,
    /// The newest wakes that were asked for.
    pub(crate) asked: Mutex<Vec<Asked>>,
    /// The model when the desk was opened: those who wait keep to the rules that they came under.
    then: Arc<Model>,
    at: usize,
    balance: Mutex<Balance>,
}

/// One backend of the model, in config order.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) id: BackendId,
    /// `None`: no way to reach it.
    pub(crate) slot: Option<Arc<Slot>>,
    at: usize,
}

impl Gate {
    /// The desk of a model by its name; `None` when the fleet has no such model.
    pub(in crate::gateway) fn desk(&self, name: &str, fleet: &Fleet) -> Option<Arc<Desk>> {
        // Ids are text within, but a map cannot be asked by text alone: the id is made anew.
        let id = ModelId::from(name);
        let known = self.desks.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(desk) = known.get(&id) {
            return Some(Arc::clone(desk));
        }
        drop(known);
        if !fleet.models.iter().any(|model| model.id == id) {
            return None;
        }
        // Opened while nobody renews the plan, by what is newest: no desk of an old plan stays.
        let mut known = self.desks.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(desk) = known.get(&id) {
            return Some(Arc::clone(desk));
        }
        let desk = Arc::new(self.open_desk(&id, &self.picture())?);
        known.insert(id, Arc::clone(&desk));
        Some(desk)
    }

    fn open_desk(&self, id: &ModelId, fleet: &Fleet) -> Option<Desk> {
        let at = fleet.models.iter().position(|model| model.id == *id)?;
        let plan = self.plan();
        let seats = fleet.models[at].backends.iter().map(|id| Seat {
            id: id.clone(),
            slot: plan.slots.get(id).cloned(),
            at: fleet
                .backends
                .iter()
                .position(|backend| backend.id == *id)
                .unwrap_or(usize::MAX),
        });
        Some(Desk {
            model: id.clone(),
            seats: seats.collect(),
            room: Arc::default(),
            freed: plan.freed.get(id).cloned().unwrap_or_default(),
            asked: Mutex::default(),
            then: Arc::clone(&fleet.models[at]),
            at,
            balance: Mutex::default(),
        })
    }
}

impl Seat {
    /// Its backend in a picture; pictures keep their order, so this looks in one place.
    pub(crate) fn backend<'f>(&self, fleet: &'f Fleet) -> Option<&'f Backend> {
        let hinted = fleet.backends.get(self.at).filter(|it| it.id == self.id);
        hinted
            .or_else(|| fleet.backends.iter().find(|it| it.id == self.id))
            .map(AsRef::as_ref)
    }
}

impl Desk {
    /// Whether it is the one that this config would open.
    pub(in crate::gateway) fn is_of(&self, fleet: &Fleet, plan: &Plan) -> bool {
        let same = |seat: &Seat| match (&seat.slot, plan.slots.get(&seat.id)) {
            (Some(mine), Some(now)) => Arc::ptr_eq(mine, now),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        self.model(fleet).is_some_and(|model| *model == *self.then) && self.seats.iter().all(same)
    }

    /// The rules that its requests are held against.
    pub(crate) fn rules(&self) -> &[Rule] {
        &self.then.rules
    }

    /// Its model in a picture.
    pub(crate) fn model<'f>(&self, fleet: &'f Fleet) -> Option<&'f Model> {
        let hinted = fleet.models.get(self.at).filter(|it| it.id == self.model);
        hinted
            .or_else(|| fleet.models.iter().find(|it| it.id == self.model))
            .map(AsRef::as_ref)
    }

    /// What may be expected of each seat by requests of `group`.
    pub(crate) fn rows(&self, fleet: &Fleet, group: Group, now: DateTime<Utc>) -> Vec<Row> {
        let model = self.model(fleet);
        let self_only =
            group.self_only || model.is_some_and(|model| model.data_path == DataPath::SelfHosted);
        let rule = group.rule.and_then(|(at, _)| self.then.rules.get(at));
        let row = |(at, seat): (usize, &Seat)| {
            let named = group.asked.is_none_or(|asked| asked == at)
                && rule.is_none_or(|rule| rule.to.contains(&seat.id));
            let strict = group.asked.is_some() || rule.is_none_or(|rule| !rule.fallback);
            let barred = Row {
                weight: 0,
                named,
                standing: Standing::Barred,
            };
            let (Some(backend), Some(slot)) = (seat.backend(fleet), &seat.slot) else {
                return barred;
            };
            if (self_only && backend.is_hosted()) || (strict && !named) {
                return barred;
            }
            let mut standing = standing(backend, now);
            if standing == Standing::Eligible {
                let circuit = slot.circuit();
                if let Some(until) = circuit.limited(now) {
                    standing = Standing::Limited(until);
                } else if !circuit.allows(now) {
                    standing = Standing::Broken(circuit.opens_at().unwrap_or(now));
                } else if slot.free(backend.max_running) == Some(0) {
                    standing = Standing::Full;
                }
            }
            Row {
                weight: backend.weight,
                named,
                standing,
            }
        };
        self.seats.iter().enumerate().map(row).collect()
    }

    /// How many requests the backends in these rows can take now; `None`: any number.
    pub(crate) fn free(&self, fleet: &Fleet, rows: &[Row]) -> Option<u32> {
        let free = |(seat, row): (&Seat, &Row)| {
            let limit = seat.backend(fleet)?.max_running;
            match row.standing {
                Standing::Eligible => seat.slot.as_ref()?.free(limit),
                Standing::Coming
                | Standing::Full
                | Standing::Limited(_)
                | Standing::Broken(_)
                | Standing::Drained
                | Standing::Failed
                | Standing::Barred => Some(0),
            }
        };
        self.seats
            .iter()
            .zip(rows)
            .map(free)
            .try_fold(0, |sum: u32, free| Some(sum.saturating_add(free?)))
    }

    /// Whose turn it is.
    pub(crate) fn turn(&self, wanted: &[(usize, u32)]) -> Option<usize> {
        lock(&self.balance).pick(wanted)
    }
}
