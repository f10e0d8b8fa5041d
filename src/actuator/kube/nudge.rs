//! Knative's own way to wake: a request, which its activator holds until there is a pod.
//!
//! Since Knative 1.21 what is written on a revision reaches its autoscaler (`pkg/reconciler/revision`); before, only a
//! request brings it up from zero. The activator knows by two headers whose request it is
//! (`pkg/activator/handler/context_handler.go`): so it is this revision that wakes, whatever share of the traffic it has. It
//! is reached at its own Service: a revision's leads to the same pods, but the API server goes through a Service to pods of
//! the Service's own namespace only (`pkg/registry/core/service/storage`, `isValidAddress`).

use std::time::Duration;

use http::Method;

use super::Hand;
use super::engines::said_by;
use crate::cluster::Fault;
use crate::fleet::cluster::ACTIVATOR;
use crate::fleet::cluster::object::Object;
use crate::fleet::cluster::plan::{Plan, Step};
use crate::fleet::{BackendId, Fleet};

/// Replicas that nobody asked for within this long nobody will.
const STARTS: Duration = Duration::from_secs(30);
/// What a request brings about is seen within this long.
const NUDGED: Duration = Duration::from_secs(60);

impl Hand {
    /// Until replicas are asked for, with one request where nothing else has them asked for.
    pub(super) async fn nudge(
        &self,
        plan: &Plan,
        step: &Step,
        id: &BackendId,
        revision: &Object,
    ) -> Result<(), String> {
        // `desiredScale` of its autoscaler is what its Deployment is scaled to.
        let starts = |fleet: &Fleet| {
            let place = fleet.backend(id).and_then(|b| b.place.as_deref());
            place.is_none_or(|it| it.wanted > 0)
        };
        if self.until(STARTS, starts).await.is_ok() {
            return Ok(());
        }
        let words =
            "one request, as Knative before 1.21 needs it: it stays up while there are more";
        self.say(plan, words.into(), Some(step)).await;
        let Object {
            namespace, name, ..
        } = revision;
        let (far, service) = ACTIVATOR;
        let path = format!("/api/v1/namespaces/{far}/services/{service}/proxy/health");
        let whose = [
            ("Knative-Serving-Namespace", &**namespace),
            ("Knative-Serving-Revision", &**name),
        ];
        let request = self.api.pass(Method::GET, &path, &whose, None, NUDGED);
        let started = self.until(NUDGED, starts);
        tokio::pin!(request, started);
        let said = tokio::select! {
            biased;
            // It is held until there is a pod: nobody needs its answer.
            started = &mut started => return started.map_err(|()| still_down(revision, None)),
            said = &mut request => said,
        };
        match said {
            Ok(_) => started.await.map_err(|()| still_down(revision, None)),
            // It may have come all the same, and have had replicas asked for.
            Err(fault) if fault.is_unsure() => {
                let down = |()| still_down(revision, Some(&fault));
                started.await.map_err(down)
            }
            Err(fault) => Err(format!(
                "Knative asks for no replicas of {revision}, and the request that would have it do so was not taken: {}",
                said_by(&fault)
            )),
        }
    }
}

fn still_down(revision: &Object, said: Option<&Fault>) -> String {
    let said = said.map_or_else(String::new, |it| format!(" ({})", said_by(it)));
    format!(
        "Knative asks for no replicas of {revision}, not even after a request{said}; look at its PodAutoscaler and at the activator"
    )
}
