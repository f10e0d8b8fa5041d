//! Asking for wakes, once each, and telling those who wait when to choose again.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::fleet::{Actor, Backend, BackendId, Command, Fleet, State};
use crate::gateway::Gate;
use crate::gateway::choose::desk::Desk;
use crate::gateway::choose::route::{Choice, Row, Standing, Wish, choose};
use crate::gateway::upstream::slot::lock;
use crate::gateway::wait::place::cold;
use crate::handle::Order;

/// A wake that did not begin is asked for again after this much fleet time: it may have been refused for a reason that passed.
const AGAIN: TimeDelta = TimeDelta::seconds(30);
/// How often a keeper looks although no new picture came, wall time: a circuit's pause ends without one.
const LOOK: Duration = Duration::from_millis(200);

/// Those who were called go one by one. How many have gone is looked at this often, wall time.
const SOON: Duration = Duration::from_millis(5);
/// The same where few wait: they are gone soon enough one by one, on a machine with other things to do as well.
const SOON_OF_FEW: Duration = Duration::from_millis(50);
/// As many are few.
const FEW_WAIT: usize = 64;
/// Fewer than that many have a long way to go each, and could not arrive in order anyhow: more are called at once.
const FEW: u64 = 10;
/// As many are called at once at most.
const LARGEST_WAVE: u32 = 256;

/// A wake that was asked for.
#[derive(Debug)]
pub(crate) struct Asked {
    backend: BackendId,
    /// The sleep that it is to end.
    asleep: DateTime<Utc>,
    at: DateTime<Utc>,
}

/// The sleeper to wake: the one with the highest weight, the first of these in config order; `None` when one is on its way
/// already or none sleeps.
fn sleeper<'f>(
    desk: &Desk,
    fleet: &'f Fleet,
    rows: &[Row],
) -> Option<(&'f Backend, DateTime<Utc>)> {
    let mut best: Option<(&Backend, DateTime<Utc>)> = None;
    for (place, row) in desk.seats.iter().zip(rows) {
        if row.standing != Standing::Coming {
            continue;
        }
        let Some(backend) = place.backend(fleet) else {
            continue;
        };
        match &backend.state {
            State::Waking(_) => return None,
            State::Asleep { since } => {
                if best.is_none_or(|(best, _)| backend.weight > best.weight) {
                    best = Some((backend, *since));
                }
            }
            State::Unknown { .. }
            | State::Warm { .. }
            | State::Draining(_)
            | State::Failed(_)
            | State::Ready { .. }
            | State::Limited { .. }
            | State::Down { .. } => {}
        }
    }
    best
}

impl Gate {
    /// Asks for the wake that requests of `group` need, unless that was done.
    pub(in crate::gateway) fn ask_wake(
        &self,
        desk: &Desk,
        fleet: &Fleet,
        rows: &[Row],
        now: DateTime<Utc>,
    ) {
        let Some((backend, asleep)) = sleeper(desk, fleet, rows) else {
            return;
        };
        let mut asked = lock(&desk.asked);
        let done = asked
            .iter()
            .any(|it| it.backend == backend.id && it.asleep == asleep && now - it.at < AGAIN);
        if done {
            return;
        }
        let order = Order {
            command: Command::Wake {
                backend: backend.id.clone(),
            },
            by: Actor::Request,
            expects: None,
            rehearse: false,
            reply: None,
        };
        // A full queue: whoever looks next asks again.
        if self.orders.try_send(order).is_ok() {
            asked.retain(|it| it.backend != backend.id);
            asked.push(Asked {
                backend: backend.id.clone(),
                asleep,
                at: now,
            });
        }
    }

    /// Keeps the waiting room of `desk` until it is empty: calls those who can go, or who need not wait any longer.
    pub(in crate::gateway) async fn keep(self: Arc<Self>, desk: Arc<Desk>) {
        let mut fleet = self.fleet.clone();
        let mut wave = 1;
        let mut before = 0;
        while !desk.room.close() {
            let picture = Arc::clone(&fleet.borrow_and_update());
            self.look(&desk, &picture, wave);
            let (_, calling) = desk.room.gone_so_far();
            let pause = match calling {
                true if desk.room.len() < FEW_WAIT => SOON_OF_FEW,
                true => SOON,
                false => LOOK,
            };
            if !calling {
                wave = 1;
            }
            tokio::select! {
                () = self.shutdown.cancelled() => return,
                changed = fleet.changed() => if changed.is_err() {
                    // The fleet is gone: the rest ends by its own deadlines.
                    tokio::time::sleep(LOOK).await;
                },
                () = desk.freed.notified() => {}
                () = desk.room.gone.notified() => {}
                () = tokio::time::sleep(pause) => {
                    let (gone, calling) = desk.room.gone_so_far();
                    let many = gone - std::mem::replace(&mut before, gone) >= FEW;
                    wave = if calling && !many {
                        (wave * 2).min(LARGEST_WAVE)
                    } else {
                        (wave / 2).max(1)
                    };
                }
            }
        }
    }

    /// Looks at the picture once for all who wait at `desk`.
    pub(in crate::gateway) fn look(&self, desk: &Desk, fleet: &Fleet, wave: u32) {
        let Some(model) = desk.model(fleet) else {
            // Its model is gone from the fleet: whoever waits is told.
            for group in desk.room.groups() {
                desk.room.call(group, None, LARGEST_WAVE);
            }
            return;
        };
        let now = self.clock.now();
        for group in desk.room.groups() {
            let rows = desk.rows(fleet, group, now);
            let wish = Wish {
                cold: cold(model, desk, fleet, group, now),
                route: group.route(),
                tried: &[],
            };
            match choose(&rows, wish) {
                Choice::Hold => self.ask_wake(desk, fleet, &rows, now),
                Choice::Weighted(..) | Choice::One(..) | Choice::OneAndWake(..) => {
                    desk.room.call(group, desk.free(fleet, &rows), wave);
                }
                Choice::Refuse(_) => desk.room.call(group, None, LARGEST_WAVE),
            }
        }
    }
}
