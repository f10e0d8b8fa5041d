//! Whether this user may do what a plan does, before any of it is tried.

use super::object::{Kind, Object};
use super::place::{DIRECTLY, Router};
use super::plan::{Plan, Planned, Step};
use super::wake::ACTIVATOR;
use super::{Cluster, Permit, lease_of};
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
            if let Step::Post { via, .. } = &planned.step {
                let proxy = |of: &Object, kind, name: &str, verb| Need {
                    kind,
                    sub: Some("proxy"),
                    name: name.into(),
                    ..Need::of(of, verb)
                };
                if let Some(Router { service, port }) = via {
                    // As a role that names it has it.
                    let name = format!("{}:{port}", service.name);
                    let both = ["get", "create"].map(|it| proxy(service, Kind::Service, &name, it));
                    all.extend(both);
                } else if by_proxy {
                    all.push(proxy(&self.regarding, Kind::Pod, "", "create"));
                }
            }
            let Some(write) = planned.step.write() else {
                continue;
            };
            let need = |verb: &'static str| Need {
                sub: write.subresource,
                wished: self.only_tells(&planned.step),
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

    /// That who did it is written down is wished for, not needed: unless others are to tell by it how far it came.
    fn only_tells(&self, step: &Step) -> bool {
        step.only_tells() && !self.holds_lease
    }
}

impl Fleet {
    /// Whether this user may make every write of a plan, as far as has been asked.
    pub(super) fn permitted(&self, plan: &Plan) -> Result<(), Refusal> {
        let Some(cluster) = self.clusters.iter().find(|it| it.name == plan.cluster) else {
            return Ok(());
        };
        let denied = plan.steps.iter().find_map(|planned| {
            let write = planned.step.write()?;
            let (verb, resource) = (write.verb(), write.resource());
            let why = cluster.denies(&write.object.namespace, verb, &resource)?;
            (!plan.only_tells(&planned.step)).then(|| {
                let namespace = &write.object.namespace;
                format!("may not {verb} {resource} in {namespace}{why}")
            })
        });
        let denied = denied
            .or_else(|| holds_none(cluster, plan))
            .or_else(|| orders_nobody(cluster, plan, self))
            .or_else(|| lacks(cluster, &self.needs(plan)));
        let Some(what) = denied else {
            return Ok(());
        };
        let who = cluster.user.as_deref().unwrap_or("this user");
        Err(Refusal {
            kind: RefusalKind::Forbidden,
            what: format!("{who} {what}"),
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
        plan.needs(reached(plan, self).is_some())
    }

    /// What of a plan will be left out, as this user may not do it.
    pub(super) fn left_out(&self, plan: &Plan) -> Option<String> {
        let cluster = self.clusters.iter().find(|it| it.name == plan.cluster)?;
        let nudges = |it: &Planned| matches!(it.step, Step::Nudge { .. });
        let (namespace, service) = ACTIVATOR;
        if plan.steps.iter().any(nudges)
            && let Some(why) = cluster.denies(namespace, "get", SERVICE_PROXY)
        {
            return Some(format!(
                "Knative before 1.21 would need a request to wake, see examples/kubernetes/activator.yaml: you may not get {SERVICE_PROXY} ({service}) in {namespace}{why}"
            ));
        }
        let asks = plan.steps.iter().any(|it| it.step == Step::Answers);
        let namespace = reached(plan, self).filter(|_| asks)?;
        let why = cluster.denies(&namespace, "create", POD_PROXY)?;
        Some(format!(
            "whether it answers is not tried: you may not create {POD_PROXY} in {namespace}{why}"
        ))
    }
}

/// That something that is needed besides may not be done.
fn lacks(cluster: &Cluster, needs: &[Need]) -> Option<String> {
    needs.iter().filter(|it| !it.wished).find_map(|need| {
        let why = cluster.denies(&need.namespace, need.verb, &need.resource())?;
        let (verb, resource, namespace) = (need.verb, need.resource(), &need.namespace);
        Some(format!("may not {verb} {resource} in {namespace}{why}"))
    })
}

/// What talks to a pod through the API.
const POD_PROXY: &str = "pods/proxy";
/// The same of a Service.
const SERVICE_PROXY: &str = "services/proxy";

/// That the lease of a plan cannot be held.
fn holds_none(cluster: &Cluster, plan: &Plan) -> Option<String> {
    let lease = plan.holds_lease.then(|| lease_of(plan))?;
    let resource = lease.kind.resource();
    ["create", "update"].iter().find_map(|verb| {
        let why = cluster.denies(&lease.namespace, verb, &resource)?;
        Some(format!(
            "may not {verb} {resource} in {}{why}: a {} takes several steps, and holds a lease so that nobody crosses them",
            lease.namespace, plan.mark.op
        ))
    })
}

/// That the engines cannot be told what a plan tells them.
fn orders_nobody(cluster: &Cluster, plan: &Plan, fleet: &Fleet) -> Option<String> {
    let posts = plan
        .steps
        .iter()
        .any(|it| matches!(it.step, Step::Post { via: None, .. }));
    let namespace = reached(plan, fleet).filter(|_| posts)?;
    let why = cluster.denies(&namespace, "create", POD_PROXY)?;
    Some(format!(
        "may not create {POD_PROXY} in {namespace}{why}: its engines are told to sleep and to wake through it"
    ))
}

/// The namespace whose pods a plan talks to through the API; `None` where it does so directly, or not at all.
fn reached(plan: &Plan, fleet: &Fleet) -> Option<Box<str>> {
    let place = fleet.backend(plan.backend.as_ref()?)?.place.as_ref()?;
    let far = place.read_by.as_deref() != Some(DIRECTLY);
    far.then(|| place.workload.namespace.clone())
}
