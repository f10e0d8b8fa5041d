//! What each path answers.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::BodyExt as _;
use serde_json::json;
use tokio::time::Instant;

use super::answer::live::Reply;
use super::client::envelope::{Fault, json_response, one_line};
use super::client::headers;
use super::client::names::nearest;
use super::client::peek::peek;
use super::record::account::Account;
use super::upstream::proxy::Ask;
use super::upstream::slot::Path;
use super::wait::place::Search;
use super::wait::room::Group;
use super::{Gate, LARGEST_BODY};
use crate::fleet::Fleet;

/// A body over the limit is read on this far and thrown away, so that its connection survives.
const THROWN_AWAY: usize = 4 * LARGEST_BODY;
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
    match request.uri().path() {
        "/v1/chat/completions" => {
            only(method, &Method::POST, "POST")?;
            complete(gate, Path::Chat, request, arrived, id).await
        }
        "/v1/completions" => {
            only(method, &Method::POST, "POST")?;
            complete(gate, Path::Completions, request, arrived, id).await
        }
        "/v1/models" => {
            only(method, &Method::GET, "GET")?;
            let fleet = gate.picture();
            let models: Vec<_> = fleet
                .models
                .iter()
                .map(|model| entry(gate, model.id.as_str()))
                .collect();
            let list = json!({"object": "list", "data": models}).to_string();
            Ok(json_response(StatusCode::OK, list.into()))
        }
        "/healthz" => {
            only(method, &Method::GET, "GET")?;
            Ok(plain(StatusCode::OK, "ok\n"))
        }
        "/readyz" => {
            only(method, &Method::GET, "GET")?;
            Ok(if gate.shutdown.is_cancelled() {
                plain(StatusCode::SERVICE_UNAVAILABLE, "shutting down\n")
            } else {
                plain(StatusCode::OK, "ready\n")
            })
        }
        path => match path.strip_prefix("/v1/models/") {
            Some(name) if !name.is_empty() => {
                only(method, &Method::GET, "GET")?;
                let name = unescape(name);
                let fleet = gate.picture();
                if fleet.models.iter().any(|model| model.id.as_str() == name) {
                    let body = entry(gate, &name).to_string();
                    Ok(json_response(StatusCode::OK, body.into()))
                } else {
                    Err(unknown(&name, &fleet))
                }
            }
            Some(_) | None => Err(Fault::new(
                StatusCode::NOT_FOUND,
                "not_found",
                format!("{method} {} is nothing here", one_line(path, LONGEST_NAME)),
            )),
        },
    }
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

fn unknown(name: &str, fleet: &Fleet) -> Fault {
    let near = nearest(name, fleet.models.iter().map(|model| model.id.as_str()));
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

fn invalid(message: String, param: Option<&'static str>) -> Fault {
    Fault::new(StatusCode::BAD_REQUEST, "invalid_request_error", message).about(param)
}

async fn complete<B>(
    gate: &Arc<Gate>,
    path: Path,
    request: Request<B>,
    arrived: Instant,
    id: &HeaderValue,
) -> Result<Response<Reply>, Fault>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let (parts, body) = request.into_parts();
    let mut headers = parts.headers;
    let body = read(body, &headers).await?;
    let peek = peek(&body).map_err(|wrong| invalid(wrong.message, wrong.param))?;
    let fleet = gate.picture();
    let desk = gate
        .desk(&peek.model, &fleet)
        .ok_or_else(|| unknown(&peek.model, &fleet))?;
    drop(fleet);
    let group = Group {
        asked: asked(&headers, &desk)?,
        self_only: self_only(&headers)?,
    };
    headers::outward(&mut headers, id);
    let name = id.to_str().unwrap_or_default().to_owned();
    let account = Account::open(gate, arrived, name, desk.model.clone(), peek.stream);
    let ask = Ask {
        path,
        headers,
        body,
        peek,
    };
    Ok(gate.forward(&desk, ask, Search::new(group), account).await)
}

/// The seat that the client asks for by name.
fn asked(headers: &HeaderMap, desk: &super::choose::desk::Desk) -> Result<Option<usize>, Fault> {
    let Some(value) = headers.get(headers::BACKEND) else {
        return Ok(None);
    };
    let name = String::from_utf8_lossy(value.as_bytes());
    let seat = desk.seats.iter().position(|seat| seat.id.as_str() == name);
    if seat.is_some() {
        return Ok(seat);
    }
    let known: Vec<&str> = desk.seats.iter().map(|seat| seat.id.as_str()).collect();
    Err(invalid(
        format!(
            "x-fleet-backend: `{}` is no backend of `{}`; it has {}",
            one_line(&name, LONGEST_NAME),
            desk.model,
            known.join(", ")
        ),
        None,
    ))
}

fn self_only(headers: &HeaderMap) -> Result<bool, Fault> {
    match headers.get(headers::DATA_PATH).map(HeaderValue::as_bytes) {
        None | Some(b"any") => Ok(false),
        Some(b"self") => Ok(true),
        // A client that means to be safe must not be misunderstood.
        Some(_) => Err(invalid(
            "x-fleet-data-path must be `self` or `any`".to_owned(),
            None,
        )),
    }
}

/// The whole body, bounded.
async fn read<B>(mut body: B, headers: &HeaderMap) -> Result<Bytes, Fault>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let too_large = || {
        Fault::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "request_too_large",
            format!("the body is larger than {} MiB", LARGEST_BODY >> 20),
        )
    };
    let said = headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if said.is_some_and(|length| length > THROWN_AWAY) {
        return Err(too_large());
    }
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| invalid(format!("the body broke off: {error}"), None))?;
        let Ok(chunk) = frame.into_data() else {
            continue;
        };
        length += chunk.len();
        if length > THROWN_AWAY {
            break;
        }
        if length > LARGEST_BODY {
            rest = BytesMut::new();
            first = Bytes::new();
        } else if first.is_empty() && rest.is_empty() {
            // Most bodies come in one piece, and stay it.
            first = chunk;
        } else {
            if rest.is_empty() {
                rest.reserve(said.unwrap_or(0).clamp(length, LARGEST_BODY));
                rest.extend_from_slice(&std::mem::take(&mut first));
            }
            rest.extend_from_slice(&chunk);
        }
    }
    if length > LARGEST_BODY {
        return Err(too_large());
    }
    Ok(if rest.is_empty() {
        first
    } else {
        rest.freeze()
    })
}
