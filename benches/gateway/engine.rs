//! A fake engine, and its launcher: it answers at once, or with events at a steady pace, or not before it is told.

use std::convert::Infallible;
use std::io::{BufRead as _, Write as _};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::stream;
use http::header::CONTENT_TYPE;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior};

/// Between two events of a stream.
pub(crate) const PACE: Duration = Duration::from_millis(10);
/// Queues of new connections. The kernel gives each 4,096 places at most and turns away what finds none for a second.
const QUEUES: u32 = 4;
const PAGE: &str = include_str!("../../tests/pages/vllm-0.32.0-load.txt");
const ANSWER: &str = r#"{"id":"chatcmpl-8f3c1d2e4b5a69788796a5b4c3d2e1f0","object":"chat.completion","created":1790000000,"model":"bench-model","choices":[{"index":0,"message":{"role":"assistant","content":"Four, and nothing else."},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":21,"completion_tokens":7,"total_tokens":28}}"#;
/// The last line of a start, as vLLM writes it.
const COMPLETE: &str = "INFO:     Application startup complete.\n";

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// What it is and was told, and what it saw.
#[derive(Debug)]
struct Engine {
    up: watch::Sender<bool>,
    started: AtomicBool,
    seen: Mutex<Seen>,
}

/// What it saw of a release. Times are nanoseconds since 1970.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// When it first answered that it is well.
    pub(crate) well: Option<u64>,
    /// Numbered requests as they came: when, and the number.
    pub(crate) came: Vec<(u64, u32)>,
}

/// Nanoseconds since 1970: a clock that all processes share.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap().as_nanos() as u64
}

/// Runs the role: `warm` or `cold`, its threads, and the places in its queue of new connections.
pub(crate) fn main(job: &str) {
    let mut words = job.split(' ');
    let mut word = || words.next().unwrap();
    let warm = word() == "warm";
    let threads = word().parse().unwrap();
    let backlog = word().parse().unwrap();
    // One thread keeps its tasks in the order in which they woke; several do not.
    let mut builder = if threads == 1 {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    let runtime = builder.worker_threads(threads).enable_all().build();
    runtime.unwrap().block_on(run(warm, backlog));
}

async fn run(warm: bool, backlog: u32) {
    let engine = Arc::new(Engine {
        up: watch::channel(warm).0,
        started: AtomicBool::new(false),
        seen: Mutex::default(),
    });
    let mut address = "127.0.0.1:0".parse().unwrap();
    let queues = backlog.div_ceil(4096).clamp(1, QUEUES);
    for _ in 0..queues {
        let listener = listen(address, backlog / queues);
        address = listener.local_addr().unwrap();
        tokio::spawn(accept(listener, Arc::clone(&engine)));
    }
    println!("{address}");
    let obey = move || {
        for line in std::io::stdin().lock().lines() {
            match line.unwrap().as_str() {
                "up" => {
                    engine.up.send_replace(true);
                }
                "report" => {
                    let seen = engine.seen.lock().unwrap().clone();
                    println!("{}", serde_json::to_string(&seen).unwrap());
                    std::io::stdout().flush().unwrap();
                }
                other => panic!("`{other}` is nothing that the engine does"),
            }
        }
    };
    tokio::task::spawn_blocking(obey).await.unwrap();
    // Whatever still hangs on connections must not keep the process.
    std::process::exit(0);
}

fn listen(address: SocketAddr, backlog: u32) -> TcpListener {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseport(true).unwrap();
    socket.bind(address).unwrap();
    socket.listen(backlog).unwrap()
}

async fn accept(listener: TcpListener, engine: Arc<Engine>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let engine = Arc::clone(&engine);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(Arc::clone(&engine), request));
            let io = TokioIo::new(stream);
            // A client that goes away is no fault of ours.
            let _ = http1::Builder::new().serve_connection(io, service).await;
        });
    }
}

async fn answer(
    engine: Arc<Engine>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let up = *engine.up.borrow();
    let path = request.uri().path().to_owned();
    let is_post = request.method() == Method::POST;
    Ok(match path.as_str() {
        "/v1/chat/completions" if is_post => complete(&engine, request).await,
        "/health" if up => {
            engine.is_well();
            reply(StatusCode::OK, "text/plain", "")
        }
        "/metrics" if up => {
            engine.is_well();
            reply(StatusCode::OK, "text/plain; version=0.0.4", PAGE)
        }
        "/health" | "/metrics" => reply(StatusCode::SERVICE_UNAVAILABLE, "text/plain", ""),
        "/v1/models" => {
            let list = r#"{"object":"list","data":[{"id":"bench-model","object":"model"}]}"#;
            reply(StatusCode::OK, "application/json", list)
        }
        "/launcher/start" if is_post => {
            engine.started.store(true, Ordering::SeqCst);
            let said = r#"{"status":"running"}"#;
            reply(StatusCode::ACCEPTED, "application/json", said)
        }
        "/launcher" => {
            let said = if engine.started.load(Ordering::SeqCst) {
                r#"{"status":"running","exit_code":null,"started":1}"#
            } else {
                r#"{"status":"stopped","exit_code":null,"started":0}"#
            };
            reply(StatusCode::OK, "application/json", said)
        }
        "/launcher/log" => log(&engine),
        _ => reply(StatusCode::NOT_FOUND, "text/plain", ""),
    })
}

fn reply(status: StatusCode, kind: &str, text: &'static str) -> Response<Body> {
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, kind)
        .body(Full::from(text).boxed_unsync())
        .unwrap()
}

/// One line of log once it is up, and no end.
fn log(engine: &Engine) -> Response<Body> {
    let frames = stream::unfold(
        (engine.up.subscribe(), false),
        |(mut up, told)| async move {
            if told {
                std::future::pending::<()>().await;
            }
            up.wait_for(|up| *up).await.ok()?;
            let frame = Frame::data(Bytes::from_static(COMPLETE.as_bytes()));
            Some((Ok(frame), (up, true)))
        },
    );
    Response::new(StreamBody::new(frames).boxed_unsync())
}

async fn complete(engine: &Engine, request: Request<Incoming>) -> Response<Body> {
    let arrived = now();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let wanted: Wanted = serde_json::from_slice(&body).unwrap();
    if let Some(number) = wanted
        .user
        .and_then(|it| it.strip_prefix('n')?.parse().ok())
    {
        engine.seen.lock().unwrap().came.push((arrived, number));
    }
    if !*engine.up.borrow() {
        let mut up = engine.up.subscribe();
        up.wait_for(|up| *up).await.unwrap();
    }
    if wanted.stream {
        let usage = wanted.stream_options.is_some_and(|it| it.include_usage);
        return events(wanted.max_tokens, usage);
    }
    reply(StatusCode::OK, "application/json", ANSWER)
}

/// What a client asks for.
#[derive(Deserialize)]
struct Wanted<'a> {
    #[serde(default)]
    stream: bool,
    #[serde(default)]
    stream_options: Option<StreamOptions>,
    #[serde(default)]
    max_tokens: u32,
    #[serde(default)]
    user: Option<&'a str>,
}

#[derive(Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

/// A stream under way.
struct Pace {
    ticks: Interval,
    at: u32,
    of: u32,
    usage: bool,
}

/// So many events, each with its number and the moment it was made, and then the end as vLLM makes it.
fn events(of: u32, usage: bool) -> Response<Body> {
    let mut ticks = tokio::time::interval(PACE);
    // Late ones are not made up for: what comes in one piece was sent in one piece.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let pace = Pace {
        ticks,
        at: 0,
        of,
        usage,
    };
    let frames = stream::unfold(pace, |mut pace| async move {
        let text = if pace.at < pace.of {
            pace.ticks.tick().await;
            event(
                &format!(
                    r#"[{{"index":0,"delta":{{"content":"@{} {}@"}},"logprobs":null,"finish_reason":null}}]"#,
                    pace.at,
                    now()
                ),
                "",
            )
        } else if pace.at == pace.of && pace.usage {
            let usage =
                r#","usage":{"prompt_tokens":21,"completion_tokens":500,"total_tokens":521}"#;
            event("[]", usage)
        } else if pace.at <= pace.of + 1 {
            pace.at = pace.of + 1;
            "data: [DONE]\n\n".to_owned()
        } else {
            return None;
        };
        pace.at += 1;
        Some((Ok(Frame::data(Bytes::from(text))), pace))
    });
    Response::builder()
        .header(CONTENT_TYPE, "text/event-stream; charset=utf-8")
        .body(StreamBody::new(frames).boxed_unsync())
        .unwrap()
}

fn event(choices: &str, usage: &str) -> String {
    format!(
        r#"data: {{"id":"chatcmpl-8f3c1d2e4b5a69788796a5b4c3d2e1f0","object":"chat.completion.chunk","created":1790000000,"model":"bench-model","choices":{choices}{usage}}}

"#
    )
}

impl Engine {
    fn is_well(&self) {
        self.seen.lock().unwrap().well.get_or_insert_with(now);
    }
}
