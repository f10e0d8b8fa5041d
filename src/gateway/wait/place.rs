//! Finds the place for a request: chooses by the picture, waits where it must, says why where it cannot.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use http::StatusCode;
use tokio::time::Instant;

use crate::fleet::model::{ColdPolicy, MAX_WAITING};
use crate::fleet::request::Route;
use crate::fleet::{Backend, Fleet, Model, State};
use crate::gateway::Gate;
use crate::gateway::choose::desk::Desk;
use crate::gateway::choose::route::{Choice, Cold, Row, Standing, Why, Wish, choose, standing};
use crate::gateway::client::envelope::Fault;
use crate::gateway::record::account::Account;
use crate::gateway::upstream::slot::Flight;
use crate::gateway::wait::room::{Group, Room, Ticket};

/// A wake may take this long where its backend does not say.
const CAP: TimeDelta = TimeDelta::minutes(10);
/// When to ask again where nothing better is known, wall time.
const LATER: Duration = Duration::from_secs(5);

/// One request's search for a place.
#[derive(Debug)]
pub(crate) struct Search {
    pub(crate) group: Group,
    /// Seats that refused it already.
    pub(crate) tried: Vec<usize>,
    /// Since when it has been held; its deadline counts from here.
    since: Option<Instant>,
    place: Option<u64>,
    /// It was called and is on its way: the next is called when this is dropped.
    pub(crate) leaving: Option<Ticket>,
    /// Told while it is held, where somebody wants to know.
    held: Option<Arc<AtomicBool>>,
}

impl Search {
    /// A search that has not begun.
    pub(crate) fn new(group: Group) -> Self {
        Self {
            group,
            tried: Vec::new(),
            since: None,
            place: None,
            leaving: None,
            held: None,
        }
    }

    /// True while the request is held.
    pub(crate) fn tells_held(&mut self) -> Arc<AtomicBool> {
        Arc::clone(self.held.get_or_insert_default())
    }

    fn tell_held(&self, held: bool) {
        if let Some(told) = &self.held {
            told.store(held, Ordering::Relaxed);
        }
    }
}

impl Gate {
    /// Finds a backend for a request, waiting for a wake where the model's policy says so.
    ///
    /// # Errors
    /// Where it goes nowhere: the answer to the client.
    pub(in crate::gateway) async fn place(
        self: &Arc<Self>,
        desk: &Arc<Desk>,
        search: &mut Search,
        account: &mut Account,
    ) -> Result<(usize, Route, Flight), Fault> {
        loop {
            let fleet = self.picture();
            let now = self.clock.now();
            let Some(model) = desk.model(&fleet) else {
                return Err(Fault::new(
                    StatusCode::NOT_FOUND,
                    "model_not_found",
                    format!("the model `{}` is no longer in this fleet", desk.model),
                ));
            };
            let rows = desk.rows(&fleet, search.group, now);
            let wish = Wish {
                cold: cold(model, desk, &fleet, search.group, now),
                route: search.group.route(),
                tried: &search.tried,
            };
            if search.tried.is_empty() && is_missed(model, desk, &fleet, &rows) {
                self.ask_wake(desk, &fleet, &rows, now);
            }
            let (seat, route) = match choose(&rows, wish) {
                Choice::Weighted(wanted, route) => match desk.turn(&wanted) {
                    Some(seat) => (seat, route),
                    None => return Err(exhausted(desk)),
                },
                Choice::One(seat, route) => (seat, route),
                Choice::OneAndWake(seat, route) => {
                    self.ask_wake(desk, &fleet, &rows, now);
                    (seat, route)
                }
                Choice::Hold => {
                    self.ask_wake(desk, &fleet, &rows, now);
                    self.hold(desk, search, account, fleet).await?;
                    continue;
                }
                Choice::Refuse(why) => {
                    return Err(self.refuse(desk, &fleet, search, account, why));
                }
            };
            let limit = desk.seats[seat]
                .backend(&fleet)
                .and_then(|backend| backend.max_running);
            // Whoever came first goes first: the picture may be newer than the keeper's last look.
            if search.since.is_none() && search.tried.is_empty() && desk.room.len() > 0 {
                self.look(desk, &fleet, 1);
                if limit.is_some() && desk.room.len() > 0 {
                    // Places are few, and others wait for them.
                    self.hold(desk, search, account, fleet).await?;
                    continue;
                }
            }
            let Some(flight) = desk.seats[seat]
                .slot
                .as_ref()
                .and_then(|slot| Flight::begin(slot, limit, now))
            else {
                // Another request took the last place, or the probe of an open circuit, in between.
                continue;
            };
            // Counted first, looked at again then: a drain that began in between sees the request or is seen by it.
            let still = desk.seats[seat]
                .backend(&self.picture())
                .is_some_and(|backend| standing(backend, now) == Standing::Eligible);
            if still {
                return Ok((seat, route, flight));
            }
        }
    }

    /// Waits to be called.
    async fn hold(
        self: &Arc<Self>,
        desk: &Arc<Desk>,
        search: &mut Search,
        account: &mut Account,
        chosen_by: Arc<Fleet>,
    ) -> Result<(), Fault> {
        search.leaving = None;
        let since = *search.since.get_or_insert_with(Instant::now);
        let cap = self.cap(desk, search.group);
        let mut deadline = since + self.clock.on_wall(cap);
        let places = desk
            .model(&chosen_by)
            .map_or(MAX_WAITING, |it| it.max_waiting);
        let entered = Room::enter(&desk.room, search.group, search.place, places);
        let Some((mut ticket, keep)) = entered else {
            return Err(Fault::new(
                StatusCode::TOO_MANY_REQUESTS,
                "queue_full",
                format!("{places} requests wait for `{}` already", desk.model),
            )
            .after(self.remaining(desk, &self.picture(), search.group)));
        };
        if keep {
            self.tasks
                .spawn_on(Arc::clone(self).keep(Arc::clone(desk)), &self.runtime);
        }
        search.place = Some(ticket.number);
        // The keeper may have looked at a newer picture just before this request came in.
        let newest = self.picture();
        if !Arc::ptr_eq(&chosen_by, &newest) {
            self.look(desk, &newest, 1);
        }
        drop((chosen_by, newest));
        account.hold_since(since);
        search.tell_held(true);
        let called = loop {
            let called = tokio::time::timeout_at(deadline, &mut ticket.called).await;
            // The wake may have begun after the waiting: its cap counts from there.
            match self.wake_left(desk, search.group) {
                Some(left) if called.is_err() => deadline = Instant::now() + left,
                Some(_) | None => break called,
            }
        };
        search.tell_held(false);
        account.held_since(since);
        if called.is_ok() {
            search.leaving = Some(ticket);
            return Ok(());
        }
        Err(timeout(format!(
            "`{}` was not woken within the cap of {}",
            desk.model,
            spell(cap)
        )))
    }

    /// The longest that a request of `group` is held, fleet time: the cap of the backend that it waits for.
    fn cap(&self, desk: &Desk, group: Group) -> TimeDelta {
        let fleet = self.picture();
        let now = self.clock.now();
        let rows = desk.rows(&fleet, group, now);
        desk.seats
            .iter()
            .zip(&rows)
            .enumerate()
            .filter(|(seat, (_, row))| {
                row.standing == Standing::Coming && group.asked.is_none_or(|asked| asked == *seat)
            })
            .filter_map(|(_, (seat, _))| seat.backend(&fleet)?.self_hosted())
            .map(|facts| facts.cap)
            .max()
            .unwrap_or(CAP)
    }

    /// What is left of the cap of a wake that `group` waits for, wall time; `None` where none runs within its cap.
    fn wake_left(&self, desk: &Desk, group: Group) -> Option<Duration> {
        let fleet = self.picture();
        let now = self.clock.now();
        let rows = desk.rows(&fleet, group, now);
        let waking = desk.seats.iter().zip(&rows).filter_map(|(seat, row)| {
            let backend = seat
                .backend(&fleet)
                .filter(|_| row.standing == Standing::Coming)?;
            let State::Waking(wake) = &backend.state else {
                return None;
            };
            Some(wake.since + backend.self_hosted()?.cap - now)
        });
        let left = waking.max().filter(|left| *left > TimeDelta::zero())?;
        Some(self.clock.on_wall(left))
    }

    /// How long the wake that `group` waits for is likely to take yet, wall time.
    fn remaining(&self, desk: &Desk, fleet: &Fleet, group: Group) -> Duration {
        remaining(desk, fleet, group, self.clock.now())
            .map_or(LATER, |left| self.clock.on_wall(left))
    }

    fn refuse(
        &self,
        desk: &Desk,
        fleet: &Fleet,
        search: &Search,
        account: &Account,
        why: Why,
    ) -> Fault {
        let now = self.clock.now();
        let model = &desk.model;
        let unavailable =
            |code, message: String| Fault::new(StatusCode::SERVICE_UNAVAILABLE, code, message);
        match why {
            Why::Asleep => unavailable(
                "backend_asleep",
                format!("`{model}` sleeps, and requests do not wake it"),
            )
            .after(self.remaining(desk, fleet, search.group)),
            Why::Drained => unavailable(
                "draining",
                format!("every backend of `{model}` is out of service"),
            )
            .after(LATER),
            Why::Failed(seat) => match desk.seats[seat].backend(fleet) {
                Some(backend) if account.was_held() && passed_cap(backend) => {
                    timeout(format!("{}: {}", backend.id, reason(backend)))
                }
                Some(backend) => unavailable(
                    "backend_failed",
                    format!("{}: {}", backend.id, reason(backend)),
                ),
                None => exhausted(desk),
            },
            Why::Limited(until) => Fault::new(
                StatusCode::TOO_MANY_REQUESTS,
                "rate_limit_exceeded",
                format!("every backend of `{model}` that is left asked for a pause"),
            )
            .after(self.clock.on_wall(until - now)),
            Why::Broken(until) => Fault::new(
                StatusCode::BAD_GATEWAY,
                "upstream_error",
                format!("the backends of `{model}` failed a moment ago and are not asked now"),
            )
            .after(self.clock.on_wall(until - now)),
            Why::Exhausted => exhausted(desk),
            Why::Barred => unavailable(
                "no_backend",
                format!("`{model}` has no backend that this request may go to (data path)"),
            ),
        }
    }
}

fn exhausted(desk: &Desk) -> Fault {
    Fault::new(
        StatusCode::BAD_GATEWAY,
        "upstream_error",
        format!("no backend of `{}` is left to ask", desk.model),
    )
}

/// Whether hosted backends answer for all of ours, and one of ours that has a weight sleeps: this request goes to who is
/// ready, and the sleeper is woken for those to come.
fn is_missed(model: &Model, desk: &Desk, fleet: &Fleet, rows: &[Row]) -> bool {
    let mut sleeps = false;
    for (seat, row) in desk.seats.iter().zip(rows).filter(|(_, row)| row.named) {
        let Some(backend) = seat.backend(fleet).filter(|it| !it.is_hosted()) else {
            continue;
        };
        match row.standing {
            Standing::Eligible | Standing::Full => return false,
            Standing::Coming => {
                let asleep = matches!(backend.state, State::Asleep { .. });
                sleeps |= asleep && row.weight > 0;
            }
            Standing::Limited(_)
            | Standing::Broken(_)
            | Standing::Drained
            | Standing::Failed
            | Standing::Barred => {}
        }
    }
    sleeps && model.cold != ColdPolicy::Reject
}

fn timeout(message: String) -> Fault {
    Fault::new(StatusCode::GATEWAY_TIMEOUT, "wake_timeout", message)
}

/// Why a backend is out, in its own words.
fn reason(backend: &Backend) -> &str {
    match &backend.state {
        State::Failed(failure) => &failure.reason,
        State::Down { reason, .. } => reason,
        State::Unknown { .. }
        | State::Asleep { .. }
        | State::Waking(_)
        | State::Warm { .. }
        | State::Draining(_)
        | State::Ready { .. }
        | State::Limited { .. } => backend.state.word(),
    }
}

/// Whether its last wake failed because it took too long, and not for a reason of its own.
fn passed_cap(backend: &Backend) -> bool {
    let (Some(facts), Some(wake)) = (backend.self_hosted(), backend.wakes.back()) else {
        return false;
    };
    wake.failure.is_some() && wake.took() >= facts.cap
}

/// The model's cold policy, as it is for requests of `group` now.
pub(in crate::gateway) fn cold(
    model: &Model,
    desk: &Desk,
    fleet: &Fleet,
    group: Group,
    now: DateTime<Utc>,
) -> Cold {
    match model.cold {
        ColdPolicy::Wait => Cold::Wait,
        ColdPolicy::Overflow => Cold::Elsewhere(Route::Fallback),
        ColdPolicy::Reject => Cold::Reject,
        ColdPolicy::Bridge { over } => match remaining(desk, fleet, group, now) {
            Some(left) if left <= over => Cold::Wait,
            Some(_) | None => Cold::Elsewhere(Route::Bridge),
        },
    }
}

/// How long the wake that `group` waits for is likely to take yet, fleet time; `None` where nothing can be woken.
fn remaining(desk: &Desk, fleet: &Fleet, group: Group, now: DateTime<Utc>) -> Option<TimeDelta> {
    desk.rows(fleet, group, now)
        .iter()
        .zip(&desk.seats)
        .filter(|(row, _)| row.standing == Standing::Coming)
        .filter_map(|(_, seat)| remaining_of(seat.backend(fleet)?, now))
        .min()
}

fn remaining_of(backend: &Backend, now: DateTime<Utc>) -> Option<TimeDelta> {
    let facts = backend.self_hosted()?;
    let since = match &backend.state {
        State::Waking(wake) => wake.since,
        State::Asleep { .. } => now,
        State::Unknown { .. }
        | State::Warm { .. }
        | State::Draining(_)
        | State::Failed(_)
        | State::Ready { .. }
        | State::Limited { .. }
        | State::Down { .. } => return None,
    };
    let left = backend
        .estimate(now)
        .map_or(facts.budget - (now - since), |it| it.left_median);
    Some(left.max(TimeDelta::seconds(1)))
}

/// A span as people write it: `10m`, `90s`.
fn spell(span: TimeDelta) -> String {
    humantime::format_duration(span.to_std().unwrap_or_default()).to_string()
}
