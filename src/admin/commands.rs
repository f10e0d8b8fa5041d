//! `POST /fleet/v1/commands`: the one door in, over HTTP.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::access::operator;
use super::{Asked, Desk, SCHEMA_VERSION, answer, fault};
use crate::fleet::message::RefusalKind;
use crate::fleet::{Command, preview};
use crate::handle::Order;

/// The owner of the fleet answers within milliseconds; one that does not is in trouble.
const ANSWER: Duration = Duration::from_secs(10);

/// What the query may say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct How {
    /// Only say what would happen.
    #[serde(default)]
    dry_run: bool,
}

pub(super) async fn post(
    State(desk): State<Arc<Desk>>,
    Asked(how): Asked<How>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let by = match operator(&desk, &headers) {
        Ok(by) => by,
        Err(refused) => return *refused,
    };
    let command: Command = match serde_json::from_slice(&body) {
        Ok(command) => command,
        Err(cause) => {
            return fault(
                StatusCode::BAD_REQUEST,
                "usage",
                &format!("the body is no command: {cause}"),
                r#"send one like {"command": "wake", "backend": "NAME"}; openapi.json has all of them"#,
            );
        }
    };
    let fleet = desk.handle.snapshots.borrow().clone();
    if how.dry_run {
        let told = json!({
            "schema_version": SCHEMA_VERSION,
            "preview": preview(&fleet, &command),
            "version": fleet.version(&command),
        });
        return with_version(answer(StatusCode::OK, &told), &fleet.version(&command));
    }
    let expects = match expected(&headers) {
        Ok(expects) => expects,
        Err(refused) => return *refused,
    };
    let (reply, done) = oneshot::channel();
    let order = Order {
        rehearse: false,
        command: command.clone(),
        by,
        expects,
        reply: Some(reply),
    };
    let unanswered = || {
        fault(
            StatusCode::GATEWAY_TIMEOUT,
            "unanswered",
            "the fleet did not answer",
            "look at the audit before you try again",
        )
    };
    if desk.handle.orders.send(order).await.is_err() {
        return unanswered();
    }
    let Ok(Ok(done)) = timeout(ANSWER, done).await else {
        return unanswered();
    };
    // Who has the answer sees its effect: the picture was published before.
    let version = desk.handle.snapshots.borrow().version(&command);
    let response = match done {
        Ok(receipt) => answer(
            StatusCode::OK,
            &json!({"schema_version": SCHEMA_VERSION, "said": receipt.said, "undoable": receipt.undoable}),
        ),
        Err(refusal) => {
            let (status, kind) = match refusal.kind {
                RefusalKind::Refused => (StatusCode::CONFLICT, "refused"),
                RefusalKind::NotFound => (StatusCode::NOT_FOUND, "not-found"),
                RefusalKind::Changed => (StatusCode::PRECONDITION_FAILED, "changed"),
                RefusalKind::Forbidden => (StatusCode::FORBIDDEN, "forbidden"),
                RefusalKind::Unanswered => (StatusCode::GATEWAY_TIMEOUT, "unanswered"),
            };
            fault(status, kind, &refusal.what, &refusal.hint)
        }
    };
    with_version(response, &version)
}

/// What `If-Match` says; `*` and nothing say nothing.
fn expected(headers: &HeaderMap) -> Result<Option<String>, Box<Response>> {
    let Some(value) = headers.get(header::IF_MATCH) else {
        return Ok(None);
    };
    let tag = value.to_str().unwrap_or_default().trim();
    if tag == "*" {
        return Ok(None);
    }
    match tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')) {
        Some(version) => Ok(Some(version.to_owned())),
        None => Err(Box::new(fault(
            StatusCode::BAD_REQUEST,
            "usage",
            "If-Match is no tag in quotes",
            "send the ETag that a dry run of the same command gave",
        ))),
    }
}

fn with_version(mut response: Response, version: &str) -> Response {
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{version}\"")) {
        response
            .headers_mut()
            .insert::<HeaderName>(header::ETAG, tag);
    }
    response
}
