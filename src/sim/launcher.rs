//! The launcher protocol for the engines of a simulated cluster.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use futures_util::stream;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::engine::Engine;
use super::log::Read;
use super::unit::{Status, Unit};

type Units = Arc<BTreeMap<String, Arc<Unit>>>;

/// Serves `/engines/NAME…` for every unit until shut down.
///
/// # Errors
/// The server ended.
pub async fn run(
    listener: TcpListener,
    units: BTreeMap<String, Arc<Unit>>,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let app = Router::new()
        .route("/engines/{name}", get(look))
        .route("/engines/{name}/start", post(start))
        .route("/engines/{name}/stop", post(stop))
        .route("/engines/{name}/log", get(log))
        .route("/engines/{name}/kill", post(kill))
        .route("/engines/{name}/hang", post(hang))
        .route("/engines/{name}/resume", post(resume))
        .with_state(Arc::new(units));
    tokio::select! {
        ended = axum::serve(listener, app).into_future() => ended,
        () = shutdown.cancelled() => Ok(()),
    }
}

/// There is nothing to act on: why.
struct Missing(StatusCode, String);

impl IntoResponse for Missing {
    fn into_response(self) -> Response {
        (self.0, self.1).into_response()
    }
}

fn unit(units: &Units, name: &str) -> Result<Arc<Unit>, Missing> {
    units.get(name).cloned().ok_or_else(|| {
        let names: Vec<&str> = units.keys().map(String::as_str).collect();
        let known = names.join(", ");
        let what = format!("no engine is called {name}; there are {known}\n");
        Missing(StatusCode::NOT_FOUND, what)
    })
}

fn json(status: StatusCode, body: String) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

async fn look(State(units): State<Units>, Path(name): Path<String>) -> Result<Response, Missing> {
    let unit = unit(&units, &name)?;
    let status = unit.status();
    let code = match status {
        Status::Exited(code) => code.to_string(),
        Status::Stopped | Status::Starting | Status::Running => "null".to_owned(),
    };
    Ok(json(
        StatusCode::OK,
        format!(
            r#"{{"status":"{}","exit_code":{code},"started":{}}}"#,
            status.as_str(),
            unit.started()
        ),
    ))
}

async fn start(State(units): State<Units>, Path(name): Path<String>) -> Result<Response, Missing> {
    let unit = unit(&units, &name)?;
    let status = if unit.start() {
        StatusCode::ACCEPTED
    } else {
        StatusCode::OK
    };
    let said = unit.status().as_str();
    Ok(json(status, format!(r#"{{"status":"{said}"}}"#)))
}

async fn stop(State(units): State<Units>, Path(name): Path<String>) -> Result<Response, Missing> {
    let unit = unit(&units, &name)?;
    unit.stop().await;
    Ok(json(StatusCode::OK, r#"{"status":"stopped"}"#.to_owned()))
}

async fn kill(State(units): State<Units>, Path(name): Path<String>) -> Result<Response, Missing> {
    with_engine(&units, &name, Engine::kill)
}

async fn hang(State(units): State<Units>, Path(name): Path<String>) -> Result<Response, Missing> {
    with_engine(&units, &name, |engine| engine.hang())
}

async fn resume(State(units): State<Units>, Path(name): Path<String>) -> Result<Response, Missing> {
    with_engine(&units, &name, |engine| engine.resume())
}

fn with_engine(
    units: &Units,
    name: &str,
    act: impl FnOnce(&Arc<Engine>),
) -> Result<Response, Missing> {
    match unit(units, name)?.engine() {
        Some(engine) => {
            act(&engine);
            Ok(json(StatusCode::OK, r#"{"status":"done"}"#.to_owned()))
        }
        None => Err(Missing(
            StatusCode::CONFLICT,
            "no engine runs here now; start it first\n".to_owned(),
        )),
    }
}

#[derive(Deserialize)]
struct Wanted {
    #[serde(default)]
    follow: bool,
}

async fn log(
    State(units): State<Units>,
    Path(name): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Missing> {
    let log = unit(&units, &name)?.log();
    let body = if wanted.follow {
        let changes = log.watch();
        Body::from_stream(stream::unfold(
            (log, changes, 0),
            |(log, mut changes, from)| async move {
                loop {
                    // Seen before it is read, so that no change falls between.
                    changes.borrow_and_update();
                    match log.read(from) {
                        Read::Text(text, next) => {
                            let item = Ok::<_, std::io::Error>(Bytes::from(text));
                            return Some((item, (log, changes, next)));
                        }
                        Read::Over => return None,
                        Read::Later => changes.changed().await.ok()?,
                    }
                }
            },
        ))
    } else {
        match log.read(0) {
            Read::Text(text, _) => Body::from(text),
            Read::Later | Read::Over => Body::empty(),
        }
    };
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], body).into_response())
}

#[cfg(test)]
mod tests;
