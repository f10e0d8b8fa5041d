//! What a client asks for, as far as the simulated API needs to know.

use std::hash::{DefaultHasher, Hasher};

use serde::Deserialize;
use serde_json::Value;

/// Which of the two endpoints was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// `/v1/chat/completions`.
    Chat,
    /// `/v1/completions`.
    Text,
}

#[derive(Debug)]
pub(super) struct Ask {
    pub(super) shape: Shape,
    pub(super) model: String,
    pub(super) stream: bool,
    pub(super) include_usage: bool,
    pub(super) max_tokens: Option<u32>,
    /// The first tool on offer.
    pub(super) tool: Option<String>,
    /// The schema that the answer must follow.
    pub(super) schema: Option<Value>,
    pub(super) prompt_tokens: u32,
    /// Tells prompts apart by their beginning; none where it is too short to be cached.
    pub(super) prefix: Option<u64>,
}

/// The part of a prompt that is cached, as OpenAI does: whole prefixes of 1,024 tokens.
pub(super) const CACHED_PREFIX_TOKENS: u32 = 1024;
const BYTES_PER_TOKEN: usize = 4;
const MESSAGE_TOKENS: u32 = 4;

#[derive(Deserialize)]
struct Wire {
    model: String,
    #[serde(default)]
    messages: Vec<Message>,
    #[serde(default)]
    prompt: Option<Content>,
    #[serde(default)]
    stream: Option<bool>,
    #[serde(default)]
    stream_options: Option<StreamOptions>,
    #[serde(default)]
    max_tokens: Option<u32>,
    #[serde(default)]
    max_completion_tokens: Option<u32>,
    #[serde(default)]
    tools: Option<Vec<Value>>,
    #[serde(default)]
    tool_choice: Option<Value>,
    #[serde(default)]
    response_format: Option<Value>,
}

#[derive(Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    content: Option<Content>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Value>),
}

impl Ask {
    /// # Errors
    /// Where `body` is no request of this shape.
    pub(super) fn read(shape: Shape, body: &[u8]) -> Result<Self, serde_json::Error> {
        let wire: Wire = serde_json::from_slice(body)?;
        let mut text = Reader::default();
        for content in wire.messages.iter().filter_map(|m| m.content.as_ref()) {
            text.content(content);
        }
        if let Some(prompt) = &wire.prompt {
            text.content(prompt);
        }
        let tools = wire.tools.unwrap_or_default();
        for tool in &tools {
            text.take(&tool.to_string());
        }
        let offered = wire.tool_choice.is_none_or(|choice| choice != "none");
        let name = |tool: &Value| Some(tool.pointer("/function/name")?.as_str()?.to_owned());
        let schema = |format: Value| format.pointer("/json_schema/schema").cloned();
        let framing = wire.messages.len() as u32 * MESSAGE_TOKENS;
        Ok(Self {
            shape,
            model: wire.model,
            stream: wire.stream.unwrap_or(false),
            include_usage: wire.stream_options.is_some_and(|o| o.include_usage),
            max_tokens: wire.max_completion_tokens.or(wire.max_tokens),
            tool: tools.first().filter(|_| offered).and_then(name),
            schema: wire.response_format.and_then(schema),
            prompt_tokens: framing + text.tokens().max(1),
            prefix: text.prefix(),
        })
    }
}

/// Counts a prompt's bytes and hashes its beginning.
#[derive(Default)]
struct Reader {
    bytes: usize,
    hash: DefaultHasher,
}

impl Reader {
    const PREFIX: usize = CACHED_PREFIX_TOKENS as usize * BYTES_PER_TOKEN;

    fn content(&mut self, content: &Content) {
        match content {
            Content::Text(text) => self.take(text),
            Content::Parts(parts) => {
                for part in parts {
                    match part {
                        Value::String(text) => self.take(text),
                        Value::Null
                        | Value::Bool(_)
                        | Value::Number(_)
                        | Value::Array(_)
                        | Value::Object(_) => {
                            self.take(part.get("text").and_then(Value::as_str).unwrap_or("####"));
                        }
                    }
                }
            }
        }
    }

    fn take(&mut self, text: &str) {
        let wanted = Self::PREFIX.saturating_sub(self.bytes).min(text.len());
        if let Some(head) = text.as_bytes().get(..wanted) {
            self.hash.write(head);
        }
        self.bytes += text.len();
    }

    fn tokens(&self) -> u32 {
        self.bytes.div_ceil(BYTES_PER_TOKEN) as u32
    }

    fn prefix(&self) -> Option<u64> {
        (self.bytes >= Self::PREFIX).then(|| self.hash.finish())
    }
}
