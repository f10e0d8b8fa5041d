//! Objects as they look in a real cluster, at their real size.

mod gateway;
mod large;
mod nodes;
mod scaling;
mod workload;

use serde_json::{Map, Value, json};

use super::stamp::{seed, uid};

pub(crate) use self::gateway::{
    ai_gateway_route, ai_service_backend, http_route, inference_pool, service,
};
pub(crate) use self::large::large;
pub(crate) use self::nodes::gpu_node;
pub(crate) use self::scaling::{
    event, hpa, inference_service, inference_set, lws, scaled_object, workspace,
};
pub(crate) use self::workload::{
    vllm_deployment, vllm_pod, vllm_pods, vllm_replica_set, vllm_template,
};

/// The moment at which all fixtures were created.
pub(crate) const BORN: &str = "2026-02-11T08:14:03Z";

/// The UID an object of this kind, namespace and name always gets here.
pub(crate) fn uid_of(kind: &str, namespace: &str, name: &str) -> String {
    uid(seed(&format!("{kind}/{namespace}/{name}")))
}

/// Metadata with a UID and the time of birth.
fn metadata(kind: &str, namespace: &str, name: &str, labels: &Value) -> Value {
    let mut meta = json!({
        "name": name,
        "uid": uid_of(kind, namespace, name),
        "creationTimestamp": BORN,
        "labels": labels,
    });
    if !namespace.is_empty() {
        meta["namespace"] = namespace.into();
    }
    meta
}

/// An entry of `managedFields` for parts of an object.
fn managed(object: &Value, parts: &[&str], manager: &str, sub: Option<&str>) -> Value {
    let owned: Map<String, Value> = parts
        .iter()
        .filter(|part| !object[**part].is_null())
        .map(|part| (format!("f:{part}"), fields(&object[*part])))
        .collect();
    let mut entry = json!({
        "manager": manager,
        "operation": "Update",
        "apiVersion": object["apiVersion"],
        "time": BORN,
        "fieldsType": "FieldsV1",
        "fieldsV1": owned,
    });
    if let Some(sub) = sub {
        entry["subresource"] = sub.into();
    }
    entry
}

/// The set of fields of a value, in the notation of `FieldsV1`.
fn fields(value: &Value) -> Value {
    let mut out = Map::new();
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                let whole = ["tolerations", "containerStatuses"].contains(&name.as_str());
                out.insert(
                    format!("f:{name}"),
                    if whole { json!({}) } else { fields(value) },
                );
            }
        }
        Value::Array(items) if items.iter().all(Value::is_object) => {
            for item in items {
                let key = ["mountPath", "name", "type", "containerPort", "uid"]
                    .iter()
                    .find(|k| !item[**k].is_null());
                let Some(key) = key else { continue };
                let mut inner = fields(item);
                inner["."] = json!({});
                out.insert(format!("k:{}", json!({ *key: item[*key] })), inner);
            }
        }
        _ => {}
    }
    Value::Object(out)
}
