//! Each fault, and what comes of it.

use Comes::{Broken, Failed, Own, Refused, Unmetered, Whole};
use Form::{Json, Stream};

use super::answers::{Case, Comes};
use super::fault::{CORE_DIED_TOLD, Fault, GZIP, OFF_BY, RUBBISH, first_event, into_second_event};
use super::words::{ANSWER, DONE, Form, HELLO};

/// One test for each line: the fault, the form of the answer, and what comes of it.
macro_rules! faults {
    ($($(#[$note:meta])* $name:ident: $fault:expr, $form:expr => $comes:expr;)*) => {$(
        $(#[$note])*
        #[tokio::test]
        async fn $name() {
            let case = Case { fault: $fault, form: $form, comes: $comes };
            case.play().await;
        }
    )*};
}

/// Nothing of it was an answer.
fn no_answer(words: &'static str) -> Comes {
    Refused(502, "upstream_error", words)
}

const BROKE: &str = "broke off";
const PLAIN: (&str, &str) = ("content-type", "text/plain");
const HTML: (&str, &str) = ("content-type", "text/html");
const PAGE: &str = "<html><h1>Service Unavailable</h1></html>";

// No connection, or nothing on it.
faults! {
    refuses: Fault::Refuses, Json => no_answer("Connection refused");
    closes_at_once: Fault::ClosesAtOnce, Json => no_answer("a: ");
    resets_at_once: Fault::ResetsAtOnce, Json => no_answer("a: ");
    closes_unanswered: Fault::ClosesUnanswered, Json => no_answer("closed");
    closes_unanswered_stream: Fault::ClosesUnanswered, Stream => no_answer("closed");
    resets_unanswered: Fault::ResetsUnanswered, Json => no_answer("reset");
    never_answers: Fault::NeverAnswers, Json => no_answer("no first byte within 600 s");
    never_answers_stream: Fault::NeverAnswers, Stream => no_answer("no first byte within 120 s");
    head_then_nothing_stream: Fault::HeadThenNothing, Stream => no_answer("nothing came of its answer");
    head_then_nothing: Fault::HeadThenNothing, Json => no_answer("nothing came of its answer");
    comment_then_nothing: Fault::CommentThenNothing, Stream => no_answer("nothing came of its answer");
    head_of_error_then_nothing: Fault::HeadOfErrorThenNothing, Json => no_answer("500 Internal Server Error");
}

// No HTTP, or not enough of it.
faults! {
    no_http: Fault::NoHttp, Json => no_answer("a: ");
    interim_rubbish: Fault::StatusLine("HTTP/1.1 1\u{7}0 Wait"), Json => no_answer("a: ");
    a_version_nobody_knows: Fault::StatusLine("HTTP/9.9 200 OK"), Json => no_answer("a: ");
    two_lengths: Fault::TwoLengths, Json => no_answer("a: ");
    huge_header: Fault::HugeHeader, Json => no_answer("too large");
    many_headers: Fault::ManyHeaders, Json => no_answer("too large");
    bad_first_chunk_stream: Fault::BadFirstChunk, Stream => no_answer("chunk");
    bad_chunk_inside: Fault::BadChunkInside, Json => no_answer("chunk");
    bad_chunk_inside_stream: Fault::BadChunkInside, Stream => Broken(first_event(), BROKE);
    length_too_long: Fault::LengthTooLong, Json => no_answer("end of file");
    length_too_long_stream: Fault::LengthTooLong, Stream => Broken(first_event(), BROKE);
    length_too_short: Fault::LengthTooShort, Json
        => Unmetered(200, ANSWER.as_bytes()[..ANSWER.len() - OFF_BY].to_vec());
    length_too_short_stream: Fault::LengthTooShort, Stream => Broken(into_second_event(), "in the middle");
}

// Begun, and not ended.
faults! {
    stalls_inside: Fault::StallsInside, Json => no_answer("nothing came of its answer");
    stalls_inside_stream: Fault::StallsInside, Stream => Broken(first_event(), "");
    closes_inside: Fault::ClosesInside, Json => no_answer("a: ");
    closes_inside_stream: Fault::ClosesInside, Stream => Broken(first_event(), BROKE);
    resets_inside: Fault::ResetsInside, Json => no_answer("a: ");
    resets_inside_stream: Fault::ResetsInside, Stream => Broken(first_event(), BROKE);
    closes_at_the_end_stream: Fault::ClosesAtTheEnd, Stream => Whole;
    http10_inside_stream: Fault::Http10Inside, Stream => Broken(first_event(), "in the middle");
    no_end_stream: Fault::NoEnd, Stream => Broken(first_event(), "in the middle");
    error_then_done_stream: Fault::ErrorThenDone, Stream
        => Failed([HELLO, CORE_DIED_TOLD, DONE].concat(), "EngineCore died");
}

// Errors in words.
faults! {
    full: Fault::Status(429, ("retry-after", "7"), "slow down"), Json
        => Refused(429, "rate_limit_exceeded", "429 slow down");
    full_in_millis: Fault::Status(429, ("retry-after-ms", "1500"), "slow down"), Stream
        => Refused(429, "rate_limit_exceeded", "429 slow down");
    full_without_a_pause: Fault::Status(429, PLAIN, ""), Json
        => Refused(429, "rate_limit_exceeded", "429 Too Many Requests");
    status_408: Fault::Status(408, PLAIN, ""), Json => no_answer("408 Request Timeout");
    status_500: Fault::Status(500, PLAIN, r#"{"error":"boom"}"#), Json => no_answer("500 boom");
    status_500_stream: Fault::Status(500, PLAIN, r#"{"error":"boom"}"#), Stream => no_answer("500 boom");
    status_503: Fault::Status(503, PLAIN, ""), Json => no_answer("503 Service Unavailable");
    status_503_page: Fault::Status(503, HTML, PAGE), Json => no_answer("503 <html>");
    status_101: Fault::Status(101, ("upgrade", "other"), ""), Json => no_answer("a: ");
    status_304: Fault::Status(304, PLAIN, ""), Json => no_answer("304 Not Modified");
    status_400: Fault::Status(400, PLAIN, r#"{"detail":"no"}"#), Json => Own(400, "no");
    status_404_stream: Fault::Status(404, HTML, PAGE), Stream => Refused(404, "not_supported", "404 <html>");
    status_405: Fault::Status(405, PLAIN, ""), Json => Refused(404, "not_supported", "405 Method Not Allowed");
    status_400_compressed: Fault::CompressedError, Json => Own(400, "");
    error_first_stream: Fault::ErrorFirst, Stream => no_answer("200 and then queue is full");
    error_first_marked_stream: Fault::ErrorFirstMarked, Stream => no_answer("200 and then queue is full");
}

// Odd, and allowed.
faults! {
    trickles: Fault::Trickles, Json => Whole;
    trickles_stream: Fault::Trickles, Stream => Whole;
    no_json: Fault::NoJson, Json => Unmetered(200, RUBBISH.as_bytes().to_vec());
    no_content: Fault::NoContent, Json => Unmetered(204, Vec::new());
    no_done_stream: Fault::NoDone, Stream => Whole;
    http10: Fault::Http10, Json => Whole;
    http10_stream: Fault::Http10, Stream => Whole;
    closes: Fault::Closes, Json => Whole;
    closes_stream: Fault::Closes, Stream => Whole;
    interim_100: Fault::Interim(100), Json => Whole;
    interim_100_stream: Fault::Interim(100), Stream => Whole;
    interim_103: Fault::Interim(103), Json => Whole;
    answers_early: Fault::AnswersEarly, Json => Whole;
    answers_early_stream: Fault::AnswersEarly, Stream => Whole;
    long_event_stream: Fault::LongEvent, Stream => Whole;
    carriage_returns_stream: Fault::CarriageReturns, Stream => Whole;
    comments_stream: Fault::Comments, Stream => Whole;
    no_space_stream: Fault::NoSpace, Stream => Whole;
    byte_order_mark_stream: Fault::ByteOrderMark, Stream => Whole;
    compressed: Fault::Compressed, Json => Unmetered(200, GZIP.to_vec());
    compressed_stream: Fault::Compressed, Stream => Unmetered(200, GZIP.to_vec());
}
