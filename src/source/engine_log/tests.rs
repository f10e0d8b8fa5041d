use super::*;

fn marks(log: &str) -> Vec<(&'static str, Option<f32>)> {
    let mut seen: Vec<(&'static str, Option<f32>)> = Vec::new();
    for line in log.split(['\n', '\r']) {
        if let Some(mark) = stage(line) {
            let said = (mark.stage.word(), mark.percent);
            if seen.last() != Some(&said) {
                seen.push(said);
            }
        }
    }
    seen
}

#[test]
fn whole_starts() {
    let expected = [
        ("start", None),
        ("load", None),
        ("load", Some(0.0)),
        ("load", Some(100.0)),
        ("compile", None),
        ("health", None),
    ];
    for (version, log) in [
        (
            "0.32.0",
            include_str!("../../../tests/logs/vllm-0.32.0-start.txt"),
        ),
        (
            "0.14.1",
            include_str!("../../../tests/logs/vllm-0.14.1-start.txt"),
        ),
    ] {
        assert_eq!(marks(log), expected, "{version}");
    }
}

type Told = Option<(Stage, Option<f32>)>;

#[rustfmt::skip]
const LINES: &[(&str, Told)] = &[
    ("TriggeredScaleUp: pod triggered scale-up: [{gpu 0->1 (max: 4)}]", Some((Stage::Node, None))),
    ("FailedScheduling: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu.", Some((Stage::Node, None))),
    ("Scheduled: Successfully assigned llm/h100-b-0 to gpu-node-3", Some((Stage::Image, None))),
    ("Pulling: Pulling image \"vllm/vllm-openai:v0.32.0\"", Some((Stage::Image, None))),
    ("Pulled: Successfully pulled image \"vllm/vllm-openai:v0.32.0\" in 41.2s", Some((Stage::Start, None))),
    ("Created: Created container vllm", Some((Stage::Start, None))),
    ("Started: Started container vllm", Some((Stage::Start, None))),
    ("INFO 04-30 11:02:11 [core.py:58] Initializing a V1 LLM engine (v0.8.5) with config: model='m'", Some((Stage::Start, None))),
    ("(VllmWorker rank=1 pid=411) INFO 04-30 11:02:31 [gpu_model_runner.py:1329] Starting to load model m...", Some((Stage::Load, None))),
    ("Loading safetensors checkpoint shards:  61% Completed | 20/33 [00:13<00:08,  1.5it/s]", Some((Stage::Load, Some(61.0)))),
    ("\u{1b}[1;36m(EngineCore_DP0 pid=2)\u{1b}[0;0m Loading safetensors checkpoint shards (eager):   7% Completed | 1/14", Some((Stage::Load, Some(7.0)))),
    ("Multi-thread loading shards:  50% Completed | 2/4 [00:01<00:01]", Some((Stage::Load, Some(50.0)))),
    ("Loading pt checkpoint shards: 100% Completed | 2/2", Some((Stage::Load, Some(100.0)))),
    ("INFO 04-30 11:02:44 [gpu_model_runner.py:1347] Model loading took 14.9888 GiB and 12.3 seconds", Some((Stage::Compile, None))),
    ("INFO 04-30 11:02:51 [backends.py:420] Using cache directory: /c/abc for vLLM's torch.compile", Some((Stage::Compile, None))),
    ("INFO 04-30 11:02:51 [backends.py:430] Dynamo bytecode transform time: 6.61 s", Some((Stage::Compile, None))),
    ("(Worker pid=3) INFO 11-22 03:55:18 [monitor.py:91] [backbone] Initial profiling/warmup run took 0.03 s", Some((Stage::Compile, None))),
    ("INFO 04-30 11:02:51 [monitor.py:33] torch.compile takes 18.9 s in total", Some((Stage::Compile, None))),
    ("INFO 04-30 11:02:51 [kv_cache_utils.py:634] GPU KV cache size: 421,600 tokens", Some((Stage::Compile, None))),
    ("Capturing CUDA graphs (mixed prefill-decode, PIECEWISE):  40%|████      | 27/67 [00:01<00:01, 25.1it/s]", Some((Stage::Capture, Some(40.0)))),
    ("Capturing CUDA graph shapes:   0%|          | 0/67 [00:00<?, ?it/s]", Some((Stage::Capture, Some(0.0)))),
    ("INFO 04-30 11:03:20 [gpu_model_runner.py:1686] Graph capturing finished in 21 secs, took 0.60 GiB", Some((Stage::Capture, Some(100.0)))),
    ("INFO 04-30 11:03:20 [core.py:159] init engine (profile, create kv cache, warmup model) took 36.1 seconds", Some((Stage::Health, None))),
    ("INFO 04-30 11:03:24 [api_server.py:1090] Starting vLLM API server on http://0.0.0.0:8000", Some((Stage::Health, None))),
    ("(APIServer pid=1) INFO 11-22 03:55:21 [entry.py:140] Starting vLLM server on http://127.0.0.1:8101", Some((Stage::Health, None))),
    ("INFO:     Application startup complete.", Some((Stage::Health, None))),
    ("INFO:     127.0.0.1:42744 - \"GET /health HTTP/1.1\" 200 OK", None),
    ("INFO 11-22 03:55:21 [loggers.py:1] Engine 000: Avg prompt throughput: 1.0 tokens/s, GPU KV cache usage: 0.0%", None),
    ("WARNING 11-22 04:50:39 [x.py:1] Starting", None),
    ("(", None),
    ("INFO 1[", None),
    ("", None),
];

#[test]
fn single_lines() {
    for (line, expected) in LINES {
        assert_eq!(
            stage(line).map(|mark| (mark.stage, mark.percent)),
            *expected,
            "{line}"
        );
    }
}

macro_rules! failed {
    ($($name:literal => $reason:literal,)*) => {
        [$(($name, include_str!(concat!("../../../tests/logs/fail/", $name, ".txt")), $reason)),*]
    };
}

#[test]
fn whole_failures() {
    let cases = failed! {
        "bad-dir" => "the model is not on this machine and the hub cannot be asked; check the model's path, or let the engine reach the hub (HF_HUB_OFFLINE)",
        "hub-offline" => "the model is not on this machine and the hub cannot be asked; check the model's path, or let the engine reach the hub (HF_HUB_OFFLINE)",
        "bad-flag" => "this vLLM does not know an argument (unrecognized arguments: --no-such-flag); correct the command line",
        "corrupt-shard" => "a weight file is corrupt (Error while deserializing header: invalid header length); fetch the model again",
        "empty-dir" => "there is no model at its path (Invalid repository ID or local directory specified: 'models/empty'); check the model's path: it must hold a config.json",
        "enginecore-sigkilled-while-starting" => "it was killed, most likely for want of memory on its machine; give it more memory, and see the machine's kernel log",
        "kv-cache-too-large" => "the KV cache asked for does not fit into memory (Available memory on node 0 (9.7/13.59 GiB) on kv cache allocation is less than requested memory for kv (500.0 GiB)); lower --kv-cache-memory-bytes",
        "kv-cache-too-small" => "the KV cache is too small for --max-model-len (the estimated maximum model length is 384); lower --max-model-len or raise --gpu-memory-utilization",
        "max-model-len-over-derived" => "--max-model-len is more than the model can do (User-specified max_model_len (100000) is greater than the derived max_model_len (max_position_embeddings=2048.0 or model_max_length=None in model's config.json)…); lower --max-model-len",
        "missing-shard" => "weight files are missing (Weight files referenced in index but missing: {'models/missing/model-00003-of-00004.safetensors'}); fetch the model again",
        "port-in-use" => "its port is in use; end what listens there, or give the engine another --port",
        "sleep-mode-unsupported" => "sleep mode is not supported on this machine; leave out --enable-sleep-mode and set `sleep = \"release\"` or `\"never\"`",
        "tp2-not-enough" => "the model cannot be split over this many GPUs (Total number of attention heads (2) must be divisible by tensor parallel size (8)); choose another --tensor-parallel-size",
        "unknown-arch" => "this vLLM does not know the model's architecture (model type `nosuch` but Transformers does not recognize this architecture); take a newer vLLM, or another model",
        "start-failed-0.10.2" => "the engine ended with: AttributeError: '_OpNamespace' '_C_utils' object has no attribute 'init_cpu_threads_env'; see its log",
        "start-failed-0.11.1" => "the engine ended with: AttributeError: '_OpNamespace' '_C_utils' object has no attribute 'init_cpu_threads_env'; see its log",
    };
    for (name, log, expected) in cases {
        let lines: Vec<&str> = log.lines().collect();
        assert_eq!(failure_reason(&lines).as_deref(), Some(expected), "{name}");
    }
}

#[test]
fn single_failures() {
    let cases = [
        (
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has",
            Some("CUDA out of memory;"),
        ),
        (
            "ValueError: Free memory on device (10.1/79.1 GiB) on startup is less than desired GPU memory utilization (0.9, 71.2 GiB). Decrease",
            Some(
                "the GPU's memory is already taken by something else (Free memory on device (10.1/79.1 GiB)",
            ),
        ),
        (
            "ValueError: Available memory on node 0 (16.89/18.71 GiB) on startup is less than desired CPU memory utilization (0.92, 17.22 GiB)",
            Some(
                "the machine has too little free memory for a CPU engine (Available memory on node 0 (16.89/18.71 GiB)",
            ),
        ),
        (
            "ValueError: No available memory for the cache blocks. Try increasing",
            Some("no memory is left for the KV cache;"),
        ),
        ("INFO:     Application startup complete.", None),
        ("INFO:     Shutting down", None),
    ];
    for (line, expected) in cases {
        let reason = failure_reason(&[line]);
        match expected {
            Some(start) => assert!(
                reason.as_deref().is_some_and(|r| r.starts_with(start)),
                "{reason:?}"
            ),
            None => assert_eq!(reason, None, "{line}"),
        }
    }
    assert_eq!(failure_reason::<&str>(&[]), None);
}

#[test]
fn cleaned() {
    let cases = [
        ("plain é漢", "plain é漢"),
        ("\u{1b}[1;36mred\u{1b}[0m", "red"),
        ("\u{1b}]0;title\u{7}x", "x"),
        ("\u{1b}]8;;http://x\u{1b}\\y", "y"),
        ("\u{1b}Pq\u{1b}\\z", "z"),
        ("\u{1b}(Bq", "q"),
        ("\u{9b}31mq", "q"),
        ("a\tb\rc\nd\u{0}e\u{7f}f\u{85}g", "a bc defg"),
        ("\u{202e}evil\u{2069}", "evil"),
        ("\u{1b}", ""),
        ("\u{1b}[", ""),
        ("\u{1b}[12", ""),
    ];
    for (from, to) in cases {
        assert_eq!(clean(from), to, "{from:?}");
    }
}

proptest::proptest! {
    #[test]
    fn no_line_breaks_it(line in "(\\PC|\\x1b|\\[|%|\\(|INFO )*") {
        let _ = stage(&line);
        let _ = failure_reason(&[&line]);
        proptest::prop_assert!(!clean(&line).chars().any(char::is_control));
    }
}

#[test]
fn a_cache_that_is_hot() {
    for (line, hot) in [
        (
            "INFO 11-22 03:55:18 [backends.py:250] Directly load the compiled graph(s) for compile range (1, 8192) from the cache, took 3.1 s",
            Some(true),
        ),
        (
            "(Worker pid=3) INFO 11-22 03:55:18 [backends.py:250] [backbone] Directly load the compiled graph(s) for compile range (1, 8192) from the cache, took 3.1 s",
            Some(true),
        ),
        (
            "INFO 11-22 03:55:18 [decorators.py:250] Directly load AOT compilation from path /c/abc",
            Some(true),
        ),
        (
            "INFO 11-22 03:55:18 [backends.py:250] Cache the graph for dynamic shape for later use",
            Some(false),
        ),
        (
            "INFO 11-22 03:55:18 [backends.py:250] Compiling a graph for dynamic shape takes 30.45 s",
            Some(false),
        ),
        (
            "INFO 11-22 03:55:18 [backends.py:250] vLLM's torch.compile cache is disabled.",
            Some(false),
        ),
        (
            "INFO 11-22 03:55:18 [backends.py:250] Using cache directory: /c/abc for vLLM's torch.compile",
            None,
        ),
    ] {
        assert_eq!(stage(line).unwrap().hot, hot, "{line}");
    }
}
