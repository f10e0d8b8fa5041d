//! Falling asleep, waking, pausing.

use std::sync::Arc;

use chrono::TimeDelta;

use super::Engine;
use super::core::Gate;
use super::meters::Hist;
use crate::sim::hold;

/// What `/sleep` does with running requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Ends them.
    Abort,
    /// Waits for them.
    Wait,
    /// Keeps them for later.
    Keep,
}

impl Engine {
    /// Falls asleep; level 0 only pauses.
    pub(super) async fn sleep(self: Arc<Self>, level: u8, mode: Mode) {
        {
            let mut core = hold(&self.core);
            let now = self.t();
            core.catch_up(now);
            core.gate = Gate::Shut {
                level: None,
                weights: false,
                cache: false,
            };
            match mode {
                Mode::Abort => core.abort(now),
                Mode::Keep => core.frozen = true,
                Mode::Wait => {}
            }
        }
        self.nudge.notify_one();
        if mode == Mode::Wait {
            loop {
                let quiet = self.quiet.notified();
                if hold(&self.core).batch.is_idle() {
                    break;
                }
                quiet.await;
            }
        }
        let takes = if level == 0 {
            0.0
        } else {
            self.spec.sleep_takes
        };
        self.pass(takes).await;
        let mut core = hold(&self.core);
        core.gate = Gate::Shut {
            level: Some(level),
            weights: false,
            cache: false,
        };
        core.meters.observe(Hist::Sleeps, takes);
        drop(core);
        if level > 0 {
            let freed = self.spec.weights_gib + 12.0;
            self.say(
                "Worker",
                "INFO",
                "gpu_worker.py:203",
                &format!(
                    "Sleep mode freed {freed:.2} GiB memory, 1.52 GiB memory is still in use."
                ),
            );
        }
        self.say(
            "EngineCore",
            "INFO",
            "abstract.py:341",
            &format!("It took {takes:.6} seconds to fall asleep."),
        );
    }

    /// Wakes up, wholly or by part; whether it is awake then.
    pub(super) async fn wake(self: Arc<Self>, tags: Vec<String>) -> bool {
        let both = tags.is_empty();
        let (was, mut has_weights, mut has_cache) = match hold(&self.core).gate {
            Gate::Open => return true,
            Gate::Shut {
                level,
                weights,
                cache,
            } => (level, weights, cache),
        };
        let wants = |what: &str| both || tags.iter().any(|t| t == what);
        let takes = match was {
            None | Some(0) => 0.0,
            Some(1) => self.spec.wake_takes,
            Some(_) => self.spec.wake_takes + self.spec.start.load,
        };
        let shown = if both {
            "{'weights', 'kv_cache'}".to_owned()
        } else {
            format!("{{'{}'}}", tags.join("', '"))
        };
        self.say(
            "APIServer",
            "INFO",
            "api_router.py:47",
            &format!(
                "wake up the engine with tags: {}",
                if both { "None" } else { &shown }
            ),
        );
        self.pass(takes).await;
        has_weights |= wants("weights");
        has_cache |= wants("kv_cache");
        let awake = has_weights && has_cache;
        let mut core = hold(&self.core);
        core.catch_up(self.t());
        core.meters.observe(Hist::Wakes, takes);
        if awake {
            core.gate = Gate::Open;
            core.frozen = false;
            core.release();
        } else {
            core.gate = Gate::Shut {
                level: was,
                weights: has_weights,
                cache: has_cache,
            };
        }
        drop(core);
        self.nudge.notify_one();
        self.say(
            "EngineCore",
            "INFO",
            "abstract.py:366",
            &format!("It took {takes:.6} seconds to wake up tags {shown}."),
        );
        awake
    }

    async fn pass(&self, seconds: f64) {
        let span = TimeDelta::milliseconds((seconds * 1e3) as i64);
        tokio::time::sleep(self.clock.on_wall(span)).await;
    }
}
