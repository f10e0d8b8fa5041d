//! Shares: who gets which part of the same requests. Weights mean something only beside those of the same rule.

use std::collections::HashMap;
use std::sync::Arc;

use super::cluster::rule::{Ref, Rule};
use super::id::{BackendId, ModelId};
use super::{Backend, Fleet};

/// What divides the same requests: a model's backends behind one rule, or on one cluster where no rule leads to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Among<'a> {
    Rule(&'a ModelId, usize),
    Cluster(&'a ModelId, &'a str),
}

impl Fleet {
    /// The first rule of a cluster's routes that leads to it: the one that its weight is of.
    pub fn rule_of(&self, b: &Backend) -> Option<&Rule> {
        self.rules_of(&b.model).find(|rule| leads(rule, &b.id))
    }

    /// The backends among which its weight counts, itself included, in fallback order.
    pub fn peers<'a>(&'a self, b: &'a Backend) -> Vec<&'a Arc<Backend>> {
        let siblings = self.backends_of(&b.model);
        if let Some(rule) = self.rule_of(b) {
            return siblings.filter(|it| leads(rule, &it.id)).collect();
        }
        let (cluster, _) = self.name_within(&b.id);
        siblings
            .filter(|it| self.name_within(&it.id).0 == cluster && self.rule_of(it).is_none())
            .collect()
    }

    /// The share that a backend's weight asks for, 0 to 1, among those of the same rule. `weight` says what each one's is.
    pub fn share_by(&self, b: &Backend, weight: impl Fn(&Backend) -> u32) -> f64 {
        let of = |it: &Ref| {
            let known = it.backend.as_ref().and_then(|id| self.backend(id));
            let own = known.filter(|it| it.id == b.id || it.model == b.model);
            // A weight in another rule than its first is only known as it is written.
            let first = own.filter(|it| self.shares_rule(it, b));
            first.map_or(it.share(), |it| weight(it))
        };
        let total: u64 = match self.rule_of(b) {
            Some(rule) => rule.refs.iter().map(|it| u64::from(of(it))).sum(),
            None => (self.peers(b).iter().map(|it| u64::from(weight(it)))).sum(),
        };
        if total == 0 {
            return 0.0;
        }
        f64::from(weight(b)) / total as f64
    }

    /// The same by the weights that stand.
    pub fn share_asked(&self, b: &Backend) -> f64 {
        self.share_by(b, |it| it.weight)
    }

    fn shares_rule(&self, one: &Backend, other: &Backend) -> bool {
        let of = |b| self.rule_of(b).map(|it| (&it.cluster, &it.route, it.at));
        of(one) == of(other)
    }

    /// For each backend the number of those with which it divides requests: the place of the first of them.
    pub(super) fn divided(&self) -> Vec<usize> {
        let mut rules: HashMap<&BackendId, (&ModelId, usize)> = HashMap::new();
        for model in &self.models {
            for (at, rule) in model.routes.iter().enumerate() {
                for id in rule.refs.iter().filter_map(|it| it.backend.as_ref()) {
                    rules.entry(id).or_insert((&model.id, at));
                }
            }
        }
        let mut first: HashMap<Among<'_>, usize> = HashMap::new();
        let each = self.backends.iter().enumerate().map(|(i, b)| {
            let among = match rules.get(&b.id) {
                Some((model, at)) if **model == b.model => Among::Rule(model, *at),
                _ => Among::Cluster(&b.model, self.name_within(&b.id).0),
            };
            *first.entry(among).or_insert(i)
        });
        each.collect()
    }

    /// The shares that new requests of a model meet now: its weights over the backends that take traffic, or the first of
    /// those in fallback order where all their weights are zero; each rule and each cluster by itself. Empty where none does.
    pub fn expected_shares(&self, model: &ModelId) -> Vec<(BackendId, f64)> {
        let divided = self.divided();
        let mut groups: Vec<(usize, Vec<&Arc<Backend>>)> = Vec::new();
        for (b, group) in self.backends.iter().zip(divided) {
            if b.model != *model || !b.takes_traffic() {
                continue;
            }
            match groups.iter_mut().find(|(it, _)| *it == group) {
                Some((_, all)) => all.push(b),
                None => groups.push((group, vec![b])),
            }
        }
        let mut out = Vec::new();
        for (_, open) in groups {
            let total: u32 = open.iter().map(|b| b.weight).sum();
            if total == 0 {
                out.extend(open.first().map(|b| (b.id.clone(), 1.0)));
                continue;
            }
            let with = open.into_iter().filter(|b| b.weight > 0);
            out.extend(with.map(|b| (b.id.clone(), f64::from(b.weight) / f64::from(total))));
        }
        out
    }
}

fn leads(rule: &Rule, id: &BackendId) -> bool {
    let mut refs = rule.refs.iter();
    refs.any(|it| it.backend.as_ref() == Some(id))
}
