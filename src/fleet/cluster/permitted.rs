//! Whether this user may do what a plan does, before any of it is tried.

use super::mark::KEY;
use super::place::DIRECTLY;
use super::plan::{Plan, Step};
use super::{Cluster, lease_of};
use crate::fleet::Fleet;
use crate::fleet::message::{Refusal, RefusalKind};

impl Fleet {
    /// Whether this user may make every write of a plan, as far as has been asked.
    pub(super) fn permitted(&self, plan: &Plan) -> Result<(), Refusal> {
        let Some(cluster) = self.clusters.iter().find(|it| it.name == plan.cluster) else {
            return Ok(());
        };
        let denied = plan.writes().find_map(|write| {
            // That who did it is written down is wished for, not needed.
            let only_tells = write.content_type.contains("merge-patch")
                && is_only_mark(&write.body)
                && !plan.holds_lease;
            let (verb, resource) = (write.verb(), write.resource());
            let why = cluster.denies(&write.object.namespace, verb, &resource)?;
            (!only_tells).then(|| {
                let namespace = &write.object.namespace;
                format!("may not {verb} {resource} in {namespace}{why}")
            })
        });
        let denied = denied
            .or_else(|| holds_none(cluster, plan))
            .or_else(|| orders_nobody(cluster, plan, self));
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

    /// What of a plan will be left out, as this user may not do it.
    pub(super) fn left_out(&self, plan: &Plan) -> Option<String> {
        let cluster = self.clusters.iter().find(|it| it.name == plan.cluster)?;
        let asks = plan.steps.iter().any(|it| it.step == Step::Answers);
        let namespace = reached(plan, self).filter(|_| asks)?;
        let why = cluster.denies(&namespace, "create", POD_PROXY)?;
        Some(format!(
            "whether it answers is not tried: you may not create {POD_PROXY} in {namespace}{why}"
        ))
    }
}

/// What talks to a pod through the API.
const POD_PROXY: &str = "pods/proxy";

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
        .any(|it| matches!(it.step, Step::Post { .. }));
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

/// Whether a patch does nothing but write a mark.
fn is_only_mark(body: &serde_json::Value) -> bool {
    let Some(annotations) = body["metadata"]["annotations"].as_object() else {
        return false;
    };
    body.as_object().is_some_and(|it| it.len() == 1)
        && annotations.len() == 1
        && annotations.contains_key(KEY)
}
