//! dcgm-exporter's page as [`Gpu`]s.
//!
//! Fields as in its `default-counters.csv`. The machine's label is `Hostname`, from 4.5.4 on `hostname`. A MIG slice has no
//! `DEV_*_UTIL` series and is a GPU of its own here, with its profile behind the model's name.

use std::borrow::Cow;

use super::engine_log::clean;
use super::exposition;
use crate::fleet::gpu::Gpu;

#[derive(Clone, Copy, Debug)]
enum Field {
    Util,
    DramActive,
    MemoryUsed,
    MemoryFree,
    Power,
    Temperature,
    Xid,
}

fn field(name: &str) -> Option<Field> {
    Some(match name.strip_prefix("DCGM_FI_")? {
        "DEV_GPU_UTIL" => Field::Util,
        "PROF_DRAM_ACTIVE" => Field::DramActive,
        "DEV_FB_USED" => Field::MemoryUsed,
        "DEV_FB_FREE" => Field::MemoryFree,
        "DEV_POWER_USAGE" => Field::Power,
        "DEV_GPU_TEMP" => Field::Temperature,
        "DEV_XID_ERRORS" => Field::Xid,
        _ => return None,
    })
}

/// Reads a page: the GPUs by machine and index; none where it is not dcgm-exporter's.
pub fn read(page: &str) -> Vec<Gpu> {
    read_held(page).into_iter().map(|(_, gpu)| gpu).collect()
}

/// The same, each with the pod that holds it, as namespace and name, where the page says so. A Prometheus that has the
/// exporter's own pod in `pod` has the holder's in `exported_pod`.
pub(super) fn read_held(page: &str) -> Vec<(Option<(String, String)>, Gpu)> {
    let mut found: Vec<Found> = Vec::new();
    exposition::scan(page, field, |field, line| {
        let Some(labels) = Labels::read(line.labels) else {
            return;
        };
        let at = found.iter().position(|it| labels.name(it));
        let at = at.unwrap_or_else(|| {
            found.push(labels.begin());
            found.len() - 1
        });
        if !line.value.is_nan() {
            set(&mut found[at].gpu, field, line.value);
        }
    });
    found.sort_by(|a, b| {
        (&a.gpu.host, a.gpu.index, &a.slice).cmp(&(&b.gpu.host, b.gpu.index, &b.slice))
    });
    found
        .into_iter()
        .map(|it| (Some(it.pod).filter(|(_, pod)| !pod.is_empty()), it.gpu))
        .collect()
}

/// A GPU on the way through a page, with what tells it from the others.
struct Found {
    gpu: Gpu,
    uuid: String,
    slice: String,
    pod: (String, String),
}

/// The labels that tell one GPU from another, and name it.
#[derive(Default)]
struct Labels<'a> {
    index: u32,
    host: Cow<'a, str>,
    model: Cow<'a, str>,
    uuid: Cow<'a, str>,
    slice: Cow<'a, str>,
    profile: Cow<'a, str>,
    namespace: Cow<'a, str>,
    pod: Cow<'a, str>,
    exported: (Cow<'a, str>, Cow<'a, str>),
}

impl<'a> Labels<'a> {
    /// `None` without an index: not a line about a GPU.
    fn read(raw: &'a str) -> Option<Self> {
        let mut labels = Self::default();
        let mut index = None;
        for (name, value) in exposition::labels(raw) {
            match name {
                "gpu" => index = value.parse().ok(),
                "Hostname" | "hostname" => labels.host = value,
                "modelName" => labels.model = value,
                "UUID" => labels.uuid = value,
                "GPU_I_ID" => labels.slice = value,
                "GPU_I_PROFILE" => labels.profile = value,
                "namespace" | "pod_namespace" => labels.namespace = value,
                "pod" | "pod_name" => labels.pod = value,
                "exported_namespace" => labels.exported.0 = value,
                "exported_pod" => labels.exported.1 = value,
                _ => {}
            }
        }
        labels.index = index?;
        Some(labels)
    }

    /// Whether these labels name the GPU that was found before.
    fn name(&self, found: &Found) -> bool {
        found.gpu.index == self.index && found.uuid == self.uuid && found.slice == self.slice
    }

    fn begin(&self) -> Found {
        let model = if self.profile.is_empty() {
            clean(&self.model)
        } else {
            clean(&format!("{} ({})", self.model, self.profile))
        };
        Found {
            gpu: Gpu {
                index: self.index,
                host: clean(&self.host),
                model,
                ..Gpu::default()
            },
            uuid: self.uuid.clone().into_owned(),
            slice: self.slice.clone().into_owned(),
            pod: if self.exported.1.is_empty() {
                (clean(&self.namespace), clean(&self.pod))
            } else {
                (clean(&self.exported.0), clean(&self.exported.1))
            },
        }
    }
}

fn set(gpu: &mut Gpu, field: Field, value: f64) {
    let place = match field {
        Field::Util => &mut gpu.util,
        Field::DramActive => &mut gpu.dram_active,
        Field::MemoryUsed => &mut gpu.memory_used,
        Field::MemoryFree => &mut gpu.memory_free,
        Field::Power => &mut gpu.power,
        Field::Temperature => &mut gpu.temperature,
        Field::Xid => &mut gpu.xid,
    };
    *place = Some(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_gpus_and_a_slice() {
        let page = concat!(
            "# HELP DCGM_FI_DEV_GPU_UTIL GPU utilization (in %).\n",
            "# TYPE DCGM_FI_DEV_GPU_UTIL gauge\n",
            "DCGM_FI_DEV_GPU_UTIL{gpu=\"1\",UUID=\"GPU-b\",modelName=\"NVIDIA H100\",Hostname=\"node-1\",pod=\"\"} 97\n",
            "DCGM_FI_DEV_GPU_UTIL{gpu=\"0\",UUID=\"GPU-a\",modelName=\"NVIDIA H100\",Hostname=\"node-1\",pod=\"x\"} 12\n",
            "DCGM_FI_DEV_FB_USED{gpu=\"0\",UUID=\"GPU-a\",modelName=\"NVIDIA H100\",Hostname=\"node-1\"} 71680\n",
            "DCGM_FI_DEV_FB_FREE{gpu=\"0\",UUID=\"GPU-a\",modelName=\"NVIDIA H100\",Hostname=\"node-1\"} 9879\n",
            "DCGM_FI_DEV_POWER_USAGE{gpu=\"0\",UUID=\"GPU-a\",modelName=\"NVIDIA H100\",Hostname=\"node-1\"} 412.5\n",
            "DCGM_FI_DEV_GPU_TEMP{gpu=\"0\",UUID=\"GPU-a\",modelName=\"NVIDIA H100\",Hostname=\"node-1\"} 61\n",
            "DCGM_FI_DEV_XID_ERRORS{gpu=\"0\",UUID=\"GPU-a\",modelName=\"NVIDIA H100\",Hostname=\"node-1\",err_code=\"0\"} 0\n",
            "DCGM_FI_PROF_DRAM_ACTIVE{gpu=\"0\",UUID=\"GPU-a\",modelName=\"NVIDIA H100\",Hostname=\"node-1\"} 0.43\n",
            "DCGM_FI_PROF_DRAM_ACTIVE{gpu=\"0\",UUID=\"GPU-c\",modelName=\"NVIDIA A100\",GPU_I_PROFILE=\"1g.10gb\",GPU_I_ID=\"7\",hostname=\"node-2\"} 0.2\n",
            "DCGM_FI_DEV_FB_USED{gpu=\"0\",UUID=\"GPU-c\",modelName=\"NVIDIA A100\",GPU_I_PROFILE=\"1g.10gb\",GPU_I_ID=\"7\",hostname=\"node-2\"} NaN\n",
            "DCGM_FI_DEV_SM_CLOCK{gpu=\"0\",UUID=\"GPU-a\"} 1980\n",
            "DCGM_FI_DEV_FB_USED 3\n",
        );
        let expected = vec![
            Gpu {
                index: 0,
                host: "node-1".into(),
                model: "NVIDIA H100".into(),
                util: Some(12.0),
                dram_active: Some(0.43),
                memory_used: Some(71680.0),
                memory_free: Some(9879.0),
                power: Some(412.5),
                temperature: Some(61.0),
                xid: Some(0.0),
                ..Gpu::default()
            },
            Gpu {
                index: 1,
                host: "node-1".into(),
                model: "NVIDIA H100".into(),
                util: Some(97.0),
                ..Gpu::default()
            },
            Gpu {
                index: 0,
                host: "node-2".into(),
                model: "NVIDIA A100 (1g.10gb)".into(),
                dram_active: Some(0.2),
                ..Gpu::default()
            },
        ];
        assert_eq!(read(page), expected);
        assert_eq!(read("vllm:num_requests_running 1\n"), vec![]);
    }
}
