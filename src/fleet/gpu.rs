//! GPUs, as a page or the machine's own library tells of them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::live::GPU_POINTS;
use super::{Backend, BackendId, Fleet};

/// One GPU as dcgm-exporter or NVML reports it; `None` where it does not say.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Gpu {
    /// Index on its machine.
    pub index: u32,
    /// The machine's name.
    pub host: String,
    /// `NVIDIA A100-SXM4-80GB`.
    pub model: String,
    /// Share of time any kernel ran, 0 to 100.
    pub util: Option<f64>,
    /// Share of time the memory was busy, 0 to 1: the better sign of a full decode.
    pub dram_active: Option<f64>,
    /// Memory in use, MiB.
    pub memory_used: Option<f64>,
    /// Memory free, MiB.
    pub memory_free: Option<f64>,
    /// Watts.
    pub power: Option<f64>,
    /// Watts that it may take.
    #[serde(default)]
    pub power_limit: Option<f64>,
    /// Degrees Celsius.
    pub temperature: Option<f64>,
    /// The last XID error; 0 for none.
    pub xid: Option<f64>,
    /// The processes that hold memory of it, as far as it tells.
    #[serde(default)]
    pub holders: Vec<Holder>,
}

/// A process that holds memory of a GPU.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Holder {
    /// Whose engine it is of; `None`: nobody's of this fleet.
    pub backend: Option<BackendId>,
    /// Which process.
    pub pid: u32,
    /// Its name.
    pub name: String,
    /// What it holds, MiB.
    pub memory: Option<f64>,
}

/// The GPUs of the machine that a fleet's engines run on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// As last read.
    pub gpus: Arc<[Gpu]>,
    /// Why there are no figures, in plain words.
    pub trouble: Option<String>,
}

impl Backend {
    /// Takes in what its GPUs do now.
    pub(super) fn hold(&mut self, gpus: Vec<Gpu>) {
        let known: Vec<f64> = gpus.iter().filter_map(|gpu| gpu.util).collect();
        let mean = (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64);
        self.live.gpu = mean.map(|mean| mean / 100.0);
        let history = Arc::make_mut(&mut self.live.gpu_history);
        if history.len() == GPU_POINTS {
            history.pop_front();
        }
        history.push_back(mean.unwrap_or(0.0).clamp(0.0, 100.0) as u8);
        self.gpus = gpus.into();
    }
}

impl Fleet {
    /// Takes in what the GPUs of this machine do now, or why nobody can say.
    pub(super) fn take_machine(&mut self, gpus: Result<Vec<Gpu>, String>) {
        self.machine = Some(Arc::new(match gpus {
            Ok(gpus) => Machine {
                gpus: gpus.into(),
                trouble: None,
            },
            Err(trouble) => Machine {
                trouble: Some(trouble),
                ..Machine::default()
            },
        }));
    }
}
