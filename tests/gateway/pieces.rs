//! Answers in two pieces, cut at every byte: within characters, within events, within line ends.

use std::time::Duration;

use fleetctl::fleet::request::Usage;
use tokio::sync::mpsc;

use super::answers::envelope;
use super::bench::Bench;
use super::fault::Fault;
use super::fleet::hosted;
use super::upstream::{Step, Turn, Upstream};
use super::words::{CHAT, DONE, Form, HELLO, chunk, chunked, chunked_head};

/// Longer than any test here takes; what hangs fails.
const PATIENCE: Duration = Duration::from_secs(50);
/// The fleet's clock against the wall's.
const SPEED: u32 = 20;
const STREAM: &str = r#","stream":true"#;
const STREAM_WITH_USAGE: &str = r#","stream":true,"stream_options":{"include_usage":true}"#;

/// Every cut of `sent` into two chunks reaches the client as `told`, and its usage is read.
async fn every_cut(form: Form, options: &str, sent: &str, told: &str) {
    let turn = |at: usize| -> Turn {
        let (one, two) = sent.as_bytes().split_at(at);
        let whole = chunked(form, &[one, two]);
        // The two chunks are two writes.
        let second = whole.len() - chunk(two).len() - b"0\r\n\r\n".len();
        let (one, two) = whole.split_at(second);
        vec![
            Step::Request,
            Step::Send(one.to_vec()),
            Step::Send(two.to_vec()),
        ]
    };
    let (to_test, events) = mpsc::unbounded_channel();
    let upstream = Upstream::playing((1..sent.len()).map(turn).collect(), &to_test);
    let mut bench = Bench::new(SPEED, vec![(hosted("a", 1), upstream)], events).await;
    for at in 1..sent.len() {
        let id = at.to_string();
        let saw = bench.ask(&id, &format!("{CHAT}{options}")).await;
        assert_eq!((saw.status, saw.cut), (200, false), "{at}");
        assert_eq!(saw.text(), told, "cut at {at}");
        let record = bench.record(&id).await;
        let usage = record
            .usage
            .map(|Usage { input, output, .. }| (input, output));
        assert_eq!(usage, Some((10, 5)), "cut at {at}");
        assert_eq!((record.partial, record.error), (false, None), "cut at {at}");
    }
    bench.is_sound().await;
}

#[tokio::test]
async fn wherever_an_answer_is_cut_its_bytes_are_the_same() {
    let stream = Form::Stream.pieces().concat();
    let returns = Fault::CarriageReturns;
    let sent =
        [returns, Fault::Comments, Fault::NoSpace].map(|it| it.pieces(Form::Stream).concat());
    let told = [returns, Fault::Comments, Fault::NoSpace].map(|it| it.told(Form::Stream));
    let json = Form::Json.told();
    let plain = Form::Stream.told();
    let all = async {
        tokio::join!(
            every_cut(Form::Json, "", &json, &json),
            every_cut(Form::Stream, STREAM, &stream, &plain),
            every_cut(Form::Stream, STREAM_WITH_USAGE, &stream, &stream),
            every_cut(Form::Stream, STREAM, &sent[0], &told[0]),
            every_cut(Form::Stream, STREAM, &sent[1], &told[1]),
            every_cut(Form::Stream, STREAM, &sent[2], &told[2]),
        )
    };
    tokio::time::timeout(PATIENCE, all).await.unwrap();
}

/// What a client gets of a stream that ends after any number of its bytes: an error that it can read.
async fn every_end(options: &str) {
    let sent = Form::Stream.pieces().concat();
    for at in 1..sent.len() - DONE.len() {
        let bytes = [chunked_head(Form::Stream), chunk(&sent.as_bytes()[..at])].concat();
        let (to_test, events) = mpsc::unbounded_channel();
        let turn = vec![Step::Request, Step::Send(bytes), Step::Fin];
        let upstream = Upstream::playing(vec![turn], &to_test);
        let mut bench = Bench::new(SPEED, vec![(hosted("a", 1), upstream)], events).await;
        let saw = bench.ask("r", &format!("{CHAT}{options}")).await;
        let record = bench.record("r").await;
        assert!(!saw.cut, "ended after {at}");
        assert!(record.error.is_some(), "ended after {at}");
        if at < HELLO.len() {
            assert_eq!((saw.status, record.status), (502, 502), "ended after {at}");
            assert_eq!(envelope(&saw.text())["code"], "upstream_error");
            continue;
        }
        assert_eq!((saw.status, record.status), (200, 200), "ended after {at}");
        assert!(record.partial, "ended after {at}");
        // The blank line that ends what was cut keeps the error an event of its own.
        let text = saw.text();
        let last = text.trim_end().rsplit("\n\n").next().unwrap().trim_start();
        let error = envelope(last.strip_prefix("data: ").unwrap());
        assert_eq!(error["code"], "upstream_error", "ended after {at}: {text}");
        let before = text[..text.rfind(last).unwrap()].trim_end();
        assert!(sent.starts_with(before), "ended after {at}: {text}");
    }
}

#[tokio::test]
async fn wherever_a_stream_ends_its_error_can_be_read() {
    let both = async { tokio::join!(every_end(STREAM), every_end(STREAM_WITH_USAGE)) };
    tokio::time::timeout(PATIENCE, both).await.unwrap();
}
