//! One answered request, as the gateway recorded it.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::id::{BackendId, ModelId};
use super::money::Usd;

/// One answered request. No body, no secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RequestRecord {
    /// The request id that the client was given.
    pub id: String,
    /// When it arrived.
    pub at: DateTime<Utc>,
    /// The model asked for.
    pub model: ModelId,
    /// What was asked of it.
    pub operation: Operation,
    /// The name of the client key that it came with; `None` where the gateway has none.
    pub key: Option<Arc<str>>,
    /// Who answered; `None` when nobody did.
    pub backend: Option<BackendId>,
    /// Why it went there.
    pub route: Route,
    /// The HTTP status that the client saw; 499 when the client went away.
    pub status: u16,
    /// Whether the answer was streamed.
    pub streamed: bool,
    /// Arrival to first byte of the answer; `None` when there was none.
    pub ttft: Option<TimeDelta>,
    /// Arrival to end.
    pub took: TimeDelta,
    /// Time held in the waiting room.
    pub held: Option<TimeDelta>,
    /// Tokens, where the answer said so.
    pub usage: Option<Usage>,
    /// The stream was cut before its end; usage is what was told up to then.
    pub partial: bool,
    /// What its tokens cost on a hosted backend; zero on a self-hosted one, which is paid by the hour; `None` when unknown.
    pub cost: Option<Usd>,
    /// What went wrong, in a few words.
    pub error: Option<String>,
}

/// Tokens of one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Prompt tokens.
    pub input: u64,
    /// Of these, cached ones.
    pub cached: u64,
    /// Produced tokens.
    pub output: u64,
    /// Of these, the ones that the model thought with and did not show.
    pub reasoning: u64,
}

/// What was asked of a model: the path of the request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// `/v1/chat/completions`
    #[default]
    Chat,
    /// `/v1/completions`
    Completions,
    /// `/v1/embeddings`
    Embeddings,
    /// `/v1/responses`
    Responses,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Chat,
        Self::Completions,
        Self::Embeddings,
        Self::Responses,
    ];

    /// The path below `/v1`.
    pub fn path(self) -> &'static str {
        match self {
            Self::Chat => "chat/completions",
            Self::Completions => "completions",
            Self::Embeddings => "embeddings",
            Self::Responses => "responses",
        }
    }
}

/// Why a request went where it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Route {
    /// Chosen by weight.
    Weight,
    /// The client named the backend, or a rule on a header did.
    Header,
    /// A rule on the response format.
    Schema,
    /// A rule on requests with tools.
    Tools,
    /// A rule on the prompt's length.
    Length,
    /// Answered by another backend while the wake still takes too long.
    Bridge,
    /// The first choice could not answer.
    Fallback,
    /// There is only one.
    Only,
    /// It went nowhere.
    None,
}

impl Route {
    /// The word for it, as in the `x-fleet-route` header.
    pub fn word(self) -> &'static str {
        match self {
            Self::Weight => "weight",
            Self::Header => "header",
            Self::Schema => "schema",
            Self::Tools => "tools",
            Self::Length => "length",
            Self::Bridge => "bridge",
            Self::Fallback => "fallback",
            Self::Only => "only",
            Self::None => "none",
        }
    }
}
