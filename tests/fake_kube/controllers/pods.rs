//! Pods from templates.

use serde_json::{Value, json};

use super::super::stamp::{now, seed, suffix};

/// The hash that tells the replica sets of a deployment apart.
pub(in super::super) fn template_hash(template: &Value) -> String {
    let mut bare = template.clone();
    if let Some(labels) = bare["metadata"]["labels"].as_object_mut() {
        labels.remove("pod-template-hash");
    }
    suffix(seed(&bare.to_string()), 10)
}

/// A reference that makes an object belong to its controller.
pub(super) fn owner(object: &Value) -> Value {
    json!({
        "apiVersion": object["apiVersion"],
        "kind": object["kind"],
        "name": object["metadata"]["name"],
        "uid": object["metadata"]["uid"],
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

/// A pending pod of a template.
pub(super) fn pod(of: &Value, template: &Value, name: &str, labels: &Value) -> Value {
    let mut metadata = template["metadata"].clone();
    if let (Some(all), Some(more)) = (metadata["labels"].as_object_mut(), labels.as_object()) {
        all.extend(more.clone());
    }
    metadata["name"] = name.into();
    metadata["namespace"] = of["metadata"]["namespace"].clone();
    metadata["ownerReferences"] = json!([owner(of)]);
    if let Some(map) = metadata.as_object_mut() {
        map.remove("creationTimestamp");
    }
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": template["spec"],
        "status": {
            "phase": "Pending",
            "qosClass": "Burstable",
            "conditions": [{
                "type": "PodScheduled",
                "status": "False",
                "reason": "Unschedulable",
                "message": "waiting for a node",
                "lastProbeTime": null,
                "lastTransitionTime": now(),
            }],
        },
    })
}

/// Whether a pod is ready.
pub(super) fn ready(pod: &Value) -> bool {
    pod["status"]["conditions"].as_array().is_some_and(|all| {
        all.iter()
            .any(|c| c["type"] == "Ready" && c["status"] == "True")
    })
}

/// Whether a pod is on its way out.
pub(super) fn leaving(pod: &Value) -> bool {
    pod["metadata"]["deletionTimestamp"].is_string()
}
