//! A request, taken apart: what it asks of which resource.

use bytes::Bytes;
use http::{HeaderMap, Method, request::Parts};
use serde_json::Value;

use super::failure::Failure;
use super::object::Key;
use super::resources::{self, Kind};

/// One request as the server saw it.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// `GET`, `PATCH` and so on.
    pub(crate) method: String,
    /// The path, not decoded.
    pub(crate) path: String,
    /// The query, decoded, in its order.
    pub(crate) query: Vec<(String, String)>,
    /// The content type, empty without one.
    pub(crate) content_type: String,
    /// The body where it is JSON.
    pub(crate) body: Option<Value>,
    /// Whether `dryRun` was asked for.
    pub(crate) dry_run: bool,
    /// The user agent, empty without one.
    pub(crate) user_agent: String,
    /// Whether it opens a watch.
    pub(crate) watch: bool,
    /// The user that it acts as.
    pub(crate) user: String,
    /// The verb of the authorization check, such as `list`; empty off the resources.
    pub(crate) verb: &'static str,
    /// The plural, such as `pods`, with `/scale` and the like where a subresource is meant.
    pub(crate) resource: String,
    /// The API group of the resource.
    pub(crate) group: String,
    /// The namespace, if it names one.
    pub(crate) namespace: Option<String>,
    /// The object's name, if it names one.
    pub(crate) name: Option<String>,
}

impl Call {
    /// A query parameter, empty where absent.
    pub(crate) fn param(&self, name: &str) -> &str {
        self.query
            .iter()
            .find(|(k, _)| k == name)
            .map_or("", |(_, v)| v)
    }

    /// Whether it may change the cluster: no reads and no reviews.
    pub(crate) fn is_write(&self) -> bool {
        self.method != "GET" && !self.resource.ends_with("reviews")
    }
}

/// The resource a path is about.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) kind: &'static Kind,
    pub(super) namespace: Option<String>,
    pub(super) name: Option<String>,
    pub(super) sub: Option<String>,
    /// What follows the subresource: the far path of a proxy request.
    pub(super) rest: String,
}

impl Target {
    /// The key of the named object.
    pub(super) fn key(&self) -> Key {
        (
            self.namespace.clone().unwrap_or_default(),
            self.name.clone().unwrap_or_default(),
        )
    }

    /// Reads `/api/v1/…` and `/apis/{group}/{version}/…`; `None` where no table entry fits.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let mut parts = path.trim_start_matches('/').split('/');
        let (group, version) = match parts.next()? {
            "api" => ("", parts.next()?),
            "apis" => (parts.next()?, parts.next()?),
            _ => return None,
        };
        let mut parts: Vec<&str> = parts.collect();
        let mut namespace = None;
        if parts.len() >= 3
            && parts[0] == "namespaces"
            && !["status", "finalize"].contains(&parts[2])
        {
            namespace = Some(decode(parts[1]));
            parts.drain(..2);
        }
        let some = |i: usize| parts.get(i).filter(|p| !p.is_empty()).map(|p| decode(p));
        let kind = resources::at(group, version, parts.first()?)?;
        if namespace.is_some() && !kind.namespaced {
            return None;
        }
        let rest = match parts.get(3..) {
            Some(rest) if !rest.is_empty() => format!("/{}", rest.join("/")),
            _ => String::new(),
        };
        Some(Self {
            kind,
            namespace,
            name: some(1),
            sub: some(2),
            rest,
        })
    }

    /// The plural with the subresource.
    pub(super) fn resource(&self) -> String {
        match &self.sub {
            Some(sub) => format!("{}/{sub}", self.kind.plural),
            None => self.kind.plural.to_owned(),
        }
    }

    fn verb(&self, method: &Method, watch: bool) -> &'static str {
        match (method.as_str(), &self.name) {
            ("GET" | "HEAD", None) if watch => "watch",
            ("GET" | "HEAD", None) => "list",
            ("GET" | "HEAD", Some(_)) if watch && self.sub.is_none() => "watch",
            ("GET" | "HEAD", Some(_)) => "get",
            ("POST", _) => "create",
            ("PUT", _) => "update",
            ("PATCH", _) => "patch",
            ("DELETE", None) => "deletecollection",
            ("DELETE", Some(_)) => "delete",
            _ => "",
        }
    }
}

/// All of a request.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) call: Call,
    pub(super) target: Option<Target>,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// The query, not decoded.
    pub(super) raw_query: String,
}

impl Request {
    pub(super) fn new(parts: &Parts, body: Bytes) -> Self {
        let header = |name| {
            parts
                .headers
                .get(name)
                .and_then(|v| v.to_str().ok())
                .unwrap_or_default()
                .to_owned()
        };
        let path = parts.uri.path().to_owned();
        let raw_query = parts.uri.query().unwrap_or_default().to_owned();
        let query: Vec<_> = raw_query
            .split('&')
            .filter(|p| !p.is_empty())
            .map(|p| p.split_once('=').unwrap_or((p, "")))
            .map(|(k, v)| (decode(&k.replace('+', " ")), decode(&v.replace('+', " "))))
            .collect();
        let target = Target::parse(&path);
        let on = |name: &str| {
            query
                .iter()
                .any(|(k, v)| k == name && (v == "true" || v == "1"))
        };
        let watch = on("watch") && target.as_ref().is_some_and(|t| t.sub.is_none());
        let call = Call {
            method: parts.method.to_string(),
            content_type: header("content-type"),
            body: serde_json::from_slice(&body).ok(),
            dry_run: query.iter().any(|(k, v)| k == "dryRun" && v == "All"),
            user_agent: header("user-agent"),
            watch,
            user: header("impersonate-user"),
            verb: target.as_ref().map_or("", |t| t.verb(&parts.method, watch)),
            resource: target.as_ref().map(Target::resource).unwrap_or_default(),
            group: target.as_ref().map_or("", |t| t.kind.group).to_owned(),
            namespace: target.as_ref().and_then(|t| t.namespace.clone()),
            name: target.as_ref().and_then(|t| t.name.clone()),
            path,
            query,
        };
        Self {
            call,
            target,
            headers: parts.headers.clone(),
            body,
            raw_query,
        }
    }

    /// A query parameter, empty where absent.
    pub(super) fn param(&self, name: &str) -> &str {
        self.call.param(name)
    }

    /// Whether a query parameter is switched on.
    pub(super) fn on(&self, name: &str) -> bool {
        matches!(self.param(name), "true" | "1")
    }

    /// A numeric query parameter.
    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, Failure> {
        match self.param(name) {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| {
                Failure::bad_request(format!(
                    "Invalid value: \"{text}\": strconv.ParseUint: parsing \"{text}\": invalid \
                     syntax ({name})"
                ))
            }),
        }
    }

    /// The body, which has to be JSON.
    pub(super) fn json(&self) -> Result<Value, Failure> {
        serde_json::from_slice(&self.body).map_err(|e| {
            Failure::bad_request(format!(
                "the object provided is unrecognized (must be of type Object): {e}"
            ))
        })
    }

    /// Whether the query asks for a dry run; any value but `All` is refused.
    pub(super) fn dry(&self) -> Result<bool, Failure> {
        match self.param("dryRun") {
            "" => Ok(false),
            "All" => Ok(true),
            other => Err(Failure::new(
                422,
                "Invalid",
                format!(
                    " \"\" is invalid: dryRun: Unsupported value: \"{other}\": supported values: \"All\""
                ),
            )),
        }
    }

    /// Who is recorded as the manager of the fields written.
    pub(super) fn manager(&self) -> String {
        match self.param("fieldManager") {
            "" => {
                let agent = self.call.user_agent.split('/').next().unwrap_or_default();
                if agent.is_empty() { "unknown" } else { agent }.to_owned()
            }
            named => named.to_owned(),
        }
    }

    /// Whether the client takes an answer of this type argument, as in `;as=`.
    pub(super) fn accepts(&self, argument: &str) -> bool {
        self.headers
            .get_all(http::header::ACCEPT)
            .iter()
            .filter_map(|v| v.to_str().ok())
            .any(|v| v.contains(argument))
    }
}

/// Undoes percent encoding.
pub(super) fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut i) = (Vec::with_capacity(bytes.len()), 0);
    while i < bytes.len() {
        let hex = (bytes[i] == b'%')
            .then(|| text.get(i + 1..i + 3))
            .flatten()
            .and_then(|h| u8::from_str_radix(h, 16).ok());
        out.push(hex.unwrap_or(bytes[i]));
        i += if hex.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}
