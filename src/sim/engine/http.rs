//! The HTTP interface, as vLLM 0.32.0's server answers.

use std::convert::Infallible;
use std::sync::Arc;

use ::http::{Method, Request, Response, StatusCode, header};
use bytes::Bytes;
use chrono::TimeDelta;
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

use super::Engine;
use super::answer::{self, Head};
use super::ask::{self, Refused};
use super::batch::Seq;
use super::body::{Frames, Guard};
use super::core::{Ended, Gate, Out, To};
use super::state::Mode;
use crate::sim::{hold, mix};

type Reply = Response<Either<Full<Bytes>, Frames>>;

/// Fleet time that open answers get to end after the port is closed.
const LAST_WORDS: TimeDelta = TimeDelta::seconds(2);

/// Accepts until the engine stops.
pub(super) async fn serve(engine: Arc<Engine>, listener: TcpListener) {
    loop {
        let stream = tokio::select! {
            () = engine.stop.cancelled() => return,
            taken = listener.accept() => taken,
        };
        if let Ok((stream, _)) = stream {
            // Small writes go out at once, as uvicorn's do.
            let _ = stream.set_nodelay(true);
            tokio::spawn(talk(engine.clone(), stream));
        }
    }
}

async fn talk(engine: Arc<Engine>, stream: TcpStream) {
    let service = service_fn(|request| {
        let engine = engine.clone();
        async move { Ok::<_, Infallible>(answer(engine, request).await) }
    });
    let connection =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    // A connection's error is its client's business.
    tokio::select! {
        _ = &mut connection => return,
        () = engine.stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = tokio::time::timeout(engine.clock.on_wall(LAST_WORDS), connection).await;
}

async fn answer(engine: Arc<Engine>, request: Request<Incoming>) -> Reply {
    let path = request.uri().path().to_owned();
    let query = Query::of(request.uri().query());
    match (request.method().clone(), path.as_str()) {
        (Method::GET, "/health") => {
            let dead = hold(&engine.core).dead;
            plain(if dead {
                StatusCode::SERVICE_UNAVAILABLE
            } else {
                StatusCode::OK
            })
        }
        (Method::GET | Method::POST, "/ping") => plain(StatusCode::OK),
        (Method::GET, "/version") => fine(r#"{"version":"0.32.0"}"#.to_owned()),
        (Method::GET, "/load") => fine(format!(
            r#"{{"server_load":{}}}"#,
            hold(&engine.core).open()
        )),
        (Method::GET, "/v1/models") => fine(models(&engine)),
        (Method::GET, "/metrics") => metrics(&engine),
        (Method::GET, "/is_sleeping") => {
            engine.answering().await;
            let asleep = hold(&engine.core).gate != Gate::Open;
            fine(format!(r#"{{"is_sleeping":{asleep}}}"#))
        }
        (Method::GET, "/is_paused") => {
            let paused = hold(&engine.core).gate != Gate::Open;
            fine(format!(r#"{{"is_paused":{paused}}}"#))
        }
        (Method::POST, "/sleep") => put_to_sleep(engine, &query).await,
        (Method::POST, "/wake_up") => wake_up(engine, &query).await,
        (Method::POST, "/v1/chat/completions") => complete(engine, true, request).await,
        (Method::POST, "/v1/completions") => complete(engine, false, request).await,
        (_, "/health" | "/version" | "/load" | "/v1/models" | "/metrics" | "/is_sleeping") => {
            not_allowed("GET")
        }
        (_, "/sleep" | "/wake_up" | "/v1/chat/completions" | "/v1/completions") => {
            not_allowed("POST")
        }
        (_, _) => json(
            StatusCode::NOT_FOUND,
            r#"{"detail":"Not Found"}"#.to_owned(),
        ),
    }
}

async fn complete(engine: Arc<Engine>, chat: bool, request: Request<Incoming>) -> Reply {
    let typed = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .is_some_and(|v| v.starts_with("application/json"));
    if !typed {
        return refuse(ask::error(
            StatusCode::BAD_REQUEST,
            "Bad Request",
            &Value::Null,
            "1 validation error:\n  Unsupported Media Type: Only 'application/json' is allowed",
        ));
    }
    let named = request
        .headers()
        .get("x-request-id")
        .and_then(|v| v.to_str().ok())
        .filter(|v| {
            v.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        })
        .map(str::to_owned);
    let Ok(body) = request.into_body().collect().await else {
        return plain(StatusCode::BAD_REQUEST);
    };
    let ask = match ask::read(&engine.spec, chat, &body.to_bytes()) {
        Ok(ask) => ask,
        Err(refused) => return refuse(refused),
    };
    let id = engine.next_id();
    let name = named.unwrap_or_else(|| format!("{:016x}", mix(engine.spec.seed, id)));
    let head = Head {
        id: format!("{}-{name}", if chat { "chatcmpl" } else { "cmpl" }),
        created: engine.clock.now().timestamp(),
        model: engine.spec.model.clone(),
    };
    let events = engine.spec.stream_events;
    let stream = ask.stream;
    let (events_to, events_from) = mpsc::channel(events as usize + 4);
    let (whole_to, whole_from) = oneshot::channel();
    let to = if stream {
        To::Stream(events_to)
    } else {
        To::Whole(whole_to)
    };
    let taken = {
        let mut core = hold(&engine.core);
        if core.dead {
            return refuse(dead());
        }
        let now = engine.t();
        core.catch_up(now);
        let seq = Seq::new(id, ask.prompt, ask.cached, ask.target, events, now);
        core.submit(seq, Out { head, ask, to })
    };
    if taken.is_err() {
        return busy(stream);
    }
    let guard = Guard::new(engine.clone(), id);
    engine.nudge.notify_one();
    if stream {
        return events_reply(Either::Right(Frames::new(events_from, guard)));
    }
    match whole_from.await {
        Ok(Ended::Body(body)) => fine(body),
        Ok(Ended::Failed(refused)) => refuse(refused),
        Err(_) => refuse(dead()),
    }
}

/// No place: an error for a whole answer, an event for a stream.
fn busy(stream: bool) -> Reply {
    if stream {
        let text = answer::error_event(answer::BUSY, "Service Unavailable", 503);
        return events_reply(Either::Left(Full::from(text)));
    }
    refuse(ask::error(
        StatusCode::SERVICE_UNAVAILABLE,
        "Service Unavailable",
        &Value::Null,
        answer::BUSY,
    ))
}

fn dead() -> Refused {
    ask::error(
        StatusCode::INTERNAL_SERVER_ERROR,
        "InternalServerError",
        &Value::Null,
        answer::DEAD,
    )
}

async fn put_to_sleep(engine: Arc<Engine>, query: &Query) -> Reply {
    let asked = query.get("level").unwrap_or("1");
    let Some(level) = asked.parse::<u8>().ok().filter(|level| *level <= 2) else {
        return refuse(ask::error(
            StatusCode::BAD_REQUEST,
            "Bad Request",
            &Value::from("query.level"),
            &format!(
                "1 validation error:\n  {{'type': 'less_than_equal', 'loc': 'query.level', 'msg': 'Input should be less than or equal to 2', 'input': '{asked}', 'ctx': {{'le': 2}}}}"
            ),
        ));
    };
    let mode = match query.get("mode").unwrap_or("abort") {
        "abort" => Mode::Abort,
        "wait" => Mode::Wait,
        "keep" => Mode::Keep,
        other => {
            return refuse(ask::error(
                StatusCode::BAD_REQUEST,
                "Bad Request",
                &Value::from("query.mode"),
                &format!(
                    "1 validation error:\n  {{'type': 'literal_error', 'loc': 'query.mode', 'msg': \"Input should be 'abort', 'wait' or 'keep'\", 'input': '{other}', 'ctx': {{'expected': \"'abort', 'wait' or 'keep'\"}}}}"
                ),
            ));
        }
    };
    engine.answering().await;
    engine.access(&format!("POST /sleep?level={level}"), 200);
    // On its own, so that it is finished whether or not the client waits.
    let _ = tokio::spawn(engine.sleep(level, mode)).await;
    fine(format!(r#"{{"status":"sleeping","level":{level}}}"#))
}

async fn wake_up(engine: Arc<Engine>, query: &Query) -> Reply {
    let tags: Vec<String> = query.all("tags").map(str::to_owned).collect();
    engine.answering().await;
    engine.access("POST /wake_up", 200);
    let shown = if tags.is_empty() {
        Value::Null
    } else {
        json!(tags)
    };
    let awake = tokio::spawn(engine.wake(tags)).await.unwrap_or(false);
    let status = if awake { "awake" } else { "sleeping" };
    fine(format!(r#"{{"status":"{status}","tags":{shown}}}"#))
}

fn models(engine: &Engine) -> String {
    let (spec, created) = (&engine.spec, engine.clock.now().timestamp());
    format!(
        r#"{{"object":"list","data":[{{"id":"{}","object":"model","created":{created},"owned_by":"vllm","root":"{}","parent":null,"max_model_len":{},"permission":[{{"id":"modelperm-{:016x}","object":"model_permission","created":{created},"allow_create_engine":false,"allow_sampling":true,"allow_logprobs":true,"allow_search_indices":false,"allow_view":true,"allow_fine_tuning":false,"organization":"*","group":null,"is_blocking":false}}]}}]}}"#,
        spec.model,
        spec.weights,
        spec.max_len,
        mix(spec.seed, 7),
    )
}

fn metrics(engine: &Engine) -> Reply {
    let created = engine.born.timestamp_micros() as f64 / 1e6;
    let text = {
        let mut core = hold(&engine.core);
        core.catch_up(engine.t());
        engine.page.fill(core.gauges(), &core.meters, created)
    };
    typed(
        StatusCode::OK,
        "text/plain; version=1.0.0; charset=utf-8",
        text,
    )
}

fn fine(body: String) -> Reply {
    json(StatusCode::OK, body)
}

fn refuse(refused: Refused) -> Reply {
    json(refused.0, refused.1)
}

fn json(status: StatusCode, body: String) -> Reply {
    typed(status, "application/json", body)
}

fn plain(status: StatusCode) -> Reply {
    let mut reply = Response::new(Either::Left(Full::default()));
    *reply.status_mut() = status;
    reply
}

fn not_allowed(allow: &'static str) -> Reply {
    let mut reply = json(
        StatusCode::METHOD_NOT_ALLOWED,
        r#"{"detail":"Method Not Allowed"}"#.to_owned(),
    );
    let value = header::HeaderValue::from_static(allow);
    reply.headers_mut().insert(header::ALLOW, value);
    reply
}

fn typed(status: StatusCode, kind: &'static str, body: String) -> Reply {
    let mut reply = Response::new(Either::Left(Full::from(body)));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(header::SERVER, header::HeaderValue::from_static("uvicorn"));
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    reply
}

fn events_reply(body: Either<Full<Bytes>, Frames>) -> Reply {
    let mut reply = Response::new(body);
    let kind = header::HeaderValue::from_static("text/event-stream; charset=utf-8");
    let headers = reply.headers_mut();
    headers.insert(header::SERVER, header::HeaderValue::from_static("uvicorn"));
    headers.insert(header::CONTENT_TYPE, kind);
    reply
}

impl Engine {
    /// Waits while the engine process hangs.
    async fn answering(&self) {
        let mut hung = self.hung.subscribe();
        // The sender lives as long as the engine.
        let _ = hung.wait_for(|h| !*h).await;
    }
}

/// A query string whose values need no decoding.
struct Query(Vec<(String, String)>);

impl Query {
    fn of(text: Option<&str>) -> Self {
        Self(
            text.unwrap_or_default()
                .split('&')
                .filter_map(|pair| pair.split_once('='))
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .collect(),
        )
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(k, _)| k == name)
            .map(|(_, v)| v.as_str())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(k, _)| k == name)
            .map(|(_, v)| v.as_str())
    }
}
