//! How a backend's state follows what its cluster says: one headed arm per transition.
//!
//! Here the cluster decides: an operation asks for replicas, and the state is what the pods say.

use chrono::{DateTime, TimeDelta, Utc};

use super::place::{Phase, Place};
use crate::fleet::backend::Backend;
use crate::fleet::machine::{self, Input, Note, Outcome};
use crate::fleet::wake::{Drain, Stage, StageSpan, State, Wake};

/// Who asked for a wake that nobody here asked for.
const FOUND: &str = "nobody here";

/// A wake that was asked for shows in the cluster within this long, or was taken back.
const SHOWS_WITHIN: TimeDelta = TimeDelta::seconds(60);

/// What an operation had scaled to zero shows in the pods within this long: Knative waits for its window, and then its grace.
pub(super) const LEAVES_WITHIN: TimeDelta = TimeDelta::minutes(3);

/// Moves `backend` on by what its cluster says. The caller has accrued its cost up to `now` before.
#[expect(
    clippy::too_many_lines,
    reason = "every transition in one exhaustive match"
)]
pub(in crate::fleet) fn follow(
    backend: &mut Backend,
    place: &Place,
    now: DateTime<Utc>,
) -> Outcome {
    let asked_by = |verb: &str| {
        let mark = place.mark.as_ref().filter(|it| it.op == verb);
        mark.map_or_else(|| FOUND.to_owned(), |it| it.by.clone())
    };
    let naps = backend.naps();
    if naps && !matches!(place.phase, Phase::Ready { .. }) {
        // What slept there is gone: the next one begins awake.
        backend.sample = None;
    }
    let awaits_page = backend.awaits_page(place, now);
    let came_back = came_back(backend, place, now);
    match (&mut backend.state, &place.phase) {
        // ## unknown, warm, draining, failed => asleep: the engines sleep in their pods
        (
            State::Unknown { .. } | State::Warm { .. } | State::Draining(_) | State::Failed(_),
            Phase::Ready { .. },
        ) if naps => {
            let by = match &mut backend.state {
                State::Draining(drain) => Some(std::mem::take(&mut drain.by)),
                _ => None,
            };
            let known = !matches!(backend.state, State::Unknown { .. });
            // Who found it so knows when only where a mark says it.
            let since = match place.mark.as_ref().filter(|it| it.keeps_down()) {
                Some(mark) if !known => mark.at,
                _ if !known => backend.live.met_at.unwrap_or(now),
                _ => now,
            };
            backend.state = State::Asleep { since };
            let sample = backend.sample.take();
            machine::quiet(backend, now);
            // What it said last is why it is taken to sleep.
            backend.sample = sample;
            match by {
                Some(by) => {
                    let said = format!("asleep in its pods, still billed (asked for by {by})");
                    note("asleep", said, false)
                }
                None if known => {
                    let said = "its engines sleep, not from here; its pods are still billed";
                    note("asleep", said.into(), false)
                }
                None => Outcome::default(),
            }
        }
        // They still do.
        (State::Asleep { .. } | State::Waking(_), Phase::Ready { .. }) if naps => {
            Outcome::default()
        }

        // Whether its engines sleep in their pods their pages say; for a moment it is waited for them.
        (State::Unknown { .. }, Phase::Ready { .. }) if awaits_page => Outcome::default(),
        // ## unknown => warm
        (State::Unknown { .. }, Phase::Ready { since }) => {
            backend.state = State::Warm { since: *since };
            Outcome::default()
        }

        // ## unknown, asleep => waking: its pods are on their way
        (State::Unknown { .. } | State::Asleep { .. }, Phase::Coming { since, stages, .. }) => {
            let known = !matches!(backend.state, State::Unknown { .. });
            let by = asked_by("wake");
            backend.state = State::Waking(begun(*since, by.clone(), stages));
            if known {
                let said = format!("its pods are on their way ({by})");
                note("waking", said, false)
            } else {
                Outcome::default()
            }
        }
        // ## failed => waking: a newer pod tries
        (State::Failed(failure), Phase::Coming { since, stages, .. }) if *since > failure.since => {
            backend.state = State::Waking(begun(*since, asked_by("wake"), stages));
            note("waking", "a new pod tries".into(), false)
        }
        // ## waking: the stages as the cluster tells them
        (State::Waking(wake), Phase::Coming { stages, .. }) => {
            wake.begun = true;
            retell(wake, stages);
            Outcome::default()
        }
        // ## waking => warm
        (State::Waking(_), Phase::Ready { .. }) => machine::step(backend, Input::Healthy, now),
        // ## unknown, waking => failed
        (State::Unknown { .. } | State::Waking(_), Phase::Broken { reason }) => {
            machine::fail(backend, reason.to_string(), true, now)
        }
        // ## waking => asleep: somebody took it back
        (State::Waking(wake), Phase::Absent | Phase::Leaving)
            if backend.doing.is_none() && now - wake.since > SHOWS_WITHIN
                || wake.stages.len() > 1 =>
        {
            let why = format!("scaled to zero again; {} has it", place.scaled_by());
            machine::end_wake(backend, &why, now);
            backend.state = State::Asleep { since: now };
            note("asleep", why, true)
        }

        // ## asleep, failed => warm
        (State::Asleep { .. } | State::Failed(_), Phase::Ready { since }) => {
            let said = format!("warm; nobody here asked for it ({})", place.scaled_by());
            backend.state = State::Warm {
                since: (*since).min(now),
            };
            note("warm", said, false)
        }
        // ## warm => waking: no pod is ready any more, and new ones are on their way
        (State::Warm { .. }, Phase::Coming { stages, .. }) => {
            backend.crashed(now);
            let why = place.trouble.as_ref().map_or_else(
                || "no pod is ready any more".to_owned(),
                |trouble| trouble.what.to_string(),
            );
            let fresh: Vec<_> = stages
                .iter()
                .map(|(stage, at)| (*stage, (*at).max(now)))
                .collect();
            backend.state = State::Waking(begun(now, "its cluster".into(), &fresh));
            machine::quiet(backend, now);
            note("failed", format!("{why}; it starts again"), true)
        }
        // ## warm => failed
        (State::Warm { .. }, Phase::Broken { reason }) => {
            backend.crashed(now);
            machine::fail(backend, reason.to_string(), true, now)
        }
        // ## warm => draining: its pods were told to end
        (State::Warm { .. }, Phase::Leaving) => {
            let by = place
                .mark
                .as_ref()
                .map_or_else(|| place.scaled_by(), |mark| mark.by.clone());
            backend.state = State::Draining(Drain {
                since: now,
                by,
                deadline: now,
                idle_reads: 0,
                stopping: true,
                was_warm: true,
            });
            Outcome::default()
        }
        // ## warm => asleep: nothing was seen of their end
        (State::Warm { .. }, Phase::Absent) => {
            backend.state = State::Asleep { since: now };
            machine::quiet(backend, now);
            note(
                "asleep",
                format!("scaled to zero, not from here ({})", place.scaled_by()),
                false,
            )
        }
        // ## draining => asleep
        (State::Draining(drain), Phase::Absent) => {
            let by = std::mem::take(&mut drain.by);
            backend.state = State::Asleep { since: now };
            machine::quiet(backend, now);
            let said = if place.nodes.is_empty() {
                format!("asleep (asked for by {by})")
            } else {
                format!("asleep, its machines still billed (asked for by {by})")
            };
            note("asleep", said, false)
        }
        // ## unknown, failed => asleep
        (State::Failed(_), Phase::Absent)
        | (State::Unknown { .. }, Phase::Absent | Phase::Leaving) => {
            // What is found asleep sleeps since whoever had it so; else nobody here knows, and it counts from now.
            let put = place.mark.as_ref().filter(|it| it.stands());
            let put = put.filter(|it| matches!(&*it.op, "sleep" | "drain"));
            backend.state = State::Asleep {
                since: put.map_or(now, |it| it.at.min(now)),
            };
            Outcome::default()
        }
        // ## draining => warm, waking, failed: its pods came back
        (State::Draining(_), Phase::Ready { since }) if came_back => {
            backend.state = State::Warm {
                since: (*since).min(now),
            };
            let said = format!("pods are wanted and ready again ({})", place.scaled_by());
            note("warm", said, false)
        }
        (State::Draining(_), Phase::Coming { since, stages, .. }) if came_back => {
            let by = asked_by("wake");
            let said = format!("pods are wanted again, and on their way ({by})");
            backend.state = State::Waking(begun(*since, by, stages));
            machine::quiet(backend, now);
            note("waking", said, false)
        }
        (State::Draining(_), Phase::Broken { reason }) if came_back => {
            machine::fail(backend, reason.to_string(), true, now)
        }
        // ## draining => stopping: its pods end
        (State::Draining(drain), Phase::Leaving) => {
            drain.stopping = true;
            Outcome::default()
        }

        // Nothing changes.
        (State::Asleep { .. }, Phase::Absent | Phase::Leaving | Phase::Broken { .. })
        | (State::Waking(_), Phase::Absent | Phase::Leaving)
        | (State::Warm { .. }, Phase::Ready { .. })
        | (State::Draining(_), Phase::Ready { .. } | Phase::Coming { .. } | Phase::Broken { .. })
        | (State::Failed(_), Phase::Broken { .. } | Phase::Coming { .. } | Phase::Leaving)
        | (State::Ready { .. } | State::Limited { .. } | State::Down { .. }, _) => {
            Outcome::default()
        }
    }
}

/// Its pods were to end, and are wanted: nothing is at it here, and what was begun from elsewhere does not say so.
fn came_back(backend: &Backend, place: &Place, now: DateTime<Utc>) -> bool {
    let State::Draining(drain) = &backend.state else {
        return false;
    };
    let mark = place.mark.as_ref().filter(|it| it.is_open());
    let begun = mark.is_some_and(|it| matches!(&*it.op, "sleep" | "drain"));
    // Where they were not seen to end yet, that may still be on its way.
    let was = backend.place.as_deref().map(|it| &it.phase);
    let left = was.is_some_and(|it| matches!(it, Phase::Leaving)) || now >= drain.deadline;
    backend.doing.is_none() && place.wanted > 0 && !begun && left
}

fn note(verb: &'static str, said: String, bad: bool) -> Outcome {
    Outcome {
        actions: Vec::new(),
        notes: vec![Note { verb, said, bad }],
    }
}

fn begun(since: DateTime<Utc>, by: String, stages: &[(Stage, DateTime<Utc>)]) -> Wake {
    let mut wake = Wake {
        since,
        by,
        stages: vec![StageSpan {
            stage: Stage::Queued,
            began: since,
            ended: None,
            percent: None,
        }],
        hot: None,
        late: false,
        begun: true,
    };
    retell(&mut wake, stages);
    wake
}

/// The stages with the times that the cluster gives them. What the engine's log told beyond them stays.
fn retell(wake: &mut Wake, told: &[(Stage, DateTime<Utc>)]) {
    let Some((last, _)) = told.last() else { return };
    let beyond: Vec<StageSpan> = wake
        .stages
        .iter()
        .filter(|it| it.stage > *last)
        .cloned()
        .collect();
    let mut all: Vec<StageSpan> = vec![StageSpan {
        stage: Stage::Queued,
        began: wake.since,
        ended: None,
        percent: None,
    }];
    for (stage, at) in told.iter().filter(|(stage, _)| *stage > Stage::Queued) {
        let percent = wake.stages.iter().find(|it| it.stage == *stage);
        let at = all.last().map_or(*at, |it| (*at).max(it.began));
        all.push(StageSpan {
            stage: *stage,
            began: at,
            ended: None,
            percent: percent.and_then(|it| it.percent),
        });
    }
    all.extend(beyond);
    for i in 1..all.len() {
        let next = all[i].began;
        all[i - 1].ended = Some(next);
    }
    wake.stages = all;
}
