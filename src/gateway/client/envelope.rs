//! Errors in OpenAI's envelope, so that the official SDKs raise their own typed exceptions.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use serde_json::{Map, Value, json};

use crate::gateway::answer::live::Reply;

/// The longest message that is passed on, in characters.
const LONGEST_MESSAGE: usize = 2000;

/// An error of the gateway's own.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) param: Option<&'static str>,
    pub(crate) message: String,
    /// Wall time after which asking again makes sense.
    pub(crate) retry_after: Option<Duration>,
    /// The methods that are allowed, with 405.
    pub(crate) allow: Option<&'static str>,
}

impl Fault {
    /// An error with a status, a code and a message.
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            param: None,
            message: message.into(),
            retry_after: None,
            allow: None,
        }
    }

    /// The request itself is wrong.
    pub(crate) fn invalid(message: String, param: Option<&'static str>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", message).about(param)
    }

    /// With the field at fault.
    pub(crate) fn about(mut self, param: Option<&'static str>) -> Self {
        self.param = param;
        self
    }

    /// With `Retry-After`.
    pub(crate) fn after(mut self, wall: Duration) -> Self {
        self.retry_after = Some(wall);
        self
    }

    /// The answer.
    pub(crate) fn response(&self) -> Response<Reply> {
        let body = envelope(
            self.status,
            json!({
                "message": self.message,
                "type": type_of(self.status),
                "param": self.param,
                "code": self.code,
            }),
        );
        let mut response = json_response(self.status, body);
        if let Some(wall) = self.retry_after {
            let seconds = wall.as_secs() + u64::from(wall.subsec_nanos() > 0);
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if let Some(allow) = self.allow {
            response
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static(allow));
        }
        response
    }
}

/// A short JSON answer.
pub(crate) fn json_response(status: StatusCode, body: Bytes) -> Response<Reply> {
    let mut response = Response::new(Reply::short(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The `type` that goes with a status where nobody gave one.
fn type_of(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        _ => "server_error",
    }
}

fn envelope(status: StatusCode, mut error: Value) -> Bytes {
    if let Some(fields) = error.as_object_mut() {
        fields.entry("type").or_insert(type_of(status).into());
        fields.entry("param").or_insert(Value::Null);
        fields.entry("code").or_insert(Value::Null);
    }
    Bytes::from(json!({ "error": error }).to_string())
}

/// An error of an upstream in the one envelope; bytes that are in it already come back as they came.
///
/// Seen in real engines: `code` a number, `error` a string, `detail` in its place (FastAPI's), and no JSON at all.
pub(crate) fn normalise(status: StatusCode, body: &Bytes) -> Bytes {
    let parsed: Option<Value> = serde_json::from_slice(body).ok();
    if let Some(Value::Object(error)) = parsed.as_ref().and_then(|whole| whole.get("error")) {
        let text = |name| matches!(error.get(name), Some(Value::String(_)));
        let text_or_null = |name| matches!(error.get(name), Some(Value::String(_) | Value::Null));
        if text("message") && text("type") && text_or_null("param") && text_or_null("code") {
            return body.clone();
        }
    }
    let mut fields = match parsed.as_ref().and_then(|whole| whole.get("error")) {
        Some(Value::Object(error)) => error.clone(),
        Some(_) | None => Map::new(),
    };
    fields.insert("message".to_owned(), message_of(status, body).into());
    if !matches!(fields.get("type"), Some(Value::String(_))) {
        fields.insert("type".to_owned(), type_of(status).into());
    }
    for name in ["code", "param"] {
        match fields.get(name) {
            Some(Value::String(_) | Value::Null) | None => {}
            Some(other) => {
                let text = other.to_string();
                fields.insert(name.to_owned(), text.into());
            }
        }
    }
    envelope(status, Value::Object(fields))
}

/// What an upstream's error says, in one line without control characters.
pub(crate) fn message_of(status: StatusCode, body: &[u8]) -> String {
    let plain = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Null => None,
        other => Some(other.to_string()),
    };
    let parsed: Option<Value> = serde_json::from_slice(body).ok();
    let said = parsed.as_ref().and_then(|whole| {
        let error = whole.get("error");
        error
            .and_then(|error| error.get("message"))
            .or(error)
            .or_else(|| whole.get("detail"))
            .or_else(|| whole.get("message"))
            .and_then(plain)
    });
    let said = said.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
    let said = one_line(&said, LONGEST_MESSAGE);
    if said.is_empty() {
        status.canonical_reason().unwrap_or("no words").to_owned()
    } else {
        said
    }
}

/// The `code` of an upstream's error, where it is a word.
pub(crate) fn code_of(body: &[u8]) -> Option<String> {
    let parsed: Value = serde_json::from_slice(body).ok()?;
    let error = parsed.get("error")?;
    [error.get("code"), error.get("type")]
        .into_iter()
        .flatten()
        .find_map(|code| code.as_str().map(str::to_owned))
}

/// The status that an error event in a stream names; `None` where it names none.
pub(crate) fn status_in(event: &str) -> Option<StatusCode> {
    let parsed: Value = serde_json::from_str(event).ok()?;
    let error = parsed.get("error")?;
    let code = [error.get("code"), error.get("status")]
        .into_iter()
        .flatten()
        .find_map(|code| {
            code.as_u64()
                .or_else(|| code.as_str().and_then(|text| text.parse().ok()))
        })?;
    StatusCode::from_u16(u16::try_from(code).ok()?).ok()
}

/// `text` without control characters, cut at `longest` characters.
pub(crate) fn one_line(text: &str, longest: usize) -> String {
    text.trim()
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(longest)
        .collect()
}

/// An error event for a stream that has begun.
pub(crate) fn event(message: &str, inside_event: bool) -> Bytes {
    let body = json!({"error": {
        "message": message, "type": "server_error", "param": null, "code": "upstream_error",
    }});
    let lead = if inside_event { "\n\n" } else { "" };
    Bytes::from(format!("{lead}data: {body}\n\n"))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::StatusCode;
    use serde_json::{Value, json};

    use super::{message_of, normalise, status_in};

    #[test]
    fn every_shape_becomes_the_one_envelope() {
        let cases = [
            (
                404,
                r#"{"error":{"message":"no","type":"NotFoundError","param":"model","code":404}}"#,
                json!({"message":"no","type":"NotFoundError","param":"model","code":"404"}),
            ),
            (
                404,
                r#"{"detail":"Not Found"}"#,
                json!({"message":"Not Found","type":"invalid_request_error","param":null,"code":null}),
            ),
            (
                401,
                r#"{"error":"Unauthorized"}"#,
                json!({"message":"Unauthorized","type":"authentication_error","param":null,"code":null}),
            ),
            (
                400,
                "no\u{1b}[31m json",
                json!({"message":"no [31m json","type":"invalid_request_error","param":null,"code":null}),
            ),
            (
                400,
                r#"{"error":{"code":"content_filter","message":"filtered","innererror":{"code":"x"}}}"#,
                json!({"message":"filtered","type":"invalid_request_error","param":null,"code":"content_filter","innererror":{"code":"x"}}),
            ),
        ];
        for (status, body, expected) in cases {
            let out = normalise(StatusCode::from_u16(status).unwrap(), &Bytes::from(body));
            let out: Value = serde_json::from_slice(&out).unwrap();
            assert_eq!(out["error"], expected, "{body}");
        }
    }

    #[test]
    fn what_is_right_already_keeps_its_bytes() {
        let body = Bytes::from_static(
            br#"{ "error": {"message":"m", "type":"t","param":null,"code":"c", "x":1.50} }"#,
        );
        assert_eq!(normalise(StatusCode::BAD_REQUEST, &body), body);
    }

    #[test]
    fn an_error_event_may_name_a_status() {
        assert_eq!(
            status_in(r#"{"error":{"code":503}}"#),
            Some(StatusCode::SERVICE_UNAVAILABLE)
        );
        assert_eq!(status_in(r#"{"error":{"code":"server_error"}}"#), None);
        assert_eq!(message_of(StatusCode::BAD_GATEWAY, b""), "Bad Gateway");
    }
}
