//! What engines produced, pod by pod: their counters begin anew with every start, and pods come and go.

use std::collections::HashMap;
use std::sync::Mutex;

use chrono::{DateTime, Utc};

use super::object::Key;
use super::read::Paged;
use crate::fleet::engine::EngineSample;
use crate::fleet::request::Usage;

/// The counters of every pod, as last read.
#[derive(Debug)]
pub(super) struct Meters {
    /// What a pod counted that started since then is all of our time.
    began: DateTime<Utc>,
    totals: Mutex<HashMap<Key, Totals>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Totals {
    requests: f64,
    input: f64,
    output: f64,
}

impl Meters {
    pub(super) fn new() -> Self {
        Self {
            began: Utc::now(),
            totals: Mutex::default(),
        }
    }

    /// What a pod did since it was read last: requests finished, and their tokens.
    pub(super) fn since(&self, pod: &Paged, sample: &EngineSample) -> (u64, Usage) {
        let now = Totals {
            requests: sample.finished.unwrap_or_default(),
            input: sample.prompt_tokens.unwrap_or_default(),
            output: sample.generation_tokens.unwrap_or_default(),
        };
        let key = Key::new(&pod.namespace, &pod.name);
        let Ok(mut totals) = self.totals.lock() else {
            return Default::default();
        };
        let was = totals.insert(key, now);
        drop(totals);
        let fresh = pod.born.is_some_and(|born| born > self.began);
        let was = was.unwrap_or(if fresh { Totals::default() } else { now });
        let usage = Usage {
            input: more(was.input, now.input),
            output: more(was.output, now.output),
            ..Usage::default()
        };
        (more(was.requests, now.requests), usage)
    }

    /// Forgets pods that are gone.
    pub(super) fn keep(&self, stands: impl Fn(&Key) -> bool) {
        if let Ok(mut totals) = self.totals.lock() {
            totals.retain(|key, _| stands(key));
        }
    }
}

/// What a counter rose by; one that fell has begun anew.
pub(super) fn more(was: f64, is: f64) -> u64 {
    let more = if is < was { is } else { is - was };
    more.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pod_is_counted_from_where_it_stood() {
        let meters = Meters::new();
        let pod = |name: &str, born: DateTime<Utc>| Paged {
            namespace: "llm".into(),
            name: name.into(),
            ip: "".into(),
            born: Some(born),
            serves: true,
        };
        let hour = chrono::TimeDelta::hours(1);
        let (old, new) = (
            pod("old", meters.began - hour),
            pod("new", meters.began + hour),
        );
        let output = |pod: &Paged, total: f64| {
            let sample = EngineSample {
                generation_tokens: Some(total),
                ..EngineSample::default()
            };
            meters.since(pod, &sample).1.output
        };
        assert_eq!(output(&old, 500.0), 0, "of before");
        assert_eq!(output(&old, 520.0), 20);
        assert_eq!(output(&new, 7.0), 7, "all of it");
        assert_eq!(output(&old, 4.0), 4, "begun anew");
        meters.keep(|key| *key.name == *"new");
        assert_eq!(output(&old, 9.0), 0, "forgotten");
        assert_eq!(output(&new, 9.0), 2);
    }
}
