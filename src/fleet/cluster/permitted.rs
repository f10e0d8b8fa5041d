//! Whether this user may do what a plan does, before any of it is tried.

use super::mark::KEY;
use super::plan::Plan;
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
                (
                    verb,
                    resource,
                    write.object.namespace.clone(),
                    why.to_owned(),
                )
            })
        });
        let Some((verb, resource, namespace, why)) = denied else {
            return Ok(());
        };
        let who = cluster.user.as_deref().unwrap_or("this user");
        Err(Refusal {
            kind: RefusalKind::Forbidden,
            what: format!("{who} may not {verb} {resource} in {namespace}{why}"),
            hint: "ask for a role like examples/kubernetes/operator.yaml".into(),
        })
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
