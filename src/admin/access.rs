//! Who may look, and who may act.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::{Desk, fault};
use crate::fleet::Actor;
use crate::secret::{self, Hashed};

/// The operator's own name, which goes into the audit.
const OPERATOR: &str = "x-fleet-operator";
/// Letters of a name that are kept.
const LONGEST_NAME: usize = 64;

/// What a token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Looking.
    View,
    /// Looking and acting.
    Operate,
}

/// A token that is known here.
#[derive(Clone, Debug)]
pub struct Token {
    /// Whose it is, for the audit.
    pub name: String,
    /// What it allows.
    pub role: Role,
    /// Its hash.
    pub secret: Hashed,
}

/// Somebody who may look.
#[derive(Debug)]
pub(super) struct Viewer;

impl FromRequestParts<Arc<Desk>> for Viewer {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, desk: &Arc<Desk>) -> Result<Self, Response> {
        admit(desk, &parts.headers, Role::View)
            .map(|_| Self)
            .map_err(|refused| *refused)
    }
}

/// Somebody who may act, by name. Asked once the body was read: a body that nobody reads costs the client its connection.
pub(super) fn operator(desk: &Desk, headers: &HeaderMap) -> Result<Actor, Box<Response>> {
    let token = admit(desk, headers, Role::Operate)?;
    let said = name_in(headers);
    Ok(Actor::Operator(match (said, token) {
        (Some(said), Some(token)) if said != token => format!("{said} ({token})"),
        (Some(name), _) | (None, Some(name)) => name,
        (None, None) => "somebody".to_owned(),
    }))
}

/// The name of the token that came; `None` where nobody needs one.
fn admit(desk: &Desk, headers: &HeaderMap, wanted: Role) -> Result<Option<String>, Box<Response>> {
    let known = Arc::clone(&desk.access.borrow());
    if known.tokens.is_empty() {
        return Ok(None);
    }
    let unknown = |what: &str| {
        let hint = "send one of this fleet's tokens as `Authorization: Bearer TOKEN`";
        let refused = fault(StatusCode::UNAUTHORIZED, "forbidden", what, hint);
        Err(Box::new(refused))
    };
    let Some(given) = secret::bearer(headers) else {
        return unknown("no token came with the request");
    };
    let given = Hashed::of(given);
    let mut found = None;
    for token in &known.tokens {
        if token.secret.is(&given) {
            found = Some(token);
        }
    }
    match found {
        None => unknown("the token is none of this fleet's"),
        Some(token) if token.role < wanted => Err(Box::new(fault(
            StatusCode::FORBIDDEN,
            "forbidden",
            &format!("the token `{}` may look and not act", token.name),
            "use a token whose role is `operate`",
        ))),
        Some(token) => Ok(Some(token.name.clone())),
    }
}

/// The operator's name as sent, without what a terminal could take for a command.
fn name_in(headers: &HeaderMap) -> Option<String> {
    let said = headers.get(OPERATOR)?.as_bytes();
    let said: String = String::from_utf8_lossy(said)
        .chars()
        .filter(|letter| !letter.is_control())
        .take(LONGEST_NAME)
        .collect();
    let said = said.trim();
    (!said.is_empty()).then(|| said.to_owned())
}
