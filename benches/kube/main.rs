//! A fake API server to measure clients against: `cargo bench --bench kube -- --port 9999 --workloads 1000 --pods 2500`.
//!
//! `POST /fake/churn?n=10` sets how many pods a second come and go; `GET /fake/stats` counts the requests by verb and
//! resource, and the watches that are open; `POST /fake/reset` forgets the counts.
//!
//! With `--scene` it is a small cluster on a bad night instead, for the pictures in `docs`; with `--forbid` one may only look.

#[path = "../../tests/fake_kube/mod.rs"]
mod fake_kube;
mod scene;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fake_kube::{FakeKube, fixtures};
use serde_json::{Value, json};
use tokio::sync::watch;

/// The value of a flag, or what it is without.
fn flag(name: &str, otherwise: u32) -> u32 {
    let args: Vec<String> = std::env::args().collect();
    let at = args.iter().position(|a| *a == format!("--{name}"));
    at.and_then(|i| args.get(i + 1)?.parse().ok())
        .unwrap_or(otherwise)
}

/// Whether a flag stands there.
fn has(name: &str) -> bool {
    std::env::args().any(|a| a == format!("--{name}"))
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let port = flag("port", 9999) as u16;
    let fake = Arc::new(FakeKube::start_at(([127, 0, 0, 1], port).into()).await?);
    if has("scene") {
        scene::make(&fake);
        if has("forbid") {
            fake.deny("patch", "aigateway.envoyproxy.io", "aigatewayroutes", None);
            fake.deny("update", "apps", "deployments/scale", None);
        }
    } else {
        fixtures::large(&fake, flag("workloads", 1000), flag("pods", 2500));
    }
    let config = std::env::temp_dir().join(format!("fake-kube-{port}.kubeconfig"));
    std::fs::write(&config, fake.kubeconfig())?;
    println!(
        "{} with {} pods; KUBECONFIG={}",
        fake.url(),
        fake.count("pods"),
        config.display()
    );

    let rate = watch::Sender::new(flag("churn", 0));
    let asked = rate.clone();
    fake.on_path("/fake/churn", move |_, _, query| {
        let n = query
            .strip_prefix("n=")
            .and_then(|n| n.parse().ok())
            .unwrap_or(0);
        asked.send_replace(n);
        text(&json!({ "churn": n }))
    });
    let of = Arc::downgrade(&fake);
    fake.on_path("/fake/stats", move |_, _, _| {
        text(&of.upgrade().map_or(Value::Null, |f| stats(&f)))
    });
    let of = Arc::downgrade(&fake);
    fake.on_path("/fake/reset", move |_, _, _| {
        of.upgrade().map(|f| f.take_calls());
        text(&json!({}))
    });
    tokio::select! {
        () = churn(&fake, rate.subscribe()) => Ok(()),
        end = tokio::signal::ctrl_c() => end,
    }
}

fn text(value: &Value) -> (u16, String, Vec<u8>) {
    (
        200,
        "application/json".into(),
        format!("{value:#}\n").into(),
    )
}

/// The requests so far by verb and resource, and the open watches.
fn stats(fake: &FakeKube) -> Value {
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for call in fake
        .calls()
        .iter()
        .filter(|c| !c.path.starts_with("/fake/"))
    {
        let group = if call.group.is_empty() {
            String::new()
        } else {
            format!(".{}", call.group)
        };
        let of = if call.verb.is_empty() {
            format!("GET {}", call.path)
        } else {
            format!("{} {}{group}", call.verb, call.resource)
        };
        *counts.entry(of).or_default() += 1;
    }
    let open: BTreeMap<String, usize> = fake_kube::KINDS
        .iter()
        .map(|k| (k.qualified(), fake.open_watches(&k.qualified())))
        .filter(|(_, n)| *n > 0)
        .collect();
    json!({ "requests": counts, "open_watches": open, "resource_version": fake.version() })
}

/// Has pods come, and the oldest of them go, so many a second.
async fn churn(fake: &FakeKube, mut rate: watch::Receiver<u32>) {
    let mut sets = fake.all("replicasets");
    sets.truncate(50);
    let mut alive = std::collections::VecDeque::new();
    for turn in 0_u64.. {
        let n = *rate.borrow_and_update();
        if n == 0 || sets.is_empty() {
            rate.changed().await.ok();
            continue;
        }
        let set = &sets[turn as usize % sets.len()];
        let part = |field: &str| set["metadata"][field].as_str().unwrap_or_default();
        let name = format!("{}-churn-{turn}", part("name"));
        alive.push_back(format!("{}/{name}", part("namespace")));
        fake.put(fixtures::vllm_pod(set, &name, "gpu-0"));
        if alive.len() > 20
            && let Some(old) = alive.pop_front()
        {
            fake.delete(&format!("pods/{old}"));
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(1) / n) => {}
            changed = rate.changed() => drop(changed),
        }
    }
}
