//! The fleet as it changes, as server-sent events: a whole picture first, then what changed, as fast as the reader reads.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use tokio::sync::watch;

use super::Desk;
use super::access::Viewer;
use super::feed::Numbered;
use crate::fleet::change::Change;

/// A quiet connection gets a comment this often, so that nothing between cuts it.
const ALIVE: Duration = Duration::from_secs(15);

/// One reader.
struct Reader {
    desk: Arc<Desk>,
    newest: watch::Receiver<Numbered>,
    /// What the reader has.
    has: Option<Numbered>,
}

/// `GET /fleet/v1/events`; with `Last-Event-ID` it goes on from there, where that is not too long ago.
pub(super) async fn follow(
    _: Viewer,
    State(desk): State<Arc<Desk>>,
    headers: HeaderMap,
) -> Response {
    let has = headers
        .get("last-event-id")
        .and_then(|id| id.to_str().ok()?.split_once('.'))
        .filter(|(run, _)| *run == desk.feed.run)
        .and_then(|(_, number)| desk.feed.at(number.parse().ok()?));
    let mut newest = desk.feed.follow();
    newest.mark_changed();
    let reader = Reader { desk, newest, has };
    let events = stream::unfold(reader, next);
    Sse::new(events)
        .keep_alive(KeepAlive::new().interval(ALIVE))
        .into_response()
}

async fn next(mut reader: Reader) -> Option<(Result<Event, Infallible>, Reader)> {
    tokio::select! {
        () = reader.desk.shutdown.cancelled() => return None,
        changed = reader.newest.changed() => changed.ok()?,
    }
    let (number, picture) = reader.newest.borrow_and_update().clone();
    let event = match &reader.has {
        Some((_, before)) => Event::default()
            .event("change")
            .json_data(Change::between(before, &picture)),
        None => Event::default().event("picture").json_data(&*picture),
    };
    // What we made can be written as JSON; a reader that got nothing would ask again for ever.
    let event = event.ok()?.id(format!("{}.{number}", reader.desk.feed.run));
    reader.has = Some((number, picture));
    Some((Ok(event), reader))
}
