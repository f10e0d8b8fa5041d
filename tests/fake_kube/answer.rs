//! From a request to the part of the API that answers it.

use std::sync::Arc;

use axum::response::Response;
use http::HeaderValue;
use serde_json::{Value, json};

use super::failure::{Answer, Failure, json, page_not_found, typed};
use super::inner::Inner;
use super::object::{Form, Key, Object};
use super::proxy::Answerer;
use super::request::{Request, Target};
use super::resources::Kind;
use super::write::{Fate, Write};
use super::{discovery, list, logs, patch, proxy, scale, watch, write};

/// Answers a request that is authenticated and authorized.
pub(super) async fn answer(
    inner: &Arc<Inner>,
    request: &Request,
    user: &str,
    groups: &[String],
) -> Answer {
    let without = inner.settings().without;
    let Some(target) = &request.target else {
        let own = inner.far().get(&request.call.path).cloned();
        if let Some(Answerer::Handler(handler)) = own {
            let call = &request.call;
            let (status, media, body) = handler(&call.method, &call.path, &request.raw_query);
            return Ok(typed(status, &media, body));
        }
        return Ok(discovery::answer(inner, request));
    };
    if without.iter().any(|g| g == target.kind.group) {
        return Ok(page_not_found());
    }
    if target.kind.review() {
        let review = inner
            .access()
            .review(target.kind.kind, request.json()?, user, groups);
        return if request.call.method == "POST" {
            Ok(json(201, &review))
        } else {
            Err(Failure::method())
        };
    }
    let special = target.sub.as_deref().unwrap_or_default();
    if target.kind.extra.iter().any(|(name, ..)| *name == special) {
        return match special {
            "log" => logs::log(inner, request, target),
            "proxy" => proxy::proxy(inner, request, target).await,
            _ => evict(inner, request, target),
        };
    }
    let mut answer = resource(inner, request, target)?;
    let headers = answer.headers_mut();
    headers.insert(
        "cache-control",
        HeaderValue::from_static("no-cache, private"),
    );
    Ok(answer)
}

fn resource(inner: &Arc<Inner>, request: &Request, target: &Target) -> Answer {
    let sub = part(target)?;
    match (request.call.verb, &target.name) {
        ("watch", _) => watch::watch(inner, request, target),
        ("list", _) => list::list(&inner.store(), request, target),
        ("get", _) => get(inner, request, target, sub),
        ("create", None) => {
            let (body, write) = (request.json()?, how(request, sub)?);
            let namespace = target.namespace.as_deref();
            let made = inner.change(|s| write::create(s, target.kind, namespace, body, &write))?;
            Ok(object(request, 201, &made))
        }
        ("update" | "patch", Some(_)) => modify(inner, request, target, sub),
        ("delete", Some(_)) if sub.is_none() => delete(inner, request, target),
        ("deletecollection", None) => delete_all(inner, request, target),
        _ => Err(Failure::method()),
    }
}

/// The subresource that is a view on the object itself.
fn part(target: &Target) -> Result<Option<&'static str>, Failure> {
    match target.sub.as_deref() {
        None => Ok(None),
        Some("status") if target.kind.status => Ok(Some("status")),
        Some("scale") if target.kind.scale.is_some() => Ok(Some("scale")),
        Some(_) => Err(Failure::no_such_resource()),
    }
}

fn how(request: &Request, sub: Option<&'static str>) -> Result<Write, Failure> {
    let apply = request
        .call
        .content_type
        .starts_with("application/apply-patch");
    Ok(Write {
        dry: request.dry()?,
        manager: request.manager(),
        operation: if apply { "Apply" } else { "Update" },
        sub,
    })
}

fn object(request: &Request, code: u16, object: &Object) -> Response {
    let mut out = Vec::new();
    object.write(list::form(request, Form::Full), &mut out);
    out.push(b'\n');
    typed(code, "application/json", out)
}

fn find(inner: &Inner, kind: &'static Kind, key: &Key) -> Result<Arc<Object>, Failure> {
    inner
        .store()
        .get(kind, key)
        .ok_or_else(|| Failure::not_found(kind, &key.1))
}

fn get(inner: &Inner, request: &Request, target: &Target, sub: Option<&str>) -> Answer {
    let found = find(inner, target.kind, &target.key())?;
    if sub == Some("scale") {
        return Ok(json(200, &scale::of(target.kind, &found.value())?));
    }
    Ok(object(request, 200, &found))
}

/// PUT and PATCH, of the object or of one of its views.
fn modify(inner: &Inner, request: &Request, target: &Target, sub: Option<&'static str>) -> Answer {
    let (kind, key, write) = (target.kind, target.key(), how(request, sub)?);
    let given = |old: &Value| match request.call.verb {
        "update" => request.json(),
        _ => patch::apply(kind, request, old),
    };
    inner.change(|store| {
        let Some(current) = store.get(kind, &key) else {
            if write.operation == "Apply" && sub.is_none() {
                let named = json!({ "metadata": { "name": key.1 } });
                let new = given(&named)?;
                let made = write::create(store, kind, target.namespace.as_deref(), new, &write)?;
                return Ok(object(request, 201, &made));
            }
            return Err(Failure::not_found(kind, &key.1));
        };
        let old = current.value();
        if sub == Some("scale") {
            let new = given(&scale::of(kind, &old)?)?;
            let made = scale::write(store, kind, &key, &new, &write)?;
            return Ok(json(200, &scale::of(kind, &made.value())?));
        }
        let new = given(&old)?;
        let version = &new["metadata"]["resourceVersion"];
        if request.call.verb == "update"
            && !kind.builtin
            && version.as_str().is_none_or(str::is_empty)
        {
            return Err(Failure::invalid(
                kind,
                &key.1,
                "metadata.resourceVersion",
                "Invalid value: 0: must be specified for an update",
            ));
        }
        let made = write::replace(store, kind, &key, new, &write)?;
        Ok(object(request, 200, &made))
    })
}

/// The options of a deletion: from the body, then from the query.
fn options(request: &Request) -> Result<Value, Failure> {
    let mut options = if request.body.is_empty() {
        json!({})
    } else {
        request.json()?
    };
    if let Some(grace) = request.number("gracePeriodSeconds")? {
        options["gracePeriodSeconds"] = grace.into();
    }
    Ok(options)
}

/// Deletes an object, and has a marked pod go in its time.
pub(super) fn remove(
    inner: &Arc<Inner>,
    kind: &'static Kind,
    key: &Key,
    options: &Value,
    dry: bool,
) -> Result<Fate, Failure> {
    let fate = inner.change(|store| write::remove(store, kind, key, options, dry))?;
    if dry {
        return Ok(fate);
    }
    match &fate {
        Fate::Gone(_) => inner.logs().end_pod(key),
        Fate::Terminating(o)
            if o.value()["metadata"]["finalizers"]
                .as_array()
                .is_none_or(Vec::is_empty) =>
        {
            match inner.settings().linger {
                Some(time) if time.is_zero() => {
                    inner.drop_object(kind, key);
                }
                Some(time) => {
                    let (inner, key) = (Arc::clone(inner), key.clone());
                    tokio::spawn(async move {
                        tokio::time::sleep(time).await;
                        inner.drop_object(kind, &key);
                    });
                }
                None => {}
            }
        }
        Fate::Terminating(_) => {}
    }
    Ok(fate)
}

fn delete(inner: &Arc<Inner>, request: &Request, target: &Target) -> Answer {
    let (kind, key, options) = (target.kind, target.key(), options(request)?);
    let dry = request.dry()? || options["dryRun"] == json!(["All"]);
    match remove(inner, kind, &key, &options, dry)? {
        Fate::Gone(gone) if kind.kind == "Pod" => Ok(object(request, 200, &gone)),
        Fate::Terminating(marked) => Ok(object(request, 200, &marked)),
        Fate::Gone(gone) => {
            let mut details = json!({
                "name": key.1,
                "kind": kind.plural,
                "uid": gone.value()["metadata"]["uid"],
            });
            if !kind.group.is_empty() {
                details["group"] = kind.group.into();
            }
            Ok(json(200, &success(&details)))
        }
    }
}

fn delete_all(inner: &Arc<Inner>, request: &Request, target: &Target) -> Answer {
    let answer = list::list(&inner.store(), request, target)?;
    let (options, selector) = (options(request)?, list::selector(request, target)?);
    let keys: Vec<Key> = inner
        .store()
        .objects(target.kind)
        .filter(|o| selector.matches(o))
        .map(|o| o.key.clone())
        .collect();
    for key in keys {
        remove(inner, target.kind, &key, &options, request.dry()?)?;
    }
    Ok(answer)
}

fn evict(inner: &Arc<Inner>, request: &Request, target: &Target) -> Answer {
    if request.call.method != "POST" {
        return Err(Failure::method());
    }
    let key = target.key();
    let pod = find(inner, target.kind, &key)?;
    scale::evictable(&inner.store(), &pod)?;
    let eviction = request.json()?;
    let options = &eviction["deleteOptions"];
    let dry = request.dry()? || options["dryRun"] == json!(["All"]);
    remove(inner, target.kind, &key, options, dry)?;
    Ok(json(201, &success(&Value::Null)))
}

fn success(details: &Value) -> Value {
    let mut status = json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
    });
    if details.is_null() {
        status["code"] = 201.into();
    } else {
        status["details"] = details.clone();
    }
    status
}
