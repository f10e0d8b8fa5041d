//! What engines say and answer, as vLLM's server does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use fleetctl::fleet::engine::EngineSample;

/// What engines say, by backend, or by pod where one differs: requests that run, and whether new ones arrive.
#[derive(Clone, Debug, Default)]
pub(crate) struct Engines {
    inner: Arc<Mutex<HashMap<String, Says>>>,
}

/// What one engine says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Says {
    /// Requests that run.
    pub(crate) running: f64,
    /// Tokens of requests that arrive between two readings.
    pub(crate) arriving: f64,
    /// It is not read at all.
    pub(crate) mute: bool,
    /// It is ready, and answers nothing.
    pub(crate) broken: bool,
    /// It takes this many orders more, and then none.
    pub(crate) takes: Option<u32>,
    /// How deeply it sleeps: 0, 1 or 2.
    pub(crate) level: u8,
    tokens: f64,
}

impl Engines {
    /// Changes what the engine of a backend says from now on.
    pub(crate) fn set(&self, backend: &str, change: impl FnOnce(&mut Says)) {
        change(
            self.inner
                .lock()
                .unwrap()
                .entry(backend.to_owned())
                .or_default(),
        );
    }

    /// Who speaks for a pod: `llm/chat-x-y` itself where something was said of it, else its backend.
    pub(crate) fn of(&self, backend: &str, pod: &str) -> String {
        let all = self.inner.lock().unwrap();
        let own = all.contains_key(pod);
        if own { pod } else { backend }.to_owned()
    }

    /// What an engine answers, as vLLM's server does: status, media type, body.
    pub(crate) fn answer(
        &self,
        backend: &str,
        method: &str,
        path: &str,
        query: &str,
    ) -> (u16, String, Vec<u8>) {
        let says = |status: u16, body: String| (status, "application/json".to_owned(), body.into());
        let level = self.level(backend);
        if method == "POST" && !self.takes(backend) {
            return says(500, r#"{"error":{"message":"no more"}}"#.into());
        }
        match (method, path) {
            ("GET", "/metrics") => match self.read(backend) {
                Some(sample) => (200, "text/plain".into(), page(&sample, level).into()),
                None => (503, "text/plain".into(), b"nobody is there".to_vec()),
            },
            ("GET", "/health") | ("POST", "/collective_rpc") => says(200, String::new()),
            ("GET", "/v1/models") => {
                let model = r#"{"object":"list","data":[{"id":"served","object":"model"}]}"#;
                says(200, model.into())
            }
            ("POST", "/v1/completions") => {
                if self.inner.lock().unwrap()[backend].broken {
                    return says(500, r#"{"error":{"message":"EngineCore died"}}"#.into());
                }
                says(200, r#"{"choices":[{"text":"2"}]}"#.into())
            }
            ("GET", "/is_sleeping") => says(200, format!("{{\"is_sleeping\":{}}}", level > 0)),
            ("POST", "/sleep") => {
                let level = if query.contains("level=2") { 2 } else { 1 };
                self.set(backend, |it| it.level = level);
                says(200, String::new())
            }
            ("POST", "/wake_up") => {
                if !query.contains("tags=weights") {
                    self.set(backend, |it| it.level = 0);
                }
                says(200, String::new())
            }
            _ => says(404, r#"{"detail":"Not Found"}"#.into()),
        }
    }

    /// Whether it takes one more order.
    fn takes(&self, backend: &str) -> bool {
        let mut all = self.inner.lock().unwrap();
        let says = all.entry(backend.to_owned()).or_default();
        match &mut says.takes {
            // It refuses one, and is over it.
            Some(0) => {
                says.takes = None;
                false
            }
            Some(left) => {
                *left -= 1;
                true
            }
            None => true,
        }
    }

    fn level(&self, backend: &str) -> u8 {
        let mut all = self.inner.lock().unwrap();
        all.entry(backend.to_owned()).or_default().level
    }

    /// What is read of it; `None` where it is mute.
    pub(crate) fn read(&self, backend: &str) -> Option<EngineSample> {
        let mut all = self.inner.lock().unwrap();
        let says = all.entry(backend.to_owned()).or_default();
        says.tokens += says.arriving;
        (!says.mute).then(|| EngineSample {
            running: Some(says.running),
            waiting: Some(0.0),
            prompt_tokens: Some(says.tokens),
            asleep: Some(says.level > 0),
            discarded: Some(says.level > 1),
            ..EngineSample::default()
        })
    }
}

/// An engine's page, as vLLM writes it.
fn page(sample: &EngineSample, level: u8) -> String {
    let state = |name: &str, of: u8| {
        let is = u8::from(level == of);
        format!("vllm:engine_sleep_state{{engine=\"0\",sleep_state=\"{name}\"}} {is}.0\n")
    };
    format!(
        "vllm:num_requests_running {}\nvllm:num_requests_waiting 0\nvllm:prompt_tokens_total {}\n{}{}{}",
        sample.running.unwrap_or_default(),
        sample.prompt_tokens.unwrap_or_default(),
        state("awake", 0),
        state("weights_offloaded", 1),
        state("discard_all", 2),
    )
}
