//! How the gateway treats its clients: keys, limits, the access log.

use std::path::PathBuf;

use chrono::TimeDelta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::model::DataPath;
use super::span;

/// The door. Times here are wall time.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Gateway {
    /// Who may ask. Without any, everybody who reaches the address may, and the address must be loopback.
    #[serde(rename = "key")]
    pub keys: Vec<ClientKey>,
    /// Threads that serve clients; 0: one a core.
    pub threads: u16,
    /// The largest body that is taken, MiB.
    pub max_body_mib: u32,
    /// Connections at once; those beyond wait for a place.
    pub max_connections: u32,
    /// The body of a request must have arrived within this time.
    #[serde(with = "span::text")]
    #[schemars(with = "String")]
    pub body_within: TimeDelta,
    /// A client that takes nothing of its answer for this long is given up.
    #[serde(with = "span::text")]
    #[schemars(with = "String")]
    pub client_stall: TimeDelta,
    /// A connection on which no request, with all its headers, has come for this long is closed.
    #[serde(with = "span::text")]
    #[schemars(with = "String")]
    pub idle: TimeDelta,
    /// A stream that is held gets a comment line this often, so that no proxy cuts it; absent: none, unless its
    /// `x-fleet-heartbeat` header asks.
    #[serde(with = "span::optional", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub heartbeat: Option<TimeDelta>,
    /// One JSON line a request goes to this file.
    pub access_log: Option<PathBuf>,
}

/// One client's key. Exactly one of `env` and `file` says where it is.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientKey {
    /// Whose; shown in records and the access log, never the key.
    pub name: String,
    /// The environment variable that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
    /// The file that holds it; white space around it does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// `any` (default), or `self`: what comes with this key never goes to a hosted backend.
    #[serde(default)]
    pub data_path: DataPath,
    /// The models that it may ask for; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<String>>,
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            threads: 0,
            max_body_mib: 32,
            max_connections: 20_000,
            body_within: TimeDelta::seconds(60),
            client_stall: TimeDelta::minutes(2),
            idle: TimeDelta::seconds(75),
            heartbeat: None,
            access_log: None,
        }
    }
}
