//! `/scale` and `/eviction`.

use std::sync::Arc;

use serde_json::{Value, json};

use super::failure::Failure;
use super::object::{Key, Object};
use super::resources::{self, Kind};
use super::select::Selector;
use super::store::Store;
use super::write::{self, Write};

/// The `Scale` of an object.
pub(super) fn of(kind: &Kind, object: &Value) -> Result<Value, Failure> {
    let selector = kind.scale.ok_or_else(Failure::no_such_resource)?;
    let meta = &object["metadata"];
    let mut scale = json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": meta["name"],
            "namespace": meta["namespace"],
            "uid": meta["uid"],
            "resourceVersion": meta["resourceVersion"],
            "creationTimestamp": meta["creationTimestamp"],
        },
        "spec": {},
        "status": { "replicas": object["status"]["replicas"].as_u64().unwrap_or(0) },
    });
    // The real one leaves a zero out here.
    if let Some(replicas) = object["spec"]["replicas"].as_i64().filter(|r| *r != 0) {
        scale["spec"]["replicas"] = replicas.into();
    }
    let selector = match object.pointer(selector) {
        Some(Value::String(text)) => text.clone(),
        Some(selector) => text(selector),
        None => String::new(),
    };
    if !selector.is_empty() {
        scale["status"]["selector"] = selector.into();
    }
    Ok(scale)
}

/// A label selector in its written form.
fn text(selector: &Value) -> String {
    selector["matchLabels"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()))
        .collect::<Vec<_>>()
        .join(",")
}

/// Writes a `Scale` back to its object.
pub(super) fn write(
    store: &mut Store,
    kind: &'static Kind,
    key: &Key,
    scale: &Value,
    write: &Write,
) -> Result<Arc<Object>, Failure> {
    let current = store
        .get(kind, key)
        .ok_or_else(|| Failure::not_found(kind, &key.1))?;
    let mut new = current.value();
    let replicas = match &scale["spec"]["replicas"] {
        Value::Null => 0,
        number => number.as_i64().ok_or_else(|| {
            Failure::bad_request(
                "json: cannot unmarshal into Go struct field ScaleSpec.spec.replicas of type int32",
            )
        })?,
    };
    if replicas < 0 {
        let mut refused = Failure::invalid(
            kind,
            &key.1,
            "spec.replicas",
            &format!("Invalid value: {replicas}: must be greater than or equal to 0"),
        );
        refused.message = refused
            .message
            .replacen(&kind.qualified_kind(), "Scale.autoscaling", 1);
        return Err(refused);
    }
    new["spec"]["replicas"] = replicas.into();
    for given in ["resourceVersion", "uid"] {
        if scale["metadata"][given].is_string() {
            new["metadata"][given] = scale["metadata"][given].clone();
        }
    }
    write::replace(store, kind, key, new, write)
}

/// Checks whether the disruption budgets allow a pod to be evicted.
pub(super) fn evictable(store: &Store, pod: &Object) -> Result<(), Failure> {
    let Some(budgets) = resources::named("poddisruptionbudgets") else {
        return Ok(());
    };
    for budget in store.objects(budgets).filter(|b| b.key.0 == pod.key.0) {
        let value = budget.value();
        let selector = Selector::new(None, &text(&value["spec"]["selector"]), "")?;
        let status = &value["status"];
        if selector.matches(pod) && status["disruptionsAllowed"].as_u64().unwrap_or(0) == 0 {
            let mut refused = Failure::new(
                429,
                "TooManyRequests",
                "Cannot evict pod as it would violate the pod's disruption budget.",
            );
            refused.details = Some(json!({ "causes": [{
                "reason": "DisruptionBudget",
                "message": format!(
                    "The disruption budget {} needs {} healthy pods and has {} currently",
                    budget.key.1,
                    status["desiredHealthy"].as_u64().unwrap_or(0),
                    status["currentHealthy"].as_u64().unwrap_or(0)
                ),
            }] }));
            return Err(refused);
        }
    }
    Ok(())
}
