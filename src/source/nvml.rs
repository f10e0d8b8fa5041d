//! The GPUs of this machine as NVIDIA's management library tells of them, and which process of which engine holds what.
//!
//! The library is loaded when it is first needed: a machine without it has no GPU figures, and says so. Utilisation and
//! temperature are the library's own percent and degrees Celsius, its milliwatts and bytes are watts and MiB here
//! (<https://docs.nvidia.com/deploy/nvml-api/>).

use std::ffi::OsStr;
use std::sync::Arc;
use std::time::Duration;

use nvml_wrapper::Nvml;
use nvml_wrapper::enum_wrappers::device::TemperatureSensor;
use nvml_wrapper::enums::device::UsedGpuMemory;
use nvml_wrapper::error::NvmlError;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::engine_log::clean;
use super::{outlet::Outlet, rounds};
use crate::clock::Clock;
use crate::fleet::gpu::{Gpu, Holder};
use crate::fleet::{BackendId, Observation};
use crate::process::{self, Engine};

/// What is usually installed with the driver; the name without the number only with its development files.
const LIBRARY: &str = "libnvidia-ml.so.1";
/// A machine without the library is asked again this often: a driver may come.
const AGAIN: Duration = Duration::from_secs(60);
/// MiB in a byte.
const MIB: f64 = 1.0 / (1 << 20) as f64;

/// An engine of this machine, and which GPUs the config gives it; none: all that it holds memory on.
pub type Held = (BackendId, Arc<Engine>, Vec<u32>);

/// Sends what the GPUs of this machine do, one round `every` so often, until `shutdown`.
pub async fn watch_machine(
    engines: Vec<Held>,
    every: Duration,
    out: mpsc::Sender<Observation>,
    clock: Clock,
    shutdown: CancellationToken,
) {
    let reading = async {
        loop {
            let why = read_on(&engines, every, &out, clock).await;
            let told = Observation::Machine {
                gpus: Err(why),
                at: clock.now(),
            };
            if out.send(told).await.is_err() {
                return;
            }
            tokio::time::sleep(AGAIN).await;
        }
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = reading => {}
    }
}

/// Reads until it cannot; why, in plain words.
async fn read_on(
    engines: &[Held],
    every: Duration,
    out: &mpsc::Sender<Observation>,
    clock: Clock,
) -> String {
    let library = match tokio::task::spawn_blocking(load).await {
        Ok(Ok(library)) => Arc::new(library),
        Ok(Err(error)) => return explain(&error),
        Err(_) => return "its GPU library ended the thread that loaded it".to_owned(),
    };
    let outlets: Vec<_> = engines
        .iter()
        .map(|(backend, engine, gpus)| {
            let outlet = Outlet::new(backend.clone(), out.clone(), clock);
            (outlet, Arc::clone(engine), gpus.clone())
        })
        .collect();
    let mut ticks = rounds(every);
    loop {
        ticks.tick().await;
        let (library, held) = (Arc::clone(&library), engines.to_vec());
        // A driver in trouble may take seconds to answer.
        let read = tokio::task::spawn_blocking(move || read(&library, &held)).await;
        let gpus = match read {
            Ok(Ok(gpus)) => gpus,
            Ok(Err(error)) => return explain(&error),
            Err(_) => return "its GPU library ended the thread that asked it".to_owned(),
        };
        for (outlet, _, wanted) in &outlets {
            outlet.gpus(of(&gpus, outlet.backend(), wanted)).await;
        }
        let told = Observation::Machine {
            gpus: Ok(gpus),
            at: clock.now(),
        };
        if out.send(told).await.is_err() {
            return "nobody reads".to_owned();
        }
    }
}

fn load() -> Result<Nvml, NvmlError> {
    Nvml::builder()
        .lib_path(OsStr::new(LIBRARY))
        .init()
        .or_else(|first| match Nvml::init() {
            Err(NvmlError::LibloadingError(_)) => Err(first),
            other => other,
        })
}

/// What the library says, for people.
fn explain(error: &NvmlError) -> String {
    match error {
        NvmlError::LibloadingError(_) | NvmlError::LibraryNotFound => {
            format!("no NVIDIA driver on this machine ({LIBRARY} is not there)")
        }
        NvmlError::DriverNotLoaded => {
            "the NVIDIA driver is not loaded; see `nvidia-smi`".to_owned()
        }
        NvmlError::NoPermission => "the NVIDIA driver may not be asked by this user".to_owned(),
        other => format!("the NVIDIA driver says: {}", clean(&other.to_string())),
    }
}

fn read(library: &Nvml, engines: &[Held]) -> Result<Vec<Gpu>, NvmlError> {
    let host = process::host();
    (0..library.device_count()?)
        .map(|index| {
            let device = library.device_by_index(index)?;
            let utilization = device.utilization_rates().ok();
            let memory = device.memory_info().ok();
            let watts = |milliwatts: u32| f64::from(milliwatts) / 1000.0;
            let holders = device.running_compute_processes().unwrap_or_default();
            Ok(Gpu {
                index,
                host: host.clone(),
                model: clean(&device.name().unwrap_or_default()),
                util: utilization.as_ref().map(|it| f64::from(it.gpu)),
                dram_active: utilization.map(|it| f64::from(it.memory) / 100.0),
                memory_used: memory.as_ref().map(|it| it.used as f64 * MIB),
                memory_free: memory.map(|it| it.free as f64 * MIB),
                power: device.power_usage().ok().map(watts),
                power_limit: device.enforced_power_limit().ok().map(watts),
                temperature: device
                    .temperature(TemperatureSensor::Gpu)
                    .ok()
                    .map(f64::from),
                // The library tells of such errors as they happen, and of none before.
                xid: None,
                holders: holders
                    .into_iter()
                    .map(|it| Holder {
                        backend: owner(it.pid, engines),
                        pid: it.pid,
                        name: clean(&process::name(it.pid).unwrap_or_default()),
                        memory: match it.used_gpu_memory {
                            UsedGpuMemory::Used(bytes) => Some(bytes as f64 * MIB),
                            UsedGpuMemory::Unavailable => None,
                        },
                    })
                    .collect(),
            })
        })
        .collect()
}

fn owner(pid: u32, engines: &[Held]) -> Option<BackendId> {
    let (backend, ..) = engines.iter().find(|(_, engine, _)| engine.owns(pid))?;
    Some(backend.clone())
}

/// The GPUs of one backend: those that the config gives it, else those that a process of it holds.
fn of(gpus: &[Gpu], backend: &BackendId, wanted: &[u32]) -> Vec<Gpu> {
    let its = |gpu: &&Gpu| {
        let held = |holder: &Holder| holder.backend.as_ref() == Some(backend);
        wanted.contains(&gpu.index) || (wanted.is_empty() && gpu.holders.iter().any(held))
    };
    gpus.iter().filter(its).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpus_go_to_whom_they_are_given_or_by_whom_they_are_held() {
        let gpu = |index, backend: Option<&str>| Gpu {
            index,
            holders: backend
                .map(|backend| Holder {
                    backend: Some(backend.into()),
                    pid: 7,
                    name: "vllm".to_owned(),
                    memory: Some(70_000.0),
                })
                .into_iter()
                .collect(),
            ..Gpu::default()
        };
        let gpus = [
            gpu(0, Some("a")),
            gpu(1, Some("a")),
            gpu(2, None),
            gpu(3, Some("b")),
        ];
        let of = |backend: &str, wanted: &[u32]| -> Vec<u32> {
            let its = of(&gpus, &backend.into(), wanted);
            its.iter().map(|gpu| gpu.index).collect()
        };
        assert_eq!(of("a", &[]), [0, 1]);
        assert_eq!(of("a", &[2]), [2], "what the config says counts");
        assert_eq!(of("c", &[]), [0; 0]);
    }

    #[test]
    fn what_is_missing_is_said_in_plain_words() {
        let said = explain(&NvmlError::LibraryNotFound);
        assert_eq!(
            said,
            "no NVIDIA driver on this machine (libnvidia-ml.so.1 is not there)"
        );
    }
}
