//! Lists: pages of one consistent picture.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::failure::{Answer, Failure, typed};
use super::object::{Form, Key, Object};
use super::request::{Request, Target};
use super::resources::Kind;
use super::select::Selector;
use super::store::Store;

/// The objects a request selects.
pub(super) fn selector(request: &Request, target: &Target) -> Result<Selector, Failure> {
    let selector = Selector::new(
        target.namespace.as_deref(),
        request.param("labelSelector"),
        request.param("fieldSelector"),
    )?;
    Ok(match &target.name {
        Some(name) => selector.named(name),
        None => selector,
    })
}

/// How a request wants the objects written.
pub(super) fn form(request: &Request, otherwise: Form) -> Form {
    if request.accepts("as=PartialObjectMetadata") {
        Form::Metadata
    } else {
        otherwise
    }
}

/// Answers a LIST.
pub(super) fn list(store: &Store, request: &Request, target: &Target) -> Answer {
    let kind = target.kind;
    let selector = selector(request, target)?;
    let mut limit = request.number("limit")?.unwrap_or(0) as usize;
    let token = request.param("continue");
    let (version, start) = if token.is_empty() {
        (version(store, request, &mut limit)?, None)
    } else {
        if !matches!(request.param("resourceVersion"), "" | "0") {
            return Err(Failure::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        let (version, start) = read(token)?;
        (version, Some(start))
    };
    let objects = store.snapshot(kind, version).map_err(|gone| {
        if start.is_some() {
            Failure::token_too_old()
        } else {
            gone
        }
    })?;
    let mut rest = objects
        .values()
        .filter(|o| start.as_ref().is_none_or(|s| o.key > *s))
        .filter(|o| selector.matches(o));
    let page: Vec<&Arc<Object>> = match limit {
        0 => rest.by_ref().collect(),
        limit => rest.by_ref().take(limit).collect(),
    };
    let left = rest.count();
    let mut metadata = json!({ "resourceVersion": version.to_string() });
    if let (Some(last), true) = (page.last(), left > 0) {
        metadata["continue"] = write(version, &last.key).into();
        if !selector.selective() {
            metadata["remainingItemCount"] = left.into();
        }
    }
    let form = form(request, if kind.builtin { Form::Item } else { Form::Full });
    Ok(typed(
        200,
        "application/json",
        envelope(kind, form, &metadata, &page),
    ))
}

/// The version a first page shows.
fn version(store: &Store, request: &Request, limit: &mut usize) -> Result<u64, Failure> {
    let current = store.version();
    let asked = request.number("resourceVersion")?;
    match (asked, request.param("resourceVersionMatch")) {
        (None, "") => Ok(current),
        (None, _) => Err(Failure::new(
            422,
            "Invalid",
            "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless \
             resourceVersion is provided",
        )),
        (Some(asked), _) if asked > current => Err(Failure::too_large(asked, current)),
        (Some(0), "Exact") => Err(Failure::new(
            422,
            "Invalid",
            "resourceVersionMatch: Forbidden: resourceVersionMatch \"Exact\" is forbidden for \
             resourceVersion \"0\"",
        )),
        (Some(asked), "Exact") => Ok(asked),
        (Some(0), _) => {
            // Served from the watch cache, which knows no pages.
            *limit = 0;
            Ok(current)
        }
        (Some(asked), "") if *limit > 0 => Ok(asked),
        (Some(_), "" | "NotOlderThan") => Ok(current),
        (Some(_), other) => Err(Failure::new(
            422,
            "Invalid",
            format!("resourceVersionMatch: Unsupported value: \"{other}\""),
        )),
    }
}

fn envelope(kind: &Kind, form: Form, metadata: &Value, page: &[&Arc<Object>]) -> Vec<u8> {
    let (list, api) = match form {
        Form::Metadata => (
            "PartialObjectMetadataList".to_owned(),
            "meta.k8s.io/v1".to_owned(),
        ),
        _ => (format!("{}List", kind.kind), kind.api_version()),
    };
    let mut out = Vec::with_capacity(page.len() * 8192 + 256);
    out.extend_from_slice(
        format!(
            "{{\"kind\":\"{list}\",\"apiVersion\":\"{api}\",\"metadata\":{metadata},\"items\":["
        )
        .as_bytes(),
    );
    for (i, object) in page.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        object.write(form, &mut out);
    }
    out.extend_from_slice(b"]}\n");
    out
}

fn write(version: u64, last: &Key) -> String {
    let token = json!({
        "v": "meta.k8s.io/v1",
        "rv": version,
        "start": format!("{}/{}\u{0}", last.0, last.1),
    });
    URL_SAFE_NO_PAD.encode(token.to_string())
}

fn read(token: &str) -> Result<(u64, Key), Failure> {
    let bad = || Failure::bad_request("continue key is not valid: invalid token");
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| bad())?;
    let token: Value = serde_json::from_slice(&bytes).map_err(|_| bad())?;
    let version = token["rv"].as_u64().ok_or_else(bad)?;
    let (namespace, name) = token["start"]
        .as_str()
        .and_then(|s| s.trim_end_matches('\u{0}').split_once('/'))
        .ok_or_else(bad)?;
    Ok((version, (namespace.to_owned(), name.to_owned())))
}
