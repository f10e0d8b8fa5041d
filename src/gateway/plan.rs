//! What of the gateway follows the config: replaced as a whole while it serves. What was under way before ends as it began,
//! and is counted until then.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use tokio::sync::Notify;

use super::choose::desk::Desk;
use super::client::keys::Keys;
use super::upstream::slot::{Slot, lock};
use super::upstream::wire::Opener;
use super::{Client, Gate, Settings, Upstream};
use crate::fleet::{BackendId, Fleet, ModelId};

/// A config as the gateway has it.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) settings: Settings,
    pub(super) keys: Keys,
    pub(super) slots: HashMap<BackendId, Arc<Slot>>,
    /// One a model: told when a backend of it has a place again.
    pub(super) freed: HashMap<ModelId, Arc<Notify>>,
}

/// What earlier plans have under way.
#[derive(Debug, Default)]
pub(super) struct Past {
    slots: Vec<Arc<Slot>>,
    desks: Vec<Arc<Desk>>,
}

impl Plan {
    /// The plan after `before`: what did not change stays, with its connections and its circuit.
    pub(super) fn new(
        settings: Settings,
        clients: Vec<Client>,
        upstreams: Vec<Upstream>,
        picture: &Fleet,
        before: Option<&Self>,
    ) -> Self {
        let opener = Opener::new(upstreams.iter().any(|it| it.url.starts_with("https:")));
        let mut slots = HashMap::new();
        let mut freed: HashMap<ModelId, Arc<Notify>> =
            before.map(|it| it.freed.clone()).unwrap_or_default();
        freed.retain(|model, _| picture.models.iter().any(|it| it.id == *model));
        for upstream in upstreams {
            let Some(backend) = picture.backend(&upstream.backend) else {
                continue;
            };
            let freed = freed.entry(backend.model.clone()).or_default();
            let known = before
                .and_then(|it| it.slots.get(&upstream.backend))
                .filter(|slot| slot.is_of(&upstream, freed));
            let slot = match known {
                Some(slot) => Ok(Arc::clone(slot)),
                None => Slot::new(upstream, opener.clone(), Arc::clone(freed)).map(Arc::new),
            };
            match slot {
                Ok(slot) => {
                    slots.insert(slot.id.clone(), slot);
                }
                Err(what) => tracing::error!("{what}; it gets no requests"),
            }
        }
        Self {
            settings,
            keys: Keys::new(clients),
            slots,
            freed,
        }
    }
}

impl Gate {
    /// Goes on by a changed config.
    pub(super) fn renew(&self, settings: Settings, clients: Vec<Client>, upstreams: Vec<Upstream>) {
        let picture = self.picture();
        let before = self.plan();
        let plan = Plan::new(settings, clients, upstreams, &picture, Some(&before));
        let plan = Arc::new(plan);
        *self.plan.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&plan);
        let mut desks = self.desks.write().unwrap_or_else(PoisonError::into_inner);
        let gone = desks
            .extract_if(|_, desk| !desk.is_of(&picture, &plan))
            .map(|(_, desk)| desk);
        let mut past = lock(&self.past);
        past.desks.extend(gone);
        let stays = |slot: &Arc<Slot>| {
            let now = plan.slots.get(&slot.id);
            now.is_some_and(|now| Arc::ptr_eq(now, slot))
        };
        let replaced = before.slots.values().filter(|slot| !stays(slot));
        past.slots.extend(replaced.cloned());
    }

    /// Requests under way to each backend, and forgets what has nothing left under way.
    pub(super) fn in_flight(&self) -> Vec<(BackendId, u32)> {
        let mut past = lock(&self.past);
        // Whoever may yet send to it, or has something under way to it, holds it.
        past.slots.retain(|slot| Arc::strong_count(slot) > 1);
        let plan = self.plan();
        let mut counts: HashMap<BackendId, u32> = HashMap::with_capacity(plan.slots.len());
        for slot in plan.slots.values().chain(&past.slots) {
            *counts.entry(slot.id.clone()).or_default() += slot.busy();
        }
        drop(past);
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_unstable();
        counts
    }

    /// Requests that wait for each model, and forgets desks at which nobody does any more.
    pub(super) fn held(&self) -> Vec<(ModelId, u32)> {
        let desks = self.desks.read().unwrap_or_else(PoisonError::into_inner);
        let mut past = lock(&self.past);
        past.desks.retain(|desk| Arc::strong_count(desk) > 1);
        let mut counts: HashMap<ModelId, u32> = HashMap::with_capacity(desks.len());
        for desk in desks.values().chain(&past.desks) {
            *counts.entry(desk.model.clone()).or_default() += desk.room.len() as u32;
        }
        drop((past, desks));
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_unstable();
        counts
    }

    /// See [`super::Gateway::in_flight`].
    pub(super) fn in_flight_of(&self, backend: &BackendId) -> u32 {
        let plan = self.plan();
        let past = lock(&self.past);
        plan.slots
            .values()
            .chain(&past.slots)
            .filter(|slot| slot.id == *backend)
            .map(|slot| slot.busy())
            .sum()
    }
}
