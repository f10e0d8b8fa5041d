//! Pods that were to end and are wanted again: nobody drains what serves.

use crate::fleet::cluster::Seen;
use crate::fleet::cluster::mark::Mark;
use crate::fleet::cluster::place::{Phase, Place};
use crate::fleet::{Backend, Command, Fleet, Observation, Stage, State};

use super::cluster::{at, fleet, own, place};

const LLAMA: &str = "llm/llama";

fn ready() -> Phase {
    let since = at("01:00:00");
    Phase::Ready { since }
}

fn llama(phase: Phase) -> Place {
    let wanted = if phase == Phase::Leaving { 0 } else { 2 };
    Place {
        wanted,
        ..place("eu", "llama", phase)
    }
}

/// The cluster says this of it.
fn told(fleet: &mut Fleet, time: &str, place: Place) {
    let seen = Seen {
        cluster: "eu".into(),
        backends: vec![own(LLAMA, "llama-3.3-70b", 90, place)],
        ..Seen::default()
    };
    fleet.observe(Observation::Cluster {
        seen: Box::new(seen),
        at: at(time),
    });
}

fn state(fleet: &Fleet) -> &State {
    &backend(fleet).state
}

fn backend(fleet: &Fleet) -> &Backend {
    fleet.backend(&LLAMA.into()).unwrap()
}

fn last(fleet: &Fleet) -> (&str, &str) {
    let entry = fleet.audit.back().unwrap();
    (&entry.verb, &entry.result)
}

#[test]
fn pods_that_began_to_end_and_came_back_serve_again() {
    let mut fleet = fleet();
    told(&mut fleet, "03:11:00", llama(Phase::Leaving));
    assert_eq!(state(&fleet).word(), "draining");
    told(&mut fleet, "03:11:05", llama(ready()));
    assert_eq!(state(&fleet).word(), "warm");
    assert!(backend(&fleet).takes_traffic());
    assert_eq!(
        last(&fleet),
        ("warm", "pods are wanted and ready again (by hand)")
    );

    told(&mut fleet, "03:12:00", llama(Phase::Leaving));
    let coming = Phase::Coming {
        since: at("03:12:05"),
        stages: vec![(Stage::Queued, at("03:12:05"))],
        new_node: false,
    };
    told(&mut fleet, "03:12:05", llama(coming));
    assert_eq!(state(&fleet).word(), "waking");
    assert_eq!(
        last(&fleet),
        (
            "waking",
            "pods are wanted again, and on their way (nobody here)"
        )
    );
    told(&mut fleet, "03:13:00", llama(ready()));
    assert_eq!(state(&fleet).word(), "warm");

    told(&mut fleet, "03:14:00", llama(Phase::Leaving));
    let broken = Phase::Broken {
        reason: "no such image".into(),
    };
    told(&mut fleet, "03:14:05", llama(broken));
    assert_eq!(state(&fleet).word(), "failed");
}

#[test]
fn what_somebody_else_is_draining_is_left_to_them() {
    let mut fleet = fleet();
    let drained = |phase, done| Place {
        mark: Some(Mark {
            op: "drain".into(),
            of: LLAMA.into(),
            by: "ben".into(),
            at: at("03:10:30"),
            done,
            ..Mark::default()
        }),
        ..llama(phase)
    };
    told(&mut fleet, "03:11:00", drained(Phase::Leaving, false));
    told(&mut fleet, "03:11:05", drained(ready(), false));
    assert_eq!(state(&fleet).word(), "draining");
    // It ended, and something else wants its pods all the same.
    told(&mut fleet, "03:11:10", drained(ready(), true));
    assert_eq!(state(&fleet).word(), "warm");
}

#[test]
fn what_was_put_to_sleep_here_and_stays_is_warm_again_after_a_while() {
    let mut fleet = fleet();
    let backend = LLAMA.into();
    let by = crate::fleet::Actor::Operator("ana".into());
    let asked = fleet.order(
        &Command::Force {
            command: Box::new(Command::Sleep { backend }),
        },
        &by,
        at("03:10:10"),
    );
    let (Ok(_), mut actions) = asked else {
        panic!("{:?}", asked.0.err())
    };
    let action = actions.pop().unwrap();
    told(&mut fleet, "03:10:20", llama(ready()));
    assert_eq!(state(&fleet).word(), "draining");
    fleet.observe(Observation::Performed {
        action,
        result: Ok(()),
        at: at("03:10:30"),
    });
    // Its cluster has not come to it yet.
    told(&mut fleet, "03:10:40", llama(ready()));
    fleet.tick(at("03:12:00"));
    assert_eq!(state(&fleet).word(), "draining");
    for second in 30..45 {
        fleet.tick(at(&format!("03:13:{second}")));
    }
    assert_eq!(state(&fleet).word(), "warm");
}
