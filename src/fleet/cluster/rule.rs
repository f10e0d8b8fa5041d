//! Rules of routes: who gets what share of a model's requests.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::mark::Mark;
use super::object::Object;
use crate::fleet::id::BackendId;

/// A rule of a route that leads to backends of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// On which cluster.
    pub cluster: Arc<str>,
    /// Which route: what owns the weights.
    pub route: Object,
    /// Its place in the route.
    pub at: usize,
    /// What it matches, in words.
    pub matches: Box<str>,
    /// The route's version.
    pub resource_version: Box<str>,
    /// Whether the route has any annotation.
    pub annotated: bool,
    /// Who gets what, in order.
    pub refs: Vec<Ref>,
    /// Whether the gateways have it as it stands; or why not.
    pub programmed: Result<(), Box<str>>,
    /// A gateway has said that it does not take it as it stands: more than that it has not come to it yet.
    pub refused: bool,
    /// What was done to the route last.
    pub mark: Option<Mark>,
    /// Why its weights are not edited here, and where they are; `None` where they are edited here.
    #[serde(default)]
    pub fixed: Option<Box<str>>,
    /// What will revert an edit: `Argo CD (app llm)`.
    #[serde(default)]
    pub gitops: Option<String>,
}

/// One target of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ref {
    /// Its name in the route.
    pub name: Box<str>,
    /// Its weight as written; `None`: nothing is written, which means 1.
    pub weight: Option<u32>,
    /// The backend of this fleet that it leads to.
    pub backend: Option<BackendId>,
    /// It gets requests only when targets of a higher priority fail.
    #[serde(default)]
    pub fallback: bool,
}

impl Ref {
    /// What its share is counted by.
    pub fn share(&self) -> u32 {
        if self.fallback {
            0
        } else {
            self.weight.unwrap_or(1)
        }
    }
}

/// Weights of one rule, in the order of its targets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weighted {
    /// Which route.
    pub route: Object,
    /// Which rule.
    pub rule: usize,
    /// The names and weights, in order.
    pub weights: Vec<(Box<str>, u32)>,
}

impl Weighted {
    /// The weight of the target that stands at `at` and is called `name`: there, or where the only one of that name is.
    pub fn of(&self, at: usize, name: &str) -> Option<u32> {
        let named = |it: &&(Box<str>, u32)| *it.0 == *name;
        if let Some(there) = self.weights.get(at).filter(named) {
            return Some(there.1);
        }
        let mut all = self.weights.iter().filter(named);
        all.next().filter(|_| all.next().is_none()).map(|it| it.1)
    }
}
