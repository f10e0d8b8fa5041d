//! A fleet made by hand: one model, and the backends that a test names.

use std::collections::VecDeque;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use fleetctl::fleet::backend::{Capacity, Hosted, Price, SelfHosted, SleepWay};
use fleetctl::fleet::ledger::Ledger;
use fleetctl::fleet::live::Live;
use fleetctl::fleet::model::{ColdPolicy, DataPath, MAX_WAITING};
use fleetctl::fleet::{Backend, Fleet, Kind, Model, State, Usd};

/// The time at which every fleet here begins.
pub(crate) fn t0() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH
}

/// A warm backend on hardware that is paid by the hour.
pub(crate) fn self_hosted(id: &str, weight: u32) -> Backend {
    let facts = SelfHosted {
        rate: None,
        capacity: Capacity::OnDemand,
        replicas: 1,
        sleep: SleepWay::Release,
        startable: true,
        idle_after: None,
        schedule: None,
        budget: TimeDelta::minutes(8),
        cap: TimeDelta::minutes(10),
        grace: TimeDelta::minutes(2),
        group: None,
        hardware: String::new(),
        expected: Vec::new(),
        ceiling: None,
    };
    backend(
        id,
        weight,
        State::Warm { since: t0() },
        Kind::SelfHosted(facts),
    )
}

/// A hosted backend: a dollar a million tokens in, two dollars out.
pub(crate) fn hosted(id: &str, weight: u32) -> Backend {
    let dollar = Usd::from_pico(1_000_000_000_000);
    let facts = Hosted {
        provider: String::new(),
        price: Some(Price {
            input: dollar,
            cached: dollar,
            output: dollar.times(2),
        }),
    };
    backend(
        id,
        weight,
        State::Ready { since: t0() },
        Kind::Hosted(facts),
    )
}

fn backend(id: &str, weight: u32, state: State, kind: Kind) -> Backend {
    Backend {
        id: id.into(),
        model: "m".into(),
        kind,
        state,
        max_running: None,
        weight,
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

/// A fleet of one model, `m`, with these backends.
pub(crate) fn fleet(backends: Vec<Backend>) -> Fleet {
    Fleet {
        name: "test".to_owned(),
        speed: 1,
        started: t0(),
        now: t0(),
        gateway: None,
        fixed_per_month: Usd::ZERO,
        models: vec![Arc::new(Model {
            id: "m".into(),
            backends: backends.iter().map(|it| it.id.clone()).collect(),
            cold: ColdPolicy::Wait,
            data_path: DataPath::Any,
            rules: Vec::new(),
            max_waiting: MAX_WAITING,
            choose_backend: true,
            evals: Vec::new(),
            routes: Vec::new(),
        })],
        backends: backends.into_iter().map(Arc::new).collect(),
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
        past: std::sync::Arc::default(),
        dropped: 0,
    }
}
