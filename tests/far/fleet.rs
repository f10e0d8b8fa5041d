//! A fleet by hand: one model, two self-hosted backends and a hosted one.

use std::collections::VecDeque;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use fleetctl::fleet::backend::{Capacity, Hosted, Price, SelfHosted, SleepWay};
use fleetctl::fleet::ledger::Ledger;
use fleetctl::fleet::live::Live;
use fleetctl::fleet::model::{ColdPolicy, DataPath, MAX_WAITING};
use fleetctl::fleet::{Backend, Fleet, Kind, Model, State, Usd};

/// Names, in fallback order.
pub(crate) const BACKENDS: [&str; 3] = ["own-a", "own-b", "far"];
/// Pico-dollars a token of the hosted one: input, cached input, output.
pub(crate) const PRICE: [i128; 3] = [150_000, 75_000, 600_000];

/// The time at which it begins.
pub(crate) fn t0() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH
}

/// All of it, warm.
pub(crate) fn fleet() -> Fleet {
    let backends = BACKENDS.map(|name| Arc::new(backend(name)));
    Fleet {
        name: "far-end".to_owned(),
        speed: 60,
        started: t0(),
        now: t0(),
        gateway: None,
        fixed_per_month: Usd::ZERO,
        models: vec![Arc::new(Model {
            id: "m".into(),
            backends: BACKENDS.map(Into::into).to_vec(),
            cold: ColdPolicy::Wait,
            data_path: DataPath::Any,
            rules: Vec::new(),
            max_waiting: MAX_WAITING,
            choose_backend: false,
            evals: Vec::new(),
            routes: Vec::new(),
        })],
        backends: backends.to_vec(),
        requests: VecDeque::new(),
        answered: 0,
        failed: 0,
        audit: VecDeque::new(),
        findings: Vec::new(),
        history: Arc::default(),
        undo: VecDeque::new(),
        not_recorded: None,
        config_refused: None,
        machine: None,
        clusters: Vec::new(),
        namespace: None,
        past: Arc::default(),
        dropped: 0,
    }
}

fn backend(name: &str) -> Backend {
    let hosted = name == "far";
    let kind = if hosted {
        // Per million tokens, as prices are.
        let [input, cached, output] = PRICE.map(|pico| Usd::from_pico(pico * 1_000_000));
        Kind::Hosted(Hosted {
            provider: "Far".to_owned(),
            price: Some(Price {
                input,
                cached,
                output,
            }),
        })
    } else {
        Kind::SelfHosted(SelfHosted {
            rate: None,
            capacity: Capacity::OnDemand,
            replicas: 1,
            // Nothing here can put it to sleep: a drain takes it out of service, and it stays warm.
            sleep: SleepWay::Never,
            startable: true,
            idle_after: None,
            schedule: None,
            budget: TimeDelta::minutes(8),
            cap: TimeDelta::minutes(10),
            grace: TimeDelta::hours(2),
            group: None,
            hardware: String::new(),
            expected: Vec::new(),
            ceiling: None,
        })
    };
    let state = if hosted {
        State::Ready { since: t0() }
    } else {
        State::Warm { since: t0() }
    };
    Backend {
        id: name.into(),
        model: "m".into(),
        kind,
        state,
        max_running: None,
        weight: 1,
        pin: None,
        scheduled: None,
        drained: None,
        live: Live::default(),
        sample: None,
        gpus: Arc::new([]),
        ledger: Ledger::default(),
        wakes: VecDeque::new(),
        log: VecDeque::new(),
        place: None,
        doing: None,
        progress: None,
    }
}
