//! What each path answers.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;
use serde_json::json;
use tokio::time::Instant;

use super::Gate;
use super::answer::live::Reply;
use super::client::body::read;
use super::client::envelope::{Fault, json_response, one_line};
use super::client::headers;
use super::client::keys::Pass;
use super::client::names::nearest;
use super::client::wishes::Wishes;
use super::plan::Plan;
use super::record::account::{Account, Arrival};
use super::record::sampler;
use super::upstream::attempt::Ask;
use super::wait::heartbeat;
use super::wait::place::Search;
use crate::fleet::Fleet;
use crate::fleet::request::Operation;

/// The longest model name that is repeated in an error.
const LONGEST_NAME: usize = 128;

/// Answers one request.
pub(super) async fn answer<B>(gate: Arc<Gate>, request: Request<B>) -> Response<Reply>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let arrived = Instant::now();
    let id = headers::request_id(request.headers());
    let answered = dispatch(&gate, request, arrived, &id).await;
    let mut response = answered.unwrap_or_else(|fault| fault.response());
    response.headers_mut().insert(headers::REQUEST_ID, id);
    response
}

/// The operation that a path stands for.
fn operation(path: &str) -> Option<Operation> {
    let rest = path.strip_prefix("/v1/")?;
    Operation::ALL.into_iter().find(|it| it.path() == rest)
}

async fn dispatch<B>(
    gate: &Arc<Gate>,
    request: Request<B>,
    arrived: Instant,
    id: &HeaderValue,
) -> Result<Response<Reply>, Fault>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let method = request.method();
    let path = request.uri().path();
    if let Some(operation) = operation(path) {
        only(method, &Method::POST, "POST")?;
        let plan = gate.plan();
        let pass = plan.keys.admit(request.headers())?;
        return complete(gate, operation, request, arrived, id, (plan, pass)).await;
    }
    match path {
        "/healthz" => {
            readable(method)?;
            Ok(plain(StatusCode::OK, "ok\n"))
        }
        "/readyz" => {
            readable(method)?;
            Ok(if gate.shutdown.is_cancelled() {
                plain(StatusCode::SERVICE_UNAVAILABLE, "shutting down\n")
            } else {
                plain(StatusCode::OK, "ready\n")
            })
        }
        "/metrics" => {
            readable(method)?;
            // What is spent is nobody's business: a key opens this page too, where there are keys.
            gate.plan().keys.admit(request.headers())?;
            Ok(metrics(gate))
        }
        "/v1/models" => {
            readable(method)?;
            let pass = gate.plan().keys.admit(request.headers())?;
            let fleet = gate.picture();
            let models: Vec<_> = fleet
                .models
                .iter()
                .map(|model| model.id.as_str())
                .filter(|name| pass.may_ask(name))
                .map(|name| entry(gate, name))
                .collect();
            let list = json!({"object": "list", "data": models}).to_string();
            Ok(json_response(StatusCode::OK, list.into()))
        }
        _ => match path.strip_prefix("/v1/models/") {
            Some(name) if !name.is_empty() => {
                readable(method)?;
                let pass = gate.plan().keys.admit(request.headers())?;
                let name = unescape(name);
                let fleet = gate.picture();
                if known(&name, &fleet, &pass) {
                    let body = entry(gate, &name).to_string();
                    Ok(json_response(StatusCode::OK, body.into()))
                } else {
                    Err(unknown(&name, &fleet, &pass))
                }
            }
            Some(_) | None => Err(nothing_here(method, path)),
        },
    }
}

fn metrics(gate: &Gate) -> Response<Reply> {
    let page = gate.metrics.render(&sampler::gauges(gate), &gate.picture());
    let mut response = Response::new(Reply::short(page.into()));
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"),
    );
    response
}

fn nothing_here(method: &Method, path: &str) -> Fault {
    let hint = if path.starts_with("/v1/responses/") {
        "; responses are kept by the backend that gave them, and the gateway does not know which: send the whole conversation with each request"
    } else {
        ""
    };
    let path = one_line(path, LONGEST_NAME);
    Fault::new(
        StatusCode::NOT_FOUND,
        "not_found",
        format!("{method} {path} is nothing here{hint}"),
    )
}

/// Load balancers and probes ask with HEAD too.
fn readable(method: &Method) -> Result<(), Fault> {
    if method == Method::HEAD {
        return Ok(());
    }
    only(method, &Method::GET, "GET")
}

fn only(method: &Method, wanted: &Method, name: &'static str) -> Result<(), Fault> {
    if method == wanted {
        return Ok(());
    }
    let mut fault = Fault::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        format!("this path answers {name} only"),
    );
    fault.allow = Some(name);
    Err(fault)
}

fn plain(status: StatusCode, text: &'static str) -> Response<Reply> {
    let mut response = Response::new(Reply::short(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

fn entry(gate: &Gate, name: &str) -> serde_json::Value {
    json!({
        "id": name,
        "object": "model",
        "created": gate.started.timestamp(),
        "owned_by": "fleetctl",
    })
}

/// `%2F` and the like in a path as the bytes they stand for; what is no escape stays.
fn unescape(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, after @ ..] = rest {
        let escaped = (*first == b'%')
            .then(|| after.get(..2))
            .flatten()
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() {
            &after[2..]
        } else {
            after
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn known(name: &str, fleet: &Fleet, pass: &Pass) -> bool {
    pass.may_ask(name) && fleet.models.iter().any(|model| model.id.as_str() == name)
}

/// Models that a key may not ask for are not told of.
fn unknown(name: &str, fleet: &Fleet, pass: &Pass) -> Fault {
    let names = fleet.models.iter().map(|model| model.id.as_str());
    let near = nearest(name, names.filter(|name| pass.may_ask(name)));
    let shown = one_line(name, LONGEST_NAME);
    let message = if near.is_empty() {
        format!("the model `{shown}` does not exist; GET /v1/models lists those that do")
    } else {
        let near: Vec<String> = near.iter().map(|name| format!("`{name}`")).collect();
        format!(
            "the model `{shown}` does not exist; did you mean {}?",
            near.join(", ")
        )
    };
    Fault::new(StatusCode::NOT_FOUND, "model_not_found", message).about(Some("model"))
}

async fn complete<B>(
    gate: &Arc<Gate>,
    operation: Operation,
    request: Request<B>,
    arrived: Instant,
    id: &HeaderValue,
    (plan, pass): (Arc<Plan>, Pass),
) -> Result<Response<Reply>, Fault>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    // Records are never lost: where the fleet does not keep up, requests slow down.
    gate.outbox.has_room().await;
    let (parts, body) = request.into_parts();
    let body = read(body, &parts.headers, &plan.settings).await?;
    let peek = super::client::peek::peek(operation, &body)
        .map_err(|wrong| Fault::invalid(wrong.message, wrong.param))?;
    let fleet = gate.picture();
    let desk = gate
        .desk(&peek.model, &fleet)
        .filter(|_| pass.may_ask(&peek.model))
        .ok_or_else(|| unknown(&peek.model, &fleet, &pass))?;
    let wishes = Wishes::read(&parts.headers, &desk, &fleet, &peek, &pass, &plan.settings)?;
    drop((fleet, plan));
    let headers = headers::outward(&parts.headers, id);
    let arrival = Arrival {
        at: arrived,
        id: id.to_str().unwrap_or_default().to_owned(),
        model: desk.model.clone(),
        operation,
        key: pass.name,
        streamed: peek.stream,
    };
    let account = Account::open(gate, arrival);
    let ask = Ask {
        operation,
        query: parts.uri.query().map(str::to_owned),
        headers,
        body,
        peek,
    };
    let mut search = Search::new(wishes.group);
    let Some(every) = wishes.heartbeat else {
        // Boxed: what reading the request took is no longer needed while it waits.
        return Ok(Box::pin(Arc::clone(gate).forward(desk, ask, search, account)).await);
    };
    let held = search.tells_held();
    let answering = Box::pin(Arc::clone(gate).forward(desk, ask, search, account));
    let beating = heartbeat::with_comments(answering, every, || held.load(Ordering::Relaxed));
    Ok(Box::pin(beating).await)
}
