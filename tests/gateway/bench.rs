//! A gateway that runs, a plain client, and the far ends of all that the gateway is given.

use std::sync::Arc;

use bytes::Bytes;
use chrono::TimeDelta;
use fleetctl::clock::Clock;
use fleetctl::fleet::{Backend, Fleet, Observation, RequestRecord};
use fleetctl::gateway::{Door, Key, Settings, Upstream as At, run};
use fleetctl::handle::Order;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::fleet::{fleet, t0};
use super::upstream::{Event, Upstream};
use super::words::{ANSWER, CHAT};

/// The key that the gateway has for its upstreams.
pub(crate) const SECRET: &str = "upstream-secret";
/// A stream that says nothing for this long has failed, fleet time.
pub(crate) const STALL: TimeDelta = TimeDelta::seconds(20);

/// A gateway under test.
pub(crate) struct Bench {
    pub(crate) address: String,
    pub(crate) clock: Clock,
    pub(crate) observations: mpsc::Receiver<Observation>,
    /// What happens at its upstreams.
    pub(crate) events: mpsc::UnboundedReceiver<Event>,
    pub(crate) upstreams: Vec<Arc<Upstream>>,
    _picture: watch::Sender<Arc<Fleet>>,
    _orders: mpsc::Receiver<Order>,
    _end: DropGuard,
}

/// What a client saw.
#[derive(Debug)]
pub(crate) struct Saw {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// The body ended before its end.
    pub(crate) cut: bool,
}

impl Saw {
    /// A header, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Bench {
    /// A gateway to these backends, each with its upstream; its time runs `speed` times as fast as the wall's.
    pub(crate) async fn new(
        speed: u32,
        backends: Vec<(Backend, Upstream)>,
        events: mpsc::UnboundedReceiver<Event>,
    ) -> Self {
        let (backends, upstreams): (Vec<_>, Vec<_>) = backends.into_iter().unzip();
        let ways = backends
            .iter()
            .zip(&upstreams)
            .map(|(backend, upstream)| At {
                key: Some(Key::new(SECRET)),
                stall_after: STALL,
                ..At::at(backend.id.clone(), &upstream.url)
            });
        let ways = ways.collect();
        let (picture, fleet) = watch::channel(Arc::new(fleet(backends)));
        let (to_orders, orders) = mpsc::channel(16);
        let (to_observations, observations) = mpsc::channel(4096);
        let clock = Clock::starting_at(t0(), speed);
        let door = Door {
            settings: Settings {
                // Kept connections are each thread's own: with one, it is known which is used next.
                threads: 1,
                ..Settings::default()
            },
            clients: Vec::new(),
            upstreams: ways,
            fleet,
            orders: to_orders,
            observations: to_observations,
            clock,
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shutdown = CancellationToken::new();
        tokio::spawn(run(listener, door, shutdown.clone()));
        Self {
            address,
            clock,
            observations,
            events,
            upstreams: upstreams.into_iter().map(Arc::new).collect(),
            _picture: picture,
            _orders: orders,
            _end: shutdown.drop_guard(),
        }
    }

    /// Asks for a chat completion on a connection of its own; `body` is without its braces.
    ///
    /// Upstreams that wait for it are told when the client sees the first of the answer.
    pub(crate) async fn ask(&self, id: &str, body: &str) -> Saw {
        ask(
            self.address.clone(),
            self.upstreams.clone(),
            id.to_owned(),
            body.to_owned(),
        )
        .await
    }

    /// The record of a request.
    pub(crate) async fn record(&mut self, id: &str) -> RequestRecord {
        loop {
            if let Observation::Request(record) = self.observations.recv().await.unwrap()
                && record.id == id
            {
                return RequestRecord::clone(&record);
            }
        }
    }

    /// How many requests the gateway has in flight, as it says after this moment.
    async fn in_flight(&mut self) -> u32 {
        let now = self.clock.now();
        loop {
            if let Observation::Gateway { in_flight, at, .. } =
                self.observations.recv().await.unwrap()
                && at >= now
            {
                return in_flight.iter().map(|(_, n)| *n).sum();
            }
        }
    }

    /// The gateway answers ordinary requests, and while it does they are all that it says is in flight.
    ///
    /// A circuit that is open is waited for: until it lets a request through, the gateway says that it does not ask.
    pub(crate) async fn is_sound(&mut self) {
        for number in 0.. {
            let saw = self.ask(&format!("after-{number}"), CHAT).await;
            if saw.status == 200 {
                assert_eq!(saw.text(), ANSWER);
                break;
            }
            assert!(matches!(saw.status, 429 | 502), "{saw:?}");
        }
        // Two, because what is in flight is told when it changes, and the fault may have left word of one.
        let held = ["held-0", "held-1"].map(|id| {
            let asked = ask(self.address.clone(), Vec::new(), id.into(), CHAT.into());
            tokio::spawn(asked)
        });
        let mut arrived = 0;
        while arrived < held.len() {
            if let Event::Arrived(id) = self.events.recv().await.unwrap() {
                arrived += usize::from(id.starts_with("held"));
            }
        }
        assert_eq!(self.in_flight().await, 2, "in flight are those two alone");
        for upstream in &self.upstreams {
            upstream.release();
            upstream.release();
        }
        for asked in held {
            let saw = asked.await.unwrap();
            assert_eq!((saw.status, saw.text().as_str()), (200, ANSWER));
        }
        assert_eq!(self.in_flight().await, 0);
    }
}

async fn ask(address: String, tell: Vec<Arc<Upstream>>, id: String, body: String) -> Saw {
    let stream = TcpStream::connect(&address).await.unwrap();
    let (mut send, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = Request::post("/v1/chat/completions")
        .header("host", address)
        .header("x-request-id", id)
        .body(Full::new(Bytes::from(format!("{{{body}}}"))))
        .unwrap();
    let (parts, mut rest) = send.send_request(request).await.unwrap().into_parts();
    let mut saw = Saw {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body: Vec::new(),
        cut: false,
    };
    while let Some(frame) = rest.frame().await {
        let Ok(frame) = frame else {
            saw.cut = true;
            break;
        };
        if saw.body.is_empty() {
            for upstream in &tell {
                upstream.seen();
            }
        }
        saw.body.extend(frame.into_data().unwrap());
    }
    saw
}
