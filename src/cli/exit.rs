//! How a program ends: what went wrong, what to do, and the status that scripts go by.

use std::fmt;
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::admin::SCHEMA_VERSION;
use crate::fleet::Refusal;
use crate::fleet::message::RefusalKind;
use crate::remote::Unreachable;

/// Why a verb ended; 0 is done, and 2 (usage) is clap's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It did not work out.
    Failed,
    /// There is no such thing.
    NotFound,
    /// The fleet, or somebody's role, stands in the way.
    Refused,
    /// It took too long.
    TimedOut,
}

/// An end other than well.
#[derive(Debug)]
pub(super) struct Ended {
    kind: Kind,
    what: String,
    hint: String,
}

impl Ended {
    /// What went wrong, and what to do.
    pub(super) fn new(kind: Kind, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            kind,
            what: what.into(),
            hint: hint.into(),
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if !self.hint.is_empty() {
            write!(f, "\nhint: {}", self.hint)?;
        }
        Ok(())
    }
}

impl std::error::Error for Ended {}

impl From<Refusal> for Ended {
    fn from(refusal: Refusal) -> Self {
        let kind = match refusal.kind {
            RefusalKind::NotFound => Kind::NotFound,
            RefusalKind::Refused | RefusalKind::Changed | RefusalKind::Forbidden => Kind::Refused,
            RefusalKind::Unanswered => Kind::Failed,
        };
        Self::new(kind, refusal.what, refusal.hint)
    }
}

impl From<Unreachable> for Ended {
    fn from(cause: Unreachable) -> Self {
        match cause {
            Unreachable::Away(why) => Self::new(
                Kind::Failed,
                format!("no fleet there: {why}"),
                "start one with `fleetctl serve`, or say where it is with --connect URL",
            ),
            Unreachable::Forbidden(why) => Self::new(Kind::Refused, why, ""),
        }
    }
}

impl Kind {
    /// The status, and its word for programs.
    fn status(self) -> (u8, &'static str) {
        match self {
            Self::Failed => (1, "failed"),
            Self::NotFound => (3, "not-found"),
            Self::Refused => (4, "refused"),
            Self::TimedOut => (5, "timed-out"),
        }
    }
}

fn kind(error: &anyhow::Error) -> Kind {
    let ended = error.downcast_ref::<Ended>();
    ended.map_or(Kind::Failed, |it| it.kind)
}

/// The status that an error ends with.
pub(super) fn code(error: &anyhow::Error) -> ExitCode {
    ExitCode::from(kind(error).status().0)
}

/// The same as a document for programs.
pub(super) fn document(error: &anyhow::Error) -> Value {
    let (status, word) = kind(error).status();
    let (what, hint) = match error.downcast_ref::<Ended>() {
        Some(ended) => (ended.what.clone(), ended.hint.clone()),
        None => (format!("{error:#}"), String::new()),
    };
    json!({
        "schema_version": SCHEMA_VERSION,
        "error": {"kind": word, "status": status, "what": what, "hint": hint},
    })
}
