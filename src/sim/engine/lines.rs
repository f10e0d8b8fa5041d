//! The lines of a start, as Kubernetes' events and vLLM 0.32.0 word them, each with its time.

use chrono::{DateTime, Utc};
use fastrand::Rng;

use super::spec::{Failure, Spec};

mod failure;
mod ready;
mod text;

use text::{architecture, grouped, minutes, rate};

/// Something that a start does, after waiting.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::sim) struct Step {
    /// Seconds of fleet time since the step before.
    pub(in crate::sim) wait: f64,
    /// What.
    pub(in crate::sim) act: Act,
}

/// One step of a start.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::sim) enum Act {
    /// Writes a line as it is.
    Say(String),
    /// Writes a line in vLLM's frame: process, level, place, message.
    Log(&'static str, &'static str, &'static str, String),
    /// There is a machine.
    Machine,
    /// This share of the GPU's memory is taken.
    Memory(f64),
    /// The port opens.
    Listen,
    /// The process ends with this status.
    Exit(i32),
}

/// A line in vLLM's frame.
pub(in crate::sim) fn framed(
    process: &str,
    level: &str,
    at: DateTime<Utc>,
    place: &str,
    message: &str,
) -> String {
    let pid = match process {
        "APIServer" => 1,
        "EngineCore" => 214,
        _ => 288,
    };
    let at = at.format("%m-%d %H:%M:%S");
    format!("({process} pid={pid}) {level} {at} [{place}] {message}")
}

const BANNER: [&str; 6] = [
    "",
    "       █     █     █▄   ▄█",
    " ▄▄ ▄█ █     █     █ ▀▄▀ █  version 0.32.0",
    "  █▄█▀ █     █     █     █  model   ",
    "   ▀▀  ▀▀▀▀▀ ▀▀▀▀▀ ▀     ▀",
    "",
];

/// Every step of one start, in order. The same spec, chance and failure give the same steps.
pub(in crate::sim) fn start(spec: &Spec, chance: &mut Rng, failure: Option<Failure>) -> Vec<Step> {
    let mut script = Script {
        steps: Vec::new(),
        due: 0.0,
        done: 0.0,
        spec,
    };
    let around = |chance: &mut Rng, usual: f64| usual * (0.92 + 0.16 * chance.f64());
    let (node, image) = (
        around(chance, spec.start.node),
        around(chance, spec.start.image),
    );
    let (begin, load) = (
        around(chance, spec.start.start),
        around(chance, spec.start.load),
    );
    let (compile, capture) = (
        around(chance, spec.start.compile),
        around(chance, spec.start.capture),
    );
    script.machine(node, image);
    script.process(begin);
    if failure == Some(Failure::FreeMemory) {
        script.fails(Failure::FreeMemory);
        return script.steps;
    }
    script.weights(load, chance, failure == Some(Failure::MissingShard));
    if failure == Some(Failure::MissingShard) {
        script.fails(Failure::MissingShard);
        return script.steps;
    }
    script.compile(compile);
    if failure == Some(Failure::OutOfMemory) {
        script.fails(Failure::OutOfMemory);
        return script.steps;
    }
    script.capture(capture);
    script.ready(compile, capture);
    script.steps
}

struct Script<'a> {
    steps: Vec<Step>,
    /// When the next step is due, since the beginning.
    due: f64,
    /// When the last step was.
    done: f64,
    spec: &'a Spec,
}

impl Script<'_> {
    fn pass(&mut self, seconds: f64) {
        self.due += seconds;
    }

    fn act(&mut self, act: Act) {
        self.steps.push(Step {
            wait: self.due - self.done,
            act,
        });
        self.done = self.due;
    }

    fn say(&mut self, line: impl Into<String>) {
        self.act(Act::Say(line.into()));
    }

    fn log(&mut self, process: &'static str, place: &'static str, message: impl Into<String>) {
        self.act(Act::Log(process, "INFO", place, message.into()));
    }

    fn machine(&mut self, node: f64, image: f64) {
        let Spec {
            name, node: host, ..
        } = self.spec;
        let pool = host
            .rsplit_once('-')
            .map_or(host.as_str(), |(pool, _)| pool);
        self.pass(0.08 * node);
        self.say(format!(
            "TriggeredScaleUp: pod triggered scale-up: [{{{pool} 0->1 (max: 2)}}]"
        ));
        self.pass(0.92 * node);
        self.act(Act::Machine);
        self.say(format!(
            "Scheduled: Successfully assigned llm/{name}-0 to {host}"
        ));
        self.say("Pulling: Pulling image \"vllm/vllm-openai:v0.32.0\"");
        self.pass(image);
        self.say(format!(
            "Pulled: Successfully pulled image \"vllm/vllm-openai:v0.32.0\" in {image:.1}s ({image:.1}s including waiting). Image size: 11873204631 bytes."
        ));
        self.say("Created: Created container vllm");
        self.say("Started: Started container vllm");
    }

    fn process(&mut self, span: f64) {
        let spec = self.spec;
        let (model, weights, tp) = (&spec.model, &spec.weights, spec.gpus);
        self.pass(0.25 * span);
        for (at, line) in BANNER.iter().enumerate() {
            let end = if at == 3 { weights.as_str() } else { "" };
            self.log("APIServer", "api_utils.py:347", format!("{line}{end}"));
        }
        self.log(
            "APIServer",
            "api_utils.py:286",
            format!(
                "non-default args: {{'model_tag': '{weights}', 'host': '0.0.0.0', 'model': '{weights}', 'max_model_len': {}, 'served_model_name': ['{model}'], 'tensor_parallel_size': {tp}, 'gpu_memory_utilization': 0.92, 'max_num_seqs': {}}}",
                spec.max_len, spec.shape.max_seqs
            ),
        );
        self.pass(0.3 * span);
        self.log(
            "APIServer",
            "model.py:733",
            format!("Resolved architecture: {}", architecture(model)),
        );
        self.log(
            "APIServer",
            "model.py:2152",
            format!("Using max model len {}", spec.max_len),
        );
        self.log(
            "APIServer",
            "scheduler.py:252",
            "Chunked prefill is enabled with max_num_batched_tokens=8192.",
        );
        self.pass(0.2 * span);
        self.log(
            "EngineCore",
            "core.py:133",
            format!(
                "Initializing a V1 LLM engine (v0.32.0) with config: model='{weights}', speculative_config=None, tokenizer='{weights}', dtype=torch.bfloat16, max_seq_len={}, tensor_parallel_size={tp}, pipeline_parallel_size=1, served_model_name={model}",
                spec.max_len
            ),
        );
        self.pass(0.2 * span);
        for rank in 0..tp {
            self.log(
                "Worker",
                "parallel_state.py:2350",
                format!(
                    "rank {rank} in world size {tp} is assigned as DP rank 0, PP rank 0, PCP rank 0, TP rank {rank}, ETP rank {rank}, EP rank N/A, EPLB rank N/A"
                ),
            );
        }
        self.pass(0.05 * span);
    }

    fn weights(&mut self, span: f64, chance: &mut Rng, missing: bool) {
        let spec = self.spec;
        self.log(
            "Worker",
            "gpu_model_runner.py:4821",
            format!("Starting to load model {}...", spec.weights),
        );
        self.log(
            "Worker",
            "cuda.py:402",
            "Using FLASH_ATTN attention backend out of potential backends: ['FLASH_ATTN', 'FLASHINFER', 'TRITON_ATTN'].",
        );
        if missing {
            self.pass(0.05 * span);
            return;
        }
        let shards = spec.shards.max(1);
        let rough: Vec<f64> = (0..shards).map(|_| 0.7 + 0.6 * chance.f64()).collect();
        let whole: f64 = rough.iter().sum();
        let mut elapsed = 0.0;
        self.say(format!(
            "Loading safetensors checkpoint shards:   0% Completed | 0/{shards} [00:00<?, ?it/s]"
        ));
        for (at, share) in rough.iter().enumerate() {
            let takes = 0.94 * span * share / whole;
            elapsed += takes;
            self.pass(takes);
            let n = at as u32 + 1;
            let share = f64::from(n) / f64::from(shards);
            self.act(Act::Memory(
                share * spec.weights_gib * 1024.0 / f64::from(spec.memory),
            ));
            let each = elapsed / f64::from(n);
            let left = each * f64::from(shards - n);
            self.say(format!(
                "Loading safetensors checkpoint shards: {:>3.0}% Completed | {n}/{shards} [{}<{}, {}]",
                share * 100.0,
                minutes(elapsed),
                minutes(left),
                rate(each)
            ));
        }
        self.pass(0.02 * span);
        self.log(
            "Worker",
            "default_loader.py:501",
            format!("Loading weights took {elapsed:.2} seconds"),
        );
        self.pass(0.04 * span);
        self.log(
            "Worker",
            "gpu_model_runner.py:4905",
            format!(
                "Model loading took {} GiB memory and {span:.6} seconds",
                spec.weights_gib
            ),
        );
    }

    fn compile(&mut self, span: f64) {
        let spec = self.spec;
        self.log(
            "Worker",
            "monitor.py:33",
            "[backbone] Starting torch.compile",
        );
        self.log(
            "Worker",
            "backends.py:1062",
            "[backbone] Using cache directory: /root/.cache/vllm/torch_compile_cache/5d0f3c7a61/rank_0_0/backbone for vLLM's torch.compile",
        );
        self.pass(0.25 * span);
        self.log(
            "Worker",
            "backends.py:1110",
            format!(
                "[backbone] Dynamo bytecode transform time: {:.2} s",
                0.25 * span
            ),
        );
        self.pass(0.55 * span);
        self.log(
            "Worker",
            "backends.py:397",
            format!(
                "[backbone] Compiling a graph for compile range (1, 8192) takes {:.2} s",
                0.55 * span
            ),
        );
        self.pass(0.1 * span);
        self.log(
            "Worker",
            "monitor.py:91",
            "[backbone] Initial profiling/warmup run took 0.71 s",
        );
        self.pass(0.1 * span);
        let cache = (0.9 * f64::from(spec.memory) / 1024.0 - spec.weights_gib).max(0.5);
        self.act(Act::Memory(0.92));
        self.log(
            "Worker",
            "gpu_worker.py:431",
            format!("Available KV cache memory: {cache:.2} GiB"),
        );
        let tokens = spec.shape.kv_tokens;
        self.log(
            "EngineCore",
            "kv_cache_utils.py:2327",
            format!(
                "GPU KV cache size: {} tokens, Maximum concurrency for {} tokens per request: {:.2}x",
                grouped(tokens),
                grouped(spec.max_len),
                f64::from(tokens) / f64::from(spec.max_len.max(1))
            ),
        );
    }
}
