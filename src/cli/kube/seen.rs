//! What was seen of clusters at the start.

use anyhow::Result;

use crate::cli::exit::{Ended, Kind};
use crate::fleet::Fleet;
use crate::fleet::cluster::PartState;

/// That nothing may be seen is no empty fleet.
pub(super) fn sees_something(fleet: &Fleet) -> Result<()> {
    if !fleet.backends.is_empty() {
        return Ok(());
    }
    for cluster in &fleet.clusters {
        for part in &cluster.parts {
            if let PartState::Forbidden { why } = &part.state
                && matches!(&*part.resource, "deployments.apps" | "pods")
            {
                let what = format!("{}: {why}", cluster.name);
                let hint = "name the namespaces that you may see with --namespace, or ask for a role like examples/kubernetes/read-only.yaml";
                return Err(Ended::new(Kind::Refused, what, hint).into());
            }
        }
    }
    Ok(())
}
