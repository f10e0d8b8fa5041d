//! What a simulated engine is like.

/// One simulated engine and the machine it runs on. Spans are seconds of fleet time.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The backend's name, which is also the launcher's name for it.
    pub name: String,
    /// The name that it serves its model under.
    pub model: String,
    /// Where the weights come from, as `--model` says it.
    pub weights: String,
    /// The machine's name.
    pub node: String,
    /// The GPUs' kind as DCGM spells it: `NVIDIA A100-SXM4-80GB`.
    pub hardware: String,
    /// How many GPUs.
    pub gpus: u32,
    /// Memory of each GPU, MiB.
    pub memory: u32,
    /// Power limit of each GPU, watts.
    pub power_limit: f64,
    /// Size of the weights on each GPU, GiB.
    pub weights_gib: f64,
    /// Files that the weights come in.
    pub shards: u32,
    /// The longest prompt and answer together, tokens.
    pub max_len: u32,
    /// How it computes.
    pub shape: Shape,
    /// How long the stages of a start usually take.
    pub start: Stages,
    /// Seconds to fall asleep (vLLM's sleep mode).
    pub sleep_takes: f64,
    /// Seconds to wake from level 1; level 2 also loads the weights again.
    pub wake_takes: f64,
    /// How the first start goes wrong, where it does; later ones work.
    pub first_start: Option<Failure>,
    /// Content events in a streamed answer after its first (as `--stream-interval` coarsens them).
    pub stream_events: u32,
    /// Chance: the same seed gives the same jitter and the same words.
    pub seed: u64,
}

/// What decides how fast an engine computes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// Tokens a second of a stream that is alone.
    pub single: f64,
    /// Tokens a second that no batch gets beyond.
    pub ceiling: f64,
    /// Prompt tokens a second when nothing else runs.
    pub prefill: f64,
    /// Seconds that a first token takes however short the prompt is.
    pub first: f64,
    /// Tokens that the KV cache holds.
    pub kv_tokens: u32,
    /// Most requests in a batch (`--max-num-seqs`).
    pub max_seqs: usize,
    /// Most requests waiting (`--max-num-queued-reqs`); none: no limit.
    pub max_queued: Option<usize>,
}

impl Shape {
    /// Tokens a second of the whole engine with `batch` streams decoding: linear at first, bending towards the ceiling.
    pub fn total(&self, batch: usize) -> f64 {
        self.ceiling * (1.0 - (-(batch as f64) * self.single / self.ceiling).exp())
    }
}

/// How long the stages of a start usually take, seconds of fleet time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stages {
    /// Until there is a machine.
    pub node: f64,
    /// Until the image is there.
    pub image: f64,
    /// From the container's start to the first weights.
    pub start: f64,
    /// Weights.
    pub load: f64,
    /// torch.compile and memory profiling.
    pub compile: f64,
    /// CUDA graphs.
    pub capture: f64,
}

/// Ways in which a start ends before the engine is ready; the texts are vLLM 0.32.0's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Another process holds memory of the GPU.
    FreeMemory,
    /// Out of memory while it warms up.
    OutOfMemory,
    /// A file of the weights is missing.
    MissingShard,
}
