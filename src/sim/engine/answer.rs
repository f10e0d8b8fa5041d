//! Answers as vLLM 0.32.0 writes them.

use std::fmt::Write as _;

use super::ask::Ask;
use super::meters::Reason;
use crate::sim::mix;

/// What the server says when it has no place.
pub(super) const BUSY: &str = "The engine is currently busy and cannot accept new requests. Please try again later or on a different instance.";
/// What the server says when its engine process died.
pub(super) const DEAD: &str =
    "EngineCore encountered an issue. See stack trace (above) for the root cause.";
/// The last event of a stream.
const DONE: &str = "data: [DONE]\n\n";
const FINGERPRINT: &str = "vllm-0.32.0-5f2c9d1e";

/// One word is one token. None needs escaping in JSON.
const WORDS: [&str; 64] = [
    "the", "a", "of", "to", "and", "in", "is", "for", "that", "with", "as", "on", "each", "one",
    "value", "model", "request", "answer", "first", "next", "then", "so", "when", "this", "it",
    "we", "can", "use", "data", "time", "cost", "queue", "batch", "token", "cache", "page", "node",
    "image", "weights", "server", "client", "route", "read", "write", "send", "hold", "keep",
    "start", "stop", "while", "before", "after", "under", "over", "small", "large", "fast", "slow",
    "steady", "open", "closed", "simple", "common", "whole",
];

/// What identifies an answer.
#[derive(Clone, Debug)]
pub(super) struct Head {
    /// `chatcmpl-…` or `cmpl-…`.
    pub(super) id: String,
    /// Unix seconds.
    pub(super) created: i64,
    /// The served model's name.
    pub(super) model: String,
}

/// Tokens `from..to` of an answer as text.
pub(super) fn text(words: u64, from: u32, to: u32) -> String {
    let mut out = String::with_capacity((to - from) as usize * 6);
    for at in from..to {
        let pick = mix(words, u64::from(at));
        if at > 0 {
            out.push(' ');
        }
        out.push_str(WORDS[(pick % WORDS.len() as u64) as usize]);
        if at % 13 == 12 {
            out.push('.');
        }
    }
    out
}

/// The event or events that tell of tokens `from..to`; with `end`, those that end the stream.
pub(super) fn events(head: &Head, ask: &Ask, from: u32, to: u32, end: Option<Reason>) -> String {
    let mut out = String::with_capacity(640);
    if from == 0 && ask.chat {
        event(&mut out, head, ask, |out| {
            out.push_str(r#"{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}"#);
        });
        // The first chunk alone has the prompt's fields.
        out.truncate(out.len() - 3);
        out.push_str(",\"prompt_token_ids\":null,\"prompt_text\":null}\n\n");
    }
    if to > from || end.is_some() {
        let words = text(ask.words, from, to);
        event(&mut out, head, ask, |out| {
            let finish = end.map_or("null".to_owned(), |r| format!("\"{}\"", r.as_str()));
            let stop = if end.is_some() {
                r#","stop_reason":null"#
            } else {
                ""
            };
            // Writing to a String cannot fail.
            let _ = if ask.chat {
                write!(
                    out,
                    r#"{{"index":0,"delta":{{"content":"{words}"}},"logprobs":null,"finish_reason":{finish}{stop},"token_ids":null}}"#
                )
            } else {
                write!(
                    out,
                    r#"{{"index":0,"text":"{words}","logprobs":null,"finish_reason":{finish},"stop_reason":null,"prompt_token_ids":null,"token_ids":null}}"#
                )
            };
        });
    }
    if end.is_some() {
        if ask.usage {
            event(&mut out, head, ask, |_| {});
            out.truncate(out.len() - 3);
            let _ = write!(
                out,
                ",\"usage\":{{{}}},\"system_fingerprint\":\"{FINGERPRINT}\"}}\n\n",
                usage(ask.prompt, to)
            );
        }
        out.push_str(DONE);
    }
    out
}

/// The event that ends a stream with an error.
pub(super) fn error_event(message: &str, kind: &str, code: u16) -> String {
    format!(
        "data: {{\"error\": {{\"message\": \"{message}\", \"type\": \"{kind}\", \"param\": null, \"code\": {code}}}}}\n\n{DONE}"
    )
}

/// A whole answer.
pub(super) fn whole(head: &Head, ask: &Ask, tokens: u32, reason: Reason) -> String {
    let words = text(ask.words, 0, tokens);
    let Head { id, created, model } = head;
    let usage = usage(ask.prompt, tokens);
    let reason = reason.as_str();
    if ask.chat {
        format!(
            r#"{{"id":"{id}","object":"chat.completion","created":{created},"model":"{model}","choices":[{{"index":0,"message":{{"role":"assistant","content":"{words}","refusal":null,"annotations":null,"audio":null,"function_call":null,"reasoning":null}},"logprobs":null,"finish_reason":"{reason}","stop_reason":null,"token_ids":null,"routed_experts":null}}],"service_tier":null,"system_fingerprint":"{FINGERPRINT}","usage":{{{usage},"prompt_tokens_details":null,"completion_tokens_details":null}},"prompt_logprobs":null,"prompt_token_ids":null,"prompt_text":null,"kv_transfer_params":null,"ec_transfer_params":null,"metrics":null}}"#
        )
    } else {
        format!(
            r#"{{"id":"{id}","object":"text_completion","created":{created},"model":"{model}","choices":[{{"index":0,"text":"{words}","logprobs":null,"finish_reason":"{reason}","stop_reason":null,"token_ids":null,"prompt_logprobs":null,"prompt_token_ids":null,"routed_experts":null}}],"service_tier":null,"system_fingerprint":"{FINGERPRINT}","usage":{{{usage},"prompt_tokens_details":null,"completion_tokens_details":null}},"kv_transfer_params":null,"ec_transfer_params":null,"metrics":null}}"#
        )
    }
}

fn event(out: &mut String, head: &Head, ask: &Ask, choice: impl FnOnce(&mut String)) {
    let object = if ask.chat {
        "chat.completion.chunk"
    } else {
        "text_completion"
    };
    let Head { id, created, model } = head;
    let _ = write!(
        out,
        r#"data: {{"id":"{id}","object":"{object}","created":{created},"model":"{model}","choices":["#
    );
    choice(out);
    out.push_str("]}\n\n");
}

fn usage(prompt: u32, tokens: u32) -> String {
    format!(
        r#""prompt_tokens":{prompt},"total_tokens":{},"completion_tokens":{tokens}"#,
        prompt + tokens
    )
}
