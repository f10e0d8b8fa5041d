//! Upstreams that do what a request's plan says, and count for themselves what they were asked and what they told.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};

use super::client::{Fate, Plan, Until};
use super::fleet::PRICE;

/// What an upstream counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) requests: u64,
    pub(crate) unmetered: u64,
    pub(crate) input: u64,
    pub(crate) cached: u64,
    pub(crate) output: u64,
    pub(crate) pico_dollars: i128,
}

/// One upstream.
pub(crate) struct Upstream {
    pub(crate) name: String,
    pub(crate) url: String,
    inside: Arc<Inside>,
}

#[derive(Default)]
struct Inside {
    paid: bool,
    count: Mutex<Count>,
    refused: AtomicU64,
    arrived: watch::Sender<u64>,
}

/// By request and occasion.
type Bells = HashMap<(u64, &'static str), Arc<Notify>>;
type Body = BoxBody<Bytes, std::io::Error>;

/// What client and upstream tell each other about one request, outside of the connection.
static TOLD: LazyLock<Mutex<Bells>> = LazyLock::new(Mutex::default);
/// Requests whose first upstream has done what was planned.
static DONE: LazyLock<Mutex<std::collections::HashSet<u64>>> = LazyLock::new(Mutex::default);

fn bell(number: u64, what: &'static str) -> Arc<Notify> {
    Arc::clone(TOLD.lock().unwrap().entry((number, what)).or_default())
}

/// Resolves once an upstream has the request.
pub(crate) async fn has_begun(number: u64) {
    bell(number, "begun").notified().await;
}

/// The client has seen as much as the upstream wanted it to see.
pub(crate) fn seen(number: u64) {
    bell(number, "seen").notify_one();
}

impl Upstream {
    /// Starts one on a port of its own.
    pub(crate) async fn start(name: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let inside = Arc::new(Inside {
            paid: name == "far",
            ..Inside::default()
        });
        let serving = Arc::clone(&inside);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let inside = Arc::clone(&serving);
                let service = service_fn(move |request| {
                    let inside = Arc::clone(&inside);
                    async move { inside.answer(request).await }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self {
            name: name.to_owned(),
            url,
            inside,
        }
    }

    /// What it counted.
    pub(crate) fn count(&self) -> Count {
        *self.inside.count.lock().unwrap()
    }

    /// Requests that arrived, and those of them that it refused.
    pub(crate) fn arrivals(&self) -> (u64, u64) {
        let arrived = *self.inside.arrived.borrow();
        (arrived, self.inside.refused.load(Ordering::Relaxed))
    }

    /// Resolves when this many more requests have come.
    pub(crate) async fn some_more(&self, n: u64) {
        let mut arrived = self.inside.arrived.subscribe();
        let wanted = *arrived.borrow() + n;
        arrived.wait_for(|now| *now >= wanted).await.unwrap();
    }
}

impl Inside {
    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, std::io::Error> {
        let path = request.uri().path().to_owned();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap();
        let plan: Plan = serde_json::from_value(body["metadata"].clone()).unwrap();
        self.arrived.send_modify(|n| *n += 1);
        let first = DONE.lock().unwrap().insert(plan.number);
        let fate = if first { plan.fate } else { Fate::Well };
        match fate {
            Fate::Killed => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                return Err(std::io::Error::other("killed"));
            }
            Fate::Refused(status) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                let mut response = whole(status, &json!({"error": {"message": "no"}}));
                response
                    .headers_mut()
                    .insert("retry-after", "1".parse().unwrap());
                return Ok(response);
            }
            Fate::Well | Fate::Unmetered | Fate::ClientError | Fate::Breaks(_) => {}
        }
        self.count.lock().unwrap().requests += 1;
        if fate == Fate::ClientError {
            return Ok(whole(400, &json!({"error": {"message": "your own"}})));
        }
        if plan.until == Until::Nothing {
            bell(plan.number, "begun").notify_one();
            // Until the client has left, and the gateway with it.
            return std::future::pending().await;
        }
        if plan.stream {
            return Ok(self.stream(&path, plan, fate));
        }
        let usage = if fate == Fate::Unmetered {
            self.count.lock().unwrap().unmetered += 1;
            Value::Null
        } else {
            let output = if path == "/v1/embeddings" {
                0
            } else {
                plan.output
            };
            self.told(&plan, None, output);
            usage(&path, &plan, output)
        };
        Ok(whole(200, &json!({"object": "answer", "usage": usage})))
    }

    /// Books what was told: `before` is what was told of the same answer already.
    fn told(&self, plan: &Plan, before: Option<u32>, output: u32) {
        let mut count = self.count.lock().unwrap();
        let more = u64::from(output - before.unwrap_or(0));
        let (mut input, mut cached) = (0, 0);
        if before.is_none() {
            (input, cached) = (u64::from(plan.input), u64::from(plan.cached));
        }
        count.input += input;
        count.cached += cached;
        count.output += more;
        if self.paid {
            let [per_input, per_cached, per_output] = PRICE;
            count.pico_dollars += i128::from(input - cached) * per_input
                + i128::from(cached) * per_cached
                + i128::from(more) * per_output;
        }
    }

    /// One event a token; chat events carry usage each, as they were asked to.
    fn stream(self: Arc<Self>, path: &str, plan: Plan, fate: Fate) -> Response<Body> {
        let responses = path == "/v1/responses";
        let path = path.to_owned();
        let events = events(move |next| {
            let (this, plan, path) = (Arc::clone(&self), plan.clone(), path.clone());
            async move {
                if let Fate::Breaks(n) = fate
                    && next > n
                {
                    bell(plan.number, "seen").notified().await;
                    return Some(Err(std::io::Error::other("breaks")));
                }
                if let Until::Events(n) = plan.until
                    && next > n
                {
                    return std::future::pending().await;
                }
                if next > plan.output + 1 {
                    return None;
                }
                let text = if next == plan.output + 1 {
                    if responses {
                        this.told(&plan, None, plan.output);
                        let usage = usage(&path, &plan, plan.output);
                        let response = json!({"status": "completed", "usage": usage});
                        format!(
                            "event: response.completed\ndata: {}\n\n",
                            json!({"type": "response.completed", "response": response})
                        )
                    } else {
                        // The last event repeats the whole, as vLLM has it.
                        let usage = usage(&path, &plan, plan.output);
                        format!(
                            "data: {}\n\ndata: [DONE]\n\n",
                            json!({"choices": [], "usage": usage})
                        )
                    }
                } else if responses {
                    format!(
                        "data: {}\n\n",
                        json!({"type": "response.output_text.delta", "delta": "x"})
                    )
                } else {
                    this.told(&plan, (next > 1).then(|| next - 1), next);
                    let finish = (next == plan.output).then_some("stop");
                    let usage = usage(&path, &plan, next);
                    format!(
                        "data: {}\n\n",
                        json!({"choices": [{"delta": {"content": "x"}, "finish_reason": finish}], "usage": usage})
                    )
                };
                Some(Ok(Frame::data(Bytes::from(text))))
            }
        });
        let mut response = Response::new(BodyExt::boxed(StreamBody::new(events)));
        response
            .headers_mut()
            .insert("content-type", "text/event-stream".parse().unwrap());
        response
    }
}

/// A stream of what `make` gives for 1, 2, 3, … until it gives nothing.
fn events<F, T>(
    make: impl FnMut(u32) -> F + Send + Sync + 'static,
) -> impl futures_util::Stream<Item = T> + Send + Sync
where
    F: Future<Output = Option<T>> + Send + Sync,
{
    futures_util::stream::unfold((make, 0), |(mut make, last)| async move {
        let item = make(last + 1).await?;
        Some((item, (make, last + 1)))
    })
}

fn usage(path: &str, plan: &Plan, output: u32) -> Value {
    if path == "/v1/responses" {
        return json!({
            "input_tokens": plan.input,
            "input_tokens_details": {"cached_tokens": plan.cached},
            "output_tokens": output,
        });
    }
    json!({
        "prompt_tokens": plan.input,
        "completion_tokens": output,
        "prompt_tokens_details": {"cached_tokens": plan.cached},
    })
}

fn whole(status: u16, body: &Value) -> Response<Body> {
    let full = Full::new(Bytes::from(body.to_string()));
    let body = full.map_err(|never: Infallible| match never {}).boxed();
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
        .headers_mut()
        .insert("content-type", "application/json".parse().unwrap());
    response
}
