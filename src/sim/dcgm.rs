//! A dcgm-exporter page for the GPUs of one simulated machine.
//!
//! Names and help are those of dcgm-exporter's `etc/default-counters.csv`, labels those of its 4.x releases.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::unit::{Gpu, Unit};
use super::{hold, mix};

/// Seconds in which temperature follows power by two thirds.
const WARMTH: f64 = 45.0;
/// Share of the power limit that an idle GPU draws.
const IDLE_POWER: f64 = 0.14;

/// What a family's value is made of.
#[derive(Clone, Copy)]
enum Figure {
    SmClock,
    MemClock,
    MemoryTemp,
    Temp,
    Power,
    Energy,
    Util,
    CopyUtil,
    Xid,
    Free,
    Used,
    Reserved,
    EngineActive,
    TensorActive,
    DramActive,
}

const FAMILIES: [(&str, &str, &str, Figure); 15] = [
    (
        "DCGM_FI_DEV_SM_CLOCK",
        "gauge",
        "SM clock frequency (in MHz).",
        Figure::SmClock,
    ),
    (
        "DCGM_FI_DEV_MEM_CLOCK",
        "gauge",
        "Memory clock frequency (in MHz).",
        Figure::MemClock,
    ),
    (
        "DCGM_FI_DEV_MEMORY_TEMP",
        "gauge",
        "Memory temperature (in C).",
        Figure::MemoryTemp,
    ),
    (
        "DCGM_FI_DEV_GPU_TEMP",
        "gauge",
        "GPU temperature (in C).",
        Figure::Temp,
    ),
    (
        "DCGM_FI_DEV_POWER_USAGE",
        "gauge",
        "Power draw (in W).",
        Figure::Power,
    ),
    (
        "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION",
        "counter",
        "Total energy consumption since boot (in mJ).",
        Figure::Energy,
    ),
    (
        "DCGM_FI_DEV_GPU_UTIL",
        "gauge",
        "GPU utilization (in %).",
        Figure::Util,
    ),
    (
        "DCGM_FI_DEV_MEM_COPY_UTIL",
        "gauge",
        "Memory utilization (in %).",
        Figure::CopyUtil,
    ),
    (
        "DCGM_FI_DEV_XID_ERRORS",
        "gauge",
        "Value of the last XID error encountered.",
        Figure::Xid,
    ),
    (
        "DCGM_FI_DEV_FB_FREE",
        "gauge",
        "Framebuffer memory free (in MiB).",
        Figure::Free,
    ),
    (
        "DCGM_FI_DEV_FB_USED",
        "gauge",
        "Framebuffer memory used (in MiB).",
        Figure::Used,
    ),
    (
        "DCGM_FI_DEV_FB_RESERVED",
        "gauge",
        "Framebuffer memory reserved (in MiB).",
        Figure::Reserved,
    ),
    (
        "DCGM_FI_PROF_GR_ENGINE_ACTIVE",
        "gauge",
        "Ratio of time the graphics engine is active.",
        Figure::EngineActive,
    ),
    (
        "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE",
        "gauge",
        "Ratio of cycles the tensor (HMMA) pipe is active.",
        Figure::TensorActive,
    ),
    (
        "DCGM_FI_PROF_DRAM_ACTIVE",
        "gauge",
        "Ratio of cycles the device memory interface is active sending or receiving data.",
        Figure::DramActive,
    ),
];

/// The GPUs of one machine.
#[derive(Debug)]
pub struct Machine {
    unit: Arc<Unit>,
    warmth: Mutex<Warmth>,
}

#[derive(Debug)]
struct Warmth {
    at: f64,
    share: f64,
    energy: f64,
}

impl Machine {
    /// The machine under a unit.
    pub fn new(unit: Arc<Unit>) -> Self {
        let at = seconds(&unit);
        Self {
            unit,
            warmth: Mutex::new(Warmth {
                at,
                share: 0.0,
                energy: 0.0,
            }),
        }
    }

    /// The page now.
    pub fn page(&self) -> String {
        let spec = self.unit.spec();
        let gpu = self.unit.gpu();
        let watts = power(spec.power_limit, &gpu);
        let (warm, energy) = self.warm(watts / spec.power_limit);
        let mut out = String::with_capacity(12 * 1024);
        let name = &spec.name;
        let pod = if gpu.memory > 0.0 {
            format!("container=\"vllm\",namespace=\"llm\",pod=\"{name}-0\"")
        } else {
            "container=\"\",namespace=\"\",pod=\"\"".to_owned()
        };
        for (family, kind, help, figure) in FAMILIES {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "# HELP {family} {help}\n# TYPE {family} {kind}");
            for index in 0..spec.gpus {
                let uuid = mix(spec.seed, u64::from(index) + 1000);
                // No two GPUs of a machine are quite alike.
                let own = (uuid % 100) as f64 / 100.0;
                let value = value(
                    figure,
                    spec.memory,
                    &gpu,
                    watts * (0.99 + 0.02 * own),
                    warm,
                    energy,
                    own,
                );
                let _ = writeln!(
                    out,
                    "{family}{{gpu=\"{index}\",UUID=\"GPU-{:08x}-{:04x}-4{:03x}-9{:03x}-{:012x}\",pci_bus_id=\"0000000{}:00:00.0\",device=\"nvidia{index}\",modelName=\"{}\",Hostname=\"{}\",DCGM_FI_DRIVER_VERSION=\"580.95.05\",{pod}}} {value}",
                    uuid as u32,
                    uuid >> 48,
                    uuid & 0xfff,
                    (uuid >> 12) & 0xfff,
                    uuid & 0xffff_ffff_ffff,
                    index + 1,
                    spec.hardware,
                    spec.node,
                );
            }
        }
        out
    }

    /// Warmth, 0 to 1, behind power by some time; and energy, joules.
    fn warm(&self, share: f64) -> (f64, f64) {
        let now = seconds(&self.unit);
        let mut warmth = hold(&self.warmth);
        let span = (now - warmth.at).max(0.0);
        warmth.share += (share - warmth.share) * (1.0 - (-span / WARMTH).exp());
        warmth.energy += share * self.unit.spec().power_limit * span;
        warmth.at = now;
        (warmth.share, warmth.energy)
    }
}

fn seconds(unit: &Unit) -> f64 {
    unit.clock().now().timestamp_millis() as f64 / 1e3
}

fn power(limit: f64, gpu: &Gpu) -> f64 {
    let busy = if gpu.load.running > 0 {
        0.3 + 0.5 * gpu.load.share
    } else if gpu.memory > 0.0 {
        0.04
    } else {
        0.0
    };
    limit * (IDLE_POWER + busy)
}

fn value(
    figure: Figure,
    memory: u32,
    gpu: &Gpu,
    watts: f64,
    warm: f64,
    energy: f64,
    own: f64,
) -> String {
    let running = gpu.load.running > 0;
    let share = gpu.load.share;
    let used = (f64::from(memory) * gpu.memory) as u32;
    let reserved = memory / 130;
    let when = |busy: f64| if running { busy } else { 0.0 };
    match figure {
        Figure::SmClock => if running { "1410" } else { "345" }.to_owned(),
        Figure::MemClock => "1593".to_owned(),
        Figure::Temp => format!("{:.0}", 26.0 + 46.0 * warm + 3.0 * own),
        Figure::MemoryTemp => format!("{:.0}", 28.0 + 50.0 * warm + 3.0 * own),
        Figure::Power => format!("{watts:.3}"),
        Figure::Energy => format!("{:.0}", energy * 1e3),
        // Decoding keeps some kernel running nearly all the time, whatever the batch.
        Figure::Util => format!("{:.0}", when(88.0 + 11.0 * share)),
        Figure::CopyUtil => format!("{:.0}", when(30.0 + 45.0 * share)),
        Figure::Xid => "0".to_owned(),
        Figure::Used => used.to_string(),
        Figure::Reserved => reserved.to_string(),
        Figure::Free => memory.saturating_sub(used + reserved).to_string(),
        Figure::EngineActive => format!("{:.6}", when(0.84 + 0.14 * share)),
        Figure::TensorActive => format!("{:.6}", when(0.03 + 0.42 * share)),
        Figure::DramActive => format!("{:.6}", when(0.28 + 0.5 * share)),
    }
}

/// Serves a machine's page at `/metrics` until shut down.
///
/// # Errors
/// The server ended.
pub async fn run(
    listener: TcpListener,
    machine: Machine,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let app = Router::new()
        .route("/metrics", get(page))
        .with_state(Arc::new(machine));
    tokio::select! {
        ended = axum::serve(listener, app).into_future() => ended,
        () = shutdown.cancelled() => Ok(()),
    }
}

async fn page(State(machine): State<Arc<Machine>>) -> impl IntoResponse {
    let kind = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";
    ([(header::CONTENT_TYPE, kind)], machine.page())
}
