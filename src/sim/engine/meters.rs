//! What an engine counts.

use super::batch::Event;

/// Counters of the page, by place in [`Meters::counters`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counter {
    Prompt,
    PromptComputed,
    PromptCached,
    Generated,
    Stopped,
    Length,
    Aborted,
    Errors,
    Rejected,
    Http,
}

const COUNTERS: usize = Counter::Http as usize + 1;

/// Histograms of the page, by place in [`Meters::histograms`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hist {
    PromptTokens,
    GenerationTokens,
    Iteration,
    MaxGeneration,
    ParamsN,
    ParamsMaxTokens,
    FirstToken,
    InterToken,
    TimePerToken,
    EndToEnd,
    Queue,
    Inference,
    Prefill,
    Decode,
    Preemptions,
    Computed,
    Sleeps,
    Wakes,
    HttpFine,
    HttpCoarse,
}

impl Hist {
    /// All, with the key under which the page has them (an operation after a slash).
    pub(super) const ALL: [(Self, &'static str); 20] = [
        (Self::PromptTokens, "vllm:request_prompt_tokens"),
        (Self::GenerationTokens, "vllm:request_generation_tokens"),
        (Self::Iteration, "vllm:iteration_tokens_total"),
        (
            Self::MaxGeneration,
            "vllm:request_max_num_generation_tokens",
        ),
        (Self::ParamsN, "vllm:request_params_n"),
        (Self::ParamsMaxTokens, "vllm:request_params_max_tokens"),
        (Self::FirstToken, "vllm:time_to_first_token_seconds"),
        (Self::InterToken, "vllm:inter_token_latency_seconds"),
        (
            Self::TimePerToken,
            "vllm:request_time_per_output_token_seconds",
        ),
        (Self::EndToEnd, "vllm:e2e_request_latency_seconds"),
        (Self::Queue, "vllm:request_queue_time_seconds"),
        (Self::Inference, "vllm:request_inference_time_seconds"),
        (Self::Prefill, "vllm:request_prefill_time_seconds"),
        (Self::Decode, "vllm:request_decode_time_seconds"),
        (Self::Preemptions, "vllm:request_num_preemptions"),
        (Self::Computed, "vllm:request_prefill_kv_computed_tokens"),
        (
            Self::Sleeps,
            "vllm:sleep_mode_operation_duration_seconds/sleep",
        ),
        (
            Self::Wakes,
            "vllm:sleep_mode_operation_duration_seconds/wake",
        ),
        (Self::HttpFine, "http_request_duration_highr_seconds"),
        (Self::HttpCoarse, "http_request_duration_seconds"),
    ];
}

/// One histogram; its buckets are not cumulative.
#[derive(Clone, Debug, Default)]
pub(super) struct Histogram {
    /// Upper bounds, the last one infinite.
    pub(super) bounds: Vec<f64>,
    /// Observations by bucket.
    pub(super) counts: Vec<u64>,
    /// Their sum.
    pub(super) sum: f64,
}

impl Histogram {
    fn observe(&mut self, value: f64, times: u64) {
        let at = self.bounds.partition_point(|b| *b < value);
        if let Some(count) = self.counts.get_mut(at) {
            *count += times;
        }
        self.sum += value * times as f64;
    }

    /// Observations.
    pub(super) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Observations up to and with bucket `at`.
    pub(super) fn up_to(&self, at: usize) -> u64 {
        self.counts.iter().take(at + 1).sum()
    }
}

/// Why a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    Stop,
    Length,
    Abort,
}

impl Reason {
    /// As `finish_reason` says it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Abort => "abort",
        }
    }
}

/// All that an engine counts.
#[derive(Debug)]
pub(super) struct Meters {
    counters: [u64; COUNTERS],
    histograms: Vec<Histogram>,
}

impl Meters {
    /// Nothing counted yet; the histograms in the order of [`Hist::ALL`] with these upper bounds.
    pub(super) fn new(bounds: Vec<Vec<f64>>) -> Self {
        Self {
            counters: [0; COUNTERS],
            histograms: bounds
                .into_iter()
                .map(|bounds| Histogram {
                    counts: vec![0; bounds.len()],
                    bounds,
                    sum: 0.0,
                })
                .collect(),
        }
    }

    /// A counter's value.
    pub(super) fn count(&self, of: Counter) -> u64 {
        self.counters[of as usize]
    }

    /// A histogram.
    pub(super) fn histogram(&self, of: Hist) -> Option<&Histogram> {
        self.histograms.get(of as usize)
    }

    /// Counts `n` more.
    pub(super) fn add(&mut self, to: Counter, n: u64) {
        self.counters[to as usize] += n;
    }

    /// Adds an observation.
    pub(super) fn observe(&mut self, to: Hist, value: f64) {
        self.observe_times(to, value, 1);
    }

    fn observe_times(&mut self, to: Hist, value: f64, times: u64) {
        if let Some(histogram) = self.histograms.get_mut(to as usize) {
            histogram.observe(value, times);
        }
    }

    /// Counts progress in the batch, which is `batch` requests wide.
    pub(super) fn progress(&mut self, event: &Event, batch: usize) {
        let Event {
            at,
            from,
            from_at,
            seq,
        } = event;
        let tokens = u64::from(seq.told - from);
        self.add(Counter::Generated, tokens);
        let width = batch.max(1) as u64;
        if *from == 0 {
            let computed = seq.prompt - seq.cached;
            self.add(Counter::Prompt, u64::from(seq.prompt));
            self.add(Counter::PromptCached, u64::from(seq.cached));
            self.add(Counter::PromptComputed, u64::from(computed));
            self.observe(Hist::FirstToken, at - seq.arrived);
            self.observe(Hist::Iteration, f64::from(computed) + width as f64);
        } else {
            self.observe_times(Hist::InterToken, (at - from_at) / tokens as f64, tokens);
            self.observe_times(Hist::Iteration, width as f64, tokens.div_ceil(width));
        }
    }

    /// Counts a request that ended.
    pub(super) fn finish(&mut self, event: &Event, reason: Reason, max_tokens: u32) {
        let Event { at, seq, .. } = event;
        let out = f64::from(seq.told);
        let decode = at - seq.first;
        self.add(
            match reason {
                Reason::Stop => Counter::Stopped,
                Reason::Length => Counter::Length,
                Reason::Abort => Counter::Aborted,
            },
            1,
        );
        self.add(Counter::Http, 1);
        for (hist, value) in [
            (Hist::PromptTokens, f64::from(seq.prompt)),
            (Hist::Computed, f64::from(seq.prompt - seq.cached)),
            (Hist::GenerationTokens, out),
            (Hist::MaxGeneration, out),
            (Hist::ParamsN, 1.0),
            (Hist::ParamsMaxTokens, f64::from(max_tokens)),
            (Hist::EndToEnd, at - seq.arrived),
            (Hist::Queue, seq.admitted - seq.arrived),
            (Hist::Inference, at - seq.admitted),
            (Hist::Prefill, seq.first - seq.admitted),
            (Hist::Decode, decode),
            (Hist::Preemptions, 0.0),
            (Hist::HttpFine, at - seq.arrived),
            (Hist::HttpCoarse, at - seq.arrived),
        ] {
            self.observe(hist, value);
        }
        if seq.told > 1 {
            self.observe(Hist::TimePerToken, decode / (out - 1.0));
        }
    }
}
