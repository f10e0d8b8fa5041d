//! What the gateway reads of a request's body, and the few bytes of it that it changes.
//!
//! The body is never rebuilt: what is read is borrowed, and a change is spliced into the bytes as they came.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::fleet::request::Operation;

/// What was read of a body, with where it stands.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Peek {
    /// The model asked for.
    pub(crate) model: String,
    /// Whether the answer is to be streamed.
    pub(crate) stream: bool,
    /// What routing rules look at.
    pub(crate) facts: Facts,
    /// The client's `stream_options`, where it streams and the API has them.
    options: Option<Options>,
    model_at: Range<usize>,
}

/// What routing rules look at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The answer is to follow a JSON schema.
    pub(crate) json_schema: bool,
    /// There are tools to call.
    pub(crate) tools: bool,
    /// Bytes of the prompt as it stands in the body.
    pub(crate) prompt: u64,
}

/// How a stream tells its usage, and to whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Telling {
    /// As the client asked: all passes.
    #[default]
    Client,
    /// Usage is for the gateway only.
    Gateway,
    /// The last event is the client's, the usage before it is for the gateway only.
    Both,
}

/// What the client's `stream_options` say.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    at: Place,
    include: Asked,
    continuous: Asked,
}

/// Where `stream_options` stand.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// Nowhere: they would come here.
    Absent(usize),
    /// They are `null`.
    Null(Range<usize>),
    /// An object whose members begin here; the flag says that there are none.
    Object(usize, bool),
}

/// What the client said of one option.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    /// Nothing.
    Nothing,
    /// No: the word is there.
    No(Range<usize>),
    /// Yes.
    Yes,
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
    #[serde(borrow, default, deserialize_with = "raw")]
    prompt: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "raw")]
    input: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "raw")]
    tools: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "raw")]
    response_format: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "raw")]
    text: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct StreamOptions<'a> {
    #[serde(borrow, default, deserialize_with = "raw")]
    include_usage: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "raw")]
    continuous_usage_stats: Option<&'a RawValue>,
}

/// `response_format`, or what `text` has under `format` in the responses API.
#[derive(Deserialize)]
struct Format<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Text<'a> {
    #[serde(borrow, default)]
    format: Option<Format<'a>>,
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

/// Reads a request's body.
///
/// # Errors
/// Where it is not a JSON object, names no model, or has a field of a wrong type.
pub(crate) fn peek(operation: Operation, body: &[u8]) -> Result<Peek, Wrong> {
    let not_json = |why: String| Wrong {
        message: format!("the body is not a JSON object: {why}"),
        param: None,
    };
    let brace = body
        .iter()
        .position(|byte| !byte.is_ascii_whitespace())
        .filter(|at| body[*at] == b'{')
        .ok_or_else(|| not_json("it does not begin with `{`".to_owned()))?;
    // JSON is UTF-8 (RFC 8259 section 8.1), also in the fields that nobody here looks at.
    let text = std::str::from_utf8(body).map_err(|why| not_json(why.to_string()))?;
    let fields: Fields<'_> = serde_json::from_str(text).map_err(|why| not_json(why.to_string()))?;
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
    if let Some(tools) = fields.tools
        && !(tools.get().starts_with('[') || tools.get() == "null")
    {
        return Err(wrong("tools", "an array"));
    }
    // Embeddings do not stream, and the responses API always tells its usage at the end.
    let options = match operation {
        Operation::Chat | Operation::Completions if stream => {
            Some(options(body, brace, fields.stream_options)?)
        }
        Operation::Chat | Operation::Completions | Operation::Embeddings | Operation::Responses => {
            None
        }
    };
    let prompt = [fields.messages, fields.prompt, fields.input]
        .into_iter()
        .flatten()
        .map(|part| part.get().len() as u64)
        .sum();
    Ok(Peek {
        model,
        stream,
        facts: Facts {
            json_schema: fields.response_format.is_some_and(names_a_schema)
                || fields.text.is_some_and(formats_a_schema),
            tools: fields
                .tools
                .is_some_and(|tools| tools.get()[1..].trim_start().starts_with('{')),
            prompt,
        },
        options,
        model_at: range(body, model_raw),
    })
}

fn names_a_schema(format: &RawValue) -> bool {
    serde_json::from_str::<Format<'_>>(format.get()).is_ok_and(|it| it.is_a_schema())
}

fn formats_a_schema(text: &RawValue) -> bool {
    serde_json::from_str::<Text<'_>>(text.get())
        .is_ok_and(|text| text.format.is_some_and(|it| it.is_a_schema()))
}

impl Format<'_> {
    fn is_a_schema(&self) -> bool {
        self.kind.as_deref() == Some("json_schema")
    }
}

/// Reads the client's own `stream_options`.
fn options(body: &[u8], brace: usize, given: Option<&RawValue>) -> Result<Options, Wrong> {
    let said_nothing = |at| Options {
        at,
        include: Asked::Nothing,
        continuous: Asked::Nothing,
    };
    let Some(given) = given else {
        return Ok(said_nothing(Place::Absent(brace + 1)));
    };
    let at = range(body, given);
    if given.get() == "null" {
        return Ok(said_nothing(Place::Null(at)));
    }
    if !given.get().starts_with('{') {
        return Err(wrong("stream_options", "an object"));
    }
    let inside: StreamOptions<'_> =
        serde_json::from_str(given.get()).map_err(|_| wrong("stream_options", "an object"))?;
    let asked = |word: Option<&RawValue>, name| match word.map(|word| (word, word.get())) {
        None => Ok(Asked::Nothing),
        Some((_, "true")) => Ok(Asked::Yes),
        Some((word, "false" | "null")) => Ok(Asked::No(range(body, word))),
        Some(_) => Err(wrong(name, "true or false")),
    };
    let empty = given.get()[1..].trim_start().starts_with('}');
    Ok(Options {
        at: Place::Object(at.start + 1, empty),
        include: asked(inside.include_usage, "stream_options.include_usage")?,
        continuous: asked(
            inside.continuous_usage_stats,
            "stream_options.continuous_usage_stats",
        )?,
    })
}

/// A change to a body: what stands there is replaced.
type Edit = (Range<usize>, Cow<'static, str>);

impl Options {
    /// The changes that make an upstream tell usage, in every event where `continuous`.
    fn edits(&self, continuous: bool, edits: &mut Vec<Edit>) {
        let mut missing: Vec<&str> = Vec::new();
        let wanted = [
            (&self.include, true, "\"include_usage\":true"),
            (
                &self.continuous,
                continuous,
                "\"continuous_usage_stats\":true",
            ),
        ];
        for (asked, wanted, member) in wanted {
            match asked {
                Asked::Nothing if wanted => missing.push(member),
                Asked::No(at) if wanted => edits.push((at.clone(), "true".into())),
                Asked::Nothing | Asked::No(_) | Asked::Yes => {}
            }
        }
        if missing.is_empty() {
            return;
        }
        let members = missing.join(",");
        edits.push(match &self.at {
            Place::Absent(at) => (
                *at..*at,
                format!("\"stream_options\":{{{members}}},").into(),
            ),
            Place::Null(at) => (at.clone(), format!("{{{members}}}").into()),
            Place::Object(at, true) => (*at..*at, members.into()),
            Place::Object(at, false) => (*at..*at, format!("{members},").into()),
        });
    }
}

impl Peek {
    /// How the usage of the stream is told by an upstream that was asked for it, `continuous` or not.
    pub(crate) fn telling(&self, continuous: bool) -> Telling {
        let Some(options) = &self.options else {
            return Telling::Client;
        };
        match (&options.include, &options.continuous) {
            (Asked::Nothing | Asked::No(_), _) => Telling::Gateway,
            (Asked::Yes, Asked::Nothing | Asked::No(_)) if continuous => Telling::Both,
            (Asked::Yes, _) => Telling::Client,
        }
    }

    /// The body as an upstream gets it; `model` is its name there as JSON, where it differs. Unchanged bodies are not copied.
    pub(crate) fn splice(&self, body: &Bytes, model: Option<&str>, continuous: bool) -> Bytes {
        let mut edits: Vec<Edit> = Vec::new();
        if let Some(options) = &self.options {
            options.edits(continuous, &mut edits);
        }
        if let Some(model) = model {
            edits.push((self.model_at.clone(), model.to_owned().into()));
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

    use super::{Telling, peek};
    use crate::fleet::request::Operation;

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
            let seen = peek(Operation::Chat, body.as_bytes()).unwrap();
            let spliced = seen.splice(&Bytes::from(body), model, false);
            assert_eq!(std::str::from_utf8(&spliced).unwrap(), expected);
            assert_eq!(seen.telling(false) == Telling::Gateway, withheld, "{body}");
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
            let wrong = peek(Operation::Chat, body.as_bytes()).unwrap_err();
            assert_eq!(wrong.param, param, "{body}");
            assert!(wrong.message.contains(message), "{body}: {}", wrong.message);
        }
    }

    #[test]
    fn half_a_surrogate_pair_passes_as_it_came() {
        // What a browser's JSON.stringify writes; JSON, but no text of Rust's.
        let body = br#"{"model":"m","x":"\ud83d"}"#;
        let seen = peek(Operation::Chat, body).unwrap();
        let out = seen.splice(&Bytes::from_static(body), Some(r#""n""#), false);
        assert_eq!(out, br#"{"model":"n","x":"\ud83d"}"#.as_slice());
    }

    #[test]
    fn a_body_is_utf8_in_every_part() {
        let wrong = peek(Operation::Chat, b"{\"model\":\"m\",\"x\":{\"y\x93\":1}}").unwrap_err();
        assert!(wrong.message.contains("utf-8"), "{}", wrong.message);
    }

    #[test]
    fn usage_in_every_event_is_asked_for_where_the_backend_can() {
        let cases = [
            (
                r#"{"model":"m","stream":true}"#,
                r#"{"stream_options":{"include_usage":true,"continuous_usage_stats":true},"model":"m","stream":true}"#,
                Telling::Gateway,
            ),
            (
                r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#,
                r#"{"model":"m","stream":true,"stream_options":{"continuous_usage_stats":true,"include_usage":true}}"#,
                Telling::Both,
            ),
            (
                r#"{"model":"m","stream":true,"stream_options":{"continuous_usage_stats":false,"include_usage":false}}"#,
                r#"{"model":"m","stream":true,"stream_options":{"continuous_usage_stats":true,"include_usage":true}}"#,
                Telling::Gateway,
            ),
            (
                r#"{"model":"m","stream":true,"stream_options":{"continuous_usage_stats":true,"include_usage":true}}"#,
                r#"{"model":"m","stream":true,"stream_options":{"continuous_usage_stats":true,"include_usage":true}}"#,
                Telling::Client,
            ),
        ];
        for (body, expected, telling) in cases {
            let seen = peek(Operation::Chat, body.as_bytes()).unwrap();
            let spliced = seen.splice(&Bytes::from(body), None, true);
            assert_eq!(std::str::from_utf8(&spliced).unwrap(), expected);
            assert_eq!(seen.telling(true), telling, "{body}");
        }
    }

    #[test]
    fn what_rules_look_at_is_read() {
        let cases = [
            (r#"{"model":"m"}"#, (false, false, 0)),
            (
                r#"{"model":"m","messages":[1,2],"tools":[]}"#,
                (false, false, 5),
            ),
            (
                r#"{"model":"m","tools":[{"type":"function"}],"input":"four"}"#,
                (false, true, 6),
            ),
            (
                r#"{"model":"m","response_format":{"type":"json_schema","json_schema":{}}}"#,
                (true, false, 0),
            ),
            (
                r#"{"model":"m","response_format":{"type":"json_object"},"tools":null}"#,
                (false, false, 0),
            ),
            (
                r#"{"model":"m","text":{"format":{"type":"json_schema"}}}"#,
                (true, false, 0),
            ),
        ];
        for (body, expected) in cases {
            let facts = peek(Operation::Responses, body.as_bytes()).unwrap().facts;
            assert_eq!(
                (facts.json_schema, facts.tools, facts.prompt),
                expected,
                "{body}"
            );
        }
    }
}
