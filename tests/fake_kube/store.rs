//! All objects, and the one total order of their changes.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use serde_json::Value;

use super::events;
use super::failure::Failure;
use super::object::{Key, Object};
use super::resources::{self, Kind};

/// How many changes of one kind a watch can go back, unless told otherwise.
const HISTORY: usize = 10_000;

/// One change of one object; neither side means nothing, both an update.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) version: u64,
    pub(super) before: Option<Arc<Object>>,
    pub(super) after: Option<Arc<Object>>,
}

pub(super) type Objects = BTreeMap<Key, Arc<Object>>;

#[derive(Debug, Default)]
struct Shelf {
    objects: Objects,
    history: VecDeque<Arc<Change>>,
    /// The newest version whose changes are forgotten.
    floor: u64,
}

/// The contents of the cluster.
#[derive(Debug)]
pub(super) struct Store {
    version: u64,
    limit: usize,
    shelves: HashMap<(&'static str, &'static str), Shelf>,
}

impl Store {
    pub(super) fn new() -> Self {
        Self {
            version: 100_000,
            limit: HISTORY,
            shelves: resources::KINDS
                .iter()
                .map(|k| (k.id(), Shelf::default()))
                .collect(),
        }
    }

    /// The current resource version.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    fn shelf(&mut self, kind: &Kind) -> &mut Shelf {
        self.shelves.entry(kind.id()).or_default()
    }

    pub(super) fn get(&self, kind: &Kind, key: &Key) -> Option<Arc<Object>> {
        self.shelves.get(&kind.id())?.objects.get(key).cloned()
    }

    /// The objects of a kind, now.
    pub(super) fn objects(&self, kind: &Kind) -> impl Iterator<Item = &Arc<Object>> {
        self.shelves
            .get(&kind.id())
            .into_iter()
            .flat_map(|s| s.objects.values())
    }

    /// Puts an object, or takes it away; returns it as its watchers see it.
    pub(super) fn commit(
        &mut self,
        kind: &'static Kind,
        key: Key,
        value: Option<Value>,
    ) -> Option<Arc<Object>> {
        self.version += 1;
        if let Some(other) = events::twin(kind) {
            let twin = value.as_ref().map(|v| events::convert(v, other));
            self.record(other, key.clone(), twin);
        }
        self.record(kind, key, value)
    }

    fn record(
        &mut self,
        kind: &'static Kind,
        key: Key,
        value: Option<Value>,
    ) -> Option<Arc<Object>> {
        let (version, limit) = (self.version, self.limit);
        let after = value.map(|mut value| {
            value["metadata"]["resourceVersion"] = version.to_string().into();
            Arc::new(Object::new(kind, value))
        });
        let place = self.shelf(kind);
        let before = match &after {
            Some(new) => place.objects.insert(key, Arc::clone(new)),
            None => place.objects.remove(&key),
        };
        let seen = after
            .clone()
            .or_else(|| before.as_ref().map(|o| Arc::new(o.at(version))));
        place.history.push_back(Arc::new(Change {
            version,
            before,
            after,
        }));
        while place.history.len() > limit {
            if let Some(old) = place.history.pop_front() {
                place.floor = old.version;
            }
        }
        seen
    }

    /// The changes of a kind after a version, oldest first.
    pub(super) fn since(&self, kind: &Kind, version: u64) -> Result<Vec<Arc<Change>>, Failure> {
        let Some(place) = self.shelves.get(&kind.id()) else {
            return Ok(Vec::new());
        };
        if version < place.floor {
            return Err(Failure::too_old(version, place.floor));
        }
        let from = place.history.partition_point(|c| c.version <= version);
        Ok(place.history.range(from..).cloned().collect())
    }

    /// The objects of a kind as they were at a version.
    pub(super) fn snapshot(&self, kind: &Kind, version: u64) -> Result<Objects, Failure> {
        let mut objects = self
            .shelves
            .get(&kind.id())
            .map(|s| s.objects.clone())
            .unwrap_or_default();
        for change in self.since(kind, version)?.iter().rev() {
            match (&change.before, &change.after) {
                (Some(old), _) => {
                    objects.insert(old.key.clone(), Arc::clone(old));
                }
                (None, Some(new)) => {
                    objects.remove(&new.key);
                }
                (None, None) => {}
            }
        }
        Ok(objects)
    }

    /// Forgets all changes up to now; the current version stays good.
    pub(super) fn compact(&mut self) {
        let version = self.version;
        for shelf in self.shelves.values_mut() {
            shelf.history.clear();
            shelf.floor = version;
        }
    }

    /// Forgets all changes up to now, and makes the current version too old as well.
    pub(super) fn expire(&mut self) {
        self.version += 1;
        self.compact();
    }

    /// Sets how many changes of one kind are kept.
    pub(super) fn keep(&mut self, limit: usize) {
        self.limit = limit;
        for shelf in self.shelves.values_mut() {
            while shelf.history.len() > limit {
                if let Some(old) = shelf.history.pop_front() {
                    shelf.floor = old.version;
                }
            }
        }
    }
}
