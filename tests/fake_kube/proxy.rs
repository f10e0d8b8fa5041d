//! The API server's way through to pods and services.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::{Uri, header};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use super::activator;
use super::failure::{Answer, Failure, typed};
use super::inner::Inner;
use super::request::{Request, Target};

/// Answers for a pod: from method, path and query to status, content type and body.
pub(crate) type Handler = Arc<dyn Fn(&str, &str, &str) -> (u16, String, Vec<u8>) + Send + Sync>;

/// Who answers for a pod or a service.
#[derive(Clone)]
pub(super) enum Answerer {
    Handler(Handler),
    /// A URL without a path.
    Upstream(String),
}

/// The answerers, by `namespace/name` or `namespace/name:port`.
pub(super) type Far = HashMap<String, Answerer>;

/// Takes `name`, `name:port`, `http:name:port` and `https:name:port` apart.
fn parts(name: &str) -> (&str, &str) {
    match name.split(':').collect::<Vec<_>>()[..] {
        [_scheme, name, port] => (name, port),
        [name, port] => (name, port),
        _ => (name, ""),
    }
}

/// Answers a request to a pod or a service behind the server.
pub(super) async fn proxy(inner: &Arc<Inner>, request: &Request, target: &Target) -> Answer {
    let (name, port) = parts(target.name.as_deref().unwrap_or_default());
    let namespace = target.namespace.clone().unwrap_or_default();
    let known = inner
        .store()
        .get(target.kind, &(namespace.clone(), name.to_owned()));
    let object = known
        .ok_or_else(|| Failure::not_found(target.kind, name))?
        .value();
    let is_service = target.kind.plural == "services";
    let place = format!("{namespace}/{name}");
    let far = {
        let all = inner.far();
        all.get(&format!("{place}:{port}"))
            .or_else(|| all.get(&place))
            .cloned()
    };
    let path = if target.rest.is_empty() {
        "/"
    } else {
        &target.rest
    };
    match far {
        Some(Answerer::Handler(handler)) => {
            let (status, media, body) = handler(&request.call.method, path, &request.raw_query);
            Ok(typed(status, &media, body))
        }
        Some(Answerer::Upstream(url)) => forward(&url, path, request).await,
        None if is_service && activator::is_its(&namespace, name) => {
            activator::hold(inner, request).await
        }
        None if is_service => Err(Failure::unavailable(format!(
            "no endpoints available for service \"{name}\""
        ))),
        None => Err(unreachable(&object, port)),
    }
}

fn unreachable(pod: &Value, port: &str) -> Failure {
    let ip = pod["status"]["podIP"].as_str().unwrap_or("");
    let port = if port.is_empty() { "80" } else { port };
    Failure::unavailable(format!(
        "error trying to reach service: dial tcp {ip}:{port}: connect: connection refused"
    ))
}

async fn forward(url: &str, path: &str, request: &Request) -> Answer {
    let mark = if request.raw_query.is_empty() {
        ""
    } else {
        "?"
    };
    let uri: Uri = format!(
        "{}{path}{mark}{}",
        url.trim_end_matches('/'),
        request.raw_query
    )
    .parse()
    .map_err(|e| Failure::bad_request(format!("proxy: {e}")))?;
    let mut onward = http::Request::builder()
        .method(request.call.method.as_str())
        .uri(uri);
    for name in [header::CONTENT_TYPE, header::ACCEPT] {
        if let Some(value) = request.headers.get(&name) {
            onward = onward.header(name, value);
        }
    }
    let failed = |e: &dyn std::fmt::Display| {
        Failure::unavailable(format!("error trying to reach service: {e}"))
    };
    let onward = onward
        .body(Full::new(request.body.clone()))
        .map_err(|e| failed(&e))?;
    let client: Client<_, Full<bytes::Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let answer = client.request(onward).await.map_err(|e| failed(&e))?;
    let (mut parts, body) = answer.into_parts();
    parts.headers.remove(header::TRANSFER_ENCODING);
    Ok(Response::from_parts(parts, Body::new(body)))
}
