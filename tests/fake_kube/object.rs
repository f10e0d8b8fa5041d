//! One stored object: its bytes as they go over the wire, and the few values selectors ask for.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::resources::Kind;

/// Namespace (empty for cluster-scoped kinds) and name.
pub(crate) type Key = (String, String);

/// The UID of the first owner, among the fields.
pub(super) const OWNER: &str = "owner";

/// What a field selector may name, and where it is found.
const FIELDS: &[(&str, &str)] = &[
    ("metadata.name", "/metadata/name"),
    ("metadata.namespace", "/metadata/namespace"),
    ("spec.nodeName", "/spec/nodeName"),
    ("status.phase", "/status/phase"),
    ("involvedObject.kind", "/involvedObject/kind"),
    ("involvedObject.name", "/involvedObject/name"),
    ("involvedObject.namespace", "/involvedObject/namespace"),
    ("involvedObject.uid", "/involvedObject/uid"),
    ("regarding.kind", "/regarding/kind"),
    ("regarding.name", "/regarding/name"),
    ("regarding.namespace", "/regarding/namespace"),
    ("regarding.uid", "/regarding/uid"),
    ("reason", "/reason"),
    ("type", "/type"),
    // No selector, but what finds the dependents of an object.
    (OWNER, "/metadata/ownerReferences/0/uid"),
];

/// An object at one resource version.
#[derive(Debug)]
pub(crate) struct Object {
    pub(super) kind: &'static Kind,
    pub(super) key: Key,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) fields: BTreeMap<&'static str, String>,
    /// The JSON without `kind` and `apiVersion`.
    body: Bytes,
}

/// How an object is written into an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// With `kind` and `apiVersion`.
    Full,
    /// As an item of a list of a built-in kind: without them.
    Item,
    /// As `PartialObjectMetadata`.
    Metadata,
}

#[derive(Deserialize)]
struct OnlyMetadata<'a> {
    #[serde(borrow)]
    metadata: &'a RawValue,
}

impl Object {
    pub(super) fn new(kind: &'static Kind, mut value: Value) -> Self {
        let text = |value: &Value, path: &str| {
            value
                .pointer(path)
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        let fields = FIELDS
            .iter()
            .filter_map(|(field, path)| Some((*field, text(&value, path)?)))
            .collect();
        let labels = value
            .pointer("/metadata/labels")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned())))
            .collect();
        let key = (
            text(&value, "/metadata/namespace").unwrap_or_default(),
            text(&value, "/metadata/name").unwrap_or_default(),
        );
        if let Some(map) = value.as_object_mut() {
            map.remove("kind");
            map.remove("apiVersion");
        }
        Self {
            kind,
            key,
            labels,
            fields,
            body: value.to_string().into(),
        }
    }

    /// The whole object, parsed.
    pub(super) fn value(&self) -> Value {
        let mut map: Map<String, Value> = serde_json::from_slice(&self.body).unwrap_or_default();
        map.insert("kind".into(), self.kind.kind.into());
        map.insert("apiVersion".into(), self.kind.api_version().into());
        Value::Object(map)
    }

    /// Appends the JSON in a form.
    pub(super) fn write(&self, form: Form, out: &mut Vec<u8>) {
        let head =
            |kind: &str, api: &str| format!("{{\"kind\":\"{kind}\",\"apiVersion\":\"{api}\",");
        match form {
            Form::Item => out.extend_from_slice(&self.body),
            Form::Full => {
                out.extend_from_slice(head(self.kind.kind, &self.kind.api_version()).as_bytes());
                out.extend_from_slice(self.body.get(1..).unwrap_or_default());
            }
            Form::Metadata => {
                let only: Option<OnlyMetadata<'_>> = serde_json::from_slice(&self.body).ok();
                let metadata = only.map_or("{}", |o| o.metadata.get());
                out.extend_from_slice(head("PartialObjectMetadata", "meta.k8s.io/v1").as_bytes());
                out.extend_from_slice(format!("\"metadata\":{metadata}}}").as_bytes());
            }
        }
    }

    /// The same content at another resource version: what a deletion carries.
    pub(super) fn at(&self, version: u64) -> Self {
        let mut value = self.value();
        value["metadata"]["resourceVersion"] = version.to_string().into();
        Self::new(self.kind, value)
    }
}
