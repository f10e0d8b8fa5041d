//! Calls to the API of one cluster.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use http::{Method, Request, header};
use http_body_util::{BodyExt as _, Limited};
use kube::Client;
use kube::client::Body;
use kube::core::Status;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::access::Access;
use super::credentials::Credentials;
use super::fault::Fault;
use super::lines;
use crate::fleet::cluster::Need;
use crate::fleet::cluster::call::Write;
use crate::fleet::cluster::plan::MANAGER;

/// How long it may take to say that it is ready.
const STARTING: Duration = Duration::from_secs(3);
/// The longest that a call may take; watches and followed logs aside.
const LIMIT: Duration = Duration::from_secs(15);
/// The largest answer that is read.
const LARGEST: usize = 256 << 20;
/// The largest page of a pod.
const LARGEST_PAGE: usize = 8 << 20;
/// The largest event of a watch.
const LARGEST_EVENT: usize = 32 << 20;

/// The API of one cluster. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    inner: Arc<Inner>,
}

struct Inner {
    name: Arc<str>,
    namespace: String,
    inside: bool,
    credentials: Arc<Credentials>,
}

/// Something that happened, as a watch tells it.
#[derive(Debug, Deserialize)]
pub struct Happened {
    /// `ADDED`, `MODIFIED`, `DELETED`, `BOOKMARK` or `ERROR`.
    #[serde(rename = "type")]
    pub what: String,
    /// To what, as it was sent; for an error the status.
    pub object: Box<RawValue>,
}

/// A page of a list.
#[derive(Debug, Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
pub struct Page<T> {
    /// Where it stands, and how it goes on.
    #[serde(default)]
    pub metadata: PageMeta,
    /// What is on it.
    #[serde(default = "Vec::new")]
    pub items: Vec<T>,
}

/// Where a page stands.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PageMeta {
    /// The version that a watch goes on from.
    #[serde(default)]
    pub resource_version: String,
    /// The next page; empty after the last.
    #[serde(default, rename = "continue")]
    pub next: String,
}

impl Api {
    /// Reaches a cluster: the files are read, plugins run, and may ask whoever sits there; nothing is asked of it yet.
    ///
    /// # Errors
    /// In plain words.
    pub async fn connect(mut access: Access, name: Option<String>) -> Result<Self, String> {
        let context = access.settle()?;
        let inside = access.is_inside();
        let (credentials, namespace) = Credentials::read(access).await?;
        Ok(Self {
            inner: Arc::new(Inner {
                name: name.unwrap_or(context).into(),
                namespace,
                inside,
                credentials: Arc::new(credentials),
            }),
        })
    }

    /// Its name: the context, where nobody says otherwise.
    pub fn name(&self) -> &Arc<str> {
        &self.inner.name
    }

    /// The namespace of its context.
    pub fn namespace(&self) -> &str {
        &self.inner.namespace
    }

    /// Whether this program runs in a pod of this cluster.
    pub fn is_inside(&self) -> bool {
        self.inner.inside
    }

    /// What a call is made with.
    async fn client(&self) -> Result<Client, Fault> {
        self.inner.credentials.client().await
    }

    /// Reads the credentials again: somebody may have logged in anew. Whoever asks while that is under way waits for it.
    pub async fn renew(&self) {
        self.inner.credentials.renew().await;
    }

    /// What is at `path`.
    ///
    /// # Errors
    /// Where there is nothing, or nobody answers.
    pub async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        accept: Option<&'static str>,
    ) -> Result<T, Fault> {
        let mut request = Request::get(path);
        if let Some(accept) = accept {
            request = request.header(header::ACCEPT, accept);
        }
        let bytes = self.call(build(request, Vec::new())?, LARGEST).await?;
        serde_json::from_slice(&bytes).map_err(|why| Fault::Garbled(why.to_string()))
    }

    /// The same of what is large, within as long as that.
    ///
    /// # Errors
    /// Where there is nothing, or nobody answers.
    pub async fn get_within<T: DeserializeOwned>(
        &self,
        path: &str,
        limit: Duration,
    ) -> Result<T, Fault> {
        let request = build(Request::get(path), Vec::new())?;
        let bytes = self.call_within(request, LARGEST, limit).await?;
        serde_json::from_slice(&bytes).map_err(|why| Fault::Garbled(why.to_string()))
    }

    /// Sends an object: `POST`, `PUT` or `DELETE`.
    ///
    /// # Errors
    /// What it said instead.
    pub async fn send(&self, method: Method, path: &str, body: &Value) -> Result<Value, Fault> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_TYPE, "application/json");
        let bytes = self
            .call(build(request, body.to_string().into_bytes())?, LARGEST)
            .await?;
        serde_json::from_slice(&bytes).map_err(|why| Fault::Garbled(why.to_string()))
    }

    /// Makes a write, or with `dry` only has it checked.
    ///
    /// # Errors
    /// What it said instead.
    pub async fn write(&self, write: &Write, dry: bool) -> Result<Value, Fault> {
        let dry = if dry { "&dryRun=All" } else { "" };
        let request = Request::builder()
            .method(write.method)
            .uri(format!("{}?fieldManager={MANAGER}{dry}", write.path))
            .header(header::CONTENT_TYPE, write.content_type);
        let request = build(request, write.body.to_string().into_bytes())?;
        let bytes = match self.call(request, LARGEST).await {
            // The guard of a JSON patch failed; what is not valid says which field, as any other write does.
            Err(Fault::Unfit(why))
                if write.content_type.contains("json-patch") && !why.contains(" is invalid") =>
            {
                return Err(Fault::Changed(why));
            }
            bytes => bytes?,
        };
        serde_json::from_slice(&bytes).map_err(|why| Fault::Garbled(why.to_string()))
    }

    /// A page as text, such as a pod's metrics through the API's own proxy.
    ///
    /// # Errors
    /// Where there is none within `limit`.
    pub async fn text(&self, path: &str, limit: Duration) -> Result<String, Fault> {
        let request = build(Request::get(path), Vec::new())?;
        let bytes = self.call_within(request, LARGEST_PAGE, limit).await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Whether the API server says that it is not ready. What it forbids meanwhile it may allow in a moment: it has not read
    /// its roles yet. Everybody may ask that (`--authorization-always-allow-paths`).
    pub async fn is_starting(&self) -> bool {
        let said = self.text("/readyz", STARTING).await;
        matches!(said, Err(Fault::Said(500.., _) | Fault::Away(_)))
    }

    /// Passes a call on to a pod or a Service through the API's own proxy, and gives back what it said.
    ///
    /// # Errors
    /// Where it said something else than success within `limit`.
    pub async fn pass(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
        limit: Duration,
    ) -> Result<Vec<u8>, Fault> {
        let request = Request::builder().method(method).uri(path);
        let request = headers.iter().fold(request, |it, (k, v)| it.header(*k, *v));
        let request = match body {
            Some(body) => {
                let request = request.header(header::CONTENT_TYPE, "application/json");
                build(request, body.to_string().into_bytes())?
            }
            None => build(request, Vec::new())?,
        };
        let bytes = self.call_within(request, LARGEST_PAGE, limit).await?;
        Ok(bytes.to_vec())
    }

    /// Lines as they come, such as a pod's log; what is longer than `most` bytes is cut.
    ///
    /// # Errors
    /// Where there are none.
    pub async fn lines(
        &self,
        path: &str,
        most: usize,
    ) -> Result<impl Stream<Item = std::io::Result<String>> + Unpin + use<>, Fault> {
        let request = Request::get(path)
            // What is compressed event by event is not understood by every library.
            .header(header::ACCEPT_ENCODING, "identity")
            .body(Vec::new())
            .map_err(|why| Fault::Garbled(why.to_string()))?;
        let client = self.client().await?;
        match timeout(LIMIT, client.request_stream(request)).await {
            Ok(Ok(stream)) => Ok(lines::split(Box::pin(stream), most)),
            Ok(Err(why)) => Err(self.inner.credentials.stranger(Fault::from_kube(&why))),
            Err(_) => Err(slow(LIMIT)),
        }
    }

    /// What happens from `path` on, as it happens.
    ///
    /// # Errors
    /// Where it does not begin.
    pub async fn watch(
        &self,
        path: &str,
    ) -> Result<impl Stream<Item = Result<Happened, Fault>> + use<>, Fault> {
        let lines = self.lines(path, LARGEST_EVENT).await?;
        Ok(lines.map(|line| {
            let line = line.map_err(|why| Fault::Away(why.to_string()))?;
            serde_json::from_str(&line).map_err(|why| Fault::Garbled(why.to_string()))
        }))
    }

    /// Who this is to the cluster (`SelfSubjectReview`).
    ///
    /// # Errors
    /// Where it does not say.
    pub async fn who(&self) -> Result<String, Fault> {
        let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
        let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
        let answer = self.send(Method::POST, path, &body).await?;
        let name = answer["status"]["userInfo"]["username"].as_str();
        name.map(ToOwned::to_owned)
            .ok_or_else(|| Fault::Garbled("no user name in the review".into()))
    }

    /// Whether this user may do something, and why not (`SelfSubjectAccessReview`).
    ///
    /// # Errors
    /// Where it does not say.
    pub async fn may(&self, need: &Need) -> Result<(bool, String), Fault> {
        let body = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {
                "namespace": need.namespace,
                "verb": need.verb,
                "group": need.kind.group(),
                "resource": need.kind.plural(),
                "subresource": need.sub.unwrap_or_default(),
                "name": need.name,
            }},
        });
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let answer = self.send(Method::POST, path, &body).await?;
        let status = &answer["status"];
        let allowed = status["allowed"].as_bool();
        let allowed = allowed.ok_or_else(|| Fault::Garbled("no answer in the review".into()))?;
        let why = match status["reason"].as_str() {
            Some(reason) if !reason.is_empty() => format!(" ({reason})"),
            _ => String::new(),
        };
        Ok((allowed, why))
    }

    async fn call(&self, request: Request<Body>, largest: usize) -> Result<bytes::Bytes, Fault> {
        self.call_within(request, largest, LIMIT).await
    }

    async fn call_within(
        &self,
        request: Request<Body>,
        largest: usize,
        limit: Duration,
    ) -> Result<bytes::Bytes, Fault> {
        let client = self.client().await?;
        let answer = async {
            let response = client
                .send(request)
                .await
                .map_err(|why| Fault::from_kube(&why))?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, largest).collect().await;
            let bytes = body.map_err(|why| Fault::Away(why.to_string()))?.to_bytes();
            if parts.status.is_success() {
                return Ok(bytes);
            }
            let code = parts.status.as_u16();
            let fault = Fault::of(&status(code, &bytes));
            let after = parts.headers.get(header::RETRY_AFTER);
            let after = after.and_then(|it| it.to_str().ok()?.parse().ok());
            Err(match (fault, after) {
                (Fault::Busy(None), Some(seconds)) => {
                    Fault::Busy(Some(Duration::from_secs(seconds)))
                }
                (fault, _) => fault,
            })
        };
        let answer = timeout(limit, answer).await.map_err(|_| slow(limit))?;
        answer.map_err(|fault| self.inner.credentials.stranger(fault))
    }
}

/// What went wrong: the API's own words, or those of whoever is behind it.
fn status(code: u16, bytes: &[u8]) -> Status {
    let said: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let mut status = if said["kind"] == "Status" {
        serde_json::from_value(said).unwrap_or_default()
    } else {
        let message = said.pointer("/error/message").or(said.get("detail"));
        let raw = || String::from_utf8_lossy(&bytes[..bytes.len().min(200)]);
        Status {
            message: message.and_then(Value::as_str).map_or_else(
                || raw().trim().to_owned(),
                |it| it.chars().take(200).collect(),
            ),
            ..Status::default()
        }
    };
    status.code = code;
    status
}

fn slow(limit: Duration) -> Fault {
    Fault::Away(format!("no answer within {} s", limit.as_secs()))
}

fn build(request: http::request::Builder, body: Vec<u8>) -> Result<Request<Body>, Fault> {
    request
        .body(Body::from(body))
        .map_err(|why| Fault::Garbled(why.to_string()))
}

impl fmt::Debug for Api {
    /// Without the credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api")
            .field("name", &self.inner.name)
            .finish_non_exhaustive()
    }
}
