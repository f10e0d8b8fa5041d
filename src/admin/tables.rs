//! What can be looked at once: the picture, and its parts for programs.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::access::Viewer;
use super::{Asked, Desk, SCHEMA_VERSION, answer, fault};
use crate::fleet::backend::LogLine;
use crate::fleet::{BackendId, Fleet, Usd};

/// The newest so many rows, unless asked for others.
const ROWS: usize = 100;

/// What the query of a table may say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Newest {
    /// The newest so many.
    limit: Option<usize>,
}

pub(super) async fn fleet(_: Viewer, State(desk): State<Arc<Desk>>) -> Response {
    let fleet = desk.handle.snapshots.borrow().clone();
    told("fleet", &*fleet)
}

/// One row a backend: what `fleetctl status` shows.
pub(super) async fn status(_: Viewer, State(desk): State<Arc<Desk>>) -> Response {
    let fleet = desk.handle.snapshots.borrow().clone();
    let told = status_of(&fleet);
    answer(StatusCode::OK, &told)
}

/// The state of a fleet in a few rows, for people's tables and for programs.
pub fn status_of(fleet: &Fleet) -> Value {
    // On clusters requests pass through somebody else's gateway.
    let here = !fleet.is_on_clusters();
    let backends: Vec<Value> = fleet
        .backends
        .iter()
        .map(|b| {
            json!({
                "model": b.model,
                "backend": b.id,
                "hosted": b.is_hosted(),
                "state": b.state.word(),
                "since": fleet.knows_since(b),
                "stage": b.stage().map(|it| it.stage.word()),
                "stage_percent": b.stage().and_then(|it| it.percent),
                "drained": b.drained,
                "pin": b.pin,
                "weight": b.weight,
                "share": b.live.share,
                "in_flight": here.then_some(b.live.in_flight),
                "held": here.then_some(b.live.held),
                "running": b.live.running,
                "waiting": b.live.waiting,
                "requests_per_s": b.live.requests_per_s,
                "ttft_p50_s": b.live.ttft_p50,
                "tokens_per_s": b.live.tokens_per_s,
                "dollars_per_hour": b.burn(fleet.now),
            })
        })
        .collect();
    let (burn, partial) = fleet.burn_known();
    let findings: Vec<Value> = fleet
        .findings
        .iter()
        .map(|it| {
            let word = |key: char| match key {
                '\n' => "enter".to_owned(),
                other => other.to_string(),
            };
            let keys = it.keys.iter().map(|(key, what)| (word(*key), what));
            let keys: Vec<(String, &String)> = keys.collect();
            json!({"severity": it.severity, "backend": it.backend, "what": it.what, "keys": keys})
        })
        .collect();
    json!({
        "schema_version": SCHEMA_VERSION,
        "fleet": fleet.name,
        "now": fleet.now,
        "gateway": fleet.gateway,
        "dollars_per_hour": (!partial || burn > Usd::ZERO).then_some(burn),
        "dollars_per_hour_partial": partial,
        "spent": fleet.spent(),
        "since": fleet.started,
        "findings": findings,
        "backends": backends,
    })
}

pub(super) async fn requests(
    _: Viewer,
    State(desk): State<Arc<Desk>>,
    Asked(query): Asked<Newest>,
) -> Response {
    let fleet = desk.handle.snapshots.borrow().clone();
    rows("requests", &fleet.requests, &query)
}

pub(super) async fn audit(
    _: Viewer,
    State(desk): State<Arc<Desk>>,
    Asked(query): Asked<Newest>,
) -> Response {
    let fleet = desk.handle.snapshots.borrow().clone();
    rows("audit", &fleet.audit, &query)
}

pub(super) async fn wakes(_: Viewer, State(desk): State<Arc<Desk>>) -> Response {
    let fleet = desk.handle.snapshots.borrow().clone();
    let wakes: Vec<Value> = fleet
        .backends
        .iter()
        .filter(|b| !b.wakes.is_empty())
        .map(|b| json!({"backend": b.id, "model": b.model, "wakes": b.wakes}))
        .collect();
    told("backends", &wakes)
}

pub(super) async fn ledger(_: Viewer, State(desk): State<Arc<Desk>>) -> Response {
    let fleet = desk.handle.snapshots.borrow().clone();
    let ledgers: Vec<Value> = fleet
        .backends
        .iter()
        .map(|b| json!({"backend": b.id, "model": b.model, "ledger": b.ledger}))
        .collect();
    told("backends", &ledgers)
}

/// What the query of a log may say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Follow {
    #[serde(default)]
    follow: bool,
}

/// A backend's log as plain lines; with `follow` as it grows.
pub(super) async fn log(
    _: Viewer,
    State(desk): State<Arc<Desk>>,
    Path(backend): Path<String>,
    Asked(query): Asked<Follow>,
) -> Response {
    let id = BackendId::from(backend);
    let mut pictures = desk.handle.snapshots.clone();
    let Some(now) = pictures
        .borrow_and_update()
        .backend(&id)
        .map(|b| b.log.clone())
    else {
        return fault(
            StatusCode::NOT_FOUND,
            "not-found",
            &format!("no backend {id}"),
            "GET /fleet/v1/status lists them",
        );
    };
    let last = now.back().cloned();
    let first = lines(now.iter());
    let body = if query.follow {
        let follower = Follower {
            desk,
            pictures,
            id,
            last,
            first: Some(first),
        };
        Body::from_stream(stream::unfold(follower, more))
    } else {
        Body::from(first)
    };
    let mut response = Response::new(body);
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, kind);
    *response.headers_mut() = headers;
    response
}

/// Somebody who reads a log as it grows.
struct Follower {
    desk: Arc<Desk>,
    pictures: watch::Receiver<Arc<Fleet>>,
    id: BackendId,
    last: Option<Arc<LogLine>>,
    first: Option<String>,
}

async fn more(mut at: Follower) -> Option<(Result<Bytes, Infallible>, Follower)> {
    if let Some(first) = at.first.take()
        && !first.is_empty()
    {
        return Some((Ok(first.into()), at));
    }
    loop {
        tokio::select! {
            () = at.desk.shutdown.cancelled() => return None,
            changed = at.pictures.changed() => changed.ok()?,
        }
        let fleet = at.pictures.borrow_and_update().clone();
        let log = &fleet.backend(&at.id)?.log;
        let known =
            |line: &Arc<LogLine>| at.last.as_ref().is_some_and(|last| Arc::ptr_eq(last, line));
        let new = log.iter().rev().take_while(|line| !known(line)).count();
        if new > 0 {
            let text = lines(log.iter().skip(log.len() - new));
            at.last = log.back().cloned();
            return Some((Ok(text.into()), at));
        }
    }
}

fn lines<'l>(of: impl Iterator<Item = &'l Arc<LogLine>>) -> String {
    let mut text = String::new();
    for line in of {
        text += &line.text;
        text.push('\n');
    }
    text
}

fn rows<T: Serialize>(name: &str, of: &VecDeque<Arc<T>>, query: &Newest) -> Response {
    let limit = query.limit.unwrap_or(ROWS);
    let newest: Vec<&Arc<T>> = of.iter().skip(of.len().saturating_sub(limit)).collect();
    told(name, &newest)
}

/// An answer with one thing in it.
fn told<T: Serialize + ?Sized>(name: &str, thing: &T) -> Response {
    match serde_json::to_value(thing) {
        Ok(thing) => {
            let mut told = json!({"schema_version": SCHEMA_VERSION});
            told[name] = thing;
            answer(StatusCode::OK, &told)
        }
        Err(cause) => fault(
            StatusCode::INTERNAL_SERVER_ERROR,
            "failed",
            &format!("it could not be written: {cause}"),
            "this is a fault of fleetctl",
        ),
    }
}
