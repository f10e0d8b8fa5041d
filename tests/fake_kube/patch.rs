//! The four patch formats.

use serde_json::{Map, Value};

use super::failure::Failure;
use super::request::Request;
use super::resources::Kind;

/// Lists that a strategic merge patch merges item by item, and the key that tells the items apart.
const MERGE_KEYS: &[(&str, &str)] = &[
    ("containers", "name"),
    ("initContainers", "name"),
    ("volumes", "name"),
    ("env", "name"),
    ("imagePullSecrets", "name"),
    ("volumeMounts", "mountPath"),
    ("ports", "containerPort"),
    ("conditions", "type"),
    ("ownerReferences", "uid"),
];

/// The object after the patch of a request; `None` for a patch of a kind that needs no object.
pub(super) fn apply(kind: &Kind, request: &Request, old: &Value) -> Result<Value, Failure> {
    let media = request
        .call
        .content_type
        .split(';')
        .next()
        .unwrap_or_default();
    let body = || {
        serde_json::from_slice::<Value>(&request.body)
            .map_err(|e| Failure::bad_request(format!("error decoding patch: {e}")))
    };
    let mut new = old.clone();
    match media.trim() {
        "application/json-patch+json" => {
            let patch: json_patch::Patch = serde_json::from_slice(&request.body)
                .map_err(|e| Failure::bad_request(format!("error decoding patch: {e}")))?;
            json_patch::patch(&mut new, &patch).map_err(|_| Failure::unprocessable())?;
        }
        "application/merge-patch+json" => merge(&mut new, &body()?),
        "application/strategic-merge-patch+json" if kind.builtin => strategic(&mut new, &body()?),
        "application/apply-patch+yaml" => {
            if request.param("fieldManager").is_empty() {
                return Err(Failure::new(
                    422,
                    "Invalid",
                    "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is \
                     required for apply patch",
                ));
            }
            strategic(&mut new, &body()?);
        }
        _ => {
            let strategic = if kind.builtin {
                "application/strategic-merge-patch+json, "
            } else {
                ""
            };
            return Err(Failure::new(
                415,
                "UnsupportedMediaType",
                format!(
                    "the body of the request was in an unknown format - accepted media types \
                     include: application/json-patch+json, application/merge-patch+json, \
                     {strategic}application/apply-patch+yaml"
                ),
            ));
        }
    }
    if new.is_object() {
        Ok(new)
    } else {
        Err(Failure::unprocessable())
    }
}

/// A JSON merge patch: null removes, lists are replaced.
pub(super) fn merge(old: &mut Value, patch: &Value) {
    json_patch::merge(old, patch);
}

/// A strategic merge patch: as a merge patch, but known lists are merged by key.
fn strategic(old: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *old = patch.clone();
        return;
    };
    if !old.is_object() || patch.get("$patch").is_some_and(|p| p == "replace") {
        *old = Value::Object(Map::new());
    }
    let Some(map) = old.as_object_mut() else {
        return;
    };
    for (name, value) in patch.iter().filter(|(name, _)| !name.starts_with('$')) {
        let key = MERGE_KEYS
            .iter()
            .find(|(list, _)| list == name)
            .map(|(_, key)| *key);
        match (value, key) {
            (Value::Null, _) => {
                map.remove(name);
            }
            (Value::Array(items), Some(key)) => {
                let slot = map.entry(name.clone()).or_insert(Value::Null);
                merge_list(slot, items, key);
            }
            (Value::Object(_), _) => {
                strategic(map.entry(name.clone()).or_insert(Value::Null), value);
            }
            _ => {
                map.insert(name.clone(), value.clone());
            }
        }
    }
}

fn merge_list(slot: &mut Value, items: &[Value], key: &str) {
    if !slot.is_array() {
        *slot = Value::Array(Vec::new());
    }
    let Some(list) = slot.as_array_mut() else {
        return;
    };
    for item in items {
        let at = list
            .iter()
            .position(|o| !item[key].is_null() && o[key] == item[key]);
        match (at, item["$patch"] == "delete") {
            (Some(at), true) => {
                list.remove(at);
            }
            (Some(at), false) => strategic(&mut list[at], item),
            (None, true) => {}
            (None, false) => {
                let mut new = Value::Null;
                strategic(&mut new, item);
                list.push(new);
            }
        }
    }
}
