//! What the server says it serves.

use axum::response::Response;
use serde_json::{Value, json};

use super::failure::{json, page_not_found, typed};
use super::inner::Inner;
use super::request::Request;
use super::resources::{KINDS, Kind};

/// Answers what is not about a resource.
pub(super) fn answer(inner: &Inner, request: &Request) -> Response {
    let without = inner.settings().without;
    let kinds: Vec<&Kind> = KINDS
        .iter()
        .filter(|k| !without.iter().any(|g| g == k.group))
        .collect();
    let parts: Vec<&str> = request
        .call
        .path
        .split('/')
        .filter(|p| !p.is_empty())
        .collect();
    let aggregated = ["v2", "v2beta1"].into_iter().find(|v| {
        request.accepts(&format!(
            "g=apidiscovery.k8s.io;v={v};as=APIGroupDiscoveryList"
        ))
    });
    match (parts.as_slice(), aggregated) {
        (["version"], _) => json(200, &version()),
        (["healthz" | "readyz" | "livez"], _) => typed(200, "text/plain; charset=utf-8", "ok"),
        (["api"], Some(v)) => discovery(v, &kinds, |k| k.group.is_empty()),
        (["apis"], Some(v)) => discovery(v, &kinds, |k| !k.group.is_empty()),
        (["api"], None) => json(
            200,
            &json!({
                "kind": "APIVersions",
                "versions": ["v1"],
                "serverAddressByClientCIDRs": [{ "clientCIDR": "0.0.0.0/0", "serverAddress": "10.0.0.1:443" }],
            }),
        ),
        (["apis"], None) => json(200, &groups(&kinds)),
        (["apis", group], _) => match self::groups(&kinds)["groups"]
            .as_array()
            .and_then(|all| all.iter().find(|g| g["name"] == *group))
        {
            Some(found) => {
                let mut found = found.clone();
                found["kind"] = "APIGroup".into();
                found["apiVersion"] = "v1".into();
                json(200, &found)
            }
            None => page_not_found(),
        },
        (["api", version], _) => resources(&kinds, "", version),
        (["apis", group, version], _) => resources(&kinds, group, version),
        _ => page_not_found(),
    }
}

fn version() -> Value {
    json!({
        "major": "1",
        "minor": "34",
        "gitVersion": "v1.34.2",
        "gitCommit": "8cc511e399b929453cd98ae65b419c3cc227ec79",
        "gitTreeState": "clean",
        "buildDate": "2025-11-11T19:04:41Z",
        "goVersion": "go1.24.9",
        "compiler": "gc",
        "platform": "linux/amd64",
    })
}

/// Groups with their versions, each once, in the order of the table.
fn versions<'a>(kinds: &[&'a Kind]) -> Vec<(&'a str, Vec<&'a str>)> {
    let mut out: Vec<(&str, Vec<&str>)> = Vec::new();
    for kind in kinds {
        match out.iter_mut().find(|(group, _)| *group == kind.group) {
            Some((_, versions)) if versions.contains(&kind.version) => {}
            Some((_, versions)) => versions.push(kind.version),
            None => out.push((kind.group, vec![kind.version])),
        }
    }
    out
}

fn groups(kinds: &[&Kind]) -> Value {
    let groups: Vec<Value> = versions(kinds)
        .into_iter()
        .filter(|(group, _)| !group.is_empty())
        .map(|(group, versions)| {
            let versions: Vec<Value> = versions
                .iter()
                .map(|v| json!({ "groupVersion": format!("{group}/{v}"), "version": v }))
                .collect();
            json!({ "name": group, "preferredVersion": versions[0], "versions": versions })
        })
        .collect();
    json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })
}

/// The subresources of a kind: name, group, version and kind of the answer, verbs.
fn subresources(kind: &Kind) -> Vec<(&'static str, [&'static str; 3], &'static [&'static str])> {
    const OBJECT: &[&str] = &["get", "patch", "update"];
    let mut out = Vec::new();
    if kind.status {
        out.push(("status", [kind.group, kind.version, kind.kind], OBJECT));
    }
    if kind.scale.is_some() {
        out.push(("scale", ["autoscaling", "v1", "Scale"], OBJECT));
    }
    for (name, answer, verbs) in kind.extra {
        let gv = if *name == "eviction" {
            ["policy", "v1"]
        } else {
            ["", "v1"]
        };
        out.push((name, [gv[0], gv[1], answer], verbs));
    }
    out
}

fn resources(kinds: &[&Kind], group: &str, version: &str) -> Response {
    let mut list = Vec::new();
    for kind in kinds
        .iter()
        .filter(|k| k.group == group && k.version == version)
    {
        let mut entry = json!({
            "name": kind.plural,
            "singularName": kind.singular(),
            "namespaced": kind.namespaced,
            "kind": kind.kind,
            "verbs": kind.verbs(),
        });
        if !kind.short.is_empty() {
            entry["shortNames"] = json!(kind.short);
        }
        list.push(entry);
        for (name, [sub_group, sub_version, sub_kind], verbs) in subresources(kind) {
            let mut entry = json!({
                "name": format!("{}/{name}", kind.plural),
                "singularName": "",
                "namespaced": kind.namespaced,
                "kind": sub_kind,
                "verbs": verbs,
            });
            if (sub_group, sub_version) != (group, version) {
                entry["group"] = sub_group.into();
                entry["version"] = sub_version.into();
            }
            list.push(entry);
        }
    }
    if list.is_empty() {
        return page_not_found();
    }
    let gv = if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    };
    json(
        200,
        &json!({
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": gv,
            "resources": list,
        }),
    )
}

/// Aggregated discovery: everything in one answer.
fn discovery(form: &str, kinds: &[&Kind], wanted: impl Fn(&Kind) -> bool) -> Response {
    let kinds: Vec<&Kind> = kinds.iter().copied().filter(|k| wanted(k)).collect();
    let items: Vec<Value> = versions(&kinds)
        .into_iter()
        .map(|(group, versions)| {
            let versions: Vec<Value> = versions
                .iter()
                .map(|version| {
                    let resources: Vec<Value> = kinds
                        .iter()
                        .filter(|k| k.group == group && k.version == *version)
                        .map(|k| aggregated(k))
                        .collect();
                    json!({ "version": version, "resources": resources, "freshness": "Current" })
                })
                .collect();
            let metadata = if group.is_empty() {
                json!({ "creationTimestamp": null })
            } else {
                json!({ "name": group, "creationTimestamp": null })
            };
            json!({ "metadata": metadata, "versions": versions })
        })
        .collect();
    let body = json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{form}"),
        "metadata": {},
        "items": items,
    });
    let media = format!("application/json;g=apidiscovery.k8s.io;v={form};as=APIGroupDiscoveryList");
    typed(200, &media, body.to_string())
}

fn aggregated(kind: &Kind) -> Value {
    let answer = |[group, version, kind]: [&str; 3]| json!({ "group": group, "version": version, "kind": kind });
    let mut entry = json!({
        "resource": kind.plural,
        "responseKind": answer([kind.group, kind.version, kind.kind]),
        "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": kind.singular(),
        "verbs": kind.verbs(),
    });
    if !kind.short.is_empty() {
        entry["shortNames"] = json!(kind.short);
    }
    let subs: Vec<Value> = subresources(kind)
        .into_iter()
        .map(|(name, gvk, verbs)| {
            json!({ "subresource": name, "responseKind": answer(gvk), "verbs": verbs })
        })
        .collect();
    if !subs.is_empty() {
        entry["subresources"] = subs.into();
    }
    entry
}
