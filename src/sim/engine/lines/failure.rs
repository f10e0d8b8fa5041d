//! How a start goes wrong, in the words of vLLM 0.32.0.

use super::super::spec::Failure;
use super::{Act, Script};

impl Script<'_> {
    /// The lines of a failure and the end of the process.
    pub(super) fn fails(&mut self, how: Failure) {
        let spec = self.spec;
        let total = f64::from(spec.memory) / 1024.0;
        let (kind, place, file, text) = match how {
            Failure::FreeMemory => (
                "ValueError",
                "multiproc_executor.py:1021",
                "vllm/v1/worker/utils.py\", line 412, in request_memory",
                format!(
                    "Free memory on device cuda:0 ({:.2}/{total:.2} GiB) on startup is less than desired GPU memory utilization (0.92, {:.2} GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes.",
                    total * 0.31,
                    total * 0.92
                ),
            ),
            Failure::OutOfMemory => (
                "RuntimeError",
                "multiproc_executor.py:1063",
                "vllm/v1/worker/gpu_model_runner.py\", line 5716, in _dummy_sampler_run",
                format!(
                    "CUDA out of memory occurred when warming up sampler with {} dummy requests. Please try lowering `max_num_seqs` or `gpu_memory_utilization` when initializing the engine.",
                    spec.shape.max_seqs
                ),
            ),
            Failure::MissingShard => (
                "FileNotFoundError",
                "multiproc_executor.py:1021",
                "vllm/model_executor/model_loader/weight_utils.py\", line 902, in filter_duplicate_safetensors_files",
                format!(
                    "Weight files referenced in index but missing: {{'{}/model-00003-of-{:05}.safetensors'}}",
                    spec.weights, spec.shards
                ),
            ),
        };
        let trace = [
            "WorkerProc failed to start.".to_owned(),
            "Traceback (most recent call last):".to_owned(),
            format!("  File \"/usr/local/lib/python3.12/dist-packages/{file}"),
            format!("    raise {kind}("),
            format!("{kind}: {text}"),
        ];
        self.pass(1.5);
        for line in &trace {
            self.act(Act::Log("Worker", "ERROR", place, line.clone()));
        }
        self.pass(2.0);
        for line in [
            "EngineCore failed to start.",
            "Traceback (most recent call last):",
            "  File \"/usr/local/lib/python3.12/dist-packages/vllm/v1/engine/core.py\", line 1482, in run_engine_core",
            "    engine_core = EngineCoreProc(*args, engine_index=dp_rank, **kwargs)",
            "Exception: WorkerProc initialization failed due to an exception in a background process. See stack trace for root cause.",
        ] {
            self.act(Act::Log(
                "EngineCore",
                "ERROR",
                "core.py:1510",
                line.to_owned(),
            ));
        }
        self.pass(1.0);
        for line in [
            "Traceback (most recent call last):",
            "  File \"/usr/local/bin/vllm\", line 10, in <module>",
            "    sys.exit(main())",
            "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {'EngineCore': 1}",
        ] {
            self.say(line);
        }
        self.pass(2.5);
        self.act(Act::Exit(1));
    }
}
