//! Tells the fleet what the gateway has under way.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use crate::fleet::{BackendId, ModelId, Observation, State};
use crate::gateway::Gate;
use crate::gateway::record::access_log::AccessLog;
use crate::gateway::record::metrics::Gauges;

/// How often it looks, wall time.
const LOOK: Duration = Duration::from_millis(100);
/// How often it repeats itself while something runs, wall time.
const REPEAT: Duration = Duration::from_secs(1);

type Counts = (Vec<(BackendId, u32)>, Vec<(ModelId, u32)>);

/// Sends [`Observation::Gateway`] when it changed, and again every second while something runs or drains. Idle, it is silent.
pub(in crate::gateway) async fn run(gate: Arc<Gate>) {
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut last: Option<Counts> = None;
    let mut said = Instant::now();
    loop {
        tokio::select! {
            () = gate.shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        upkeep(&gate);
        let now = count(&gate);
        let idle = now.0.iter().all(|(_, n)| *n == 0) && now.1.iter().all(|(_, n)| *n == 0);
        let changed = match &last {
            Some(last) => *last != now,
            None => !idle,
        };
        let due = said.elapsed() >= REPEAT && (!idle || drains(&gate));
        if !changed && !due {
            continue;
        }
        let told = Observation::Gateway {
            in_flight: now.0.clone(),
            held: now.1.clone(),
            at: gate.clock.now(),
        };
        // A full queue: the next look says it anew.
        if gate.observations.try_send(told).is_ok() {
            last = Some(now);
            said = Instant::now();
        }
    }
}

/// Closes connections that nobody uses, and opens the circuits of engines that hang.
fn upkeep(gate: &Gate) {
    let plan = gate.plan();
    for slot in plan.slots.values() {
        slot.wires.sweep();
    }
    let fleet = gate.picture();
    for backend in &fleet.backends {
        if let Some(since) = fleet.hangs_since(backend)
            && let Some(slot) = plan.slots.get(&backend.id)
            && slot.circuit().hangs(since, gate.clock.now())
        {
            tracing::warn!("{} has produced nothing since {since}", backend.id);
        }
    }
}

fn count(gate: &Gate) -> Counts {
    (gate.in_flight(), gate.held())
}

/// What the page of metrics says of now.
pub(in crate::gateway) fn gauges(gate: &Gate) -> Gauges {
    let (in_flight, held) = count(gate);
    let now = gate.clock.now();
    let plan = gate.plan();
    let mut circuits: Vec<_> = plan
        .slots
        .values()
        .map(|slot| (slot.id.clone(), slot.circuit().phase(now)))
        .collect();
    circuits.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    let free = gate.places.available_permits() as u64;
    Gauges {
        in_flight,
        held,
        circuits,
        connections: u64::from(plan.settings.max_connections).saturating_sub(free),
        log_dropped: gate.access_log.as_ref().map_or(0, AccessLog::dropped),
        started: gate.started.timestamp_millis() as f64 / 1e3,
    }
}

fn drains(gate: &Gate) -> bool {
    let fleet = gate.picture();
    fleet
        .backends
        .iter()
        .any(|backend| matches!(backend.state, State::Draining(_)))
}
