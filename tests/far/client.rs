//! Clients: what each request is to meet is in its body, and who leaves early leaves when it was told as much as planned.

use std::net::SocketAddr;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;

/// When a client leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Until {
    /// After the whole answer.
    Whole,
    /// After this many events.
    Events(u32),
    /// Before the first byte, once the upstream has the request.
    Nothing,
}

/// What an upstream does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Fate {
    /// Answers it.
    Well,
    /// Answers, and does not say what it took.
    Unmetered,
    /// Closes the connection before a byte of an answer.
    Killed,
    /// 500, 503 or 429: another one is to answer.
    Refused(u16),
    /// 400: the client's own error.
    ClientError,
    /// Breaks off after this many events.
    Breaks(u32),
}

/// One request, from beginning to end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) number: u64,
    pub(crate) path: String,
    pub(crate) stream: bool,
    pub(crate) include_usage: bool,
    pub(crate) until: Until,
    /// What its first upstream does; those asked after a refusal answer well.
    pub(crate) fate: Fate,
    pub(crate) input: u32,
    pub(crate) cached: u32,
    /// Tokens produced, and events of a stream.
    pub(crate) output: u32,
}

impl Plan {
    /// A request as chance has it.
    pub(crate) fn new(number: u64, luck: &mut fastrand::Rng) -> Self {
        let input = luck.u32(1..5000);
        let kind = luck.u32(0..100);
        let path = match kind {
            50..56 => "/v1/embeddings",
            56..60 => "/v1/completions",
            60..68 => "/v1/responses",
            _ => "/v1/chat/completions",
        };
        let mut plan = Self {
            number,
            path: path.to_owned(),
            stream: false,
            include_usage: luck.bool(),
            until: Until::Whole,
            fate: Fate::Well,
            input,
            cached: luck.u32(0..=input),
            output: luck.u32(2..40),
        };
        match kind {
            0..30 | 50..64 => {}
            30..50 | 64..68 => plan.stream = true,
            68..78 => {
                plan.stream = true;
                plan.until = Until::Events(luck.u32(1..plan.output));
            }
            78..82 => plan.until = Until::Nothing,
            82..86 => {
                plan.stream = true;
                plan.fate = Fate::Breaks(luck.u32(1..plan.output));
            }
            86..89 => plan.fate = Fate::Killed,
            89..94 => plan.fate = Fate::Refused(*luck.choice(&[500, 503, 429]).unwrap()),
            94..97 => plan.fate = Fate::ClientError,
            _ => plan.fate = Fate::Unmetered,
        }
        plan
    }

    fn body(&self) -> Bytes {
        let mut body = serde_json::json!({
            "model": "m",
            "stream": self.stream,
            "metadata": self,
        });
        if self.stream && self.include_usage && self.path == "/v1/chat/completions" {
            body["stream_options"] = serde_json::json!({"include_usage": true});
        }
        body.to_string().into()
    }
}

/// A connection that is used again while it can be.
#[derive(Default)]
pub(crate) struct Line(Option<SendRequest<Full<Bytes>>>);

impl Line {
    async fn open(&mut self, address: SocketAddr) -> SendRequest<Full<Bytes>> {
        if let Some(mut line) = self.0.take()
            && line.ready().await.is_ok()
        {
            return line;
        }
        let stream = TcpStream::connect(address).await.unwrap();
        let (send, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        send
    }

    /// Sends one request and takes of its answer what is planned.
    pub(crate) async fn ask(&mut self, address: SocketAddr, plan: &Plan) {
        let mut line = self.open(address).await;
        let request = Request::post(&plan.path)
            .header("host", "gateway")
            .header("x-request-id", format!("n-{}", plan.number))
            .body(Full::new(plan.body()))
            .unwrap();
        let answering = line.send_request(request);
        if plan.until == Until::Nothing {
            // The upstream tells when it has the request; then the client leaves.
            tokio::select! {
                _ = answering => {}
                () = super::upstream::has_begun(plan.number) => {}
            }
            return;
        }
        let Ok(response) = answering.await else {
            return;
        };
        let mut body = response.into_body();
        let mut events = 0;
        while let Some(Ok(frame)) = body.frame().await {
            let Some(data) = frame.data_ref() else {
                continue;
            };
            events += data.windows(2).filter(|end| end == b"\n\n").count() as u32;
            if matches!(plan.fate, Fate::Breaks(n) if events >= n) {
                super::upstream::seen(plan.number);
            }
            if matches!(plan.until, Until::Events(n) if events >= n) {
                // Dropping the body closes the connection.
                return;
            }
        }
        self.0 = Some(line);
    }
}
