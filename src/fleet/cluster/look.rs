//! What needs attention on clusters, each with what to do about it.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};

use super::object::Object;
use super::place::{Autoscaler, Phase, Place};
use super::rule::Rule;
use super::{Cluster, PartState};
use crate::fleet::finding::{Finding, Severity};
use crate::fleet::machine::span;
use crate::fleet::message::{Actor, Command, RefusalKind};
use crate::fleet::wake::State;
use crate::fleet::{Backend, BackendId, Fleet, Usd};

/// Kinds without which little is known, and what that is.
const ESSENTIAL: [(&str, &str); 6] = [
    ("pods", "whether anything runs"),
    ("deployments.apps", "what there is"),
    ("nodes", "what it costs"),
    ("events.events.k8s.io", "why pods wait"),
    (super::PAGES, "load, latency and whether engines are idle"),
    (super::PAST, "what it cost before"),
];

impl Fleet {
    /// What comes before any single backend's trouble: that nothing here is true any more, and what was left half done.
    pub(in crate::fleet) fn look_at_clusters_first(&self) -> Vec<Finding> {
        let blind = self.clusters.iter().filter(|it| it.is_blind());
        let mut out: Vec<Finding> = blind.filter_map(|it| stale(it)).collect();
        out.extend(self.backends.iter().filter_map(|b| asks(b)));
        out.extend(self.backends.iter().filter_map(|b| self.unfinished(b)));
        out.extend(self.backends.iter().filter_map(|b| self.troubled(b)));
        out
    }

    /// What stands in the way of its pods, and how late that makes a wake: it does not get better by waiting.
    fn troubled(&self, b: &Backend) -> Option<Finding> {
        let trouble = b.place.as_ref()?.trouble.as_ref()?;
        let late = match &b.state {
            // Its own reason says it.
            State::Failed(_) => return None,
            State::Waking(wake) => self.how_late(b, wake),
            _ => String::new(),
        };
        let keys = [('\n', "look"), ('l', "log")];
        Some(Finding {
            severity: Severity::Critical,
            backend: Some(b.id.clone()),
            what: format!("{late}{}; {}", trouble.what, trouble.hint),
            keys: keys.map(|(key, word)| (key, word.to_owned())).into(),
        })
    }

    /// Looks at the clusters and at what lives on them.
    pub(in crate::fleet) fn look_at_clusters(&self) -> Vec<Finding> {
        let weighted = self.weighted();
        let mut out: Vec<Finding> = Vec::new();
        for b in &self.backends {
            if let Some(place) = &b.place
                && self.troubled(b).is_none()
            {
                out.extend(self.look_at_place(b, place, &weighted));
            }
        }
        out.extend(self.refused_routes());
        for cluster in &self.clusters {
            out.extend(stale(cluster).filter(|_| !cluster.is_blind()));
            out.extend(unseen(cluster));
            out.extend(odd(cluster));
            out.extend(spare(cluster));
        }
        out
    }

    /// Routes that a gateway does not take as they stand: what they say is not what happens.
    fn refused_routes(&self) -> Vec<Finding> {
        let mut said: HashSet<(&str, &Object)> = HashSet::new();
        let mut out = Vec::new();
        for rule in self.models.iter().flat_map(|it| &it.routes) {
            let (true, Err(why)) = (rule.refused, &rule.programmed) else {
                continue;
            };
            if !said.insert((&rule.cluster, &rule.route)) {
                continue;
            }
            let mut with_weight = rule.refs.iter().filter(|it| it.share() > 0);
            out.push(Finding {
                severity: Severity::Critical,
                backend: with_weight.find_map(|it| it.backend.clone()),
                what: format!(
                    "{} is refused by its gateway: {why}; requests that it is for fail, or go by what it said before",
                    rule.route
                ),
                keys: vec![('\n', "look".into()), ('r', "routing".into())],
            });
        }
        out
    }

    /// Why this user may not do that on its cluster, before it is tried; `None` where it may, or nobody knows.
    pub fn forbids(&self, command: &Command) -> Option<String> {
        if !self.is_on_clusters() {
            return None;
        }
        let nobody = Actor::Operator(String::new());
        let refusal = self.plan(command, &nobody, self.now).err()?;
        (refusal.kind == RefusalKind::Forbidden).then_some(refusal.what)
    }

    /// Since when something that is shown of a cluster is old; `None` while all of it is followed.
    pub fn old_since(&self) -> Option<DateTime<Utc>> {
        let parts = self.clusters.iter().flat_map(|it| &it.parts);
        let old = parts.filter_map(|it| match &it.state {
            PartState::Stale { since, .. } => Some(*since),
            PartState::Loading
            | PartState::Followed
            | PartState::Absent
            | PartState::Forbidden { .. } => None,
        });
        old.min()
    }

    /// Whether the cluster that it lives on does not answer now.
    pub fn is_unseen(&self, b: &Backend) -> bool {
        let cluster = match &b.place {
            Some(place) => &*place.cluster,
            None if self.clusters.len() == 1 => &*self.clusters[0].name,
            None => self.name_within(&b.id).0,
        };
        let mut blind = self.clusters.iter().filter(|it| it.is_blind());
        blind.any(|it| *it.name == *cluster)
    }

    /// What is old, and why: of the cluster where it began.
    pub fn old_for(&self) -> Option<(String, &str)> {
        let all = self.clusters.iter().filter_map(|it| Some((it, old(it)?)));
        let (cluster, (what, _, why)) = all.min_by_key(|(_, (_, since, _))| *since)?;
        let what = if self.clusters.len() > 1 {
            format!("{}: {what}", cluster.name)
        } else {
            what
        };
        Some((what, why))
    }

    /// The first rule that sends each backend anything: found once, as there may be thousands.
    fn weighted(&self) -> HashMap<&BackendId, &Rule> {
        let mut all = HashMap::new();
        for rule in self.models.iter().flat_map(|it| &it.routes) {
            let with_weight = rule.refs.iter().filter(|it| it.share() > 0);
            for id in with_weight.filter_map(|it| it.backend.as_ref()) {
                all.entry(id).or_insert(rule);
            }
        }
        all
    }

    fn look_at_place(
        &self,
        b: &Backend,
        place: &Place,
        weighted: &HashMap<&BackendId, &Rule>,
    ) -> Option<Finding> {
        let finding = |severity, what: String, keys: &[(char, &str)]| {
            let keys = keys.iter().map(|(key, word)| (*key, (*word).to_owned()));
            Some(Finding {
                severity,
                backend: Some(b.id.clone()),
                what,
                keys: keys.collect(),
            })
        };
        if let Some(pin) = &b.pin
            && pin.until.is_some_and(|until| until <= self.now)
        {
            let until = pin.until.unwrap_or(self.now);
            let what = format!(
                "its pin by {} ({}) was over at {}: it still costs",
                pin.by,
                pin.reason,
                until.format("%a %H:%M")
            );
            return finding(Severity::Critical, what, &[('p', "unpin")]);
        }
        let down = matches!(
            b.state,
            State::Asleep { .. } | State::Waking(_) | State::Failed(_)
        );
        if let (true, Some(rule)) = (down, weighted.get(&b.id)) {
            let what = format!(
                "it is {} and {} still sends it weight {}: those requests fail, a route has no failover",
                b.state.word(),
                rule.route,
                b.weight
            );
            return finding(Severity::Critical, what, &[('w', "wake"), ('r', "routing")]);
        }
        let late = matches!(&b.state, State::Waking(wake) if wake.late);
        if let Phase::Coming { new_node: true, .. } = place.phase
            && !late
        {
            let budget = b
                .self_hosted()
                .map_or(String::new(), |facts| span(facts.budget));
            let what = format!(
                "a new machine is needed (5 to 10 min): expected over its budget of {budget}"
            );
            return finding(Severity::Warning, what, &[('\n', "look")]);
        }
        if let Autoscaler::Several(all) = &place.autoscaler {
            let all: Vec<String> = all.iter().map(ToString::to_string).collect();
            let what = format!("more than one autoscaler has it: {}", all.join(", "));
            return finding(Severity::Warning, what, &[('\n', "look")]);
        }
        None
    }
}

impl Fleet {
    /// What was begun and left: it gets no traffic, or half of what was meant stands.
    fn unfinished(&self, b: &Backend) -> Option<Finding> {
        let mark = b.unfinished()?;
        let is_fresh = mark.is_fresh(self.now);
        let back = match &*mark.op {
            "drain" => ", undrain rolls it back",
            _ => "",
        };
        // Who holds its lease is not read: the lease itself keeps two from being at it.
        let how = if is_fresh {
            "goes on elsewhere, or was left: once nobody is at it,"
        } else {
            "is unfinished: if no other console is at it,"
        };
        let what = format!(
            "{} by {} since {} {how} the same again takes it over{back}",
            mark.op,
            mark.by,
            mark.at.format("%H:%M:%S")
        );
        let again = match &*mark.op {
            "drain" => Some('d'),
            "sleep" => Some('s'),
            "wake" => Some('w'),
            "undrain" => Some('u'),
            _ => None,
        };
        let mut keys: Vec<(char, String)> = Vec::new();
        keys.extend(again.map(|key| (key, "take over".to_owned())));
        if !back.is_empty() {
            keys.push(('u', "roll back".into()));
        }
        Some(Finding {
            severity: if is_fresh {
                Severity::Warning
            } else {
                Severity::Critical
            },
            backend: Some(b.id.clone()),
            what,
            keys,
        })
    }
}

/// What waits for somebody to decide.
fn asks(b: &Backend) -> Option<Finding> {
    let doing = b
        .progress
        .as_ref()
        .filter(|it| it.asks)
        .and(b.doing.clone())?;
    let keys = [('d', "f: cut it"), ('u', "take it back")];
    Some(Finding {
        severity: Severity::Critical,
        backend: Some(b.id.clone()),
        what: doing,
        keys: keys.map(|(key, word)| (key, word.to_owned())).into(),
    })
}

fn of_cluster(cluster: &Cluster, severity: Severity, what: &str) -> Finding {
    Finding {
        severity,
        backend: None,
        what: format!("{}: {what}", cluster.name),
        keys: Vec::new(),
    }
}

/// What of a cluster is old, since when and why; the oldest is named.
fn old(cluster: &Cluster) -> Option<(String, DateTime<Utc>, &str)> {
    let old = cluster.parts.iter().filter_map(|it| match &it.state {
        PartState::Stale { since, why } => Some((&it.resource, since, why)),
        PartState::Loading
        | PartState::Followed
        | PartState::Absent
        | PartState::Forbidden { .. } => None,
    });
    let old: Vec<_> = old.collect();
    let (resource, since, why) = old.iter().min_by_key(|(_, since, _)| *since)?;
    let which = match old.len() {
        1 => (*resource).clone(),
        n if n * 2 > cluster.parts.len() => "everything".to_owned(),
        n => format!("{resource} and {} more", n - 1),
    };
    Some((which, **since, why.as_str()))
}

/// What is shown is old.
fn stale(cluster: &Cluster) -> Option<Finding> {
    let (which, since, why) = old(cluster)?;
    let what = format!(
        "{which} as of {}: {why}; it is tried again",
        since.format("%H:%M:%S")
    );
    Some(of_cluster(cluster, Severity::Critical, &what))
}

/// What this user may not see.
fn unseen(cluster: &Cluster) -> impl Iterator<Item = Finding> {
    ESSENTIAL.iter().filter_map(|(resource, what)| {
        let part = cluster.parts.iter().find(|it| it.resource == *resource)?;
        let PartState::Forbidden { why } = &part.state else {
            return None;
        };
        let what = format!("{what} is not known: {why}");
        Some(of_cluster(cluster, Severity::Warning, &what))
    })
}

/// What is there and not understood: whatever it stands for is missing from the screen.
fn odd(cluster: &Cluster) -> impl Iterator<Item = Finding> {
    cluster.parts.iter().filter_map(|part| {
        let odd = part.odd.as_ref()?;
        let (resource, first, why) = (&part.resource, &odd.first, &odd.why);
        let what = match odd.count {
            1 => format!("{first} of {resource} is not understood and not shown: {why}"),
            n => format!("{n} of {resource} are not understood and not shown ({first}: {why}; …)"),
        };
        Some(of_cluster(cluster, Severity::Warning, &what))
    })
}

/// Machines that run nothing.
fn spare(cluster: &Cluster) -> Option<Finding> {
    let n = cluster.spare.len();
    let first = cluster.spare.first()?;
    let price = cluster.spare.iter().map(|it| it.price).sum::<Option<Usd>>();
    let cost = price.map_or_else(|| "price unknown".to_owned(), |it| format!("${it}/h"));
    let what = match n {
        1 => format!("{} has GPUs and runs nothing: {cost}", first.name),
        n => format!(
            "{n} machines with GPUs run nothing ({}, …): {cost}",
            first.name
        ),
    };
    Some(of_cluster(cluster, Severity::Notice, &what))
}
