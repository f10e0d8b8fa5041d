//! What the server does to an object on its way into the store.

use std::sync::Arc;

use chrono::{SecondsFormat, Utc};
use serde_json::{Value, json};

use super::failure::Failure;
use super::object::{Key, Object};
use super::resources::{self, Kind};
use super::stamp::{born, manage, suffix};
use super::store::Store;

/// How a write was asked for.
#[derive(Debug, Clone)]
pub(super) struct Write {
    pub(super) dry: bool,
    pub(super) manager: String,
    /// `Update` or `Apply`.
    pub(super) operation: &'static str,
    /// `status` or `scale`, where it went through one.
    pub(super) sub: Option<&'static str>,
}

/// What became of a deletion.
#[derive(Debug, Clone)]
pub(super) enum Fate {
    /// It is gone.
    Gone(Arc<Object>),
    /// It is marked, and waits for its kubelet or its finalizers.
    Terminating(Arc<Object>),
}

/// Whether two objects ask for the same, metadata and status aside.
fn same_wish(a: &Value, b: &Value) -> bool {
    let wish = |v: &Value| -> Vec<(String, Value)> {
        v.as_object()
            .into_iter()
            .flatten()
            .filter(|(k, _)| !["metadata", "status", "kind", "apiVersion"].contains(&k.as_str()))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect()
    };
    wish(a) == wish(b)
}

/// Whether two objects are equal but for what every write touches.
fn same(a: &Value, b: &Value) -> bool {
    let bare = |v: &Value| {
        let mut v = v.clone();
        if let Some(meta) = v["metadata"].as_object_mut() {
            meta.remove("managedFields");
            meta.remove("resourceVersion");
        }
        v
    };
    bare(a) == bare(b)
}

fn validate(kind: &Kind, value: &Value) -> Result<(), Failure> {
    let name = value["metadata"]["name"].as_str().unwrap_or_default();
    match value["spec"]["replicas"].as_i64() {
        Some(n) if n < 0 && kind.scale.is_some() => Err(Failure::invalid(
            kind,
            name,
            "spec.replicas",
            &format!("Invalid value: {n}: must be greater than or equal to 0"),
        )),
        _ => Ok(()),
    }
}

fn finish(
    store: &mut Store,
    kind: &'static Kind,
    key: Key,
    value: Value,
    dry: bool,
) -> Arc<Object> {
    if dry {
        return Arc::new(Object::new(kind, value));
    }
    let kept = value.clone();
    store
        .commit(kind, key, Some(value))
        .unwrap_or_else(|| Arc::new(Object::new(kind, kept)))
}

/// Creates an object, as a POST does.
pub(super) fn create(
    store: &mut Store,
    kind: &'static Kind,
    namespace: Option<&str>,
    mut value: Value,
    write: &Write,
) -> Result<Arc<Object>, Failure> {
    agree(kind, &value)?;
    if kind.namespaced {
        let Some(namespace) = namespace else {
            return Err(Failure::method());
        };
        if value["metadata"]["namespace"]
            .as_str()
            .is_some_and(|n| n != namespace)
        {
            return Err(Failure::bad_request(
                "the namespace of the provided object does not match the namespace sent on the \
                 request",
            ));
        }
        value["metadata"]["namespace"] = namespace.into();
        if let Some(spaces) = resources::at("", "v1", "namespaces")
            && store
                .get(spaces, &(String::new(), namespace.to_owned()))
                .is_none()
        {
            return Err(Failure::not_found(spaces, namespace));
        }
    }
    let meta = &mut value["metadata"];
    if meta["name"].as_str().is_none_or(str::is_empty) {
        let Some(prefix) = meta["generateName"].as_str().filter(|p| !p.is_empty()) else {
            return Err(Failure::invalid(
                kind,
                "",
                "metadata.name",
                "Required value: name or generateName is required",
            ));
        };
        meta["name"] = format!("{prefix}{}", suffix(store.version(), 5)).into();
    }
    if meta["resourceVersion"]
        .as_str()
        .is_some_and(|v| !v.is_empty())
    {
        return Err(Failure::bad_request(
            "resourceVersion should not be set on objects to be created",
        ));
    }
    if let Some(meta) = meta.as_object_mut() {
        for set_by_server in ["uid", "creationTimestamp", "generation", "managedFields"] {
            meta.remove(set_by_server);
        }
    }
    if kind.status
        && let Some(map) = value.as_object_mut()
    {
        map.remove("status");
    }
    if kind.kind == "Pod" {
        value["status"] = json!({ "phase": "Pending", "qosClass": "Burstable" });
    }
    born(kind, &mut value, store.version() + 1);
    fill(kind, &mut value);
    validate(kind, &value)?;
    manage(kind, &mut value, write);
    let key = Object::new(kind, value.clone()).key;
    if store.get(kind, &key).is_some() {
        return Err(Failure::exists(kind, &key.1));
    }
    Ok(finish(store, kind, key, value, write.dry))
}

/// Whether the object is of the kind of its path.
fn agree(kind: &Kind, value: &Value) -> Result<(), Failure> {
    let (api, name) = (value["apiVersion"].as_str(), value["kind"].as_str());
    if api.is_none_or(|a| a == kind.api_version()) && name.is_none_or(|k| k == kind.kind) {
        return Ok(());
    }
    Err(Failure::bad_request(format!(
        "{} in version \"{}\" cannot be handled as a {}: the API version in the data ({}) does \
         not match the expected API version ({})",
        name.unwrap_or_default(),
        kind.version,
        kind.kind,
        api.unwrap_or_default(),
        kind.api_version()
    )))
}

/// Replaces an object, as a PUT or a PATCH does once the patch is applied.
pub(super) fn replace(
    store: &mut Store,
    kind: &'static Kind,
    key: &Key,
    mut new: Value,
    write: &Write,
) -> Result<Arc<Object>, Failure> {
    let current = store
        .get(kind, key)
        .ok_or_else(|| Failure::not_found(kind, &key.1))?;
    let old = current.value();
    agree(kind, &new)?;
    if new["metadata"]["name"].as_str().is_some_and(|n| n != key.1) {
        return Err(Failure::bad_request(format!(
            "the name of the object ({}) does not match the name on the URL ({})",
            new["metadata"]["name"].as_str().unwrap_or_default(),
            key.1
        )));
    }
    check(kind, &key.1, &old, &new["metadata"])?;
    if write.sub == Some("status") {
        let mut value = old.clone();
        value["status"] = new["status"].take();
        new = value;
    } else {
        for kept in [
            "uid",
            "creationTimestamp",
            "generation",
            "deletionTimestamp",
            "namespace",
            "name",
        ] {
            match &old["metadata"][kept] {
                Value::Null => {}
                value => new["metadata"][kept] = value.clone(),
            }
        }
        if kind.status
            && let Some(map) = new.as_object_mut()
        {
            match &old["status"] {
                Value::Null => map.remove("status"),
                status => map.insert("status".into(), status.clone()),
            };
        }
    }
    fill(kind, &mut new);
    validate(kind, &new)?;
    if same(&old, &new) {
        return Ok(current);
    }
    if kind.generation && !same_wish(&old, &new) {
        let generation = old["metadata"]["generation"].as_u64().unwrap_or(0);
        new["metadata"]["generation"] = (generation + 1).into();
    }
    manage(kind, &mut new, write);
    let last = |v: &Value| {
        v["metadata"]["finalizers"]
            .as_array()
            .is_none_or(Vec::is_empty)
    };
    if !write.dry && old["metadata"]["deletionTimestamp"].is_string() && last(&new) && !last(&old) {
        store.commit(kind, key.clone(), None);
        return Ok(Arc::new(Object::new(kind, new)));
    }
    Ok(finish(store, kind, key.clone(), new, write.dry))
}

/// Checks the version and the UID that a write, or a deletion's preconditions, give.
fn check(kind: &Kind, name: &str, old: &Value, given: &Value) -> Result<(), Failure> {
    let meta = &old["metadata"];
    match given["resourceVersion"].as_str() {
        Some(version) if !version.is_empty() && meta["resourceVersion"] != version => {
            return Err(Failure::modified(kind, name));
        }
        _ => {}
    }
    match given["uid"].as_str() {
        Some(uid) if !uid.is_empty() && meta["uid"] != uid => Err(Failure::conflict(
            kind,
            name,
            &format!(
                "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                meta["uid"].as_str().unwrap_or_default()
            ),
        )),
        _ => Ok(()),
    }
}

/// Deletes an object; a running pod and one with finalizers is only marked.
pub(super) fn remove(
    store: &mut Store,
    kind: &'static Kind,
    key: &Key,
    options: &Value,
    dry: bool,
) -> Result<Fate, Failure> {
    let current = store
        .get(kind, key)
        .ok_or_else(|| Failure::not_found(kind, &key.1))?;
    let mut value = current.value();
    check(kind, &key.1, &value, &options["preconditions"])?;
    let scheduled = kind.kind == "Pod" && value["spec"]["nodeName"].is_string();
    let grace = options["gracePeriodSeconds"].as_u64().unwrap_or_else(|| {
        value["spec"]["terminationGracePeriodSeconds"]
            .as_u64()
            .unwrap_or(30)
    });
    let held = value["metadata"]["finalizers"]
        .as_array()
        .is_some_and(|f| !f.is_empty());
    if held || (scheduled && grace > 0) {
        if value["metadata"]["deletionTimestamp"].is_string() {
            return Ok(Fate::Terminating(current));
        }
        let grace = if scheduled { grace } else { 0 };
        let at = Utc::now() + chrono::TimeDelta::seconds(grace as i64);
        value["metadata"]["deletionTimestamp"] =
            at.to_rfc3339_opts(SecondsFormat::Secs, true).into();
        value["metadata"]["deletionGracePeriodSeconds"] = grace.into();
        return Ok(Fate::Terminating(finish(
            store,
            kind,
            key.clone(),
            value,
            dry,
        )));
    }
    if dry {
        return Ok(Fate::Gone(current));
    }
    let gone = store.commit(kind, key.clone(), None);
    Ok(Fate::Gone(gone.unwrap_or(current)))
}

/// Puts an object as the cluster itself does: the status as given, nothing checked.
pub(super) fn put(store: &mut Store, kind: &'static Kind, mut value: Value) -> Arc<Object> {
    if kind.namespaced && !value["metadata"]["namespace"].is_string() {
        value["metadata"]["namespace"] = "default".into();
    }
    let key = Object::new(kind, value.clone()).key;
    if let Some(old) = store.get(kind, &key).map(|o| o.value()) {
        for kept in ["uid", "creationTimestamp", "generation"] {
            if !old["metadata"][kept].is_null() {
                value["metadata"][kept] = old["metadata"][kept].clone();
            }
        }
        if kind.generation && !same_wish(&old, &value) {
            let generation = old["metadata"]["generation"].as_u64().unwrap_or(0);
            value["metadata"]["generation"] = (generation + 1).into();
        }
    }
    fill(kind, &mut value);
    born(kind, &mut value, store.version() + 1);
    finish(store, kind, key, value, false)
}

/// Fills in what the server does: an autoscaler's behavior, where any of it is set.
fn fill(kind: &Kind, value: &mut Value) {
    if kind.kind != "HorizontalPodAutoscaler" || !value["spec"]["behavior"].is_object() {
        return;
    }
    let behavior = &mut value["spec"]["behavior"];
    let default = |rules: &mut Value, with: Value| {
        if !rules.is_object() {
            *rules = json!({});
        }
        for (key, filled) in with.as_object().into_iter().flatten() {
            if rules[key].is_null() {
                rules[key] = filled.clone();
            }
        }
    };
    let percent = json!({"type": "Percent", "value": 100, "periodSeconds": 15});
    let pods = json!({"type": "Pods", "value": 4, "periodSeconds": 15});
    let up = json!({"stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": [pods, percent]});
    let down = json!({"selectPolicy": "Max", "policies": [percent]});
    default(&mut behavior["scaleUp"], up);
    default(&mut behavior["scaleDown"], down);
}
