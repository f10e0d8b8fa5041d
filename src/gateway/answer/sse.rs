//! Reads a server-sent-event stream in passing: usage, errors and the end, across the borders of chunks.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::LazyLock;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use memchr::memmem::Finder;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::fleet::request::Usage;
use crate::gateway::answer::usage;
use crate::gateway::client::envelope;
use crate::gateway::client::peek::{Telling, raw};

/// An event longer than this is passed on unread.
const LONGEST_EVENT: usize = 1 << 20;

/// What a stream said so far.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Events with data.
    pub(crate) events: u64,
    /// The newest usage.
    pub(crate) usage: Option<Usage>,
    /// A choice, or a response, came to its end by itself.
    pub(crate) finished: bool,
    /// `[DONE]` came.
    pub(crate) done: bool,
    /// The first error event's data, as it came.
    pub(crate) error: Option<String>,
}

/// Splits a stream into events and reads the few that matter. What passes through is never copied, and passes as soon as
/// its event is whole.
#[derive(Debug, Default)]
pub(crate) struct Scanner {
    /// Whose the usage is.
    telling: Telling,
    /// The beginning of an event whose end has not come.
    carry: BytesMut,
    /// The beginning of the event under way went out: it was too long to be kept.
    inside: bool,
    /// See [`Seen`].
    pub(crate) seen: Seen,
}

struct Needles {
    usage: Finder<'static>,
    error: Finder<'static>,
    finish: Finder<'static>,
    response: Finder<'static>,
}

/// Quoted names cannot be met inside a string of JSON: there the quotes are escaped.
static NEEDLES: LazyLock<Needles> = LazyLock::new(|| Needles {
    usage: Finder::new(b"\"usage\""),
    error: Finder::new(b"\"error\""),
    finish: Finder::new(b"\"finish_reason\""),
    response: Finder::new(b"\"response\""),
});

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    choices: Option<&'a RawValue>,
    // A `null` matters here: it may have to go.
    #[serde(borrow, default, deserialize_with = "raw")]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    /// Events of the responses API carry the whole response.
    #[serde(borrow)]
    response: Option<Response<'a>>,
}

#[derive(Deserialize)]
struct Response<'a> {
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow, default)]
    status: Option<Cow<'a, str>>,
}

impl Scanner {
    /// A scanner that lets usage through, or holds it back.
    pub(crate) fn new(telling: Telling) -> Self {
        Self {
            telling,
            ..Self::default()
        }
    }

    /// Whether part of an event went out whose end did not.
    pub(crate) fn cut_inside_event(&self) -> bool {
        self.inside
    }

    /// Reads `chunk` and puts what the client is to get into `out`: every event that is whole, in the pieces it came in.
    pub(crate) fn feed(&mut self, chunk: Bytes, out: &mut VecDeque<Bytes>) {
        let (whole, mut search) = if self.carry.is_empty() {
            (chunk, 0)
        } else {
            // An end is four bytes at most; the ones before were searched.
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
            let verdict = if std::mem::take(&mut self.inside) {
                Verdict::Pass
            } else {
                self.read(&whole[start..end])
            };
            match verdict {
                Verdict::Pass => {}
                Verdict::Withhold => {
                    push(out, whole.slice(keep..start));
                    keep = end;
                }
                Verdict::Instead(event) => {
                    push(out, whole.slice(keep..start));
                    push(out, event);
                    keep = end;
                }
            }
            start = end;
            search = end;
        }
        push(out, whole.slice(keep..start));
        let rest = whole.slice(start..);
        if rest.len() > LONGEST_EVENT || (self.inside && !rest.is_empty()) {
            self.inside = true;
            push(out, rest);
        } else {
            self.carry.extend_from_slice(&rest);
        }
    }

    /// The stream ended: reads what is left, which had no blank line after it.
    pub(crate) fn finish(&mut self, out: &mut VecDeque<Bytes>) {
        let rest = std::mem::take(&mut self.carry).freeze();
        match self.read(&rest) {
            Verdict::Pass => {
                // Whatever may come after it is no part of it.
                self.inside |= !rest.is_empty();
                push(out, rest);
            }
            Verdict::Withhold => {}
            Verdict::Instead(event) => push(out, event),
        }
    }

    /// Reads one event, and says what the client is to get of it.
    fn read(&mut self, event: &[u8]) -> Verdict {
        let mut verdict = Verdict::Pass;
        // A byte order mark may stand before everything.
        let mark = self.seen.events == 0 && event.starts_with(b"\xef\xbb\xbf");
        let mut at = if mark { 3 } else { 0 };
        for line in event[at..].split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
            if let Some(data) = line.strip_prefix(b"data:") {
                self.seen.events += 1;
                let data = data.trim_ascii_end();
                let from = at + b"data:".len();
                match self.read_data(data) {
                    Part::All => {}
                    Part::None => verdict = Verdict::Withhold,
                    Part::With(place, with) => {
                        let place = from + place.start..from + place.end;
                        verdict = Verdict::Instead(replaced(event, &place, &with));
                    }
                }
            }
            at += line.len();
        }
        verdict
    }

    fn read_data(&mut self, data: &[u8]) -> Part {
        if data.trim_ascii_start() == b"[DONE]" {
            self.seen.done = true;
            return Part::All;
        }
        self.seen.finished = self.seen.finished || names_a_finish(data);
        let needles = &*NEEDLES;
        if needles.usage.find(data).is_none()
            && needles.error.find(data).is_none()
            && needles.response.find(data).is_none()
        {
            return Part::All;
        }
        let Ok(event) = serde_json::from_slice::<Event<'_>>(data) else {
            return Part::All;
        };
        self.read_response(&event, data);
        if event.error.is_some() || event.kind.as_deref() == Some("error") {
            return self.read_error(event.error.is_some(), data);
        }
        let Some(raw) = event.usage else {
            return Part::All;
        };
        let told = usage::read(raw);
        if told.is_some() {
            self.seen.usage = told;
        } else if raw.get() != "null" {
            return Part::All;
        }
        let alone = event.choices.is_none_or(|choices| is_empty(choices.get()));
        match self.telling {
            Telling::Client => Part::All,
            Telling::Gateway if alone && told.is_some() => Part::None,
            Telling::Both if alone => Part::All,
            Telling::Gateway | Telling::Both => {
                let start = raw.get().as_ptr() as usize - data.as_ptr() as usize;
                member(data, &(start..start + raw.get().len()), b"\"usage\"")
                    .map_or(Part::All, |place| Part::With(place, Bytes::new()))
            }
        }
    }

    /// What an event of the responses API says of its response.
    fn read_response(&mut self, event: &Event<'_>, data: &[u8]) {
        let Some(response) = &event.response else {
            return;
        };
        if let Some(told) = response.usage.and_then(usage::read) {
            self.seen.usage = Some(told);
        }
        match response.status.as_deref() {
            Some("completed" | "incomplete" | "cancelled") => self.seen.finished = true,
            Some("failed") if self.seen.error.is_none() => {
                let error = response.error.map_or("null", RawValue::get);
                let said = format!("{{\"error\":{error}}}");
                self.seen.error = Some(if response.error.is_some() {
                    said
                } else {
                    String::from_utf8_lossy(data).into_owned()
                });
            }
            Some(_) | None => {}
        }
    }

    /// An error event; one in another envelope than OpenAI's gets that one.
    fn read_error(&mut self, enveloped: bool, data: &[u8]) -> Part {
        if self.seen.error.is_none() {
            self.seen.error = Some(String::from_utf8_lossy(data).into_owned());
        }
        if !enveloped {
            // The responses API's own error event: its SDKs read it as it is.
            return Part::All;
        }
        let said = Bytes::copy_from_slice(data.trim_ascii_start());
        let status = std::str::from_utf8(data)
            .ok()
            .and_then(envelope::status_in)
            .unwrap_or(StatusCode::BAD_GATEWAY);
        let normal = envelope::normalise(status, &said);
        if normal == said {
            return Part::All;
        }
        let lead = data.len() - said.len();
        Part::With(lead..data.len(), normal)
    }
}

/// What the client gets of an event.
#[derive(Debug)]
enum Verdict {
    /// All of it.
    Pass,
    /// Nothing: it carries usage alone.
    Withhold,
    /// This in its place.
    Instead(Bytes),
}

/// What the client gets of an event's data.
enum Part {
    All,
    None,
    /// This place is taken by that: hosted APIs put `"usage":null` into every event once usage is asked for.
    With(Range<usize>, Bytes),
}

/// Where a member of an object stands, with the comma that goes with it, whose value stands at `value`.
fn member(data: &[u8], value: &Range<usize>, name: &[u8]) -> Option<Range<usize>> {
    let before = data[..value.start].trim_ascii_end().strip_suffix(b":")?;
    let before = before.trim_ascii_end().strip_suffix(name)?;
    if let Some(before) = before.trim_ascii_end().strip_suffix(b",") {
        return Some(before.len()..value.end);
    }
    let after = data[value.end..].trim_ascii_start().strip_prefix(b",")?;
    Some(before.len()..data.len() - after.len())
}

fn replaced(event: &[u8], place: &Range<usize>, with: &[u8]) -> Bytes {
    [&event[..place.start], with, &event[place.end..]]
        .concat()
        .into()
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

/// Where the first event that ends at or after `from` ends: behind its blank line. Lines end with LF, CRLF or CR.
fn event_end(bytes: &[u8], from: usize) -> Option<usize> {
    memchr::memchr2_iter(b'\n', b'\r', &bytes[from..]).find_map(|at| {
        let here = from + at;
        let next = here + 1;
        match (bytes[here], &bytes[next..]) {
            (b'\n', [b'\n', ..]) | (b'\r', [b'\r', ..]) => Some(next + 1),
            (b'\n', [b'\r', b'\n', ..]) => Some(next + 2),
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
    use crate::gateway::client::peek::Telling;

    const ONE: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"say \\\"usage\\\": 1\"},\"finish_reason\":null}]}\n\n";
    const TWO: &str = ": ping\r\ndata: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":null}\r\n\r\n";
    const TWO_BARE: &str =
        ": ping\r\ndata: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\r\n\r\n";
    const TOLD: &str = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":4,\"prompt_tokens_details\":{\"cached_tokens\":8}}}\n\n";
    const DONE: &str = "data: [DONE]\n\n";

    fn run(telling: Telling, chunks: &[&str]) -> (String, Seen) {
        let mut scanner = Scanner::new(telling);
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
    fn half_an_event_at_the_end_is_not_glued_to_what_follows() {
        for (chunks, inside) in [(vec![ONE], false), (vec![ONE, "data: {\"choi"], true)] {
            let mut scanner = Scanner::new(Telling::default());
            let mut out = VecDeque::new();
            for chunk in chunks {
                scanner.feed(Bytes::copy_from_slice(chunk.as_bytes()), &mut out);
            }
            scanner.finish(&mut out);
            assert_eq!(scanner.cut_inside_event(), inside);
        }
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
            let (kept, seen) = run(Telling::Client, &[a, b]);
            assert_eq!((&kept, &seen), (&whole, &expected), "split at {at}");
            let (kept, seen) = run(Telling::Gateway, &[a, b]);
            assert_eq!(kept, [ONE, TWO_BARE, DONE].concat(), "split at {at}");
            assert_eq!(seen, expected, "split at {at}");
        }
        let bytes: Vec<String> = whole.chars().map(String::from).collect();
        let bytes: Vec<&str> = bytes.iter().map(String::as_str).collect();
        assert_eq!(
            run(Telling::Gateway, &bytes).0,
            [ONE, TWO_BARE, DONE].concat()
        );
    }

    #[test]
    fn whole_chunks_pass_as_they_came() {
        let mut scanner = Scanner::new(Telling::Gateway);
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
        assert_eq!(
            run(Telling::Gateway, &[filter, null]).0,
            [filter, bare].concat()
        );
        assert_eq!(
            run(Telling::Client, &[filter, null]).0,
            [filter, null].concat()
        );
    }

    #[test]
    fn usage_beside_a_choice_is_taken_out() {
        let both = "data: {\"choices\":[{\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\n";
        let first =
            "data: {\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}, \"choices\":[{}]}\n\n";
        let bare = "data: {\"choices\":[{\"finish_reason\":\"stop\"}]}\n\n";
        let first_bare = "data: { \"choices\":[{}]}\n\n";
        let (kept, seen) = run(Telling::Gateway, &[both, first]);
        assert_eq!(kept, [bare, first_bare].concat());
        assert_eq!(seen.usage.map(|usage| usage.output), Some(2));
        // The client asked for the last event; the ones in every event are ours.
        let (kept, _) = run(Telling::Both, &[both, TOLD, DONE]);
        assert_eq!(kept, [bare, TOLD, DONE].concat());
        assert_eq!(run(Telling::Client, &[both]).0, both);
    }

    #[test]
    fn the_responses_api_tells_at_its_end() {
        let created = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"status\":\"in_progress\",\"error\":null,\"usage\":null}}\n\n";
        let delta = "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"a\"}\n\n";
        let completed = "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"status\":\"completed\",\"error\":null,\"usage\":{\"input_tokens\":5,\"output_tokens\":3,\"output_tokens_details\":{\"reasoning_tokens\":1}}}}\n\n";
        let failed = "data: {\"type\":\"response.failed\",\"response\":{\"status\":\"failed\",\"error\":{\"code\":\"server_error\",\"message\":\"no\"}}}\n\n";
        let (kept, seen) = run(Telling::Client, &[created, delta, completed]);
        assert_eq!(kept, [created, delta, completed].concat());
        assert_eq!((seen.events, seen.finished, seen.error), (3, true, None));
        assert_eq!(seen.usage.map(|usage| usage.reasoning), Some(1));
        let (_, seen) = run(Telling::Client, &[created, failed]);
        assert!(
            seen.error
                .is_some_and(|error| error.contains("server_error"))
        );
        let (kept, seen) = run(
            Telling::Client,
            &["data: {\"type\":\"error\",\"code\":\"x\",\"message\":\"m\"}\n\n"],
        );
        assert!(seen.error.is_some() && kept.contains("\"code\":\"x\""));
    }

    #[test]
    fn a_line_may_end_with_cr_alone() {
        let cr = |text: &str| text.replace("\r\n", "\n").replace('\n', "\r");
        let whole = cr(&[ONE, TOLD, DONE].concat());
        let (kept, seen) = run(Telling::Gateway, &[&whole]);
        assert_eq!(kept, cr(&[ONE, DONE].concat()));
        assert!(seen.done && seen.usage.is_some());
    }

    #[test]
    fn an_event_too_long_to_keep_passes_unread() {
        let long = format!("data: {{\"x\":\"{}\"}}\n\n", "y".repeat(3 << 20));
        let (a, b) = long.split_at(2 << 20);
        let (kept, seen) = run(Telling::Gateway, &[ONE, a, b, TOLD, DONE]);
        assert_eq!(kept.len(), ONE.len() + long.len() + DONE.len());
        assert!(seen.done && seen.usage.is_some());
    }

    #[test]
    fn an_error_event_is_seen() {
        let error = "data: {\"error\": {\"message\": \"dead\", \"code\": 500}}\n\n";
        let (kept, seen) = run(Telling::Client, &[ONE, error, DONE]);
        let normal = kept.strip_prefix(ONE).unwrap();
        assert!(normal.starts_with("data: {\"error\":{") && normal.contains("\"code\":\"500\""));
        assert!(seen.error.is_some_and(|error| error.contains("dead")));
        assert!(seen.done && !seen.finished);
    }
}
