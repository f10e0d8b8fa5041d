//! An answer, whole or as server-sent events, with its exact usage.

use std::fmt::Write as _;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::ask::{Ask, Shape};

/// A stream's text comes in at most this many pieces, so that a busy demo costs little.
const PIECES: u32 = 6;
const DEFAULT_TOKENS: u32 = 320;
const WORDS: [&str; 32] = [
    "the", "answer", "depends", "on", "how", "much", "of", "it", "is", "kept", "in", "memory",
    "and", "how", "often", "a", "request", "comes", "back", "to", "what", "was", "there",
    "before;", "measure", "first,", "then", "change", "one", "thing", "at", "time.",
];

pub(super) struct Answer {
    shape: Shape,
    id: String,
    model: String,
    created: i64,
    pieces: Vec<Piece>,
    /// The tool that is called, with the pieces as its arguments.
    call: Option<String>,
    finish: &'static str,
    prompt_tokens: u32,
    cached_tokens: u32,
}

struct Piece {
    text: String,
    tokens: u32,
}

/// One write of a stream: one event or a few.
pub(super) struct Frame {
    pub(super) tokens: u32,
    pub(super) bytes: Bytes,
}

impl Answer {
    pub(super) fn to(
        ask: &Ask,
        id: &str,
        created: i64,
        cached: u32,
        luck: &mut fastrand::Rng,
    ) -> Self {
        let call = ask.tool.clone().filter(|_| luck.u8(0..10) < 7);
        let limit = ask.max_tokens.unwrap_or(DEFAULT_TOKENS).max(1);
        let (pieces, finish) = if call.is_some() {
            (
                vec![Piece::of(r#"{"query":"status","limit":3}"#.to_owned())],
                "tool_calls",
            )
        } else if let Some(schema) = &ask.schema {
            (vec![Piece::of(example(schema, 4).to_string())], "stop")
        } else if luck.u8(0..4) == 0 {
            (speak(limit, luck), "length")
        } else {
            let share = luck.u64(40..100);
            let tokens = (u64::from(limit) * share / 100).max(1) as u32;
            (speak(tokens, luck), "stop")
        };
        let prefix = match ask.shape {
            Shape::Chat => "chatcmpl",
            Shape::Text => "cmpl",
        };
        Self {
            shape: ask.shape,
            id: format!("{prefix}-{}", id.trim_start_matches("req_")),
            model: ask.model.clone(),
            created,
            pieces,
            call,
            finish,
            prompt_tokens: ask.prompt_tokens,
            cached_tokens: cached,
        }
    }

    pub(super) fn tokens(&self) -> u32 {
        self.pieces.iter().map(|p| p.tokens).sum()
    }

    pub(super) fn whole(&self) -> Value {
        let text: String = self.pieces.iter().map(|p| p.text.as_str()).collect();
        let choice = match (self.shape, &self.call) {
            (Shape::Text, _) => {
                json!({"index": 0, "text": text, "logprobs": null, "finish_reason": self.finish})
            }
            (Shape::Chat, None) => json!({
                "index": 0,
                "message": {"role": "assistant", "content": text, "refusal": null},
                "logprobs": null,
                "finish_reason": self.finish,
            }),
            (Shape::Chat, Some(tool)) => json!({
                "index": 0,
                "message": {"role": "assistant", "content": null, "refusal": null, "tool_calls": [{
                    "id": self.call_id(),
                    "type": "function",
                    "function": {"name": tool, "arguments": text},
                }]},
                "logprobs": null,
                "finish_reason": self.finish,
            }),
        };
        self.envelope(
            match self.shape {
                Shape::Chat => "chat.completion",
                Shape::Text => "text_completion",
            },
            &[choice],
            Some(self.usage()),
        )
    }

    /// The last frame holds the finish, the usage where it was asked for, and `[DONE]`.
    pub(super) fn frames(&self, include_usage: bool) -> Vec<Frame> {
        let mut frames: Vec<Frame> = Vec::with_capacity(self.pieces.len() + 1);
        for (n, piece) in self.pieces.iter().enumerate() {
            let choice = self.part(piece, n == 0);
            frames.push(Frame {
                tokens: piece.tokens,
                bytes: self
                    .event(&[choice], include_usage.then_some(Value::Null))
                    .into(),
            });
        }
        let finish = match self.shape {
            Shape::Chat => {
                json!({"index": 0, "delta": {}, "logprobs": null, "finish_reason": self.finish})
            }
            Shape::Text => {
                json!({"index": 0, "text": "", "logprobs": null, "finish_reason": self.finish})
            }
        };
        let mut last = self.event(&[finish], include_usage.then_some(Value::Null));
        if include_usage {
            last.push_str(&self.event(&[], Some(self.usage())));
        }
        last.push_str("data: [DONE]\n\n");
        frames.push(Frame {
            tokens: 0,
            bytes: last.into(),
        });
        frames
    }

    fn part(&self, piece: &Piece, first: bool) -> Value {
        let text = &piece.text;
        let delta = match (self.shape, &self.call) {
            (Shape::Text, _) => {
                return json!({"index": 0, "text": text, "logprobs": null, "finish_reason": null});
            }
            (Shape::Chat, Some(tool)) => {
                json!({"role": "assistant", "content": null, "tool_calls": [{
                    "index": 0,
                    "id": self.call_id(),
                    "type": "function",
                    "function": {"name": tool, "arguments": text},
                }]})
            }
            (Shape::Chat, None) if first => json!({"role": "assistant", "content": text}),
            (Shape::Chat, None) => json!({"content": text}),
        };
        json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": null})
    }

    fn event(&self, choices: &[Value], usage: Option<Value>) -> String {
        let object = match self.shape {
            Shape::Chat => "chat.completion.chunk",
            Shape::Text => "text_completion",
        };
        format!("data: {}\n\n", self.envelope(object, choices, usage))
    }

    fn envelope(&self, object: &str, choices: &[Value], usage: Option<Value>) -> Value {
        let mut whole = json!({
            "id": self.id,
            "object": object,
            "created": self.created,
            "model": self.model,
            "choices": choices,
        });
        if let Some(usage) = usage {
            whole["usage"] = usage;
        }
        whole
    }

    fn usage(&self) -> Value {
        json!({
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.tokens(),
            "total_tokens": self.prompt_tokens + self.tokens(),
            "prompt_tokens_details": {"cached_tokens": self.cached_tokens, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        })
    }

    fn call_id(&self) -> String {
        format!("call_{}", self.id.trim_start_matches("chatcmpl-"))
    }
}

impl Piece {
    fn of(text: String) -> Self {
        let tokens = text.len().div_ceil(4) as u32;
        Self { text, tokens }
    }
}

/// `tokens` words, a token each.
fn speak(tokens: u32, luck: &mut fastrand::Rng) -> Vec<Piece> {
    let offset = luck.usize(0..WORDS.len());
    let mut words = WORDS.iter().cycle().skip(offset);
    let count = tokens.clamp(1, PIECES);
    let end = |n: u32| u64::from(tokens) * u64::from(n) / u64::from(count);
    (0..count)
        .map(|n| {
            let tokens = (end(n + 1) - end(n)) as u32;
            let mut text = String::with_capacity(tokens as usize * 6);
            for word in words.by_ref().take(tokens as usize) {
                let _ = write!(text, "{word} ");
            }
            Piece { text, tokens }
        })
        .collect()
}

/// The smallest thing that follows a JSON schema, as far as its types and properties say.
fn example(schema: &Value, depth: u8) -> Value {
    if let Some(first) = schema.pointer("/enum/0") {
        return first.clone();
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("string") => json!("fine"),
        Some("integer" | "number") => json!(1),
        Some("boolean") => json!(true),
        Some("array") => json!([]),
        Some("null") => Value::Null,
        Some(_) | None => {
            let fields = schema.get("properties").and_then(Value::as_object);
            let deeper = fields.filter(|_| depth > 0).into_iter().flatten();
            Value::Object(
                deeper
                    .map(|(name, field)| (name.clone(), example(field, depth - 1)))
                    .collect::<Map<_, _>>(),
            )
        }
    }
}
