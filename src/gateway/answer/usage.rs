//! Tokens as the APIs tell them.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::fleet::request::Usage;

/// A quoted name cannot be met inside a string of JSON: there the quotes are escaped.
static USAGE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"usage\""));

/// `usage` of the chat, completions and embeddings APIs (`prompt_tokens`) and of the responses API (`input_tokens`).
#[derive(Deserialize)]
struct Fields {
    #[serde(alias = "input_tokens")]
    prompt_tokens: Option<u64>,
    #[serde(alias = "output_tokens")]
    completion_tokens: Option<u64>,
    #[serde(alias = "input_tokens_details")]
    prompt_tokens_details: Option<Details>,
    #[serde(alias = "output_tokens_details")]
    completion_tokens_details: Option<Details>,
}

#[derive(Deserialize)]
struct Details {
    cached_tokens: Option<u64>,
    reasoning_tokens: Option<u64>,
}

/// A `usage` object; `None` where it has no prompt tokens.
pub(crate) fn read(raw: &RawValue) -> Option<Usage> {
    let fields: Fields = serde_json::from_str(raw.get()).ok()?;
    let prompt = fields.prompt_tokens_details;
    let produced = fields.completion_tokens_details;
    Some(Usage {
        input: fields.prompt_tokens?,
        cached: prompt.and_then(|it| it.cached_tokens).unwrap_or(0),
        output: fields.completion_tokens.unwrap_or(0),
        reasoning: produced.and_then(|it| it.reasoning_tokens).unwrap_or(0),
    })
}

/// The usage of an answer that came in one piece.
pub(crate) fn of_answer(body: &[u8]) -> Option<Usage> {
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(borrow)]
        usage: Option<&'a RawValue>,
    }
    USAGE.find(body)?;
    serde_json::from_slice::<Answer<'_>>(body)
        .ok()?
        .usage
        .and_then(read)
}

#[cfg(test)]
mod tests {
    use super::of_answer;
    use crate::fleet::request::Usage;

    #[test]
    fn every_shape_is_read() {
        let told = |input, cached, output, reasoning| {
            Some(Usage {
                input,
                cached,
                output,
                reasoning,
            })
        };
        let cases = [
            (
                r#"{"usage":{"prompt_tokens":9,"completion_tokens":4,"total_tokens":13}}"#,
                told(9, 0, 4, 0),
            ),
            (
                r#"{"usage":{"prompt_tokens":9,"total_tokens":9}}"#,
                told(9, 0, 0, 0),
            ),
            (
                r#"{"usage":{"prompt_tokens":9,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":8,"audio_tokens":0},
                   "completion_tokens_details":{"reasoning_tokens":3}}}"#,
                told(9, 8, 4, 3),
            ),
            (
                r#"{"usage":{"input_tokens":20,"input_tokens_details":{"cached_tokens":5},
                   "output_tokens":7,"output_tokens_details":{"reasoning_tokens":2},"total_tokens":27}}"#,
                told(20, 5, 7, 2),
            ),
            (
                r#"{"usage":{"prompt_tokens":9,"completion_tokens":4,"prompt_tokens_details":null,"completion_tokens_details":null}}"#,
                told(9, 0, 4, 0),
            ),
            (r#"{"usage":null}"#, None),
            (r#"{"usage":{"completion_tokens":4}}"#, None),
            (r#"{"usage":{"prompt_tokens":-1}}"#, None),
            (r#"{"text":"\"usage\""}"#, None),
            ("<html>\"usage\"</html>", None),
        ];
        for (body, expected) in cases {
            assert_eq!(of_answer(body.as_bytes()), expected, "{body}");
        }
    }
}
