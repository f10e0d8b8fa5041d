//! Knative's activator: it holds a request for a revision that has no pods, and has the revision scaled up for it.

use std::sync::Arc;

use super::failure::{Answer, typed};
use super::inner::Inner;
use super::request::Request;
use super::resources::{self, Kind};
use super::write;

/// Whether a Service is its own. A revision's leads there as well, but the API server passes nothing on to pods of another
/// namespace than the Service's.
pub(super) fn is_its(namespace: &str, name: &str) -> bool {
    (namespace, name) == ("knative-serving", "activator-service")
}

/// Whether there is such a revision.
fn knows(inner: &Inner, namespace: &str, name: &str) -> bool {
    let key = (namespace.to_owned(), name.to_owned());
    inner.store().get(kind("revisions"), &key).is_some()
}

/// Holds a request. Whose it is its headers say, as to the real one.
pub(super) async fn hold(inner: &Arc<Inner>, request: &Request) -> Answer {
    let header = |name: &str| {
        let value = request.headers.get(name).and_then(|it| it.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let namespace = header("Knative-Serving-Namespace");
    let name = header("Knative-Serving-Revision");
    if !knows(inner, &namespace, &name) {
        let said = format!(
            "Error getting active endpoint: revision.serving.knative.dev \"{name}\" not found\n"
        );
        return Ok(typed(404, "text/plain; charset=utf-8", said.into_bytes()));
    }
    let deployments = kind("deployments");
    let key = (namespace, format!("{name}-deployment"));
    inner.change(|store| {
        if let Some(mut object) = store.get(deployments, &key).map(|it| it.value()) {
            object["spec"]["replicas"] = 1.into();
            write::put(store, deployments, object);
        }
    });
    std::future::pending().await
}

fn kind(plural: &str) -> &'static Kind {
    resources::named(plural).unwrap_or_else(|| panic!("not in the table: {plural}"))
}
