//! Plays one fault, alone and beside a healthy backend, and compares what is seen with what should be.

use std::time::Duration;

use fleetctl::fleet::request::{Route, Usage};
use fleetctl::fleet::{RequestRecord, Usd};
use tokio::sync::mpsc;

use super::bench::{Bench, Saw};
use super::fault::Fault;
use super::fleet::{hosted, self_hosted};
use super::upstream::Upstream;
use super::words::{CHAT, Form};

/// What comes of a fault.
#[derive(Clone, Debug)]
pub(crate) enum Comes {
    /// Nothing of it reaches the client. Alone: this status and code, in the envelope, and a message with these words.
    /// Beside a healthy backend: that one's answer.
    Refused(u16, &'static str, &'static str),
    /// It is the client's own error, which nobody else is asked about: status and words.
    Own(u16, &'static str),
    /// All of it reaches the client, and its tokens are counted.
    Whole,
    /// All of these bytes reach the client; its tokens are not known.
    Unmetered(u16, Vec<u8>),
    /// All of these bytes reach the client; what went wrong is on record in these words.
    Failed(String, &'static str),
    /// These bytes reach the client, and then an error event with these words.
    Broken(String, &'static str),
}

/// A fault in an answer of this form, and what comes of it.
pub(crate) struct Case {
    pub(crate) fault: Fault,
    pub(crate) form: Form,
    pub(crate) comes: Comes,
}

/// Longer than any test here takes; what hangs fails.
const PATIENCE: Duration = Duration::from_secs(30);
/// 10 in at $1 and 5 out at $2 per million.
const COST: Usd = Usd::from_pico(20_000_000);
const USED: Usage = Usage {
    input: 10,
    cached: 0,
    output: 5,
    reasoning: 0,
};

impl Case {
    /// Plays it both ways.
    pub(crate) async fn play(&self) {
        let both = async { tokio::join!(self.alone(), self.beside()) };
        let ended = tokio::time::timeout(PATIENCE, both).await;
        assert!(ended.is_ok(), "{:?} hangs", self.fault);
    }

    fn body(&self) -> String {
        let stream = match self.form {
            Form::Json => "",
            Form::Stream => r#","stream":true"#,
        };
        // More than the buffers of a connection hold.
        let padding = match self.fault {
            Fault::AnswersEarly => "x".repeat(8 << 20),
            _ => String::new(),
        };
        format!(r#"{CHAT}{stream},"user":"{padding}""#)
    }

    fn upstream(&self, events: &mpsc::UnboundedSender<super::upstream::Event>) -> Upstream {
        match self.fault {
            Fault::Refuses => Upstream::deaf(Vec::new(), events),
            fault => Upstream::playing(vec![fault.turn(self.form)], events),
        }
    }

    /// How many connections the fault takes: one, and never a second try.
    fn connections(&self) -> usize {
        usize::from(self.fault != Fault::Refuses)
    }

    /// With nobody else to ask: a hosted backend, so that its cost is seen.
    async fn alone(&self) {
        let (to_test, events) = mpsc::unbounded_channel();
        let a = (hosted("a", 1), self.upstream(&to_test));
        let mut bench = Bench::new(self.fault.speed(self.form), vec![a], events).await;
        let saw = bench.ask("r", &self.body()).await;
        let record = bench.record("r").await;
        self.seen(&saw);
        self.recorded(&record, Some(COST), None);
        assert_eq!(bench.upstreams[0].connections(), self.connections());
        bench.upstreams[0].listen();
        bench.is_sound().await;
    }

    /// Beside a hosted backend that answers everything and has no weight.
    async fn beside(&self) {
        let (to_test, events) = mpsc::unbounded_channel();
        let a = (self_hosted("a", 1), self.upstream(&to_test));
        let b = (hosted("b", 0), Upstream::playing(Vec::new(), &to_test));
        let mut bench = Bench::new(self.fault.speed(self.form), vec![a, b], events).await;
        let saw = bench.ask("r", &self.body()).await;
        let record = bench.record("r").await;
        let [a, b] = &bench.upstreams[..] else {
            panic!("two backends")
        };
        assert_eq!(a.connections(), self.connections());
        assert!(a.asked().len() <= 1, "{:?}", a.asked());
        if let Comes::Refused(..) = self.comes {
            assert_eq!(b.asked(), ["r"]);
            assert_eq!((saw.status, saw.cut), (200, false), "{saw:?}");
            assert_eq!(saw.text(), self.form.told());
            assert_eq!(saw.header("x-fleet-route"), "fallback");
            assert_eq!(saw.header("x-fleet-backend"), "b");
            assert_eq!((record.status, record.route), (200, Route::Fallback));
            assert_eq!(record.backend, Some("b".into()));
            assert_eq!((record.usage, record.cost), (Some(USED), Some(COST)));
            assert_eq!((record.partial, &record.error), (false, &None));
        } else {
            assert_eq!(b.asked(), [""; 0], "nobody else was asked");
            self.seen(&saw);
            self.recorded(&record, Some(Usd::ZERO), Some(Usd::ZERO));
        }
        bench.upstreams[0].listen();
        bench.is_sound().await;
    }

    /// What the client sees of the faulty one.
    fn seen(&self, saw: &Saw) {
        let text = saw.text();
        match &self.comes {
            Comes::Refused(status, code, words) => {
                assert_eq!((saw.status, saw.cut), (*status, false), "{text}");
                let error = envelope(&text);
                assert_eq!(error["code"], *code, "{text}");
                assert!(error["message"].as_str().unwrap().contains(words), "{text}");
                assert_eq!(saw.header("content-type"), "application/json");
                assert_eq!(saw.header("retry-after").is_empty(), *status != 429);
                assert_eq!(saw.header("x-fleet-route"), "");
                return;
            }
            Comes::Own(status, words) => {
                assert_eq!((saw.status, saw.cut), (*status, false), "{text}");
                let message = &envelope(&text)["message"];
                assert!(message.as_str().unwrap().contains(words), "{text}");
                assert_eq!(saw.header("content-encoding"), "", "it is plain text");
            }
            Comes::Whole => {
                assert_eq!((saw.status, saw.cut), (200, false), "{text}");
                assert!(text == self.fault.told(self.form), "{text:.2000}");
            }
            Comes::Unmetered(status, body) => {
                assert_eq!((saw.status, saw.cut), (*status, false));
                assert_eq!(&saw.body, body, "{text}");
            }
            Comes::Failed(body, _) => {
                assert_eq!((saw.status, saw.cut), (200, false));
                assert_eq!(&text, body);
            }
            Comes::Broken(body, words) => {
                assert_eq!((saw.status, saw.cut), (200, false), "{text}");
                let event = text.strip_prefix(body.as_str());
                let event = event.unwrap_or_else(|| panic!("{text}")).trim_start();
                let event = event
                    .strip_prefix("data: ")
                    .and_then(|it| it.strip_suffix("\n\n"));
                let error = envelope(event.unwrap_or_else(|| panic!("{text}")));
                assert_eq!(error["code"], "upstream_error", "{text}");
                assert!(error["message"].as_str().unwrap().contains(words), "{text}");
            }
        }
        assert_eq!(saw.header("x-fleet-backend"), "a");
    }

    /// What the ledger says of the faulty one, which charges `metered` for tokens that it told and `unmetered` for others.
    fn recorded(&self, record: &RequestRecord, metered: Option<Usd>, unmetered: Option<Usd>) {
        let error = record.error.as_deref();
        let says = |words: &str| {
            assert!(
                error.is_some_and(|error| error.contains(words)),
                "{error:?}"
            );
        };
        assert_eq!(record.streamed, self.form == Form::Stream);
        assert_eq!(record.held, None);
        let (status, usage, cost, partial) = match &self.comes {
            Comes::Refused(status, _, words) => {
                says(words);
                assert_eq!((&record.backend, record.route), (&None, Route::None));
                assert_eq!(record.ttft, None);
                (*status, None, Some(Usd::ZERO), false)
            }
            Comes::Own(status, words) => {
                says(words);
                (*status, None, Some(Usd::ZERO), false)
            }
            Comes::Whole => {
                assert_eq!(error, None);
                (200, Some(USED), metered, false)
            }
            Comes::Unmetered(status, _) => {
                assert_eq!(error, None);
                (*status, None, unmetered, false)
            }
            Comes::Failed(_, words) | Comes::Broken(_, words) => {
                says(words);
                (200, None, unmetered, true)
            }
        };
        assert_eq!(record.status, status);
        assert_eq!((record.usage, record.cost), (usage, cost));
        assert_eq!(record.partial, partial);
        if !matches!(self.comes, Comes::Refused(..)) {
            assert_eq!(record.backend, Some("a".into()));
        }
    }
}

/// The error of OpenAI's envelope, whose four fields are always there.
pub(crate) fn envelope(text: &str) -> serde_json::Value {
    let whole: serde_json::Value =
        serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"));
    let error = whole["error"].clone();
    for field in ["message", "type", "param", "code"] {
        assert!(error.get(field).is_some(), "{text}");
    }
    assert!(error["type"].is_string(), "{text}");
    error
}
