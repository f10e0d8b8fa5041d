//! Watches: changes in their order, as they happen.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::failure::{Answer, Failure, typed};
use super::inner::Inner;
use super::list;
use super::object::{Form, Object};
use super::record::OpenWatch;
use super::request::{Request, Target};
use super::resources::Kind;
use super::select::Selector;
use super::store::Change;

/// What is done to all open watches; the numbers count how often.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Orders {
    /// Broken off.
    pub(super) dropped: u64,
    /// Ended as after their time.
    pub(super) ended: u64,
    /// Asked for a bookmark.
    pub(super) bookmarks: u64,
    /// Kept open without a word.
    pub(super) silent: bool,
}

/// One open watch.
struct Watch {
    inner: Arc<Inner>,
    kind: &'static Kind,
    selector: Selector,
    form: Form,
    /// The version up to which all is told.
    told: u64,
    bookmarks: bool,
    next_bookmark: Instant,
    end: Option<Instant>,
    changes: watch::Receiver<u64>,
    orders: watch::Receiver<Orders>,
    seen: Orders,
    over: bool,
    _open: OpenWatch,
}

/// Answers a WATCH.
pub(super) fn watch(inner: &Arc<Inner>, request: &Request, target: &Target) -> Answer {
    let kind = target.kind;
    let selector = list::selector(request, target)?;
    let form = list::form(request, Form::Full);
    let initial = initial(inner, request)?;
    let asked = request.number("resourceVersion")?.unwrap_or(0);
    let bookmarks = request.on("allowWatchBookmarks");
    // Subscribed before the store is read, so that nothing falls between.
    let (changes, orders) = (inner.changes.subscribe(), inner.orders.subscribe());
    let mut first = Vec::new();
    let (told, refused) = {
        let store = inner.store();
        let current = store.version();
        if initial == Some(true) && asked > current {
            return Err(Failure::too_large(asked, current));
        }
        let start = if asked == 0 || initial == Some(true) {
            current
        } else {
            asked
        };
        // Without a version a watch begins with all that is there, unless told not to.
        if initial.unwrap_or(asked == 0) {
            for object in store.objects(kind).filter(|o| selector.matches(o)) {
                line("ADDED", object, form, &mut first);
            }
            if initial == Some(true) && bookmarks {
                first.extend(bookmark(kind, form, current, true));
            }
        }
        (start, store.since(kind, start).err())
    };
    let settings = inner.settings();
    if let Some(gone) = &refused {
        if settings.gone_as_http {
            return Err(gone.clone());
        }
        let error = json!({ "type": "ERROR", "object": gone.status() });
        first = format!("{error}\n").into_bytes();
    }
    let now = Instant::now();
    let timeout = request.number("timeoutSeconds")?.filter(|t| *t > 0);
    let seen = *orders.borrow();
    let watch = Watch {
        inner: Arc::clone(inner),
        kind,
        selector,
        form,
        told,
        bookmarks,
        next_bookmark: now + settings.bookmark_every,
        end: timeout.map(|t| now + Duration::from_secs(t)),
        changes,
        orders,
        seen,
        over: refused.is_some(),
        _open: inner.open_watch(kind),
    };
    let body = stream::unfold((watch, first), |(mut watch, first)| async move {
        let chunk = if first.is_empty() {
            watch.next().await
        } else {
            Some(Ok(first.into()))
        };
        chunk.map(|chunk| (chunk, (watch, Vec::new())))
    });
    Ok(typed(200, "application/json", Body::from_stream(body)))
}

/// Whether the initial events are asked for, or asked not to be sent.
fn initial(inner: &Inner, request: &Request) -> Result<Option<bool>, Failure> {
    let forbidden = |why: &str| {
        let text =
            format!("ListOptions.meta.k8s.io \"\" is invalid: sendInitialEvents: Forbidden: {why}");
        Err(Failure::new(422, "Invalid", text))
    };
    let asked = match request.param("sendInitialEvents") {
        "" => None,
        text => Some(text == "true" || text == "1"),
    };
    let not_older = request.param("resourceVersionMatch") == "NotOlderThan";
    match asked {
        Some(_) if !inner.settings().streaming_lists => forbidden(
            "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled",
        ),
        Some(true) if !not_older => {
            forbidden("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
        }
        asked => Ok(asked),
    }
}

impl Watch {
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        loop {
            if self.over {
                return None;
            }
            let orders = *self.orders.borrow_and_update();
            let before = std::mem::replace(&mut self.seen, orders);
            if orders.dropped != before.dropped {
                self.over = true;
                return Some(Err(io::ErrorKind::ConnectionReset.into()));
            }
            if orders.ended != before.ended {
                return None;
            }
            if !orders.silent {
                let asked = orders.bookmarks != before.bookmarks;
                let chunk = self.news(asked);
                if !chunk.is_empty() {
                    return Some(Ok(chunk.into()));
                }
            }
            let never = Instant::now() + Duration::from_secs(86_400);
            let bookmark = if self.bookmarks && !orders.silent {
                self.next_bookmark
            } else {
                never
            };
            tokio::select! {
                changed = self.changes.changed() => changed.ok()?,
                changed = self.orders.changed() => changed.ok()?,
                () = sleep_until(bookmark) => {}
                () = sleep_until(self.end.unwrap_or(never)) => return None,
            }
        }
    }

    /// What has happened since the last word, and a bookmark if it is due.
    fn news(&mut self, asked: bool) -> Vec<u8> {
        let mut out = Vec::new();
        let (current, changes) = {
            let store = self.inner.store();
            (store.version(), store.since(self.kind, self.told))
        };
        self.changes.mark_unchanged();
        let Ok(changes) = changes else {
            // A watcher that lags behind the history is let go.
            self.over = true;
            return out;
        };
        for change in changes {
            self.told = change.version;
            self.tell(&change, &mut out);
        }
        self.told = self.told.max(current);
        if self.bookmarks && (asked || Instant::now() >= self.next_bookmark) {
            self.next_bookmark = Instant::now() + self.inner.settings().bookmark_every;
            out.extend(bookmark(self.kind, self.form, self.told, false));
        }
        out
    }

    fn tell(&self, change: &Change, out: &mut Vec<u8>) {
        let wanted = |side: &Option<Arc<Object>>| {
            side.as_ref().filter(|o| self.selector.matches(o)).cloned()
        };
        match (wanted(&change.before), wanted(&change.after)) {
            (None, Some(new)) => line("ADDED", &new, self.form, out),
            (Some(_), Some(new)) => line("MODIFIED", &new, self.form, out),
            (Some(old), None) => line("DELETED", &old.at(change.version), self.form, out),
            (None, None) => {}
        }
    }
}

fn line(verb: &str, object: &Object, form: Form, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{{\"type\":\"{verb}\",\"object\":").as_bytes());
    object.write(form, out);
    out.extend_from_slice(b"}\n");
}

/// A bookmark, with the empty parts that the typed kinds cannot leave out.
fn bookmark(kind: &Kind, form: Form, version: u64, initial_end: bool) -> Vec<u8> {
    let mut metadata = json!({ "resourceVersion": version.to_string() });
    if initial_end {
        metadata["annotations"] = json!({ "k8s.io/initial-events-end": "true" });
    }
    if kind.builtin {
        metadata["creationTimestamp"] = Value::Null;
    }
    let (api, name) = match form {
        Form::Metadata => ("meta.k8s.io/v1".to_owned(), "PartialObjectMetadata"),
        _ => (kind.api_version(), kind.kind),
    };
    let mut object = json!({ "kind": name, "apiVersion": api, "metadata": metadata });
    if form != Form::Metadata && kind.builtin {
        let pod = json!({ "containers": null });
        let template = json!({ "metadata": { "creationTimestamp": null }, "spec": pod });
        match kind.kind {
            "Pod" => object["spec"] = pod,
            "Deployment" => {
                object["spec"] = json!({ "selector": null, "template": template, "strategy": {} });
            }
            "ReplicaSet" => object["spec"] = json!({ "selector": null, "template": template }),
            "Node" | "Service" | "Namespace" => object["spec"] = json!({}),
            _ => {}
        }
        if kind.status {
            object["status"] = json!({});
        }
    }
    format!("{}\n", json!({ "type": "BOOKMARK", "object": object })).into_bytes()
}
