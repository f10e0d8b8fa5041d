//! The door for consoles and programs: the admin API.

use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where `fleetctl serve` is attached to.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The certificate that it shows, PEM, with those that lead to its authority; with `key_file`. Without, plain HTTP.
    pub cert_file: Option<PathBuf>,
    /// The private key of it, PEM.
    pub key_file: Option<PathBuf>,
    /// Who may look and act. Without any, everybody who reaches the address may do both, and the address must be loopback.
    #[serde(rename = "token")]
    pub tokens: Vec<AdminToken>,
}

/// One token. Exactly one of `env` and `file` says where it is.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AdminToken {
    /// Whose; shown in the audit, never the token.
    pub name: String,
    /// `view` or `operate`.
    pub role: AdminRole,
    /// The environment variable that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
    /// The file that holds it; white space around it does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
}

/// See [`AdminToken::role`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AdminRole {
    /// Looking.
    View,
    /// Looking and acting.
    Operate,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            listen: ([127, 0, 0, 1], 4001).into(),
            cert_file: None,
            key_file: None,
            tokens: Vec::new(),
        }
    }
}
