//! The fleet of the demo: four models, five engines of its own, three hosted backends.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use chrono::{NaiveDate, TimeDelta};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::dcgm::{self, Machine};
use super::engine::Stages;
use super::launcher;
use super::unit::Unit;

mod engines;
use crate::clock::Clock;
use crate::config::{
    Backend, Capacity, Cold, Config, DataPath, Eval, Expected, Model, Money, Price, Rule, Sleep,
};

/// A running demo fleet; it ends with the token that it was started with.
#[derive(Debug)]
pub struct Demo {
    /// The fleet as its operator would describe it, with the addresses of this run.
    pub config: Config,
    /// Where the launcher serves; its engines are at `/engines/NAME`.
    pub launcher: SocketAddr,
    /// The simulated engines, by backend name.
    pub units: BTreeMap<String, Arc<Unit>>,
}

/// Starts launcher, machines and engines. `hosted` has the addresses of the hosted backends by name; one without an
/// address gets one that refuses connections.
///
/// # Errors
/// A port could not be bound.
pub async fn start(
    seed: u64,
    clock: Clock,
    hosted: &[(String, SocketAddr)],
    shutdown: CancellationToken,
) -> std::io::Result<Demo> {
    let mut units = BTreeMap::new();
    let mut pages = BTreeMap::new();
    for (spec, warm) in engines::all(seed) {
        let name = spec.name.clone();
        let unit = Unit::new(spec, clock, shutdown.child_token())?;
        if warm {
            unit.warm();
        }
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        pages.insert(name.clone(), listener.local_addr()?);
        let machine = Machine::new(unit.clone());
        tokio::spawn(dcgm::run(listener, machine, shutdown.child_token()));
        units.insert(name, unit);
    }
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let launcher = listener.local_addr()?;
    tokio::spawn(launcher::run(listener, units.clone(), shutdown));
    let place = Places {
        launcher,
        pages,
        units: &units,
        hosted,
    };
    Ok(Demo {
        config: config(&place),
        launcher,
        units,
    })
}

/// Where everything is in this run.
struct Places<'a> {
    launcher: SocketAddr,
    pages: BTreeMap<String, SocketAddr>,
    units: &'a BTreeMap<String, Arc<Unit>>,
    hosted: &'a [(String, SocketAddr)],
}

fn config(place: &Places<'_>) -> Config {
    let a100 = "4×A100-80GB";
    Config {
        name: "demo".to_owned(),
        listen: ([127, 0, 0, 1], 0).into(),
        time_zone: None,
        store: crate::config::Store::default(),
        fixed_per_month: Some(money("1200.00")),
        gateway: crate::config::Gateway::default(),
        admin: crate::config::Admin::default(),
        clusters: Vec::new(),
        node_prices: crate::config::NodePrices::default(),
        token_prices: Vec::new(),
        groups: Vec::new(),
        models: vec![
            Model {
                rules: vec![
                    Rule {
                        header: Some("x-class".to_owned()),
                        value: Some("batch".to_owned()),
                        to: vec!["a100-spot".to_owned()],
                        ..Rule::default()
                    },
                    Rule {
                        json_schema: true,
                        to: vec!["aoai-4o-mini".to_owned()],
                        fallback: true,
                        ..Rule::default()
                    },
                ],
                ..model(
                    "llama-3.3-70b",
                    vec![
                        Backend {
                            weight: 65,
                            pinned: Some("contract: 2 s p95 to first token".to_owned()),
                            ceiling: Some(1900.0),
                            evals: vec![eval("mmlu-pro", 68.9), eval("support-qa", 87.4)],
                            ..own(place, "a100-ondemand", "23.00", a100)
                        },
                        Backend {
                            weight: 0,
                            capacity: Capacity::Spot,
                            idle_after: Some(TimeDelta::minutes(8)),
                            ceiling: Some(1900.0),
                            evals: vec![eval("mmlu-pro", 68.9), eval("support-qa", 87.4)],
                            ..own(place, "a100-spot", "8.50", a100)
                        },
                        Backend {
                            weight: 35,
                            evals: vec![eval("mmlu-pro", 63.1), eval("support-qa", 84.0)],
                            ..hosted(place, "aoai-4o-mini", "gpt-4o-mini", "0.15", "0.60")
                        },
                    ],
                )
            },
            Model {
                cold: Cold::Bridge,
                ..model(
                    "qwen3-coder",
                    vec![
                        Backend {
                            weight: 80,
                            ceiling: Some(3600.0),
                            evals: vec![eval("livecodebench", 40.3)],
                            ..own(place, "h100-a", "7.84", "1×H100-94GB")
                        },
                        Backend {
                            weight: 20,
                            idle_after: Some(TimeDelta::minutes(10)),
                            ceiling: Some(3600.0),
                            evals: vec![eval("livecodebench", 40.3)],
                            ..own(place, "h100-b", "7.84", "1×H100-94GB")
                        },
                        Backend {
                            weight: 0,
                            evals: vec![eval("livecodebench", 43.7)],
                            ..hosted(place, "aoai-gpt-4.1", "gpt-4.1", "2.00", "8.00")
                        },
                    ],
                )
            },
            model(
                "phi-4",
                vec![Backend {
                    idle_after: Some(TimeDelta::minutes(5)),
                    ceiling: Some(260.0),
                    evals: vec![eval("mmlu-pro", 52.8)],
                    ..own(place, "t4-a", "0.53", "1×T4-16GB")
                }],
            ),
            model(
                "gpt-5-mini",
                vec![Backend {
                    evals: vec![eval("mmlu-pro", 80.6)],
                    ..hosted(place, "aoai-gpt-5-mini", "gpt-5-mini", "0.25", "2.00")
                }],
            ),
        ],
    }
}

fn model(name: &str, backends: Vec<Backend>) -> Model {
    Model {
        name: name.to_owned(),
        cold: Cold::Wait,
        bridge_over: TimeDelta::seconds(30),
        max_waiting: 10_000,
        choose_backend: true,
        rules: Vec::new(),
        data_path: DataPath::Any,
        backends,
    }
}

fn own(place: &Places<'_>, name: &str, rate: &str, hardware: &str) -> Backend {
    let unit = place.units.get(name);
    let url = unit.map(|u| format!("http://{}", u.address()));
    let page = place.pages.get(name);
    Backend {
        url,
        rate: Some(money(rate)),
        hardware: Some(hardware.to_owned()),
        sleep: Some(Sleep::Release),
        launcher: Some(format!("http://{}/engines/{name}", place.launcher)),
        gpu_metrics: page.map(|at| format!("http://{at}/metrics")),
        expected: unit.map_or_else(Vec::new, |u| expected(u.spec().start)),
        ..blank(name)
    }
}

fn hosted(place: &Places<'_>, name: &str, upstream: &str, input: &str, output: &str) -> Backend {
    let at = place.hosted.iter().find(|(n, _)| n == name);
    let at = at.map_or_else(|| ([127, 0, 0, 1], 9).into(), |(_, at)| *at);
    Backend {
        url: Some(format!("http://{at}")),
        hosted: true,
        provider: Some("Azure OpenAI".to_owned()),
        upstream_model: Some(upstream.to_owned()),
        price: Some(Price {
            input: money(input),
            cached: None,
            output: money(output),
        }),
        ..blank(name)
    }
}

/// What the file's defaults would give.
fn blank(name: &str) -> Backend {
    Backend {
        name: name.to_owned(),
        url: None,
        command: Vec::new(),
        env: BTreeMap::new(),
        dir: None,
        port: None,
        stop_within: TimeDelta::seconds(20),
        hosted: false,
        provider: None,
        upstream_model: None,
        api_key_env: None,
        api_key_file: None,
        auth: None,
        api: crate::config::Api::Openai,
        api_version: None,
        max_running: None,
        stall_after: TimeDelta::minutes(2),
        continuous_usage: false,
        weight: 100,
        rate: None,
        price: None,
        capacity: Capacity::OnDemand,
        replicas: 1,
        hardware: None,
        sleep: None,
        launcher: None,
        group: None,
        gpu_metrics: None,
        gpus: Vec::new(),
        idle_after: None,
        keep_warm: Vec::new(),
        budget: TimeDelta::minutes(8),
        cap: TimeDelta::minutes(10),
        grace: TimeDelta::seconds(120),
        expected: Vec::new(),
        ceiling: None,
        pinned: None,
        evals: Vec::new(),
    }
}

fn expected(stages: Stages) -> Vec<Expected> {
    [
        ("node", stages.node),
        ("image", stages.image),
        ("start", stages.start),
        ("load", stages.load),
        ("compile", stages.compile),
        ("capture", stages.capture),
        ("health", 2.0),
    ]
    .into_iter()
    .map(|(stage, seconds)| Expected {
        stage: stage.to_owned(),
        takes: TimeDelta::milliseconds((seconds * 1e3) as i64),
    })
    .collect()
}

fn eval(name: &str, score: f64) -> Eval {
    Eval {
        name: name.to_owned(),
        score,
        date: NaiveDate::from_ymd_opt(2026, 10, 30).unwrap_or_default(),
    }
}

fn money(text: &str) -> Money {
    Money(text.to_owned())
}

#[cfg(test)]
mod tests;
