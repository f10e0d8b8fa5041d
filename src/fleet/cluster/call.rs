//! Calls, as the API gets them.

use serde::Serialize;
use serde_json::{Value, json};

use super::object::{Kind, Object};
use super::place::{LivePod, Place, Router};

/// One write, as the API gets it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Write {
    /// `PATCH` or `PUT`.
    pub method: &'static str,
    /// Where, without the query.
    pub path: String,
    /// Its media type.
    pub content_type: &'static str,
    /// What is sent.
    pub body: Value,
    /// What it is done to.
    #[serde(skip)]
    pub object: Object,
    /// Of which part of it.
    #[serde(skip)]
    pub subresource: Option<&'static str>,
}

impl Write {
    /// The verb that a role must have for it.
    pub fn verb(&self) -> &'static str {
        if self.method == "PUT" {
            "update"
        } else {
            "patch"
        }
    }

    /// `deployments.apps/scale`, as `kubectl auth can-i` says it.
    pub fn resource(&self) -> String {
        let resource = self.object.kind.resource();
        match self.subresource {
            Some(sub) => format!("{resource}/{sub}"),
            None => resource,
        }
    }
}

/// The replacement of an object's scale. `version` is what was read; without it the body shows where it goes.
pub fn scale(object: &Object, to: u32, version: Option<&str>) -> Write {
    let mut metadata = json!({"name": object.name, "namespace": object.namespace});
    if let Some(version) = version {
        metadata["resourceVersion"] = version.into();
    }
    Write {
        method: "PUT",
        path: format!("{}/scale", object.path()),
        content_type: "application/json",
        body: json!({
            "apiVersion": "autoscaling/v1",
            "kind": "Scale",
            "metadata": metadata,
            "spec": {"replicas": to},
        }),
        object: object.clone(),
        subresource: Some("scale"),
    }
}

/// An order to the engine in a pod, as the API passes it on.
pub(super) fn told(
    place: &Place,
    pod: &LivePod,
    path: &str,
    body: Option<&Value>,
    via: Option<&Router>,
) -> Write {
    let namespace = &place.workload.namespace;
    let (object, path) = match via {
        Some(router) => (router.service.clone(), router.path(pod, path)),
        None => (
            Object::new(Kind::Pod, namespace, &pod.name),
            format!(
                "/api/v1/namespaces/{namespace}/pods/{}:{}/proxy{path}",
                pod.name, place.port
            ),
        ),
    };
    Write {
        method: "POST",
        path,
        content_type: "application/json",
        body: body.cloned().unwrap_or_default(),
        object,
        subresource: Some("proxy"),
    }
}
