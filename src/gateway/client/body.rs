//! The body of a request: whole, and no larger or slower than is allowed.

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, StatusCode};
use http_body::Body;
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use crate::gateway::Settings;
use crate::gateway::client::envelope::Fault;

/// A body up to this many bytes is copied.
const SMALL: usize = 8 << 10;
/// A body over the limit is read on to this many times the limit and thrown away, so that its connection survives.
const THROWN_AWAY: usize = 4;

/// The whole body.
///
/// # Errors
/// 413 where it is larger than allowed, 408 where it takes longer, 400 where it breaks off.
pub(crate) async fn read<B>(
    body: B,
    headers: &HeaderMap,
    settings: &Settings,
) -> Result<Bytes, Fault>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let limit = (settings.max_body_mib as usize) << 20;
    let within = settings.body_within.to_std().unwrap_or_default();
    timeout(within, bounded(body, headers, limit))
        .await
        .unwrap_or_else(|_| {
            Err(Fault::new(
                StatusCode::REQUEST_TIMEOUT,
                "request_timeout",
                format!("the body did not come within {} s", within.as_secs()),
            ))
        })
}

async fn bounded<B>(mut body: B, headers: &HeaderMap, limit: usize) -> Result<Bytes, Fault>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let too_large = || {
        Fault::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "request_too_large",
            format!("the body is larger than {} MiB", limit >> 20),
        )
    };
    let thrown_away = limit.saturating_mul(THROWN_AWAY);
    let said = headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if said.is_some_and(|length| length > thrown_away) {
        return Err(too_large());
    }
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| Fault::invalid(format!("the body broke off: {error}"), None))?;
        let Ok(chunk) = frame.into_data() else {
            continue;
        };
        length += chunk.len();
        if length > thrown_away {
            break;
        }
        if length > limit {
            rest = BytesMut::new();
            first = Bytes::new();
        } else if first.is_empty() && rest.is_empty() {
            // Most bodies come in one piece, and stay it.
            first = chunk;
        } else {
            if rest.is_empty() {
                rest.reserve(said.unwrap_or(0).clamp(length, limit));
                rest.extend_from_slice(&std::mem::take(&mut first));
            }
            rest.extend_from_slice(&chunk);
        }
    }
    if length > limit {
        return Err(too_large());
    }
    Ok(if !rest.is_empty() {
        rest.freeze()
    } else if first.len() <= SMALL {
        // A small one lies in its connection's buffer, which a copy sets free.
        Bytes::copy_from_slice(&first)
    } else {
        first
    })
}
