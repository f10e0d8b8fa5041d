//! The fleet over HTTP, for consoles and programs elsewhere: pictures out, commands in. `openapi.json` describes it.

mod access;
mod commands;
mod events;
mod feed;
mod tables;
mod tls;

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Query};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::handle::FleetHandle;

pub use access::{Role, Token};
pub use tables::status_of;
pub use tls::certificate;
pub use tokio_rustls::rustls::ServerConfig;

/// The version of what is told here, in every answer; a number more means that something was taken away or means another thing.
pub const SCHEMA_VERSION: u32 = 1;
/// The longest command that is taken, bytes.
const MOST_BODY: usize = 64 << 10;
const OPENAPI: &str = include_str!("admin/openapi.json");

/// What answers need.
#[derive(Debug)]
struct Desk {
    handle: FleetHandle,
    access: watch::Receiver<Arc<Access>>,
    feed: feed::Feed,
    shutdown: CancellationToken,
}

/// Who is let in, and how.
#[derive(Debug, Default)]
pub struct Access {
    /// The tokens that are known.
    pub tokens: Vec<Token>,
    /// The certificate that is shown; `None`: plain HTTP.
    pub tls: Option<Arc<ServerConfig>>,
}

/// Answers on `listener` until `shutdown`, to who has one of the tokens now known. Without any, everybody who reaches it
/// may do everything. Whether there is TLS is settled at the start; which certificate, at each connection.
pub async fn run(
    listener: TcpListener,
    handle: FleetHandle,
    access: watch::Receiver<Arc<Access>>,
    shutdown: CancellationToken,
) {
    let desk = Arc::new(Desk {
        feed: feed::Feed::start(handle.snapshots.clone(), shutdown.clone()),
        handle,
        access: access.clone(),
        shutdown: shutdown.clone(),
    });
    let app = router(desk);
    let ending = async move { shutdown.cancelled().await };
    let secure = access.borrow().tls.is_some();
    let served = if secure {
        match tls::Secured::new(listener, access) {
            Ok(listener) => {
                let serving = axum::serve(listener, app);
                serving.with_graceful_shutdown(ending).await
            }
            Err(error) => Err(error),
        }
    } else {
        let serving = axum::serve(listener, app);
        serving.with_graceful_shutdown(ending).await
    };
    if let Err(cause) = served {
        tracing::warn!(%cause, "the admin API stopped serving");
    }
}

fn router(desk: Arc<Desk>) -> Router {
    Router::new()
        .route("/fleet/v1/openapi.json", get(openapi))
        .route("/fleet/v1/fleet", get(tables::fleet))
        .route("/fleet/v1/status", get(tables::status))
        .route("/fleet/v1/events", get(events::follow))
        .route("/fleet/v1/commands", post(commands::post))
        .route("/fleet/v1/requests", get(tables::requests))
        .route("/fleet/v1/audit", get(tables::audit))
        .route("/fleet/v1/wakes", get(tables::wakes))
        .route("/fleet/v1/ledger", get(tables::ledger))
        .route("/fleet/v1/backends/{backend}/log", get(tables::log))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(MOST_BODY))
        .with_state(desk)
}

async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

async fn unknown(_: Bytes) -> Response {
    fault(
        StatusCode::NOT_FOUND,
        "not-found",
        "there is no such path",
        "GET /fleet/v1/openapi.json lists them",
    )
}

async fn wrong_method(_: Bytes) -> Response {
    fault(
        StatusCode::METHOD_NOT_ALLOWED,
        "not-found",
        "this path does not take that method",
        "GET /fleet/v1/openapi.json lists them",
    )
}

/// What stands behind the `?`.
struct Asked<T>(T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(asked)) => Ok(Self(asked)),
            Err(wrong) => Err(fault(
                StatusCode::BAD_REQUEST,
                "usage",
                &wrong.body_text(),
                "GET /fleet/v1/openapi.json lists what may stand behind the ?",
            )),
        }
    }
}

/// An error as JSON: of which kind, what, and what to do.
fn fault(status: StatusCode, kind: &str, what: &str, hint: &str) -> Response {
    let told = json!({"error": {"kind": kind, "what": what, "hint": hint}});
    answer(status, &told)
}

fn answer(status: StatusCode, told: &Value) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (status, kind, told.to_string()).into_response()
}
