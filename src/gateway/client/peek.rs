//! What the gateway reads of a request's body, and the few bytes of it that it changes.
//!
//! The body is never rebuilt: what is read is borrowed, and a change is spliced into the bytes as they came.

use std::ops::Range;

use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// What was read of a body, with where it stands.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Peek {
    /// The model asked for.
    pub(crate) model: String,
    /// Whether the answer is to be streamed.
    pub(crate) stream: bool,
    /// How usage is asked for; `None` when the client asked for it or does not stream.
    usage: Option<Edit>,
    model_at: Range<usize>,
}

#[derive(Debug, PartialEq, Eq)]
struct Edit {
    at: Range<usize>,
    with: &'static str,
}

/// Why a body was refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// In words, with the field's name.
    pub(crate) message: String,
    /// The field.
    pub(crate) param: Option<&'static str>,
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, default, deserialize_with = "raw")]
    model: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "raw")]
    stream: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "raw")]
    stream_options: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "raw")]
    messages: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct StreamOptions<'a> {
    #[serde(borrow, default, deserialize_with = "raw")]
    include_usage: Option<&'a RawValue>,
}

/// Keeps a `null` as the value it is: to put a second `stream_options` beside one would be wrong.
pub(in crate::gateway) fn raw<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

fn wrong(param: &'static str, is: &str) -> Wrong {
    Wrong {
        message: format!("`{param}` must be {is}"),
        param: Some(param),
    }
}

/// Where `part` stands in `whole`, of which it is a slice.
fn range(whole: &[u8], part: &RawValue) -> Range<usize> {
    let start = part.get().as_ptr() as usize - whole.as_ptr() as usize;
    start..start + part.get().len()
}

/// Reads a completion request's body.
///
/// # Errors
/// Where it is not a JSON object, names no model, or has a field of a wrong type.
pub(crate) fn peek(body: &[u8]) -> Result<Peek, Wrong> {
    let not_json = |why: String| Wrong {
        message: format!("the body is not a JSON object: {why}"),
        param: None,
    };
    let brace = body
        .iter()
        .position(|byte| !byte.is_ascii_whitespace())
        .filter(|at| body[*at] == b'{')
        .ok_or_else(|| not_json("it does not begin with `{`".to_owned()))?;
    let fields: Fields<'_> =
        serde_json::from_slice(body).map_err(|why| not_json(why.to_string()))?;
    let model_raw = fields.model.ok_or_else(|| Wrong {
        message: "`model` is missing: name the model that is to answer".to_owned(),
        param: Some("model"),
    })?;
    let model = serde_json::from_str(model_raw.get()).map_err(|_| wrong("model", "a string"))?;
    let stream = match fields.stream.map(RawValue::get) {
        None | Some("null" | "false") => false,
        Some("true") => true,
        Some(_) => return Err(wrong("stream", "true or false")),
    };
    if let Some(messages) = fields.messages
        && !messages.get().starts_with('[')
    {
        return Err(wrong("messages", "an array"));
    }
    let usage = match fields.stream_options {
        None if stream => Some(Edit {
            at: brace + 1..brace + 1,
            with: r#""stream_options":{"include_usage":true},"#,
        }),
        Some(options) if stream => ask_for_usage(body, options)?,
        None | Some(_) => None,
    };
    Ok(Peek {
        model,
        stream,
        usage,
        model_at: range(body, model_raw),
    })
}

/// How `include_usage` gets into the client's own `stream_options`; `None` when it is there.
fn ask_for_usage(body: &[u8], options: &RawValue) -> Result<Option<Edit>, Wrong> {
    let at = range(body, options);
    if options.get() == "null" {
        return Ok(Some(Edit {
            at,
            with: r#"{"include_usage":true}"#,
        }));
    }
    if !options.get().starts_with('{') {
        return Err(wrong("stream_options", "an object"));
    }
    let inside: StreamOptions<'_> =
        serde_json::from_str(options.get()).map_err(|_| wrong("stream_options", "an object"))?;
    match inside.include_usage {
        Some(asked) if asked.get() == "true" => Ok(None),
        Some(asked) if matches!(asked.get(), "false" | "null") => Ok(Some(Edit {
            at: range(body, asked),
            with: "true",
        })),
        Some(_) => Err(wrong("stream_options.include_usage", "true or false")),
        None => {
            let empty = options.get()[1..].trim_start().starts_with('}');
            Ok(Some(Edit {
                at: at.start + 1..at.start + 1,
                with: if empty {
                    r#""include_usage":true"#
                } else {
                    r#""include_usage":true,"#
                },
            }))
        }
    }
}

impl Peek {
    /// Whether the gateway asks for usage on its own account, and must not show it to the client.
    pub(crate) fn withholds_usage(&self) -> bool {
        self.usage.is_some()
    }

    /// The body as an upstream gets it; `model` is its name there as JSON, where it differs. Unchanged bodies are not copied.
    pub(crate) fn splice(&self, body: &Bytes, model: Option<&str>) -> Bytes {
        let mut edits: Vec<(&Range<usize>, &str)> = Vec::with_capacity(2);
        if let Some(edit) = &self.usage {
            edits.push((&edit.at, edit.with));
        }
        if let Some(model) = model {
            edits.push((&self.model_at, model));
        }
        if edits.is_empty() {
            return body.clone();
        }
        edits.sort_by_key(|(at, _)| at.start);
        let more: usize = edits.iter().map(|(_, with)| with.len()).sum();
        let mut spliced = Vec::with_capacity(body.len() + more);
        let mut from = 0;
        for (at, with) in edits {
            spliced.extend_from_slice(&body[from..at.start]);
            spliced.extend_from_slice(with.as_bytes());
            from = at.end;
        }
        spliced.extend_from_slice(&body[from..]);
        spliced.into()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::peek;

    #[test]
    fn bodies_change_only_where_they_must() {
        // The client's body, the model's name upstream, what the upstream gets, and whether usage is withheld.
        let cases = [
            (r#"{"model":"m"}"#, None, r#"{"model":"m"}"#, false),
            (
                r#" { "model" : "m", "x":1.0e5 }"#,
                Some(r#""n""#),
                r#" { "model" : "n", "x":1.0e5 }"#,
                false,
            ),
            (
                r#"{"x":{"model":"no"},"model":"m"}"#,
                Some(r#""n""#),
                r#"{"x":{"model":"no"},"model":"n"}"#,
                false,
            ),
            (
                r#"{"model":"m","stream":true}"#,
                None,
                r#"{"stream_options":{"include_usage":true},"model":"m","stream":true}"#,
                true,
            ),
            (
                r#"{"model":"m","stream":true}"#,
                Some(r#""long-name""#),
                r#"{"stream_options":{"include_usage":true},"model":"long-name","stream":true}"#,
                true,
            ),
            (
                r#"{"stream_options":{},"model":"m","stream":true}"#,
                None,
                r#"{"stream_options":{"include_usage":true},"model":"m","stream":true}"#,
                true,
            ),
            (
                r#"{"model":"m","stream":true,"stream_options":{ "a":1}}"#,
                Some(r#""n""#),
                r#"{"model":"n","stream":true,"stream_options":{"include_usage":true, "a":1}}"#,
                true,
            ),
            (
                r#"{"model":"m","stream":true,"stream_options":{"include_usage":false}}"#,
                None,
                r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#,
                true,
            ),
            (
                r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#,
                None,
                r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#,
                false,
            ),
            (
                r#"{"model":"m","stream":true,"stream_options":null}"#,
                None,
                r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#,
                true,
            ),
            (
                r#"{"model":"m","stream":false,"stream_options":null}"#,
                None,
                r#"{"model":"m","stream":false,"stream_options":null}"#,
                false,
            ),
            (
                r#"{"model":"m\u00e9","stream":null}"#,
                Some(r#""n""#),
                r#"{"model":"n","stream":null}"#,
                false,
            ),
        ];
        for (body, model, expected, withheld) in cases {
            let seen = peek(body.as_bytes()).unwrap();
            let spliced = seen.splice(&Bytes::from(body), model);
            assert_eq!(std::str::from_utf8(&spliced).unwrap(), expected);
            assert_eq!(seen.withholds_usage(), withheld, "{body}");
            serde_json::from_slice::<serde_json::Value>(&spliced).unwrap();
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            ("", None, "not a JSON object"),
            ("[1,2]", None, "not a JSON object"),
            (r#"{"model":"m""#, None, "not a JSON object"),
            (r#"{"messages":[]}"#, Some("model"), "`model` is missing"),
            (r#"{"model":5}"#, Some("model"), "`model` must be a string"),
            (
                r#"{"model":null}"#,
                Some("model"),
                "`model` must be a string",
            ),
            (
                r#"{"model":"m","stream":"yes"}"#,
                Some("stream"),
                "`stream` must be true or false",
            ),
            (
                r#"{"model":"m","messages":"hi"}"#,
                Some("messages"),
                "`messages` must be an array",
            ),
            (
                r#"{"model":"m","stream":true,"stream_options":3}"#,
                Some("stream_options"),
                "must be an object",
            ),
            (r#"{"model":"m","model":"n"}"#, None, "duplicate"),
        ];
        for (body, param, message) in cases {
            let wrong = peek(body.as_bytes()).unwrap_err();
            assert_eq!(wrong.param, param, "{body}");
            assert!(wrong.message.contains(message), "{body}: {}", wrong.message);
        }
    }
}
