//! HTTP as the edges need it: short calls with a limit on time and size, and what went wrong in plain words.

use std::error::Error;
use std::io;
use std::time::Duration;

pub use crate::fleet::clean;

/// The longest answer that is read, in bytes.
pub const MOST_BYTES: usize = 8 << 20;

/// An answer, read whole.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// At most [`MOST_BYTES`].
    pub body: Vec<u8>,
}

/// Why there is no answer, in plain words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Nobody listens there.
    #[error("{0}")]
    Refused(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

/// A client for readings and orders: it keeps connections alive and follows no redirect, which could lead anywhere.
///
/// # Errors
/// Where the system's certificates or resolver cannot be set up.
pub fn client() -> Result<reqwest::Client, String> {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(2))
        .pool_idle_timeout(Duration::from_secs(90))
        .build()
        .map_err(|e| format!("the HTTP client could not be set up: {}", explain(&e)))
}

/// The URL of a path at an address: one of IPv6 stands in brackets.
pub fn at(ip: &str, port: u16, path: &str) -> String {
    if ip.contains(':') {
        format!("http://[{ip}]:{port}{path}")
    } else {
        format!("http://{ip}:{port}{path}")
    }
}

/// Asks for `url` and reads the answer, whatever its status.
///
/// # Errors
/// Where there is no whole answer within `limit`.
pub async fn get(
    http: &reqwest::Client,
    url: &str,
    key: Option<&str>,
    limit: Duration,
) -> Result<Reply, Fault> {
    send(http.get(url), key, limit).await
}

/// Posts `json`, or nothing, to `url` and reads the answer, whatever its status.
///
/// # Errors
/// Where there is no whole answer within `limit`.
pub async fn post(
    http: &reqwest::Client,
    url: &str,
    key: Option<&str>,
    json: Option<String>,
    limit: Duration,
) -> Result<Reply, Fault> {
    let mut request = http.post(url);
    if let Some(json) = json {
        request = request
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(json);
    }
    send(request, key, limit).await
}

async fn send(
    mut request: reqwest::RequestBuilder,
    key: Option<&str>,
    limit: Duration,
) -> Result<Reply, Fault> {
    if let Some(key) = key {
        request = request.bearer_auth(key);
    }
    let mut response = request.timeout(limit).send().await.map_err(fault)?;
    let status = response.status().as_u16();
    let expected = response.content_length().unwrap_or(0);
    let mut body =
        Vec::with_capacity(usize::try_from(expected).map_or(0, |bytes| bytes.min(MOST_BYTES)));
    while let Some(chunk) = response.chunk().await.map_err(fault)? {
        if body.len() + chunk.len() > MOST_BYTES {
            return Err(Fault::Failed(format!(
                "its answer is longer than {} MiB",
                MOST_BYTES >> 20
            )));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Reply { status, body })
}

#[expect(clippy::needless_pass_by_value, reason = "the form that map_err wants")]
fn fault(error: reqwest::Error) -> Fault {
    let words = explain(&error);
    if refused(&error) {
        Fault::Refused(words)
    } else {
        Fault::Failed(words)
    }
}

/// A failed call in plain words, without its address, which the reader knows and which may hold a password.
pub fn explain(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it did not answer in time".to_owned();
    }
    if refused(error) {
        return "nothing listens there (connection refused)".to_owned();
    }
    let mut last = None;
    let mut next = error.source();
    while let Some(cause) = next {
        last = Some(cause);
        next = cause.source();
    }
    match last {
        Some(cause) => clean(&cause.to_string()),
        None if error.is_builder() => "its address is not a URL".to_owned(),
        None => "the call failed".to_owned(),
    }
}

fn refused(error: &reqwest::Error) -> bool {
    let mut next = error.source();
    while let Some(cause) = next {
        if let Some(cause) = cause.downcast_ref::<io::Error>()
            && cause.kind() == io::ErrorKind::ConnectionRefused
        {
            return true;
        }
        next = cause.source();
    }
    false
}

impl Reply {
    /// Whether the status is one of success.
    pub fn ok(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The status with its name and the beginning of the first line of the body, clean: `404 Not Found: no such path`.
    pub fn words(&self) -> String {
        const MOST: usize = 160;
        let name = http::StatusCode::from_u16(self.status)
            .ok()
            .and_then(|status| status.canonical_reason());
        let head = match name {
            Some(name) => format!("{} {name}", self.status),
            None => self.status.to_string(),
        };
        let text = String::from_utf8_lossy(&self.body);
        let line = clean(text.trim().lines().next().unwrap_or_default());
        if line.is_empty() {
            return head;
        }
        match line.char_indices().nth(MOST) {
            Some((at, _)) => format!("{head}: {}…", &line[..at]),
            None => format!("{head}: {line}"),
        }
    }
}
