//! The last stages of a start: CUDA graphs and the server.

use super::text::{minutes, rate};
use super::{Act, Script};

impl Script<'_> {
    /// CUDA graphs.
    pub(super) fn capture(&mut self, span: f64) {
        for (what, graphs, share) in [
            ("mixed prefill-decode, PIECEWISE", 51, 0.5),
            ("decode, FULL", 35, 0.5),
        ] {
            let takes = share * span * 0.97;
            let pieces = 10;
            for piece in 0..=pieces {
                if piece > 0 {
                    self.pass(takes / f64::from(pieces));
                }
                let n = graphs * piece / pieces;
                let elapsed = takes * f64::from(piece) / f64::from(pieces);
                let bar: String = (0..pieces)
                    .map(|i| if i < piece { '█' } else { ' ' })
                    .collect();
                let each = takes / f64::from(graphs);
                let timing = if piece == 0 {
                    "00:00<?, ?it/s".to_owned()
                } else {
                    format!(
                        "{}<{}, {}",
                        minutes(elapsed),
                        minutes(takes - elapsed),
                        rate(each)
                    )
                };
                self.say(format!(
                    "Capturing CUDA graphs ({what}): {:>3}%|{bar}| {n}/{graphs} [{timing}]",
                    100 * piece / pieces
                ));
            }
        }
        self.pass(0.03 * span);
        self.log(
            "Worker",
            "gpu_model_runner.py:6284",
            format!("Graph capturing finished in {span:.0} secs, took 0.83 GiB"),
        );
    }

    /// From the last graph to the open port.
    pub(super) fn ready(&mut self, compile: f64, capture: f64) {
        self.log(
            "EngineCore",
            "core.py:402",
            format!(
                "init engine (profile, create kv cache, warmup model) took {:.2} s (compilation: {compile:.2} s)",
                compile + capture
            ),
        );
        self.pass(0.8);
        self.log("APIServer", "entry.py:136", "Supported tasks: ['generate']");
        self.log(
            "APIServer",
            "entry.py:140",
            "Starting vLLM server on http://0.0.0.0:8000",
        );
        self.log("APIServer", "launcher.py:186", "Available routes are:");
        for (route, methods) in [
            ("/health", "GET"),
            ("/metrics", "GET"),
            ("/v1/models", "GET"),
            ("/v1/chat/completions", "POST"),
            ("/v1/completions", "POST"),
        ] {
            self.log(
                "APIServer",
                "launcher.py:195",
                format!("Route: {route}, Methods: {methods}"),
            );
        }
        self.say("INFO:     Started server process [1]");
        self.say("INFO:     Waiting for application startup.");
        self.pass(0.5);
        self.act(Act::Listen);
        self.say("INFO:     Application startup complete.");
    }
}
