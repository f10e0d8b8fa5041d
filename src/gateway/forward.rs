//! Asks one backend after the other until one answers.

use std::fmt::Write as _;
use std::sync::Arc;

use chrono::TimeDelta;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use super::Gate;
use super::answer::live::{Live, Reading, Reply};
use super::choose::desk::Desk;
use super::client::envelope::{self, Fault};
use super::client::headers;
use super::record::account::Account;
use super::upstream::attempt::{Ask, Outcome};
use super::upstream::judge::{Refusal, Why};
use super::upstream::slot::{Flight, Slot};
use super::wait::place::Search;
use crate::fleet::Observation;
use crate::fleet::request::Route;

impl Gate {
    /// Answers a request that was read and whose model is known.
    pub(super) async fn forward(
        self: Arc<Self>,
        desk: Arc<Desk>,
        ask: Ask,
        mut search: Search,
        mut account: Account,
    ) -> Response<Reply> {
        let mut refusals: Vec<Refusal> = Vec::new();
        loop {
            // What is held carries no room for what comes after: the attempt has its own, while it lasts.
            let (seat, route, mut flight) = match self.place(&desk, &mut search, &mut account).await
            {
                Ok(found) => found,
                Err(fault) => {
                    let fault = self.summed_up(fault, &refusals);
                    account.failed(fault.status.as_u16(), &fault.message);
                    let mut response = fault.response();
                    tell(&mut response, None, Route::None, &account);
                    return response;
                }
            };
            if let Some(backend) = desk.seats[seat].backend(&self.picture()) {
                account.sent(backend, route);
            }
            let name = flight.slot.name.clone();
            let leaving = search.leaving.take();
            let mut response = match Box::pin(self.attempt(&ask, &mut flight, leaving)).await {
                Outcome::Answer(parts, body, reading, out) => {
                    account.first_byte(parts.status.as_u16());
                    let mut response = Response::new(());
                    *response.status_mut() = parts.status;
                    *response.headers_mut() = headers::inward(&parts.headers);
                    if matches!(reading, Reading::Events(_)) {
                        response.headers_mut().remove(CONTENT_LENGTH);
                    }
                    tell(&mut response, Some(name), route, &account);
                    let live = Live::new(body, reading, out, account, flight);
                    return response.map(|()| Reply::Live(Box::new(live)));
                }
                Outcome::ClientError(status, from, body) => {
                    account.failed(status.as_u16(), &envelope::message_of(status, &body));
                    let mut response = envelope::json_response(status, body);
                    for (name, value) in &from {
                        if *name != CONTENT_TYPE && *name != CONTENT_LENGTH {
                            response.headers_mut().append(name, value.clone());
                        }
                    }
                    response
                }
                Outcome::Refused(refusal) => {
                    self.refused(&refusal, &mut flight);
                    account.refused();
                    refusals.push(refusal);
                    search.tried.push(seat);
                    continue;
                }
            };
            tell(&mut response, Some(name), route, &account);
            return response;
        }
    }

    /// What a refusal means for the requests after this one.
    fn refused(&self, refusal: &Refusal, flight: &mut Flight) {
        tracing::info!("{} did not answer: {}", refusal.backend, refusal.what);
        let now = self.clock.now();
        let pause = match refusal.why {
            Why::Limited(pause) => pause,
            Why::Failed => return flight.doubt(now),
            Why::Unknown => return,
        };
        let until = now + pause;
        flight.limit(until);
        let hosted = self
            .picture()
            .backends
            .iter()
            .any(|backend| backend.id == refusal.backend && backend.is_hosted());
        if hosted {
            self.observe(Observation::Limited {
                backend: refusal.backend.clone(),
                until,
                at: now,
            });
        }
    }

    /// Tells what a hosted API said of its limits.
    pub(super) fn tell_headroom(&self, slot: &Slot, headers: &HeaderMap) {
        let now = self.clock.now();
        if let Some(headroom) = slot.headroom.read(headers, now) {
            self.observe(Observation::Headroom {
                backend: slot.id.clone(),
                headroom,
            });
        }
    }

    /// The last word to the client: what each backend answered.
    fn summed_up(&self, fault: Fault, refusals: &[Refusal]) -> Fault {
        if refusals.is_empty() {
            return fault;
        }
        let mut message = String::from("no backend answered: ");
        for (at, refusal) in refusals.iter().enumerate() {
            let lead = if at == 0 { "" } else { "; " };
            let _ = write!(message, "{lead}{}: {}", refusal.backend, refusal.what);
        }
        if refusals.iter().all(|it| it.why == Why::Unknown) {
            // Asking again would not help, and an SDK asks again after a 502.
            return Fault::new(StatusCode::NOT_FOUND, "not_supported", message);
        }
        let pause_of = |it: &Refusal| match it.why {
            Why::Limited(pause) => Some(pause),
            Why::Failed | Why::Unknown => None,
        };
        let pauses: Option<Vec<TimeDelta>> = refusals.iter().map(pause_of).collect();
        match pauses.and_then(|pauses| pauses.into_iter().min()) {
            Some(pause) => Fault::new(
                StatusCode::TOO_MANY_REQUESTS,
                "rate_limit_exceeded",
                message,
            )
            .after(self.clock.on_wall(pause)),
            None => Fault::new(StatusCode::BAD_GATEWAY, "upstream_error", message),
        }
    }
}

/// Says to the client where its request went.
fn tell<B>(response: &mut Response<B>, name: Option<HeaderValue>, route: Route, account: &Account) {
    let headers = response.headers_mut();
    if let Some(name) = name {
        headers.insert(headers::BACKEND, name);
        headers.insert(headers::ROUTE, HeaderValue::from_static(route.word()));
    }
    if let Some(held) = account.held() {
        headers.insert(headers::WAKE_MS, HeaderValue::from(held.num_milliseconds()));
    }
}
