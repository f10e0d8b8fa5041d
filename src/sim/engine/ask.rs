//! What a client asks for, checked as vLLM checks it.

use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use super::spec::Spec;
use crate::sim::mix;

/// A checked request.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ask {
    /// `/v1/chat/completions` rather than `/v1/completions`.
    pub(super) chat: bool,
    /// Answer in events.
    pub(super) stream: bool,
    /// Usage in a last event.
    pub(super) usage: bool,
    /// Prompt tokens.
    pub(super) prompt: u32,
    /// Of these, in the prefix cache.
    pub(super) cached: u32,
    /// The most tokens wanted.
    pub(super) max_tokens: u32,
    /// Tokens that the answer will have.
    pub(super) target: u32,
    /// Chooses the words.
    pub(super) words: u64,
}

/// An answer that is an error: its status and JSON body.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Refused(pub(super) StatusCode, pub(super) String);

#[derive(Deserialize)]
struct Body {
    model: Option<String>,
    messages: Option<Vec<Message>>,
    prompt: Option<Value>,
    max_tokens: Option<u32>,
    max_completion_tokens: Option<u32>,
    #[serde(default)]
    min_tokens: u32,
    #[serde(default)]
    ignore_eos: bool,
    #[serde(default)]
    stream: bool,
    stream_options: Option<StreamOptions>,
}

#[derive(Deserialize)]
struct Message {
    content: Option<Value>,
}

#[derive(Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

/// An error body as vLLM writes it; `param` is JSON.
pub(super) fn error(status: StatusCode, kind: &str, param: &Value, message: &str) -> Refused {
    let code = status.as_u16();
    let message = Value::from(message);
    Refused(
        status,
        format!(
            r#"{{"error":{{"message":{message},"type":"{kind}","param":{param},"code":{code}}}}}"#
        ),
    )
}

/// Reads a request.
pub(super) fn read(spec: &Spec, chat: bool, bytes: &[u8]) -> Result<Ask, Refused> {
    if bytes.is_empty() {
        return Err(missing("body", "None"));
    }
    let body: Body = serde_json::from_slice(bytes).map_err(|e| invalid(&e))?;
    if let Some(model) = body.model.as_deref()
        && model != spec.model
    {
        return Err(error(
            StatusCode::NOT_FOUND,
            "NotFoundError",
            &Value::from("model"),
            &format!(
                "The model `{model}` does not exist. Valid aliases: {}.",
                spec.model
            ),
        ));
    }
    let mut seed = spec.seed;
    let mut tokens = 0_u32;
    let mut leading = 0;
    if chat {
        let messages = body
            .messages
            .ok_or_else(|| missing("body.messages", "<dict of 1 items>"))?;
        for message in &messages {
            let n = 4 + count(message.content.as_ref(), &mut seed);
            leading = leading.max(n);
            tokens += n;
        }
        tokens += 3;
    } else {
        let prompt = body
            .prompt
            .ok_or_else(|| missing("body.prompt", "<dict of 1 items>"))?;
        tokens += count(Some(&prompt), &mut seed).max(1);
        leading = tokens;
    }
    let wanted = body.max_completion_tokens.or(body.max_tokens);
    within(spec, tokens, wanted)?;
    let max_tokens = wanted.unwrap_or(u32::MAX).min(spec.max_len - tokens).max(1);
    let target = if body.ignore_eos {
        max_tokens
    } else {
        natural(seed).max(body.min_tokens).min(max_tokens)
    };
    Ok(Ask {
        chat,
        stream: body.stream,
        usage: body.stream_options.is_some_and(|o| o.include_usage),
        prompt: tokens,
        // System prompts and earlier turns come again: in whole blocks, for some requests.
        cached: if seed.is_multiple_of(3) {
            leading / 16 * 8
        } else {
            0
        },
        max_tokens,
        target,
        words: seed,
    })
}

/// Tokens of a text: about four bytes each. Part of the text's identity goes into `seed`.
fn count(content: Option<&Value>, seed: &mut u64) -> u32 {
    match content {
        Some(Value::String(text)) => {
            *seed = text.as_bytes().chunks(8).fold(*seed, |s, chunk| {
                mix(s, chunk.iter().fold(0, |n, b| n << 8 | u64::from(*b)))
            });
            u32::try_from(text.len().div_ceil(4)).unwrap_or(u32::MAX / 2)
        }
        Some(Value::Array(parts)) => parts
            .iter()
            .map(|part| match part {
                Value::Number(_) => 1,
                Value::Object(fields) => count(fields.get("text"), seed),
                other => count(Some(other), seed),
            })
            .sum(),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => 0,
    }
}

/// How long an answer is when nothing cuts it short: most are short, some long.
fn natural(seed: u64) -> u32 {
    let mut chance = fastrand::Rng::with_seed(seed);
    (60.0 * (chance.f64() * 2.6).exp()) as u32 + chance.u32(0..40)
}

fn within(spec: &Spec, prompt: u32, wanted: Option<u32>) -> Result<(), Refused> {
    let most = spec.max_len;
    if let Some(wanted) = wanted.filter(|w| *w > most) {
        return Err(error(
            StatusCode::BAD_REQUEST,
            "BadRequestError",
            &Value::from("max_tokens"),
            &format!(
                "max_tokens={wanted} cannot be greater than max_model_len={most}. Please request fewer output tokens. (parameter=max_tokens, value={wanted})"
            ),
        ));
    }
    if prompt >= most {
        let least = most + 1;
        return Err(error(
            StatusCode::BAD_REQUEST,
            "BadRequestError",
            &Value::from("input_tokens"),
            &format!(
                "This model's maximum context length is {most} tokens. However, your prompt contains at least {least} input tokens, which exceeds this limit even without any output tokens. Please reduce the length of the input prompt. (parameter=input_tokens, value={least})"
            ),
        ));
    }
    Ok(())
}

fn missing(what: &str, input: &str) -> Refused {
    error(
        StatusCode::BAD_REQUEST,
        "Bad Request",
        &Value::from(what),
        &format!(
            "1 validation error:\n  {{'type': 'missing', 'loc': '{what}', 'msg': 'Field required', 'input': '{input}'}}"
        ),
    )
}

fn invalid(e: &serde_json::Error) -> Refused {
    let at = format!("body.{}", e.column().saturating_sub(1));
    let (kind, loc, message) = if e.is_data() {
        ("value_error", "body", "Input should be valid")
    } else {
        ("json_invalid", at.as_str(), "JSON decode error")
    };
    error(
        StatusCode::BAD_REQUEST,
        "Bad Request",
        &Value::from(loc),
        &format!(
            "1 validation error:\n  {{'type': '{kind}', 'loc': '{loc}', 'msg': '{message}', 'input': '<dict of 0 items>', 'ctx': {{'error': 'Expecting value'}}}}"
        ),
    )
}
