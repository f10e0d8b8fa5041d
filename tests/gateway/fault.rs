//! The faults, and how each is played.

use super::upstream::{Step, Turn};
use super::words::{
    ANSWER, DONE, Form, HELLO, STOP, USAGE, chunk, chunked, chunked_head, head, sized,
};

/// What the client of an engine that lost its core gets: in OpenAI's envelope, whose code is a text.
pub(crate) const CORE_DIED_TOLD: &str = "data: {\"error\":{\"code\":\"500\",\"message\":\"EngineCore died\",\"param\":null,\"type\":\"InternalServerError\"}}\n\n";
/// What such an engine says.
const CORE_DIED: &str = "data: {\"error\":{\"message\":\"EngineCore died\",\"type\":\"InternalServerError\",\"code\":500}}\n\n";
/// What a full engine says in a stream, after a 200.
const FULL: &str = "data: {\"error\":{\"message\":\"queue is full\",\"type\":\"ServiceUnavailable\",\"code\":503}}\n\n";
/// No JSON.
pub(crate) const RUBBISH: &str = "<html>{{{ no json \u{7} at all";
/// The beginning of something compressed.
pub(crate) const GZIP: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xab\x56\x4a\x2d\x2a\xca";
/// How much is left out of, or added to, a length that is wrong.
pub(crate) const OFF_BY: usize = 20;

/// What an upstream does wrong, or oddly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nobody listens.
    Refuses,
    /// Takes the connection and closes it.
    ClosesAtOnce,
    /// Takes the connection and resets it.
    ResetsAtOnce,
    /// Reads the request and closes.
    ClosesUnanswered,
    /// Reads the request and resets.
    ResetsUnanswered,
    /// Reads the request and says nothing.
    NeverAnswers,
    /// Sends the head of an answer and nothing more.
    HeadThenNothing,
    /// Sends the head of a 500 and nothing of its body.
    HeadOfErrorThenNothing,
    /// Sends comments, which keep a connection alive and are no event, and nothing more.
    CommentThenNothing,
    /// Stops in the middle, and keeps the connection.
    StallsInside,
    /// Writes one byte at a time.
    Trickles,
    /// Speaks another protocol.
    NoHttp,
    /// Answers with these bytes as its status line.
    StatusLine(&'static str),
    /// Says 200 and something that is no JSON.
    NoJson,
    /// Says a length that is more than comes.
    LengthTooLong,
    /// Says a length that is less than comes.
    LengthTooShort,
    /// Says two lengths.
    TwoLengths,
    /// Spoils the first chunk's size.
    BadFirstChunk,
    /// Spoils the size of a chunk in the middle.
    BadChunkInside,
    /// Closes in the middle of an answer in chunks.
    ClosesInside,
    /// Says everything, and closes before the chunk that ends the answer.
    ClosesAtTheEnd,
    /// Resets in the middle.
    ResetsInside,
    /// One header of a MiB.
    HugeHeader,
    /// 500 headers.
    ManyHeaders,
    /// A status with a header and a body.
    Status(u16, (&'static str, &'static str), &'static str),
    /// 400 with a body that is compressed.
    CompressedError,
    /// 200, and then an error as the first event.
    ErrorFirst,
    /// The same, behind a byte order mark.
    ErrorFirstMarked,
    /// An error event in the middle, then `[DONE]`.
    ErrorThenDone,
    /// Ends in order, without `[DONE]`.
    NoDone,
    /// Ends in order, with neither a finish nor `[DONE]`.
    NoEnd,
    /// Speaks HTTP/1.0: the end of the connection is the end of the answer.
    Http10,
    /// The same, cut in the middle.
    Http10Inside,
    /// Says `connection: close`, and does.
    Closes,
    /// Sends an interim response of this status before its answer.
    Interim(u16),
    /// Answers before it has read the request's body.
    AnswersEarly,
    /// An event of more than a MiB in the middle of a stream.
    LongEvent,
    /// Lines that end with CRLF.
    CarriageReturns,
    /// Comments between events.
    Comments,
    /// `data:` without a space behind it.
    NoSpace,
    /// A byte order mark before the first event.
    ByteOrderMark,
    /// 204 without a body.
    NoContent,
    /// A compressed answer, which nobody asked for.
    Compressed,
}

impl Fault {
    /// How many times faster than the wall's its fleet's clock runs: limits that must pass do so in two or three seconds.
    pub(crate) fn speed(self, form: Form) -> u32 {
        match (self, form) {
            (Self::NeverAnswers | Self::HeadThenNothing, Form::Json) => 240,
            (
                Self::NeverAnswers
                | Self::HeadThenNothing
                | Self::CommentThenNothing
                | Self::StallsInside,
                _,
            ) => 60,
            _ => 20,
        }
    }

    /// The body that it sends where it sends a whole one, in pieces.
    pub(crate) fn pieces(self, form: Form) -> Vec<String> {
        let usual = form.pieces();
        let each = |change: &dyn Fn(&String) -> String| usual.iter().map(change).collect();
        match self {
            Self::NoDone => usual[..3].to_vec(),
            Self::NoEnd => usual[..1].to_vec(),
            Self::LongEvent => {
                let mut pieces = usual.clone();
                let long = format!("Zoë {}", "🦀".repeat(300_000));
                pieces.insert(1, HELLO.replace("Zoë", &long));
                pieces
            }
            Self::CarriageReturns => each(&|piece| piece.replace('\n', "\r\n")),
            Self::Comments => each(&|piece| format!(": ping\n\n{piece}")),
            Self::NoSpace => each(&|piece| piece.replace("data: ", "data:")),
            Self::ByteOrderMark => {
                let mut pieces = usual.clone();
                pieces[0].insert(0, '\u{feff}');
                pieces
            }
            Self::ErrorThenDone => [HELLO, CORE_DIED, DONE].map(str::to_owned).to_vec(),
            Self::NoJson => vec![RUBBISH.to_owned()],
            _ => usual,
        }
    }

    /// The body that the client gets of it where it gets a whole one: without the usage that it did not ask for.
    pub(crate) fn told(self, form: Form) -> String {
        let pieces = self.pieces(form);
        let mut told = pieces.concat();
        if form == Form::Stream
            && let Some(usage) = pieces.iter().find(|piece| piece.contains("\"usage\""))
            && let Some(at) = usage.find("data:")
        {
            told = told.replace(&usage[at..], "");
        }
        told
    }

    /// The head and the first part of an answer: an event, or half of the JSON.
    fn begun(form: Form) -> Vec<u8> {
        match form {
            Form::Stream => [chunked_head(form), chunk(HELLO.as_bytes())].concat(),
            Form::Json => [chunked_head(form), chunk(&ANSWER.as_bytes()[..40])].concat(),
        }
    }

    /// What the upstream does.
    #[expect(clippy::too_many_lines, reason = "a table")]
    pub(crate) fn turn(self, form: Form) -> Turn {
        use Step::{Fin, Hang, Head, Request, Reset, Seen, Send, Trickle};
        let answer = |bytes: Vec<u8>| vec![Request, Send(bytes)];
        let kind = ("content-type", form.content_type());
        match self {
            Self::Refuses => vec![Request, Step::Answer],
            Self::ClosesAtOnce => vec![Fin],
            Self::ResetsAtOnce => vec![Reset],
            Self::ClosesUnanswered => vec![Request, Fin],
            Self::ResetsUnanswered => vec![Request, Reset],
            Self::NeverAnswers => vec![Request, Hang],
            Self::HeadThenNothing => vec![Request, Send(chunked_head(form)), Hang],
            Self::HeadOfErrorThenNothing => {
                vec![Request, Send(sized(500, Form::Json, 9, b"")), Hang]
            }
            Self::CommentThenNothing => {
                let bytes = [chunked_head(form), chunk(b": ping\n\n")].concat();
                vec![Request, Send(bytes), Hang]
            }
            Self::StallsInside => vec![Request, Send(Self::begun(form)), Hang],
            Self::Trickles => vec![Request, Trickle(form.wire())],
            Self::NoHttp => vec![Request, Send(b"\x16\x03\x01 hello?\r\n\r\n".to_vec()), Fin],
            Self::StatusLine(line) => {
                let bytes = [line.as_bytes(), b"\r\n\r\n", &form.wire()].concat();
                vec![Request, Send(bytes), Fin]
            }
            Self::LengthTooLong => {
                let body = &form.pieces()[0];
                let bytes = sized(200, form, body.len() + OFF_BY, body.as_bytes());
                vec![Request, Send(bytes), Fin]
            }
            Self::LengthTooShort => {
                let body = form.pieces().concat();
                let length = body.len() - DONE.len() - USAGE.len() - OFF_BY;
                let length = match form {
                    Form::Json => body.len() - OFF_BY,
                    Form::Stream => length,
                };
                answer(sized(200, form, length, body.as_bytes()))
            }
            Self::TwoLengths => {
                let headers = [kind, ("content-length", "7"), ("content-length", "8")];
                answer([head(200, &headers).as_slice(), ANSWER.as_bytes()].concat())
            }
            Self::BadFirstChunk => answer([chunked_head(form), b"zz\r\n".to_vec()].concat()),
            // Of an answer in one piece the client sees nothing before all of it is there.
            Self::BadChunkInside if form == Form::Json => {
                let bytes = [Self::begun(form), b"zz\r\n".to_vec()].concat();
                vec![Request, Send(bytes), Hang]
            }
            Self::BadChunkInside => vec![
                Request,
                Send(Self::begun(form)),
                Seen,
                Send(b"zz\r\n".to_vec()),
                Hang,
            ],
            Self::ClosesInside => vec![Request, Send(Self::begun(form)), Fin],
            Self::ClosesAtTheEnd => {
                let mut bytes = chunked(form, &form.pieces());
                bytes.truncate(bytes.len() - b"0\r\n\r\n".len());
                vec![Request, Send(bytes), Fin]
            }
            Self::ResetsInside if form == Form::Json => {
                vec![Request, Send(Self::begun(form)), Reset]
            }
            Self::ResetsInside => vec![Request, Send(Self::begun(form)), Seen, Reset],
            Self::HugeHeader => {
                let huge = "x".repeat(1 << 20);
                answer([head(200, &[kind, ("x-huge", &huge)]), form.wire()].concat())
            }
            Self::ManyHeaders => {
                let mut headers = vec![kind, ("content-length", "0")];
                headers.resize(500, ("x-many", "1"));
                answer(head(200, &headers))
            }
            Self::Status(status, header, body) => {
                let length = body.len().to_string();
                let bytes = head(status, &[header, ("content-length", &length)]);
                answer([bytes.as_slice(), body.as_bytes()].concat())
            }
            Self::CompressedError => answer(Self::compressed(400, Form::Json)),
            Self::Compressed => answer(Self::compressed(200, form)),
            Self::ErrorFirst => answer(chunked(form, &[FULL, DONE])),
            Self::ErrorFirstMarked => answer(chunked(form, &["\u{feff}", FULL, DONE])),
            Self::Http10 | Self::Http10Inside => {
                let mut pieces = form.pieces();
                if self == Self::Http10Inside {
                    pieces.truncate(1);
                }
                let head = format!("HTTP/1.0 200 OK\r\ncontent-type: {}\r\n\r\n", kind.1);
                let bytes = [head, pieces.concat()].concat().into_bytes();
                vec![Request, Send(bytes), Fin]
            }
            Self::Closes => {
                let bytes = head(200, &[kind, ("connection", "close")]);
                let bytes = [bytes, form.pieces().concat().into_bytes()].concat();
                vec![Request, Send(bytes), Fin]
            }
            Self::Interim(status) => {
                let interim = head(status, &[("x-interim", "1")]);
                vec![Request, Send(interim), Send(form.wire())]
            }
            Self::AnswersEarly => vec![Head, Send(form.wire()), Request],
            Self::NoContent => answer(head(204, &[])),
            Self::NoJson => {
                let body = RUBBISH.as_bytes();
                answer(sized(200, form, body.len(), body))
            }
            Self::ErrorThenDone
            | Self::NoDone
            | Self::NoEnd
            | Self::LongEvent
            | Self::CarriageReturns
            | Self::Comments
            | Self::NoSpace
            | Self::ByteOrderMark => answer(chunked(form, &self.pieces(form))),
        }
    }

    fn compressed(status: u16, form: Form) -> Vec<u8> {
        let length = GZIP.len().to_string();
        let headers = [
            ("content-type", form.content_type()),
            ("content-encoding", "gzip"),
            ("content-length", length.as_str()),
        ];
        [head(status, &headers).as_slice(), GZIP].concat()
    }
}

/// What a client gets of a stream that ends behind its first event.
pub(crate) fn first_event() -> String {
    HELLO.to_owned()
}

/// What a client gets of a stream that is cut within its second event.
pub(crate) fn into_second_event() -> String {
    let whole = [HELLO, STOP].concat();
    whole[..whole.len() - OFF_BY].to_owned()
}
