//! Fakes: upstreams that say what a test tells them to, a picture made by hand, and a plain client.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::fleet::backend::{Capacity, Hosted, Price, SelfHosted, SleepWay};
use crate::fleet::model::{ColdPolicy, DataPath, MAX_WAITING};
use crate::fleet::{Backend, Fleet, Kind, Model, Observation, RequestRecord, State, Usd};
use crate::gateway::{Door, Key, Settings, Upstream};
use crate::handle::Order;

/// A request as an upstream got it, and the way to answer it.
pub(super) struct Got {
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
    /// Which connection it came on: they are taken in the order in which they were opened, which is as exact as order gets
    /// among requests on connections of their own.
    pub(super) connection: usize,
    answer: oneshot::Sender<Response<BoxBody<Bytes, std::io::Error>>>,
}

/// A stream that a test feeds: `Err` breaks it off.
pub(super) type Feed = mpsc::Sender<Result<Frame<Bytes>, std::io::Error>>;

impl Got {
    /// Answers in one piece.
    pub(super) fn answer(self, status: u16, headers: &[(&'static str, &str)], body: &str) {
        let full = Full::new(Bytes::copy_from_slice(body.as_bytes()));
        let mut response = Response::new(full.map_err(|never| match never {}).boxed());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        for (name, value) in headers {
            response.headers_mut().insert(*name, value.parse().unwrap());
        }
        let _ = self.answer.send(response);
    }

    /// Answers with a stream of events.
    pub(super) fn stream(self) -> Feed {
        let (feed, mut pieces) = mpsc::channel(1);
        let frames = futures_util::stream::poll_fn(move |cx| pieces.poll_recv(cx));
        let mut response = Response::new(BodyExt::boxed(StreamBody::new(frames)));
        response
            .headers_mut()
            .insert("content-type", "text/event-stream".parse().unwrap());
        let _ = self.answer.send(response);
        feed
    }
}

/// Feeds one chunk.
pub(super) async fn feed(to: &Feed, chunk: &str) {
    let frame = Frame::data(Bytes::copy_from_slice(chunk.as_bytes()));
    to.send(Ok(frame)).await.unwrap();
}

/// An upstream on a port of its own; its requests come out of the channel.
pub(super) async fn upstream() -> (String, mpsc::Receiver<Got>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (to_test, from_gateway) = mpsc::channel(64);
    tokio::spawn(async move {
        for connection in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            let to_test = to_test.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let to_test = to_test.clone();
                async move {
                    let (parts, body) = request.into_parts();
                    let body = body.collect().await.unwrap().to_bytes();
                    let (answer, answered) = oneshot::channel();
                    let got = Got {
                        path: parts.uri.to_string(),
                        headers: parts.headers,
                        body: String::from_utf8(body.to_vec()).unwrap(),
                        connection,
                        answer,
                    };
                    to_test.send(got).await.map_err(std::io::Error::other)?;
                    answered.await.map_err(std::io::Error::other)
                }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    (url, from_gateway)
}

/// An address where nobody listens.
pub(super) async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

pub(super) fn self_hosted(id: &str, weight: u32, state: State) -> Backend {
    let facts = SelfHosted {
        rate: None,
        capacity: Capacity::OnDemand,
        replicas: 1,
        sleep: SleepWay::Release,
        startable: true,
        idle_after: None,
        schedule: None,
        budget: TimeDelta::minutes(8),
        cap: TimeDelta::minutes(10),
        grace: TimeDelta::minutes(2),
        group: None,
        hardware: String::new(),
        expected: Vec::new(),
        ceiling: None,
    };
    backend(id, weight, state, Kind::SelfHosted(facts))
}

pub(super) fn hosted(id: &str, weight: u32) -> Backend {
    let dollar = Usd::from_pico(1_000_000_000_000);
    let facts = Hosted {
        provider: "Azure OpenAI".to_owned(),
        price: Some(Price {
            input: dollar,
            cached: dollar,
            output: dollar.times(2),
        }),
    };
    let state = State::Ready { since: t0() };
    backend(id, weight, state, Kind::Hosted(facts))
}

fn backend(id: &str, weight: u32, state: State, kind: Kind) -> Backend {
    Backend {
        id: id.into(),
        model: "m".into(),
        kind,
        state,
        max_running: None,
        weight,
        pin: None,
        scheduled: None,
        drained: None,
        live: crate::fleet::live::Live::default(),
        sample: None,
        gpus: Arc::new([]),
        ledger: crate::fleet::ledger::Ledger::default(),
        wakes: VecDeque::new(),
        log: VecDeque::new(),
        place: None,
        doing: None,
        progress: None,
    }
}

pub(super) fn t0() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH
}

pub(super) fn warm() -> State {
    State::Warm { since: t0() }
}

pub(super) fn asleep() -> State {
    State::Asleep { since: t0() }
}

/// A fleet of one hosted backend, `far`.
pub(in crate::gateway) fn far() -> Fleet {
    fleet(ColdPolicy::Wait, DataPath::Any, vec![hosted("far", 1)])
}

/// A fleet of one model, `m`, with these backends.
pub(super) fn fleet(cold: ColdPolicy, data_path: DataPath, backends: Vec<Backend>) -> Fleet {
    Fleet {
        models: vec![Arc::new(Model {
            id: "m".into(),
            backends: backends.iter().map(|it| it.id.clone()).collect(),
            cold,
            data_path,
            rules: Vec::new(),
            max_waiting: MAX_WAITING,
            choose_backend: true,
            evals: Vec::new(),
            routes: Vec::new(),
        })],
        backends: backends.into_iter().map(Arc::new).collect(),
        ..Fleet::new("test", t0())
    }
}

/// A gateway that runs, with the far ends of everything it is given.
pub(super) struct Gateway {
    pub(super) url: String,
    pub(super) picture: watch::Sender<Arc<Fleet>>,
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) observations: mpsc::Receiver<Observation>,
    pub(super) client: Client<HttpConnector, Full<Bytes>>,
    /// The gateway itself.
    pub(super) gate: crate::gateway::Gateway,
    _end: tokio_util::sync::DropGuard,
}

/// What [`run`] is given, and the far ends of it.
pub(super) fn door(
    fleet: Fleet,
    urls: &[(&str, String)],
) -> (
    Door,
    watch::Sender<Arc<Fleet>>,
    mpsc::Receiver<Order>,
    mpsc::Receiver<Observation>,
) {
    let (picture, fleet) = watch::channel(Arc::new(fleet));
    let (to_orders, orders) = mpsc::channel(16);
    let (to_observations, observations) = mpsc::channel(64);
    let upstreams = urls.iter().map(|(id, url)| Upstream {
        model: (*id == "renamed").then(|| "far/name".to_owned()),
        key: Some(Key::new("upstream-secret")),
        ..Upstream::at(*id, url)
    });
    let door = Door {
        settings: Settings::default(),
        clients: Vec::new(),
        upstreams: upstreams.collect(),
        fleet,
        orders: to_orders,
        observations: to_observations,
        clock: Clock::starting_at(t0(), 1),
    };
    (door, picture, orders, observations)
}

pub(super) async fn gateway(fleet: Fleet, urls: &[(&str, String)]) -> Gateway {
    gateway_with(fleet, urls, |_| {}).await
}

/// A gateway whose door is a little different.
pub(super) async fn gateway_with(
    fleet: Fleet,
    urls: &[(&str, String)],
    change: impl FnOnce(&mut Door),
) -> Gateway {
    let (mut door, picture, orders, observations) = door(fleet, urls);
    change(&mut door);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let shutdown = CancellationToken::new();
    let gate = crate::gateway::Gateway::new(door, shutdown.clone());
    tokio::spawn(gate.clone().serve(listener));
    Gateway {
        url,
        gate,
        picture,
        orders,
        observations,
        client: Client::builder(TokioExecutor::new()).build_http(),
        _end: shutdown.drop_guard(),
    }
}

impl Gateway {
    /// A chat request on its way; `body` without its braces.
    pub(super) fn send(
        &self,
        body: &str,
        headers: &[(&str, &str)],
    ) -> tokio::task::JoinHandle<Response<Incoming>> {
        self.post("/v1/chat/completions", body, headers)
    }

    /// A request to any path on its way; `body` without its braces.
    pub(super) fn post(
        &self,
        path: &str,
        body: &str,
        headers: &[(&str, &str)],
    ) -> tokio::task::JoinHandle<Response<Incoming>> {
        let mut request = Request::post(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = Bytes::from(format!("{{{body}}}"));
        let sent = self.client.request(request.body(Full::new(body)).unwrap());
        tokio::spawn(async move { sent.await.unwrap() })
    }

    pub(super) async fn get(&self, path: &str) -> Response<Incoming> {
        let request = Request::get(format!("{}{path}", self.url));
        let request = request.body(Full::default()).unwrap();
        self.client.request(request).await.unwrap()
    }

    /// The next record; other observations are passed over.
    pub(super) async fn record(&mut self) -> RequestRecord {
        loop {
            if let Observation::Request(record) = self.observations.recv().await.unwrap() {
                return RequestRecord::clone(&record);
            }
        }
    }
}

pub(super) async fn text(response: Response<Incoming>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The `error` object of an answer.
pub(super) async fn error(response: Response<Incoming>) -> serde_json::Value {
    let whole: serde_json::Value = serde_json::from_str(&text(response).await).unwrap();
    whole["error"].clone()
}

/// The next chunk of a stream.
pub(super) async fn chunk(response: &mut Response<Incoming>) -> Option<String> {
    let frame = response.body_mut().frame().await?.ok()?;
    String::from_utf8(frame.into_data().ok()?.to_vec()).ok()
}

pub(super) fn header<'r, B>(response: &'r Response<B>, name: &str) -> &'r str {
    response
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}
