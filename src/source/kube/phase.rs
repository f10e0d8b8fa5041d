//! Where a backend is on its way, by its pods.

use chrono::{DateTime, TimeDelta, Utc};

use super::find::Found;
use super::machines::claims;
use super::object::Pod;
use super::stage::{needs_node, stages};
use super::stand::Stand;
use super::trouble::Wrong;
use super::world::World;
use crate::fleet::cluster::place::{Phase, Trouble};
use crate::fleet::wake::Stage;

/// Where it is on its way; `None` where it ought to come and nothing is seen of it.
pub(super) fn phase(
    stand: &Stand<'_>,
    wrong: Option<&Wrong>,
    found: &Found,
    world: &World,
    now: DateTime<Utc>,
) -> Option<Phase> {
    let heads = &stand.heads;
    if stand.ready > 0 {
        let since = heads
            .iter()
            .filter(|it| it.is_ready())
            .filter_map(|it| it.condition("Ready").and_then(|it| it.last_transition_time));
        return Some(Phase::Ready {
            since: since.min().unwrap_or(now),
        });
    }
    let staying: Vec<&Pod> = heads
        .iter()
        .copied()
        .filter(|it| !it.is_leaving())
        .collect();
    if stand.wanted == 0 {
        return Some(if heads.is_empty() {
            Phase::Absent
        } else {
            Phase::Leaving
        });
    }
    if let Some(wrong) = wrong.filter(|it| it.hopeless) {
        return Some(Phase::Broken {
            reason: format!("{}; {}", wrong.trouble.what, wrong.trouble.hint).into(),
        });
    }
    // The pod that is furthest says how far it is.
    let furthest = staying
        .iter()
        .map(|it| (stages(it, &world.events.of(it), stand.serving()), *it))
        .max_by_key(|(stages, _)| stages.last().map(|(stage, _)| *stage));
    if let Some((stages, pod)) = furthest {
        return Some(Phase::Coming {
            since: stages.first().map_or(now, |(_, at)| *at),
            new_node: needs_node(pod, &world.events.of(pod)),
            stages,
        });
    }
    // KAITO asks for machines first, and makes pods once they are there.
    let asked = claims(found, world).filter_map(|it| it.meta.creation_timestamp);
    let since = asked.min()?;
    Some(Phase::Coming {
        since,
        stages: vec![(Stage::Node, since)],
        new_node: true,
    })
}

/// A startup probe that ends before the budget does kills what would have worked.
pub(super) fn short_probe(
    phase: &Phase,
    allows: Option<u32>,
    budget: TimeDelta,
) -> Option<Trouble> {
    let allows = allows.filter(|it| i64::from(*it) < budget.num_seconds())?;
    matches!(phase, Phase::Coming { .. }).then(|| Trouble {
        what: format!(
            "its startup probe ends it after {}:{:02}, before its budget does",
            allows / 60,
            allows % 60
        )
        .into(),
        hint: "raise startupProbe.failureThreshold × periodSeconds".into(),
    })
}
