//! Why the API of a cluster did not do what it was asked.

use std::time::Duration;

use kube::core::Status;

/// Why a call did not work out, in plain words where it carries any.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Nobody answers there.
    #[error("{0}")]
    Away(String),
    /// It does not know who asks (401).
    #[error(
        "the API server does not take the credentials (401): {0}; log in again, as for kubectl"
    )]
    Stranger(String),
    /// A plugin did not log in again.
    #[error("{0}")]
    Login(String),
    /// It may not be done (403).
    #[error("{0}")]
    Forbidden(String),
    /// There is no such thing (404).
    #[error("{0}")]
    Absent(String),
    /// It was changed by somebody else meanwhile (409).
    #[error("it was changed by somebody else meanwhile: {0}")]
    Changed(String),
    /// What it goes on from is too old (410).
    #[error("what was read is too old: {0}")]
    Old(String),
    /// It is not valid (422).
    #[error("{0}")]
    Unfit(String),
    /// Too many calls (429).
    #[error("the API server is busy (429)")]
    Busy(Option<Duration>),
    /// Anything else that it said.
    #[error("the API server said {0}: {1}")]
    Said(u16, String),
    /// It said what nobody understands.
    #[error("what it said is not understood: {0}")]
    Garbled(String),
}

impl Fault {
    /// What a status says.
    pub fn of(status: &Status) -> Self {
        let mut said = if status.message.is_empty() {
            status.reason.clone()
        } else {
            status.message.clone()
        };
        // Through a proxy it may be anybody's: nothing in it is for a terminal to obey.
        said.retain(|c| !c.is_control());
        match status.code {
            401 => Self::Stranger(said),
            403 => Self::Forbidden(said),
            404 => Self::Absent(said),
            409 => Self::Changed(said),
            410 => Self::Old(said),
            422 => Self::Unfit(said),
            429 => {
                let wait = status.details.as_ref().map(|it| it.retry_after_seconds);
                Self::Busy(
                    wait.filter(|s| *s > 0)
                        .map(|s| Duration::from_secs(s.into())),
                )
            }
            code => Self::Said(code, said),
        }
    }

    /// What the client library says.
    pub(super) fn from_kube(error: &kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::of(status),
            kube::Error::SerdeError(why) => Self::Garbled(why.to_string()),
            kube::Error::Auth(why) => Self::Stranger(chain(why)),
            other => Self::Away(chain(other)),
        }
    }

    /// What somebody behind the API said, by its status.
    pub fn answered(status: u16, said: String) -> Self {
        match status {
            401 => Self::Stranger(said),
            403 => Self::Forbidden(said),
            404 => Self::Absent(said),
            409 => Self::Changed(said),
            422 => Self::Unfit(said),
            429 => Self::Busy(None),
            _ => Self::Said(status, said),
        }
    }

    /// Whether what was asked for may have been done all the same.
    pub fn is_unsure(&self) -> bool {
        match self {
            Self::Away(_) | Self::Garbled(_) => true,
            Self::Said(code, _) => *code >= 500,
            Self::Stranger(_)
            | Self::Login(_)
            | Self::Forbidden(_)
            | Self::Absent(_)
            | Self::Changed(_)
            | Self::Old(_)
            | Self::Unfit(_)
            | Self::Busy(_) => false,
        }
    }

    /// Whether another try may work out.
    pub fn passes(&self) -> bool {
        match self {
            Self::Away(_) | Self::Stranger(_) | Self::Login(_) | Self::Old(_) | Self::Busy(_) => {
                true
            }
            Self::Said(code, _) => *code >= 500,
            Self::Forbidden(_)
            | Self::Absent(_)
            | Self::Changed(_)
            | Self::Unfit(_)
            | Self::Garbled(_) => false,
        }
    }
}

/// The innermost cause says it best: `connection refused`.
fn chain(error: &dyn std::error::Error) -> String {
    let mut at = error;
    while let Some(cause) = at.source() {
        at = cause;
    }
    match at.to_string().as_str() {
        // A timer's own words.
        "deadline has elapsed" => "no answer in time".to_owned(),
        other => other.to_owned(),
    }
}
