//! A simulated hosted API of OpenAI's shape, with its own count of what it served.
//!
//! It lives in fleet time: its pauses, its per-minute limit and its `Retry-After` are fleet seconds.

mod answer;
mod ask;
mod desk;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use chrono::TimeDelta;
use futures_util::stream;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::answer::Answer;
use self::ask::{Ask, Shape};
use self::desk::{Desk, Ticket, Turn};
use crate::clock::Clock;

/// What a simulated hosted API is like.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Who runs it, as `owned_by` and `openai-organization` say it.
    pub name: String,
    /// The models that it serves.
    pub models: Vec<String>,
    /// Same seed, same luck.
    pub seed: u64,
    /// Output tokens a second of one answer, in fleet time.
    pub tokens_per_s: f64,
    /// The usual time to the first token, in fleet time.
    pub ttft: TimeDelta,
    /// Requests a minute of fleet time above which it answers 429.
    pub requests_per_minute: u32,
}

struct Hosted {
    spec: Spec,
    clock: Clock,
    created: i64,
    desk: Desk,
}

/// Serves `spec` on `listener` until `shutdown`; `GET /usage` tells what was served so far.
pub async fn run(listener: TcpListener, spec: Spec, clock: Clock, shutdown: CancellationToken) {
    let app = router(spec, clock);
    let listener = listener.tap_io(|tcp| {
        // A stream is many small writes; one that cannot turn Nagle off is only slower.
        if let Err(cause) = tcp.set_nodelay(true) {
            tracing::debug!(%cause, "TCP_NODELAY refused");
        }
    });
    let ending = shutdown.clone();
    let serving =
        axum::serve(listener, app).with_graceful_shutdown(async move { ending.cancelled().await });
    // Answers that are still running must not hold the end up.
    tokio::select! {
        ended = serving => if let Err(cause) = ended {
            tracing::warn!(%cause, "the simulated hosted API stopped serving");
        },
        () = shutdown.cancelled() => {}
    }
}

fn router(spec: Spec, clock: Clock) -> Router {
    let now = clock.now();
    let hosted = Arc::new(Hosted {
        desk: Desk::open(spec.seed, spec.requests_per_minute, now),
        created: now.timestamp(),
        spec,
        clock,
    });
    Router::new()
        .route("/v1/models", get(models))
        .route("/v1/models/{*model}", get(model))
        .route("/v1/chat/completions", post(chat))
        .route("/v1/completions", post(completion))
        .route("/usage", get(usage))
        .fallback(unknown_path)
        .layer(DefaultBodyLimit::max(32 << 20))
        .with_state(hosted)
}

async fn usage(State(hosted): State<Arc<Hosted>>) -> Response {
    respond(
        StatusCode::OK,
        HeaderMap::new(),
        &hosted.desk.tally().json(),
    )
}

async fn models(State(hosted): State<Arc<Hosted>>) -> Response {
    let data: Vec<Value> = hosted.spec.models.iter().map(|m| hosted.card(m)).collect();
    let list = json!({"object": "list", "data": data});
    respond(StatusCode::OK, HeaderMap::new(), &list)
}

async fn model(State(hosted): State<Arc<Hosted>>, Path(name): Path<String>) -> Response {
    if hosted.spec.models.contains(&name) {
        respond(StatusCode::OK, HeaderMap::new(), &hosted.card(&name))
    } else {
        no_such_model(HeaderMap::new(), &name)
    }
}

async fn chat(State(hosted): State<Arc<Hosted>>, body: Bytes) -> Response {
    complete(hosted, Shape::Chat, &body).await
}

async fn completion(State(hosted): State<Arc<Hosted>>, body: Bytes) -> Response {
    complete(hosted, Shape::Text, &body).await
}

async fn unknown_path(uri: axum::http::Uri) -> Response {
    let message = format!("Invalid URL ({})", uri.path());
    let told = Refused::invalid(&message, None);
    refuse(StatusCode::NOT_FOUND, HeaderMap::new(), &told)
}

async fn complete(hosted: Arc<Hosted>, shape: Shape, body: &[u8]) -> Response {
    let ticket = hosted.desk.admit(hosted.clock.now());
    let mut headers = hosted.headers(&ticket);
    if let Turn::Away { after, why } = ticket.turn {
        set(&mut headers, header::RETRY_AFTER, &after.to_string());
        let message = format!(
            "Rate limit reached in organization {} on {why}: Limit {}. Please try again in {after}s.",
            hosted.spec.name, hosted.spec.requests_per_minute,
        );
        let told = Refused {
            message: &message,
            kind: why,
            code: Some("rate_limit_exceeded"),
        };
        return refuse(StatusCode::TOO_MANY_REQUESTS, headers, &told);
    }
    let ask = match Ask::read(shape, body) {
        Ok(ask) => ask,
        Err(cause) => {
            let message = format!(
                "We could not parse the JSON body of your request. What went wrong: {cause}"
            );
            return refuse(
                StatusCode::BAD_REQUEST,
                headers,
                &Refused::invalid(&message, None),
            );
        }
    };
    if !hosted.spec.models.contains(&ask.model) {
        return no_such_model(headers, &ask.model);
    }
    let cached = hosted.desk.begin(&ask);
    let mut luck = fastrand::Rng::with_seed(ticket.luck);
    let answer = Answer::to(&ask, &ticket.id, hosted.created, cached, &mut luck);
    let first = hosted.spec.ttft * luck.i32(70..=160) / 100;
    if ask.stream {
        return flow(hosted, headers, &ask, &answer, first);
    }
    let whole = first + hosted.takes(answer.tokens());
    tokio::time::sleep(hosted.clock.on_wall(whole)).await;
    hosted.desk.produced(answer.tokens());
    hosted.desk.completed();
    respond(StatusCode::OK, headers, &answer.whole())
}

/// The answer as server-sent events, each after the time that its tokens take.
fn flow(
    hosted: Arc<Hosted>,
    mut headers: HeaderMap,
    ask: &Ask,
    answer: &Answer,
    first: TimeDelta,
) -> Response {
    set(
        &mut headers,
        header::CONTENT_TYPE,
        "text/event-stream; charset=utf-8",
    );
    let mut wait = first;
    let frames: Vec<_> = answer
        .frames(ask.include_usage)
        .into_iter()
        .map(|frame| {
            let pause = wait;
            wait = hosted.takes(frame.tokens);
            (pause, frame)
        })
        .collect();
    let events = stream::unfold(
        (hosted, frames.into_iter()),
        |(hosted, mut rest)| async move {
            let (pause, frame) = rest.next()?;
            tokio::time::sleep(hosted.clock.on_wall(pause)).await;
            hosted.desk.produced(frame.tokens);
            if rest.len() == 0 {
                hosted.desk.completed();
            }
            Some((Ok::<_, Infallible>(frame.bytes), (hosted, rest)))
        },
    );
    let mut response = Response::new(Body::from_stream(events));
    *response.headers_mut() = headers;
    response
}

impl Hosted {
    fn takes(&self, tokens: u32) -> TimeDelta {
        let seconds = f64::from(tokens) / self.spec.tokens_per_s.max(0.1);
        TimeDelta::microseconds((seconds * 1e6) as i64)
    }

    fn card(&self, model: &str) -> Value {
        json!({
            "id": model,
            "object": "model",
            "created": self.created,
            "owned_by": self.spec.name,
            "shutdown_date": null,
        })
    }

    fn headers(&self, ticket: &Ticket) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let limit = u64::from(self.spec.requests_per_minute);
        let left = u64::from(ticket.left);
        // Tokens are not limited here; the figures keep the two limits in proportion.
        for (name, value) in [
            ("x-request-id", ticket.id.clone()),
            ("openai-organization", self.spec.name.clone()),
            ("openai-version", "2020-10-01".to_owned()),
            ("x-ratelimit-limit-requests", limit.to_string()),
            ("x-ratelimit-remaining-requests", left.to_string()),
            (
                "x-ratelimit-reset-requests",
                desk::spell(ticket.refilled_in),
            ),
            ("x-ratelimit-limit-tokens", (limit * 2_000).to_string()),
            ("x-ratelimit-remaining-tokens", (left * 2_000).to_string()),
            ("x-ratelimit-reset-tokens", desk::spell(ticket.refilled_in)),
        ] {
            set(&mut headers, HeaderName::from_static(name), &value);
        }
        headers
    }
}

struct Refused<'a> {
    message: &'a str,
    kind: &'a str,
    code: Option<&'a str>,
}

impl<'a> Refused<'a> {
    fn invalid(message: &'a str, code: Option<&'a str>) -> Self {
        Self {
            message,
            kind: "invalid_request_error",
            code,
        }
    }
}

fn no_such_model(headers: HeaderMap, model: &str) -> Response {
    let message = format!("The model `{model}` does not exist or you do not have access to it.");
    let told = Refused::invalid(&message, Some("model_not_found"));
    refuse(StatusCode::NOT_FOUND, headers, &told)
}

fn refuse(status: StatusCode, headers: HeaderMap, told: &Refused) -> Response {
    let Refused {
        message,
        kind,
        code,
    } = told;
    let body = json!({"error": {"message": message, "type": kind, "param": null, "code": code}});
    respond(status, headers, &body)
}

fn respond(status: StatusCode, mut headers: HeaderMap, body: &Value) -> Response {
    set(&mut headers, header::CONTENT_TYPE, "application/json");
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    // A name from a configuration may hold what a header cannot; then the header is left out.
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
