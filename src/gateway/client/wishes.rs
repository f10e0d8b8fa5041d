//! What a request asks for in its headers, and what its model and its key allow of that.

use std::time::Duration;

use http::{HeaderMap, StatusCode};

use crate::config::parse_span;
use crate::fleet::Fleet;
use crate::gateway::Settings;
use crate::gateway::choose::desk::Desk;
use crate::gateway::choose::rules;
use crate::gateway::client::envelope::{Fault, one_line};
use crate::gateway::client::headers;
use crate::gateway::client::keys::Pass;
use crate::gateway::client::peek::Peek;
use crate::gateway::wait::heartbeat;
use crate::gateway::wait::room::Group;

/// The longest name that is repeated in an error.
const LONGEST_NAME: usize = 128;

/// What a request asks for beside its body.
#[derive(Debug)]
pub(crate) struct Wishes {
    pub(crate) group: Group,
    /// How often it gets a comment line while it is held; `None`: never.
    pub(crate) heartbeat: Option<Duration>,
}

impl Wishes {
    /// Reads them.
    ///
    /// # Errors
    /// 400 for what cannot be understood, 403 for what the model or the rule that is met does not allow.
    pub(crate) fn read(
        headers: &HeaderMap,
        desk: &Desk,
        fleet: &Fleet,
        peek: &Peek,
        pass: &Pass,
        settings: &Settings,
    ) -> Result<Self, Fault> {
        let model = desk.model(fleet);
        let rules = desk.rules();
        let rule = rules::first(rules, headers, peek.facts);
        let asked = asked(headers, desk)?;
        if let Some(seat) = asked {
            let name = &desk.seats[seat].id;
            if model.is_none_or(|model| !model.choose_backend) {
                return Err(forbidden(format!(
                    "x-fleet-backend: `{}` does not let its clients choose a backend (choose_backend)",
                    desk.model
                )));
            }
            // Rules come first: a header does not lead around them.
            if let Some((at, _)) = rule
                && !rules[at].to.contains(name)
            {
                return Err(forbidden(format!(
                    "x-fleet-backend: rule {} of `{}` ({}) sends this request elsewhere",
                    at + 1,
                    desk.model,
                    rules[at].when
                )));
            }
        }
        Ok(Self {
            group: Group {
                asked,
                self_only: self_only(headers)? || pass.self_only,
                rule,
            },
            heartbeat: heartbeat(headers, settings)?.filter(|_| peek.stream),
        })
    }
}

fn forbidden(message: String) -> Fault {
    Fault::new(StatusCode::FORBIDDEN, "not_allowed", message)
}

/// The seat that the client asks for by name.
fn asked(headers: &HeaderMap, desk: &Desk) -> Result<Option<usize>, Fault> {
    let Some(value) = headers.get(headers::BACKEND) else {
        return Ok(None);
    };
    let name = String::from_utf8_lossy(value.as_bytes());
    let seat = desk.seats.iter().position(|seat| seat.id.as_str() == name);
    if seat.is_some() {
        return Ok(seat);
    }
    let known: Vec<&str> = desk.seats.iter().map(|seat| seat.id.as_str()).collect();
    Err(Fault::invalid(
        format!(
            "x-fleet-backend: `{}` is no backend of `{}`; it has {}",
            one_line(&name, LONGEST_NAME),
            desk.model,
            known.join(", ")
        ),
        None,
    ))
}

fn self_only(headers: &HeaderMap) -> Result<bool, Fault> {
    let mut bound = false;
    // Whoever stands between may add one: any of them binds.
    for value in headers.get_all(headers::DATA_PATH) {
        match value.as_bytes() {
            b"any" => {}
            b"self" => bound = true,
            // A client that means to be safe must not be misunderstood.
            _ => {
                return Err(Fault::invalid(
                    "x-fleet-data-path must be `self` or `any`".to_owned(),
                    None,
                ));
            }
        }
    }
    Ok(bound)
}

fn heartbeat(headers: &HeaderMap, settings: &Settings) -> Result<Option<Duration>, Fault> {
    let Some(value) = headers.get(headers::HEARTBEAT) else {
        return Ok(settings.heartbeat.and_then(|every| every.to_std().ok()));
    };
    let text = String::from_utf8_lossy(value.as_bytes());
    if text == "off" {
        return Ok(None);
    }
    let every = parse_span(&text).ok().and_then(|every| every.to_std().ok());
    every
        .filter(|every| *every >= heartbeat::SHORTEST)
        .map(Some)
        .ok_or_else(|| {
            Fault::invalid(
                "x-fleet-heartbeat must be a span of time of 1s or more, like 15s, or `off`"
                    .to_owned(),
                None,
            )
        })
}
