//! One step towards what a workload asks for, and its status.

use serde_json::{Map, Value, json};

use super::super::object::Key;
use super::super::resources::Kind;
use super::super::stamp::{now, suffix};
use super::super::store::Store;
use super::super::write::put;
use super::pods::{leaving, owner, pod, ready, template_hash};
use super::{kind, owned};

/// Does what is missing for a workload; returns the pods it has to lose.
pub(super) fn reconcile(store: &mut Store, of: &'static Kind, key: &Key) -> Vec<Key> {
    let Some(object) = store.get(of, key).map(|o| o.value()) else {
        return Vec::new();
    };
    match of.kind {
        "Deployment" => {
            deployment(store, of, object);
            Vec::new()
        }
        "ReplicaSet" => replica_set(store, of, object),
        "StatefulSet" => {
            let replicas = wanted(&object);
            let name = key.1.as_str();
            let names = (0..replicas)
                .map(|i| vec![format!("{name}-{i}")])
                .collect::<Vec<_>>();
            ordinal(store, of, object, &names)
        }
        "LeaderWorkerSet" => {
            let size = object
                .pointer("/spec/leaderWorkerTemplate/size")
                .and_then(Value::as_u64);
            let group = |i: u64| -> Vec<String> {
                let worker = |w| match w {
                    0 => format!("{}-{i}", key.1),
                    w => format!("{}-{i}-{w}", key.1),
                };
                (0..size.unwrap_or(1)).map(worker).collect()
            };
            let names: Vec<_> = (0..wanted(&object)).map(group).collect();
            ordinal(store, of, object, &names)
        }
        _ => Vec::new(),
    }
}

fn wanted(object: &Value) -> u64 {
    object["spec"]["replicas"].as_u64().unwrap_or(1)
}

fn uid(object: &Value) -> String {
    object["metadata"]["uid"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

/// The pods of an owner that stay.
fn staying(store: &Store, object: &Value) -> Vec<Value> {
    let pods = owned(store, kind("pods"), &uid(object));
    pods.iter()
        .map(|p| p.value())
        .filter(|p| !leaving(p))
        .collect()
}

fn name(object: &Value) -> String {
    object["metadata"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

fn set_status(store: &mut Store, of: &'static Kind, mut object: Value, status: &Value) {
    let mut new = object["status"].clone();
    if !new.is_object() {
        new = json!({});
    }
    for (field, value) in status.as_object().into_iter().flatten() {
        new[field] = value.clone();
    }
    if let Some(map) = new.as_object_mut() {
        map.retain(|_, v| !v.is_null());
    }
    if object["status"] != new {
        object["status"] = new;
        put(store, of, object);
    }
}

/// Conditions that keep their time while they hold.
fn conditions(object: &Value, new: &[(&str, bool, &str)]) -> Value {
    let before = object["status"]["conditions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let one = |(kind, holds, reason): &(&str, bool, &str)| {
        let status = if *holds { "True" } else { "False" };
        let old = before
            .iter()
            .find(|c| c["type"] == *kind && c["status"] == status);
        let since = old.map_or_else(|| now().into(), |c| c["lastTransitionTime"].clone());
        json!({
            "type": kind,
            "status": status,
            "reason": reason,
            "message": "",
            "lastUpdateTime": since,
            "lastTransitionTime": since,
        })
    };
    new.iter().map(one).collect()
}

/// Zeros are left out, as the server leaves them out.
fn count(n: u64) -> Value {
    if n == 0 { Value::Null } else { n.into() }
}

fn deployment(store: &mut Store, of: &'static Kind, object: Value) {
    let sets = kind("replicasets");
    let (hash, replicas) = (template_hash(&object["spec"]["template"]), wanted(&object));
    let mut found = false;
    for set in owned(store, sets, &uid(&object)) {
        let mut set = set.value();
        let current = set["metadata"]["labels"]["pod-template-hash"] == hash.as_str();
        found |= current;
        let replicas = if current { replicas } else { 0 };
        if wanted(&set) != replicas {
            set["spec"]["replicas"] = replicas.into();
            put(store, sets, set);
        }
    }
    if !found {
        let mut set = json!({
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": format!("{}-{hash}", name(&object)),
                "namespace": object["metadata"]["namespace"],
                "labels": object["spec"]["template"]["metadata"]["labels"],
                "ownerReferences": [owner(&object)],
            },
            "spec": {
                "replicas": replicas,
                "selector": object["spec"]["selector"],
                "template": object["spec"]["template"],
            },
            "status": { "replicas": 0 },
        });
        for labels in [
            "/metadata/labels",
            "/spec/selector/matchLabels",
            "/spec/template/metadata/labels",
        ] {
            if let Some(Value::Object(labels)) = set.pointer_mut(labels) {
                labels.insert("pod-template-hash".into(), hash.clone().into());
            }
        }
        put(store, sets, set);
    }
    let all: Vec<Value> = owned(store, sets, &uid(&object))
        .iter()
        .map(|s| s.value())
        .collect();
    let sum = |sets: &mut dyn Iterator<Item = &Value>, field: &str| -> u64 {
        sets.map(|s| s["status"][field].as_u64().unwrap_or(0)).sum()
    };
    let current = |s: &&Value| s["metadata"]["labels"]["pod-template-hash"] == hash.as_str();
    let available = sum(&mut all.iter(), "availableReplicas");
    let settled = available >= replicas;
    let status = json!({
        "observedGeneration": object["metadata"]["generation"],
        "replicas": count(sum(&mut all.iter(), "replicas")),
        "updatedReplicas": count(sum(&mut all.iter().filter(current), "replicas")),
        "readyReplicas": count(sum(&mut all.iter(), "readyReplicas")),
        "availableReplicas": count(available),
        "unavailableReplicas": count(replicas.saturating_sub(available)),
        "conditions": conditions(&object, &[
            ("Available", settled, if settled { "MinimumReplicasAvailable" } else { "MinimumReplicasUnavailable" }),
            ("Progressing", true, if settled { "NewReplicaSetAvailable" } else { "ReplicaSetUpdated" }),
        ]),
    });
    set_status(store, of, object, &status);
}

fn replica_set(store: &mut Store, of: &'static Kind, object: Value) -> Vec<Key> {
    let template = object["spec"]["template"].clone();
    let replicas = wanted(&object) as usize;
    for _ in staying(store, &object).len()..replicas {
        let fresh = format!("{}-{}", name(&object), suffix(store.version(), 5));
        put(
            store,
            kind("pods"),
            pod(&object, &template, &fresh, &Value::Null),
        );
    }
    let mut pods = staying(store, &object);
    // The pods that are not ready go first, then the youngest.
    pods.sort_by_key(|p| {
        let born = p["metadata"]["creationTimestamp"]
            .as_str()
            .map(str::to_owned);
        (std::cmp::Reverse(ready(p)), born)
    });
    let victims = pods.split_off(replicas.min(pods.len()));
    let up = pods.iter().filter(|p| ready(p)).count() as u64;
    let status = json!({
        "observedGeneration": object["metadata"]["generation"],
        "replicas": pods.len(),
        "fullyLabeledReplicas": count(pods.len() as u64),
        "readyReplicas": count(up),
        "availableReplicas": count(up),
    });
    set_status(store, of, object, &status);
    victims.iter().map(place).collect()
}

fn place(pod: &Value) -> Key {
    (
        pod["metadata"]["namespace"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        name(pod),
    )
}

/// Workloads whose pods have numbers; each group is one replica.
fn ordinal(store: &mut Store, of: &'static Kind, object: Value, names: &[Vec<String>]) -> Vec<Key> {
    let lws = of.kind == "LeaderWorkerSet";
    let before = staying(store, &object);
    for (i, group) in names.iter().enumerate() {
        for (w, fresh) in group.iter().enumerate() {
            let space = object["metadata"]["namespace"].as_str().unwrap_or_default();
            if store
                .get(kind("pods"), &(space.to_owned(), fresh.clone()))
                .is_some()
            {
                continue;
            }
            let (template, labels) = if lws {
                lws_part(&object, i, w)
            } else {
                let index = i.to_string();
                let labels = json!({ "apps.kubernetes.io/pod-index": index, "statefulset.kubernetes.io/pod-name": fresh });
                (object["spec"]["template"].clone(), labels)
            };
            put(store, kind("pods"), pod(&object, &template, fresh, &labels));
        }
    }
    let pods = staying(store, &object);
    let up = |group: &&Vec<String>| {
        group.iter().all(|n| {
            pods.iter()
                .any(|p| p["metadata"]["name"] == n.as_str() && ready(p))
        })
    };
    let up = names.iter().filter(up).count() as u64;
    let settled = up == names.len() as u64;
    let mut status = json!({
        "observedGeneration": object["metadata"]["generation"],
        "replicas": names.len(),
        "readyReplicas": count(up),
        "updatedReplicas": count(names.len() as u64),
    });
    if lws {
        status["hpaPodSelector"] = format!(
            "leaderworkerset.sigs.k8s.io/name={},leaderworkerset.sigs.k8s.io/worker-index=0",
            name(&object)
        )
        .into();
        status["conditions"] = conditions(
            &object,
            &[
                (
                    "Available",
                    settled,
                    if settled {
                        "AllGroupsReady"
                    } else {
                        "GroupsProgressing"
                    },
                ),
                ("Progressing", !settled, "GroupsProgressing"),
            ],
        );
    } else {
        status["availableReplicas"] = up.into();
        status["currentReplicas"] = count(names.len() as u64);
    }
    set_status(store, of, object, &status);
    let extra = |p: &&Value| {
        !names
            .iter()
            .flatten()
            .any(|n| p["metadata"]["name"] == n.as_str())
    };
    before.iter().filter(extra).map(place).collect()
}

/// The template and the labels of one pod of a leader worker set.
fn lws_part(object: &Value, group: usize, worker: usize) -> (Value, Value) {
    let parts = &object["spec"]["leaderWorkerTemplate"];
    let leader = &parts["leaderTemplate"];
    let mut template = if worker == 0 && leader.is_object() {
        leader
    } else {
        &parts["workerTemplate"]
    }
    .clone();
    if !template["metadata"]["labels"].is_object() {
        template["metadata"]["labels"] = Value::Object(Map::new());
    }
    let labels = json!({
        "leaderworkerset.sigs.k8s.io/name": object["metadata"]["name"],
        "leaderworkerset.sigs.k8s.io/group-index": group.to_string(),
        "leaderworkerset.sigs.k8s.io/worker-index": worker.to_string(),
    });
    (template, labels)
}
