//! The demo's own engines.

use crate::sim::engine::{Failure, Shape, Spec, Stages};
use crate::sim::mix;

/// All, and whether each is warm from the start.
pub(super) fn all(seed: u64) -> [(Spec, bool); 5] {
    [
        (llama("a100-ondemand", "gpu-a100-1", mix(seed, 1)), true),
        (llama("a100-spot", "gpu-a100spot-1", mix(seed, 2)), false),
        (qwen("h100-a", "gpu-h100-1", mix(seed, 3), None), true),
        (
            qwen(
                "h100-b",
                "gpu-h100-2",
                mix(seed, 4),
                Some(Failure::FreeMemory),
            ),
            false,
        ),
        (phi(mix(seed, 5)), true),
    ]
}

/// A 70B on four A100.
fn llama(name: &str, node: &str, seed: u64) -> Spec {
    Spec {
        name: name.to_owned(),
        model: "llama-3.3-70b".to_owned(),
        weights: "meta-llama/Llama-3.3-70B-Instruct".to_owned(),
        node: node.to_owned(),
        hardware: "NVIDIA A100-SXM4-80GB".to_owned(),
        gpus: 4,
        memory: 81920,
        power_limit: 400.0,
        weights_gib: 32.88,
        shards: 30,
        max_len: 32768,
        shape: Shape {
            single: 44.0,
            ceiling: 1900.0,
            prefill: 9000.0,
            first: 0.07,
            kv_tokens: 412_000,
            max_seqs: 256,
            max_queued: Some(256),
        },
        start: Stages {
            node: 75.0,
            image: 42.0,
            start: 35.0,
            load: 95.0,
            compile: 33.0,
            capture: 20.0,
        },
        sleep_takes: 6.0,
        wake_takes: 4.0,
        first_start: None,
        stream_events: 4,
        seed,
    }
}

/// A 30B mixture of experts on one H100.
fn qwen(name: &str, node: &str, seed: u64, first_start: Option<Failure>) -> Spec {
    Spec {
        name: name.to_owned(),
        model: "qwen3-coder".to_owned(),
        weights: "Qwen/Qwen3-Coder-30B-A3B-Instruct".to_owned(),
        node: node.to_owned(),
        hardware: "NVIDIA H100 NVL".to_owned(),
        gpus: 1,
        memory: 95830,
        power_limit: 400.0,
        weights_gib: 56.93,
        shards: 16,
        max_len: 65536,
        shape: Shape {
            single: 118.0,
            ceiling: 3600.0,
            prefill: 26000.0,
            first: 0.04,
            kv_tokens: 286_000,
            max_seqs: 256,
            max_queued: Some(256),
        },
        start: Stages {
            node: 80.0,
            image: 45.0,
            start: 30.0,
            load: 70.0,
            compile: 28.0,
            capture: 17.0,
        },
        sleep_takes: 5.0,
        wake_takes: 3.0,
        first_start,
        stream_events: 4,
        seed,
    }
}

/// A quantized 14B on a T4.
fn phi(seed: u64) -> Spec {
    Spec {
        name: "t4-a".to_owned(),
        model: "phi-4".to_owned(),
        weights: "microsoft/phi-4-awq".to_owned(),
        node: "gpu-t4-1".to_owned(),
        hardware: "Tesla T4".to_owned(),
        gpus: 1,
        memory: 15360,
        power_limit: 70.0,
        weights_gib: 8.61,
        shards: 6,
        max_len: 8192,
        shape: Shape {
            single: 24.0,
            ceiling: 260.0,
            prefill: 1600.0,
            first: 0.15,
            kv_tokens: 26_000,
            max_seqs: 32,
            max_queued: Some(64),
        },
        start: Stages {
            node: 40.0,
            image: 25.0,
            start: 25.0,
            load: 35.0,
            compile: 15.0,
            capture: 10.0,
        },
        sleep_takes: 3.0,
        wake_takes: 2.0,
        first_start: None,
        stream_events: 4,
        seed,
    }
}
