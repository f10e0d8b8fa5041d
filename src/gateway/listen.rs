//! Connections of clients: how many, how long they may idle, and what a slow one may cost.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep};

use super::worker::Workers;
use super::{Gate, serve};

/// What runs at a shutdown may take this long, wall time.
pub(super) const GRACE: Duration = Duration::from_secs(5);
/// Headers of one request, bytes; more get 431.
const HEADERS: usize = 64 << 10;

/// Takes connections until the shutdown, and waits for what runs on them then.
pub(super) async fn run(listener: TcpListener, gate: &Arc<Gate>, mut workers: Workers) {
    loop {
        // Without a place nothing is accepted: who comes then waits in the system's own queue.
        let accepted = async {
            let place = Arc::clone(&gate.places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            biased;
            () = gate.shutdown.cancelled() => break,
            accepted = accepted => accepted,
        };
        match (place, accepted) {
            (Ok(place), Ok((stream, _))) => {
                workers.take(stream, place).await;
            }
            (Ok(_), Err(error)) => {
                // Out of descriptors, most likely: give the ones that end a moment.
                tracing::warn!("no connection could be taken: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            (Err(_), _) => break,
        }
    }
    drop(listener);
    workers.end().await;
}

/// One client's connection.
pub(super) async fn converse(gate: Arc<Gate>, stream: TcpStream, place: OwnedSemaphorePermit) {
    // Events are small: none waits for the next.
    let _ = stream.set_nodelay(true);
    let shutdown = gate.shutdown.clone();
    let plan = gate.plan();
    let settings = &plan.settings;
    let idle = settings.idle.to_std().unwrap_or_default();
    let stall = settings.client_stall.to_std().unwrap_or_default();
    drop(plan);
    let io = TokioIo::new(Patient::new(stream, stall));
    let service = service_fn(move |request| {
        let gate = Arc::clone(&gate);
        // Boxed: a connection that idles carries no room for a request.
        Box::pin(
            async move { Ok::<_, std::convert::Infallible>(serve::answer(gate, request).await) },
        )
    });
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(idle)
            .max_header_size(HEADERS)
            .serve_connection(io, service)
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => Ok(ended),
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(GRACE, connection).await
        }
    };
    if let Ok(Err(error)) = ended {
        tracing::debug!("a client's connection ended: {error}");
    }
    drop(place);
}

/// A stream whose reader must take something now and then.
struct Patient {
    stream: TcpStream,
    stall: Duration,
    /// Runs while nothing can be written.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Patient {
    fn new(stream: TcpStream, stall: Duration) -> Self {
        Self {
            stream,
            stall,
            alarm: None,
        }
    }

    fn written<T>(
        &mut self,
        cx: &mut Context<'_>,
        poll: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            self.alarm = None;
            return poll;
        }
        let due = Instant::now() + self.stall;
        let alarm = self
            .alarm
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        ready!(alarm.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the client takes nothing of its answer",
        )))
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.written(cx, poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.written(cx, poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
