//! What clients ask for: a stock of request bodies, built once and sent many times.

use std::net::SocketAddr;

use bytes::Bytes;
use http::Uri;
use serde_json::{Value, json};

use super::Mix;

/// How many different requests a mix has.
const STOCK: usize = 96;
const WORDS: [&str; 24] = [
    "explain", "cache", "latency", "queue", "tensor", "weights", "engine", "why", "traffic",
    "budget", "replica", "token", "schedule", "memory", "stream", "deploy", "metric", "compare",
    "summary", "error", "review", "function", "test", "answer",
];

/// A request that is ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Prepared {
    pub(super) uri: Uri,
    pub(super) streamed: bool,
    pub(super) bytes: Bytes,
}

#[derive(Clone, Copy)]
enum Kind {
    Chat,
    Short,
    Long,
    Turns,
    Tools,
    Schema,
    Completion,
}

pub(super) fn prepare(gateway: SocketAddr, mix: &Mix, seed: u64) -> Vec<Prepared> {
    let mut luck = fastrand::Rng::with_seed(seed ^ 0xB0D1_E500);
    // A long prompt's beginning is shared, as a team's documents are: engines find it in their prefix cache.
    let document = text(mix.prompt.end() * 2, &mut luck);
    (0..STOCK)
        .filter_map(|_| one(gateway, mix, &document, &mut luck))
        .collect()
}

fn one(
    gateway: SocketAddr,
    mix: &Mix,
    document: &str,
    luck: &mut fastrand::Rng,
) -> Option<Prepared> {
    let kind = match luck.u8(0..100) {
        0..45 => Kind::Chat,
        45..63 => Kind::Short,
        63..73 => Kind::Long,
        73..81 => Kind::Turns,
        81..89 => Kind::Tools,
        89..95 => Kind::Schema,
        _ => Kind::Completion,
    };
    let size = luck.u32(mix.prompt.clone());
    let mut body = json!({
        "model": mix.model,
        "max_tokens": luck.u32(mix.answer.clone()),
        "temperature": 0.7,
    });
    let user = |content: String| json!({"role": "user", "content": content});
    let messages = match kind {
        Kind::Chat | Kind::Tools | Kind::Schema => json!([system(), user(text(size, luck))]),
        Kind::Short => json!([user(text(12, luck))]),
        Kind::Long => json!([system(), user(format!("{document}\n\n{}", text(40, luck)))]),
        Kind::Turns => json!([
            system(),
            user(text(size / 3, luck)),
            {"role": "assistant", "content": text(size / 3, luck)},
            user(text(size / 3, luck)),
        ]),
        Kind::Completion => Value::Null,
    };
    let path = if messages.is_null() {
        body["prompt"] = json!(text(size, luck));
        "/v1/completions"
    } else {
        body["messages"] = messages;
        "/v1/chat/completions"
    };
    match kind {
        Kind::Tools => body["tools"] = tools(),
        Kind::Schema => body["response_format"] = schema(),
        Kind::Chat | Kind::Short | Kind::Long | Kind::Turns | Kind::Completion => {}
    }
    let streamed = luck.f64() < mix.streamed;
    if streamed {
        body["stream"] = json!(true);
        if luck.bool() {
            body["stream_options"] = json!({"include_usage": true});
        }
    }
    Some(Prepared {
        uri: format!("http://{gateway}{path}").parse().ok()?,
        streamed,
        bytes: body.to_string().into(),
    })
}

/// About `tokens` of prose, at four bytes a token.
fn text(tokens: u32, luck: &mut fastrand::Rng) -> String {
    let bytes = tokens as usize * 4;
    let mut text = String::with_capacity(bytes + 12);
    while text.len() < bytes {
        if let Some(word) = luck.choice(WORDS) {
            text.push_str(word);
            text.push(' ');
        }
    }
    text
}

fn system() -> Value {
    json!({"role": "system", "content": "You are a careful engineer. Say what you know, and how you know it."})
}

fn tools() -> Value {
    json!([{"type": "function", "function": {
        "name": "search",
        "description": "Finds what the team wrote about something",
        "parameters": {"type": "object", "properties": {
            "query": {"type": "string"},
            "limit": {"type": "integer"},
        }, "required": ["query"]},
    }}])
}

fn schema() -> Value {
    json!({"type": "json_schema", "json_schema": {"name": "verdict", "strict": true, "schema": {
        "type": "object",
        "properties": {
            "verdict": {"type": "string"},
            "score": {"type": "integer"},
            "sure": {"type": "boolean"},
        },
        "required": ["verdict", "score", "sure"],
        "additionalProperties": false,
    }}})
}
