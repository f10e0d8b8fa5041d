//! GPUs of pods: by dcgm-exporter's own pages, or as a Prometheus has them.

use std::fmt::Write as _;

use axum::Router;
use axum::routing::get;
use fleetctl::fleet::Backend;
use serde_json::json;

use super::bench::{Bench, Open};
use super::world::World;
use super::yard::{deployment, put};
use crate::fake_kube::FakeKube;

const EXPORTER: &str = "nvidia-dcgm-exporter-7vk2p";

/// A model of two machines, whose second pod has GPUs and no page.
async fn cluster() -> (Bench, World) {
    let bench = Bench::start().await;
    for line in ["node gpu-0", "lws chat 1 3", "service chat"] {
        put(&bench.fake, line);
    }
    let world = bench.lively().await;
    (bench, world)
}

/// What exporters write of the pods: one GPU of each, busy by 10 % more than the one before.
fn page(fake: &FakeKube, pod: &str) -> String {
    let mut names: Vec<String> = fake
        .all("pods")
        .iter()
        .filter(|it| it["metadata"]["namespace"] == "llm")
        .map(|it| it["metadata"]["name"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    let mut page = String::new();
    for (i, name) in names.iter().enumerate() {
        let host = format!("gpu-{i}");
        writeln!(
            page,
            "DCGM_FI_DEV_GPU_UTIL{{gpu=\"0\",UUID=\"GPU-{i}\",modelName=\"NVIDIA H100\",Hostname=\"{host}\",{pod}=\"{name}\",{space}=\"llm\"}} {}",
            10 * (i + 1),
            space = pod.replace("pod", "namespace"),
        )
        .unwrap();
    }
    page
}

/// What each of its GPUs is busy by, percent.
fn busy(b: &Backend) -> Vec<u32> {
    let each = b.gpus.iter().filter_map(|it| it.util);
    each.map(|it| it.round() as u32).collect()
}

async fn sees_all(open: &Open) {
    open.sees("llm/chat", "has the GPUs of all its pods", |b| {
        busy(b) == [10, 20, 30]
    })
    .await;
}

#[tokio::test]
async fn the_gpus_of_every_pod_are_read_from_their_exporters() {
    let (bench, _world) = cluster().await;
    bench.fake.put(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": EXPORTER, "namespace": "gpu-operator"},
        "spec": {"nodeName": "gpu-0", "containers": [{"name": "exporter", "image": "nvidia/dcgm-exporter:4.4.1"}]},
        "status": {"phase": "Running", "podIP": "10.1.1.1", "conditions": [{"type": "Ready", "status": "True"}]},
    }));
    let page = page(&bench.fake, "pod");
    let of = format!("gpu-operator/{EXPORTER}");
    bench.fake.on_proxy(&of, move |_, _, _| {
        (200, "text/plain".into(), page.clone().into())
    });
    sees_all(&bench.fleet().await).await;
}

#[tokio::test]
async fn an_exporter_that_is_no_pod_is_read_from_prometheus() {
    let (bench, _world) = cluster().await;
    // As prometheus-operator writes it by default: `pod` is the exporter's own.
    let page = page(&bench.fake, "exported_pod");
    let router = Router::new().route("/federate", get(move || async move { page }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let open = bench
        .open(|it| it.prometheus = Some(format!("http://{address}")))
        .await;
    sees_all(&open).await;
}

#[tokio::test]
async fn a_machine_whose_slices_are_not_counted_has_an_unknown_price() {
    let bench = Bench::start().await;
    put(&bench.fake, "node gpu-0");
    let mut chat = deployment("chat", 1);
    let containers = &mut chat["spec"]["template"]["spec"]["containers"];
    containers[0]["resources"] = json!({"limits": {"nvidia.com/mig-3g.40gb": "1"}});
    bench.fake.put(chat);
    let _world = bench.lively().await;
    let open = bench.fleet().await;
    open.sees("llm/chat", "has a machine of unknown price", |b| {
        let place = b.place.as_ref();
        place.is_some_and(|it| it.nodes.len() == 1 && it.nodes[0].share().is_none())
    })
    .await;
}
