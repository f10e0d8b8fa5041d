use std::collections::BTreeSet;

use tokio_util::sync::CancellationToken;

use super::start;
use crate::clock::Clock;
use crate::sim::dcgm::Machine;
use crate::sim::unit::Status;

#[tokio::test]
async fn the_demo_is_a_fleet_worth_looking_at() {
    let clock = Clock::starting_at("2026-11-22T08:00:00Z".parse().unwrap(), 12);
    let shutdown = CancellationToken::new();
    let hosted = [("aoai-4o-mini".to_owned(), ([127, 0, 0, 1], 4321).into())];
    let demo = start(1, clock, &hosted, shutdown.clone()).await.unwrap();
    let backends: Vec<_> = demo
        .config
        .models
        .iter()
        .flat_map(|m| &m.backends)
        .collect();
    assert_eq!(demo.config.models.len(), 4);
    assert!(backends.len() >= 7);
    let names: BTreeSet<_> = backends.iter().map(|b| &b.name).collect();
    assert_eq!(names.len(), backends.len(), "names are unique");
    let mini = backends.iter().find(|b| b.name == "aoai-4o-mini").unwrap();
    assert_eq!(mini.url.as_deref(), Some("http://127.0.0.1:4321"));
    for backend in backends.iter().filter(|b| !b.hosted) {
        let unit = &demo.units[&backend.name];
        let warm = unit.status() == Status::Running;
        assert_eq!(
            warm,
            !["a100-spot", "h100-b"].contains(&backend.name.as_str())
        );
        let whole: i64 = backend.expected.iter().map(|e| e.takes.num_seconds()).sum();
        assert!(whole < backend.budget.num_seconds(), "{}", backend.name);
    }
    shutdown.cancel();
}

#[tokio::test]
async fn a_machine_without_an_engine_shows_idle_gpus() {
    let clock = Clock::starting_at("2026-11-22T08:00:00Z".parse().unwrap(), 12);
    let demo = start(1, clock, &[], CancellationToken::new())
        .await
        .unwrap();
    let page = Machine::new(demo.units["a100-spot"].clone()).page();
    let of = |name: &str| -> Vec<&str> {
        page.lines()
            .filter(|l| l.starts_with(name))
            .filter_map(|l| l.rsplit(' ').next())
            .collect()
    };
    assert_eq!(of("DCGM_FI_DEV_GPU_UTIL{"), ["0"; 4]);
    assert_eq!(of("DCGM_FI_DEV_FB_USED{"), ["0"; 4]);
    assert!(page.contains("modelName=\"NVIDIA A100-SXM4-80GB\",Hostname=\"gpu-a100spot-1\""));
}
