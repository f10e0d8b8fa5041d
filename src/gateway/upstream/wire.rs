//! Connections to backends, driven by the requests that use them.
//!
//! hyper's client hands every connection to a task of its own, and each chunk of an answer then crosses from one task to
//! another. Here whoever waits for an answer also drives its connection: one task a request, one wake-up a chunk. Idle
//! connections lie in a stack, newest on top, and are asked whether they still live before they are used again.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body::{Body as _, Frame};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::slot::{Slot, lock};
use crate::gateway::wait::room::Ticket;
use crate::gateway::worker;

/// The longest wait for a connection to an upstream, wall time.
const CONNECT: Duration = Duration::from_secs(5);
/// An idle connection is given up before uvicorn does that (5 s): no request meets a closing one.
const IDLE: Duration = Duration::from_secs(4);
/// Idle connections that are kept to one backend.
const KEPT: usize = 1024;

type Io = MaybeHttpsStream<TokioIo<TcpStream>>;
type Error = Box<dyn std::error::Error + Send + Sync>;

/// Opens connections.
#[derive(Clone, Debug)]
pub(crate) struct Opener(HttpsConnector<HttpConnector>);

/// Idle connections to one backend: a stack for each thread that serves clients.
#[derive(Debug)]
pub(crate) struct Wires {
    idle: Box<[Mutex<Stack>]>,
}

type Stack = Vec<(Wire, Instant)>;

impl Default for Wires {
    fn default() -> Self {
        let idle = (0..worker::count()).map(|_| Mutex::default());
        Self {
            idle: idle.collect(),
        }
    }
}

/// One connection.
#[derive(Debug)]
struct Wire {
    send: SendRequest<Full<Bytes>>,
    driver: Pin<Box<Connection<Io, Full<Bytes>>>>,
}

/// The body of an answer; its connection goes back to the others when it was read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    body: Incoming,
    wire: Option<Wire>,
    slot: Arc<Slot>,
}

impl Opener {
    /// Connections over TLS only where `secure`: reading the system's authorities takes a while.
    pub(crate) fn new(secure: bool) -> Self {
        let mut http = HttpConnector::new();
        http.set_nodelay(true);
        http.enforce_http(false);
        http.set_connect_timeout(Some(CONNECT));
        // The operator's own authorities where the system has some, else Mozilla's.
        let mozillas = || HttpsConnectorBuilder::new().with_webpki_roots();
        let roots = if secure {
            HttpsConnectorBuilder::new()
                .with_native_roots()
                .unwrap_or_else(|_| mozillas())
        } else {
            mozillas()
        };
        Self(roots.https_or_http().enable_http1().wrap_connector(http))
    }

    async fn open(&self, uri: &Uri) -> Result<Wire, Error> {
        use hyper::service::Service as _;
        let io = TowerToHyperService::new(self.0.clone())
            .call(uri.clone())
            .await?;
        let (send, driver) = http1::Builder::new().handshake(io).await?;
        Ok(Wire {
            send,
            driver: Box::pin(driver),
        })
    }
}

impl Wires {
    fn mine(&self) -> MutexGuard<'_, Stack> {
        lock(&self.idle[worker::number() % self.idle.len()])
    }

    /// An idle connection that still lives.
    fn take(&self) -> Option<Wire> {
        loop {
            let (mut wire, _) = self.mine().pop()?;
            if wire.lives() {
                return Some(wire);
            }
        }
    }

    fn give_back(&self, wire: Wire) {
        let mut idle = self.mine();
        if idle.len() < KEPT {
            idle.push((wire, Instant::now()));
        }
    }

    /// Closes connections that nobody used for a while.
    pub(crate) fn sweep(&self) {
        for stack in &self.idle {
            let mut idle = lock(stack);
            // Newest on top: the old ones lie at the bottom.
            let old = idle.partition_point(|(_, since)| since.elapsed() > IDLE);
            let closed: Vec<_> = idle.drain(..old).collect();
            if idle.is_empty() {
                idle.shrink_to_fit();
            }
            drop(idle);
            drop(closed);
        }
    }
}

impl Wire {
    /// Whether the far side has not closed it.
    fn lives(&mut self) -> bool {
        let mut nobody = Context::from_waker(Waker::noop());
        self.driver.as_mut().poll(&mut nobody).is_pending() && self.send.is_ready()
    }
}

/// Why no answer came.
#[derive(Debug)]
pub(crate) enum Unsent {
    /// A kept connection ended without a byte of an answer: it may have been closed under the request.
    Stale(Error),
    /// Nobody listens, or cannot be reached.
    Unreachable(Error),
    /// A new connection ended without an answer.
    Ended(Error),
}

/// Sends a request to the backend of `slot` and waits for the beginning of its answer; on a new connection where `fresh`.
/// `leaving` is told once the request is written.
///
/// # Errors
/// Where no connection could be had, or it ended without an answer.
pub(crate) async fn send(
    opener: &Opener,
    slot: &Arc<Slot>,
    request: Request<Full<Bytes>>,
    fresh: bool,
    leaving: &mut Option<Ticket>,
) -> Result<Response<Answer>, Unsent> {
    let uri = request.uri().clone();
    let mut request = over_the_wire(request);
    // A kept connection may close under the request; one that took nothing of it gives it back.
    while !fresh && let Some(wire) = slot.wires.take() {
        match exchange(wire, slot, request, leaving).await {
            Ok(response) => return Ok(response),
            Err((Some(back), _)) => request = *back,
            Err((None, error)) => return Err(Unsent::Stale(error)),
        }
    }
    // Boxed: it is seldom needed, and a request that waits should not carry its room along.
    let wire = Box::pin(opener.open(&uri))
        .await
        .map_err(Unsent::Unreachable)?;
    exchange(wire, slot, request, leaving)
        .await
        .map_err(|(_, error)| Unsent::Ended(error))
}

/// A request as HTTP/1.1 has it between client and server: path and query in the first line, the rest in `host`.
fn over_the_wire(mut request: Request<Full<Bytes>>) -> Request<Full<Bytes>> {
    let uri = request.uri();
    let host = uri
        .authority()
        .and_then(|it| http::HeaderValue::from_str(it.as_str()).ok());
    let path = uri
        .path_and_query()
        .cloned()
        .map(Uri::from)
        .unwrap_or_default();
    if let Some(host) = host {
        request.headers_mut().insert(http::header::HOST, host);
    }
    *request.uri_mut() = path;
    request
}

/// What came of one exchange that failed: the request where none of it was sent, and why.
type Failed = (Option<Box<Request<Full<Bytes>>>>, Error);

async fn exchange(
    mut wire: Wire,
    slot: &Arc<Slot>,
    request: Request<Full<Bytes>>,
    leaving: &mut Option<Ticket>,
) -> Result<Response<Answer>, Failed> {
    let mut answer = std::pin::pin!(wire.send.try_send_request(request));
    let mut ended = false;
    let answered = std::future::poll_fn(|cx| {
        // The driver writes the request and reads the answer; one that has ended is not asked again.
        if !ended {
            ended = wire.driver.as_mut().poll(cx).is_ready();
        }
        // What was polled once is written, but for what the socket has no room for.
        if let Some(ticket) = leaving.take() {
            ticket.sent();
        }
        answer.as_mut().poll(cx)
    })
    .await;
    match answered {
        Ok(response) => Ok(response.map(|body| Answer {
            body,
            wire: (!ended).then_some(wire),
            slot: Arc::clone(slot),
        })),
        Err(mut error) => Err((
            error.take_message().map(Box::new),
            error.into_error().into(),
        )),
    }
}

impl Answer {
    /// The next part of the body, read from the connection where none is there yet.
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut frame = Pin::new(&mut self.body).poll_frame(cx);
        if frame.is_pending()
            && let Some(wire) = &mut self.wire
        {
            // Asking first tells the driver that there is room; then it reads, and what it read is here.
            if wire.driver.as_mut().poll(cx).is_ready() {
                self.wire = None;
            }
            frame = Pin::new(&mut self.body).poll_frame(cx);
        }
        let frame = ready!(frame);
        if !matches!(frame, Some(Ok(_))) || self.body.is_end_stream() {
            self.settle(matches!(frame, Some(Err(_))), cx);
        }
        Poll::Ready(frame)
    }

    /// The next part of the body.
    pub(crate) async fn frame(&mut self) -> Option<Result<Frame<Bytes>, hyper::Error>> {
        std::future::poll_fn(|cx| self.poll_frame(cx)).await
    }

    /// Whether nothing comes any more.
    pub(crate) fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    /// Nothing comes any more: the connection is free for others, where it is sound.
    pub(crate) fn settle(&mut self, broken: bool, cx: &mut Context<'_>) {
        let Some(mut wire) = self.wire.take() else {
            return;
        };
        if !broken && wire.driver.as_mut().poll(cx).is_pending() && wire.send.is_ready() {
            self.slot.wires.give_back(wire);
        }
    }
}
