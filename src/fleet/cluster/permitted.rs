//! Whether this user may do what a plan does, before any of it is tried.

use super::Permit;
use super::decide::lease_of;
use super::mark::KEY;
use super::object::{Kind, Object};
use super::place::BY_PROXY;
use super::plan::{Plan, Step, Write};
use crate::fleet::Fleet;
use crate::fleet::message::{Refusal, RefusalKind};

/// A right that a plan needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// Where.
    pub namespace: Box<str>,
    /// `patch`, `update`, `get`, `create`.
    pub verb: &'static str,
    /// On what.
    pub kind: Kind,
    /// On which part of it.
    pub sub: Option<&'static str>,
    /// Of which name; empty for one that is yet to be made.
    pub name: Box<str>,
    /// Without it all is done the same, and not written down.
    pub wished: bool,
}

impl Need {
    fn of(object: &Object, verb: &'static str) -> Self {
        Self {
            namespace: object.namespace.clone(),
            verb,
            kind: object.kind,
            sub: None,
            name: object.name.clone(),
            wished: false,
        }
    }

    /// `deployments.apps/scale`, as people name it.
    pub fn resource(&self) -> String {
        match self.sub {
            Some(sub) => format!("{}/{sub}", self.kind.resource()),
            None => self.kind.resource(),
        }
    }

    /// The answer to it.
    pub fn answered(&self, allowed: bool, why: &str) -> Permit {
        Permit {
            namespace: self.namespace.clone(),
            verb: self.verb.into(),
            resource: self.resource().into(),
            allowed,
            why: why.into(),
        }
    }

    fn is_answered_by(&self, permit: &Permit) -> bool {
        *permit.verb == *self.verb
            && *permit.namespace == *self.namespace
            && *permit.resource == self.resource()
    }
}

impl Plan {
    /// All that a role must allow for it; with `by_proxy` engines are told things through the API's own proxy.
    pub fn needs(&self, by_proxy: bool) -> Vec<Need> {
        let mut all = Vec::new();
        for (at, planned) in self.steps.iter().enumerate() {
            if let (Step::Post { .. }, true) = (&planned.step, by_proxy) {
                all.push(Need {
                    kind: Kind::Pod,
                    sub: Some("proxy"),
                    name: Box::default(),
                    ..Need::of(&self.regarding, "create")
                });
            }
            let Some(write) = planned.step.write() else {
                continue;
            };
            let need = |verb: &'static str| Need {
                sub: write.subresource,
                wished: self.only_tells(&write),
                ..Need::of(&write.object, verb)
            };
            let is_read = matches!(planned.step, Step::Scale { .. } | Step::Weights { .. })
                || self.guarded(at).is_some();
            all.extend(is_read.then(|| need("get")));
            all.push(need(write.verb()));
        }
        if self.holds_lease {
            let lease = lease_of(self);
            let made = Need {
                name: Box::default(),
                ..Need::of(&lease, "create")
            };
            all.extend([made, Need::of(&lease, "get"), Need::of(&lease, "update")]);
        }
        let mut out: Vec<Need> = Vec::with_capacity(all.len());
        for need in all {
            if !out.contains(&need) {
                out.push(need);
            }
        }
        out
    }

    /// That who did it is written down is wished for, not needed.
    fn only_tells(&self, write: &Write) -> bool {
        write.content_type.contains("merge-patch") && is_only_mark(&write.body) && !self.holds_lease
    }
}

impl Fleet {
    /// Whether this user may do all that a plan does, as far as has been asked.
    pub(super) fn permitted(&self, plan: &Plan) -> Result<(), Refusal> {
        let Some(cluster) = self.clusters.iter().find(|it| it.name == plan.cluster) else {
            return Ok(());
        };
        let needs = self.needs(plan);
        let denied = needs.iter().filter(|it| !it.wished).find_map(|need| {
            let why = cluster.denies(&need.namespace, need.verb, &need.resource())?;
            Some((need, why))
        });
        let Some((need, why)) = denied else {
            return Ok(());
        };
        let who = cluster.user.as_deref().unwrap_or("this user");
        let (verb, resource, namespace) = (need.verb, need.resource(), &need.namespace);
        Err(Refusal {
            kind: RefusalKind::Forbidden,
            what: format!("{who} may not {verb} {resource} in {namespace}{why}"),
            hint: "ask for a role like examples/kubernetes/operator.yaml".into(),
        })
    }

    /// What a plan needs, of which nobody has asked yet whether it may be.
    pub fn unasked(&self, plan: &Plan) -> Vec<Need> {
        let Some(cluster) = self.clusters.iter().find(|it| it.name == plan.cluster) else {
            return Vec::new();
        };
        let mut needs = self.needs(plan);
        needs.retain(|need| {
            let mut known = cluster.permits.iter();
            !need.wished && !known.any(|it| need.is_answered_by(it))
        });
        needs
    }

    fn needs(&self, plan: &Plan) -> Vec<Need> {
        let of = plan.backend.as_ref().and_then(|id| self.backend(id));
        let place = of.and_then(|b| b.place.as_deref());
        let by_proxy = place.is_some_and(|it| it.read_by.as_deref() == Some(BY_PROXY));
        plan.needs(by_proxy)
    }
}

/// Whether a patch does nothing but write a mark.
fn is_only_mark(body: &serde_json::Value) -> bool {
    let Some(annotations) = body["metadata"]["annotations"].as_object() else {
        return false;
    };
    body.as_object().is_some_and(|it| it.len() == 1)
        && annotations.len() == 1
        && annotations.contains_key(KEY)
}
