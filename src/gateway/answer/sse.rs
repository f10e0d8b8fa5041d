//! Reads a server-sent-event stream in passing: usage, errors and the end, across the borders of chunks.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::LazyLock;

use bytes::{Bytes, BytesMut};
use memchr::memmem::Finder;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::fleet::request::Usage;
use crate::gateway::client::peek::raw;

/// An event longer than this is passed on unread.
const LONGEST_EVENT: usize = 1 << 20;

/// What a stream said so far.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Events with data.
    pub(crate) events: u64,
    /// The newest usage.
    pub(crate) usage: Option<Usage>,
    /// A choice came to its end by itself.
    pub(crate) finished: bool,
    /// `[DONE]` came.
    pub(crate) done: bool,
    /// The first error event's data, as it came.
    pub(crate) error: Option<String>,
}

/// Splits a stream into events and reads the few that matter. What passes through is never copied.
#[derive(Debug, Default)]
pub(crate) struct Scanner {
    /// Hold usage back from the client, who did not ask for it.
    withhold: bool,
    /// The beginning of an event whose end has not come.
    carry: BytesMut,
    /// See [`Seen`].
    pub(crate) seen: Seen,
}

struct Needles {
    usage: Finder<'static>,
    error: Finder<'static>,
    finish: Finder<'static>,
}

/// Quoted names cannot be met inside a string of JSON: there the quotes are escaped.
static NEEDLES: LazyLock<Needles> = LazyLock::new(|| Needles {
    usage: Finder::new(b"\"usage\""),
    error: Finder::new(b"\"error\""),
    finish: Finder::new(b"\"finish_reason\""),
});

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    choices: Option<&'a RawValue>,
    // A `null` matters here: it may have to go.
    #[serde(borrow, default, deserialize_with = "raw")]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct UsageFields {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    prompt_tokens_details: Option<Details>,
}

#[derive(Deserialize)]
struct Details {
    cached_tokens: Option<u64>,
}

/// A `usage` object in the form of the chat and completions APIs; `None` where it has no prompt tokens.
pub(crate) fn read_usage(raw: &RawValue) -> Option<Usage> {
    let fields: UsageFields = serde_json::from_str(raw.get()).ok()?;
    Some(Usage {
        input: fields.prompt_tokens?,
        cached: fields
            .prompt_tokens_details
            .and_then(|details| details.cached_tokens)
            .unwrap_or(0),
        output: fields.completion_tokens.unwrap_or(0),
        reasoning: 0,
    })
}

/// The usage of an answer that came in one piece.
pub(crate) fn usage_of_answer(body: &[u8]) -> Option<Usage> {
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(borrow)]
        usage: Option<&'a RawValue>,
    }
    NEEDLES.usage.find(body)?;
    serde_json::from_slice::<Answer<'_>>(body)
        .ok()?
        .usage
        .and_then(read_usage)
}

impl Scanner {
    /// A scanner that lets usage through, or holds it back.
    pub(crate) fn new(withhold: bool) -> Self {
        Self {
            withhold,
            ..Self::default()
        }
    }

    /// Whether part of an event went out whose end did not.
    pub(crate) fn cut_inside_event(&self) -> bool {
        !self.withhold && !self.carry.is_empty()
    }

    /// Reads `chunk` and puts what the client is to get into `out`, at once and in the pieces it came in.
    ///
    /// Only a scanner that holds usage back keeps the beginning of an event until its end shows what it is.
    pub(crate) fn feed(&mut self, chunk: Bytes, out: &mut VecDeque<Bytes>) {
        if !self.withhold && !chunk.is_empty() {
            out.push_back(chunk.clone());
        }
        let (whole, mut search) = if self.carry.is_empty() {
            (chunk, 0)
        } else {
            let search = self.carry.len().saturating_sub(3);
            self.carry.extend_from_slice(&chunk);
            if self.carry.len() <= LONGEST_EVENT && event_end(&self.carry, search).is_none() {
                return;
            }
            (std::mem::take(&mut self.carry).freeze(), search)
        };
        let mut start = 0;
        let mut keep = 0;
        while let Some(end) = event_end(&whole, search) {
            match self.read(&whole[start..end]) {
                Verdict::Pass => {}
                Verdict::Withhold => {
                    push(out, whole.slice(keep..start));
                    keep = end;
                }
                Verdict::Without(part) => {
                    push(out, whole.slice(keep..start));
                    push(out, without(&whole[start..end], &part));
                    keep = end;
                }
            }
            start = end;
            search = end;
        }
        let too_long = whole.len() - start > LONGEST_EVENT;
        if !too_long {
            self.carry.extend_from_slice(&whole[start..]);
        }
        if self.withhold {
            let until = if too_long { whole.len() } else { start };
            push(out, whole.slice(keep..until));
        }
    }

    /// The stream ended: reads what is left, which had no blank line after it.
    pub(crate) fn finish(&mut self, out: &mut VecDeque<Bytes>) {
        let rest = std::mem::take(&mut self.carry).freeze();
        let verdict = self.read(&rest);
        if self.withhold {
            match verdict {
                Verdict::Pass => push(out, rest),
                Verdict::Withhold => {}
                Verdict::Without(part) => push(out, without(&rest, &part)),
            }
        }
    }

    /// Reads one event, and says what the client is to get of it.
    fn read(&mut self, event: &[u8]) -> Verdict {
        let mut verdict = Verdict::Pass;
        let mut at = 0;
        for line in event.split_inclusive(|byte| *byte == b'\n') {
            if let Some(data) = line.strip_prefix(b"data:") {
                self.seen.events += 1;
                verdict = match self.read_data(data.trim_ascii_end()) {
                    Verdict::Without(part) => {
                        let before = at + b"data:".len();
                        Verdict::Without(part.start + before..part.end + before)
                    }
                    plain @ (Verdict::Pass | Verdict::Withhold) => plain,
                };
            }
            at += line.len();
        }
        if self.withhold {
            verdict
        } else {
            Verdict::Pass
        }
    }

    fn read_data(&mut self, data: &[u8]) -> Verdict {
        if data.trim_ascii_start() == b"[DONE]" {
            self.seen.done = true;
            return Verdict::Pass;
        }
        self.seen.finished = self.seen.finished || names_a_finish(data);
        if NEEDLES.usage.find(data).is_none() && NEEDLES.error.find(data).is_none() {
            return Verdict::Pass;
        }
        let Ok(event) = serde_json::from_slice::<Event<'_>>(data) else {
            return Verdict::Pass;
        };
        if event.error.is_some() && self.seen.error.is_none() {
            self.seen.error = Some(String::from_utf8_lossy(data).into_owned());
        }
        let Some(raw) = event.usage else {
            return Verdict::Pass;
        };
        if raw.get() == "null" {
            let value = raw.get().as_ptr() as usize - data.as_ptr() as usize;
            return member(data, value, b"\"usage\"").map_or(Verdict::Pass, |start| {
                Verdict::Without(start..value + raw.get().len())
            });
        }
        let usage = read_usage(raw);
        if usage.is_none() {
            return Verdict::Pass;
        }
        self.seen.usage = usage;
        if event.choices.is_none_or(|choices| is_empty(choices.get())) {
            Verdict::Withhold
        } else {
            Verdict::Pass
        }
    }
}

/// What the client gets of an event, where usage is held back.
#[derive(Debug)]
enum Verdict {
    /// All of it.
    Pass,
    /// Nothing: it carries usage alone.
    Withhold,
    /// All but this part: hosted APIs put `"usage":null` into every event once usage is asked for.
    Without(Range<usize>),
}

/// Where the member of an object begins, with the comma before it, whose value stands at `value`; `None` for a first member.
fn member(data: &[u8], value: usize, name: &[u8]) -> Option<usize> {
    let before = data[..value].trim_ascii_end().strip_suffix(b":")?;
    let before = before.trim_ascii_end().strip_suffix(name)?;
    before.trim_ascii_end().strip_suffix(b",").map(<[u8]>::len)
}

fn without(event: &[u8], part: &Range<usize>) -> Bytes {
    [&event[..part.start], &event[part.end..]].concat().into()
}

fn push(out: &mut VecDeque<Bytes>, piece: Bytes) {
    if !piece.is_empty() {
        out.push_back(piece);
    }
}

fn is_empty(array: &str) -> bool {
    array
        .strip_prefix('[')
        .is_some_and(|inside| inside.trim_start().starts_with(']'))
}

/// Whether a `finish_reason` in `data` is anything but `null`.
fn names_a_finish(data: &[u8]) -> bool {
    NEEDLES.finish.find_iter(data).any(|at| {
        let after = data[at + NEEDLES.finish.needle().len()..].trim_ascii_start();
        after
            .strip_prefix(b":")
            .is_some_and(|value| value.trim_ascii_start().starts_with(b"\""))
    })
}

/// Where the first event that ends at or after `from` ends: behind its blank line.
fn event_end(bytes: &[u8], from: usize) -> Option<usize> {
    memchr::memchr_iter(b'\n', &bytes[from..]).find_map(|at| {
        let next = from + at + 1;
        match bytes[next..] {
            [b'\n', ..] => Some(next + 1),
            [b'\r', b'\n', ..] => Some(next + 2),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use bytes::Bytes;

    use super::{Scanner, Seen};
    use crate::fleet::request::Usage;

    const ONE: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"say \\\"usage\\\": 1\"},\"finish_reason\":null}]}\n\n";
    const TWO: &str = ": ping\r\ndata: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":null}\r\n\r\n";
    const TWO_BARE: &str =
        ": ping\r\ndata: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\r\n\r\n";
    const TOLD: &str = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":4,\"prompt_tokens_details\":{\"cached_tokens\":8}}}\n\n";
    const DONE: &str = "data: [DONE]\n\n";

    fn run(withhold: bool, chunks: &[&str]) -> (String, Seen) {
        let mut scanner = Scanner::new(withhold);
        let mut out = VecDeque::new();
        for chunk in chunks {
            scanner.feed(Bytes::copy_from_slice(chunk.as_bytes()), &mut out);
        }
        scanner.finish(&mut out);
        let text = out
            .iter()
            .map(|piece| String::from_utf8(piece.to_vec()).unwrap())
            .collect();
        (text, scanner.seen)
    }

    #[test]
    fn reads_the_same_wherever_a_chunk_ends() {
        let whole = [ONE, TWO, TOLD, DONE].concat();
        let expected = Seen {
            events: 4,
            usage: Some(Usage {
                input: 9,
                cached: 8,
                output: 4,
                reasoning: 0,
            }),
            finished: true,
            done: true,
            error: None,
        };
        for at in 0..=whole.len() {
            let (a, b) = whole.split_at(at);
            let (kept, seen) = run(false, &[a, b]);
            assert_eq!((&kept, &seen), (&whole, &expected), "split at {at}");
            let (kept, seen) = run(true, &[a, b]);
            assert_eq!(kept, [ONE, TWO_BARE, DONE].concat(), "split at {at}");
            assert_eq!(seen, expected, "split at {at}");
        }
        let bytes: Vec<String> = whole.chars().map(String::from).collect();
        let bytes: Vec<&str> = bytes.iter().map(String::as_str).collect();
        assert_eq!(run(true, &bytes).0, [ONE, TWO_BARE, DONE].concat());
    }

    #[test]
    fn whole_chunks_pass_as_they_came() {
        let mut scanner = Scanner::new(true);
        let mut out = VecDeque::new();
        scanner.feed(Bytes::from_static(ONE.as_bytes()), &mut out);
        scanner.feed(Bytes::from_static(TWO.as_bytes()), &mut out);
        assert_eq!(out, [ONE, TWO_BARE], "one piece each, nothing kept");
    }

    #[test]
    fn empty_choices_without_usage_are_the_clients() {
        let filter = "data: {\"choices\":[],\"prompt_filter_results\":[]}\n\n";
        let null = "data: {\"choices\":[] , \"usage\" : null, \"x\":1}\n\n";
        let bare = "data: {\"choices\":[] , \"x\":1}\n\n";
        assert_eq!(run(true, &[filter, null]).0, [filter, bare].concat());
        assert_eq!(run(false, &[filter, null]).0, [filter, null].concat());
    }

    #[test]
    fn usage_beside_a_choice_is_passed_on() {
        let both = "data: {\"choices\":[{\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\n";
        let (kept, seen) = run(true, &[both]);
        assert_eq!(kept, both);
        assert_eq!(seen.usage.map(|usage| usage.output), Some(2));
    }

    #[test]
    fn an_error_event_is_seen() {
        let error = "data: {\"error\": {\"message\": \"dead\", \"code\": 500}}\n\n";
        let (_, seen) = run(false, &[ONE, error, DONE]);
        assert!(seen.error.is_some_and(|error| error.contains("dead")));
        assert!(seen.done && !seen.finished);
    }
}
