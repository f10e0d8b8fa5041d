//! What upstreams say when nothing is wrong, and the bytes it takes on the wire.

use std::fmt::Write as _;

/// A chat request without its braces.
pub(crate) const CHAT: &str = r#""model":"m","messages":[]"#;
/// An answer in one piece, with characters of two, three and four bytes.
pub(crate) const ANSWER: &str = r#"{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":"Zoë ✓ 日本 🦀"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":5}}"#;
/// The first event of a stream.
pub(crate) const HELLO: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Zoë ✓ 日本 🦀\"},\"finish_reason\":null}]}\n\n";
/// The event that ends a choice.
pub(crate) const STOP: &str =
    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
/// The event that says how many tokens it took.
pub(crate) const USAGE: &str =
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":5}}\n\n";
/// The end of a stream.
pub(crate) const DONE: &str = "data: [DONE]\n\n";

/// In what form an answer is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// One piece of JSON.
    Json,
    /// A stream of events.
    Stream,
}

impl Form {
    /// The value of its `content-type`.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Stream => "text/event-stream; charset=utf-8",
        }
    }

    /// The pieces of an ordinary answer.
    pub(crate) fn pieces(self) -> Vec<String> {
        match self {
            Self::Json => vec![ANSWER.to_owned()],
            Self::Stream => [HELLO, STOP, USAGE, DONE].map(str::to_owned).to_vec(),
        }
    }

    /// What a client that asks for no usage gets of an ordinary answer.
    pub(crate) fn told(self) -> String {
        match self {
            Self::Json => ANSWER.to_owned(),
            Self::Stream => [HELLO, STOP, DONE].concat(),
        }
    }

    /// An ordinary answer on the wire.
    pub(crate) fn wire(self) -> Vec<u8> {
        match self {
            Self::Json => sized(200, self, ANSWER.len(), ANSWER.as_bytes()),
            Self::Stream => chunked(self, &self.pieces()),
        }
    }
}

/// A status line and headers, with the blank line behind them.
pub(crate) fn head(status: u16, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status} So\r\n");
    for (name, value) in headers {
        let _ = write!(text, "{name}: {value}\r\n");
    }
    text.push_str("\r\n");
    text.into_bytes()
}

/// An answer that says it is `length` bytes long.
pub(crate) fn sized(status: u16, form: Form, length: usize, body: &[u8]) -> Vec<u8> {
    let length = length.to_string();
    let mut bytes = head(
        status,
        &[
            ("content-type", form.content_type()),
            ("content-length", &length),
        ],
    );
    bytes.extend_from_slice(body);
    bytes
}

/// The head of an answer in chunks.
pub(crate) fn chunked_head(form: Form) -> Vec<u8> {
    head(
        200,
        &[
            ("content-type", form.content_type()),
            ("transfer-encoding", "chunked"),
        ],
    )
}

/// One chunk.
pub(crate) fn chunk(piece: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{:x}\r\n", piece.len()).into_bytes();
    bytes.extend_from_slice(piece);
    bytes.extend_from_slice(b"\r\n");
    bytes
}

/// An answer of one chunk for each piece, with its end.
pub(crate) fn chunked<P: AsRef<[u8]>>(form: Form, pieces: &[P]) -> Vec<u8> {
    let mut bytes = chunked_head(form);
    for piece in pieces {
        bytes.extend(chunk(piece.as_ref()));
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}
