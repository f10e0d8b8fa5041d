//! Connections, and the way of a request through the server: record, trouble, access, answer.

use std::io;
use std::sync::Arc;

use axum::response::{IntoResponse as _, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::answer;
use super::failure::Failure;
use super::faults::{self, Trouble};
use super::inner::Inner;
use super::request::Request;

/// Serves until stopped; then all connections break.
pub(super) async fn serve(listener: TcpListener, inner: Arc<Inner>, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                // Watches are small words that should not wait for each other.
                stream.set_nodelay(true).ok();
                let inner = Arc::clone(&inner);
                let service = service_fn(move |r| handle(Arc::clone(&inner), r));
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                connections.spawn(async move { connection.await.ok() });
            }
        }
    }
}

/// Takes a request through; an error breaks the connection.
async fn handle(inner: Arc<Inner>, raw: http::Request<Incoming>) -> io::Result<Response> {
    let (parts, body) = raw.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let mut request = Request::new(&parts, body);
    let who = inner.access().authenticate(&request);
    if let Ok((user, _)) = &who {
        request.call.user.clone_from(user);
    }
    inner.record().calls.push(request.call.clone());
    inner.stir();
    let mut lost = false;
    let troubles = inner.faults().strike(&request.call);
    for trouble in troubles {
        match trouble {
            Trouble::Delay(time) => tokio::time::sleep(time).await,
            Trouble::HangUp => return Err(io::ErrorKind::ConnectionReset.into()),
            Trouble::LoseAnswer => lost = true,
            Trouble::Status(status, after) => return Ok(faults::answer(status, after)),
        }
    }
    let answer: Result<Response, Failure> = async {
        let (user, groups) = who?;
        inner.access().authorize(&request.call)?;
        answer::answer(&inner, &request, &user, &groups).await
    }
    .await;
    if lost {
        return Err(io::ErrorKind::ConnectionReset.into());
    }
    Ok(answer.unwrap_or_else(|e: Failure| e.into_response()))
}
