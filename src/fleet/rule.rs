//! Routing rules: which requests go where before weights decide.

use serde::{Deserialize, Serialize};

use super::id::BackendId;

/// One rule of a model. The first that matches decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Which requests.
    pub when: When,
    /// Where they go: by weight among these, then in this order.
    pub to: Vec<BackendId>,
    /// Whether another backend of the model may answer when none of these can.
    pub fallback: bool,
}

/// What a rule looks at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    /// A header has this value. Names are compared without case, values with it.
    Header {
        /// Its name, lower case.
        name: String,
        /// Its value.
        value: String,
    },
    /// `response_format.type` (for responses: `text.format.type`) is `json_schema`.
    JsonSchema,
    /// The request has tools.
    Tools,
    /// `messages`, `prompt` or `input` is longer than this many bytes as it stands in the body; a token of English is about four.
    PromptOver(u64),
}

impl std::fmt::Display for When {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Header { name, value } => write!(f, "{name}: {value}"),
            Self::JsonSchema => f.write_str("json_schema"),
            Self::Tools => f.write_str("tools"),
            Self::PromptOver(bytes) => write!(f, "prompt > {bytes} B"),
        }
    }
}
