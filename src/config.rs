//! The one documented configuration.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod admin;
mod cluster;
mod diff;
mod gateway;
mod line;
mod model;
mod span;
mod store;

pub use admin::{Admin, AdminRole, AdminToken};
pub use cluster::{Cluster, NodePrice, NodePrices, PodSleep, Pods, TokenPrice, Workload};
pub use diff::{Difference, differences};
pub use gateway::{ClientKey, Gateway};
pub use line::{Step, line_of};
pub use model::{
    Api, Auth, Backend, Capacity, Cold, DataPath, Eval, Expected, Group, Model, Money, Price, Rule,
    Sleep,
};
pub use span::parse_span;
pub use store::Store;

/// A fleet as its operator describes it. Money is decimal text; spans are like `90s`, `8m`, `1h30m`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The fleet's name, shown in the header and in every dialog.
    #[serde(default = "default_name")]
    pub name: String,
    /// Where the gateway listens; port 0 takes a free one.
    #[serde(default = "default_listen")]
    pub listen: std::net::SocketAddr,
    /// Whose hours `keep_warm` means: `Europe/Berlin`; this machine's where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// Dollars a month that come with self-hosting whatever the traffic: labour, egress, storage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed_per_month: Option<Money>,
    /// How the gateway treats its clients.
    #[serde(default)]
    pub gateway: Gateway,
    /// Where consoles and programs attach to `fleetctl serve`.
    #[serde(default)]
    pub admin: Admin,
    /// How much of the past `fleetctl serve` keeps.
    #[serde(default)]
    pub store: Store,
    /// Kubernetes clusters that are looked at, in place of models.
    #[serde(default, rename = "cluster", skip_serializing_if = "Vec::is_empty")]
    pub clusters: Vec<Cluster>,
    /// What machines of a cluster cost.
    #[serde(default)]
    pub node_prices: NodePrices,
    /// What tokens of hosted backends cost that a cluster's routes lead to.
    #[serde(default, rename = "token_price", skip_serializing_if = "Vec::is_empty")]
    pub token_prices: Vec<TokenPrice>,
    /// Backends that share GPUs.
    #[serde(default, rename = "group", skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Group>,
    /// The models that clients may ask for.
    #[serde(default, rename = "model", skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<Model>,
}

fn default_name() -> String {
    "fleet".to_owned()
}
fn default_listen() -> std::net::SocketAddr {
    ([127, 0, 0, 1], 4000).into()
}
/// Why a configuration was refused: where, what, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("{path}: {cause}")]
    Read {
        /// Which.
        path: String,
        /// Why.
        cause: std::io::Error,
    },
    /// It is not what it should be; the text names line and column.
    #[error("{path}: {what}")]
    Wrong {
        /// Which.
        path: String,
        /// What is wrong, with the text at fault.
        what: String,
    },
}

/// The JSON Schema of a configuration file (draft 2020-12).
pub fn schema() -> schemars::Schema {
    schemars::schema_for!(Config)
}

/// Reads and checks a configuration file.
///
/// # Errors
/// Where it cannot be read, is no TOML, has unknown keys or values that cannot be.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    read(path).map(|(config, _)| config)
}

/// The same, with the text that it stands in.
///
/// # Errors
/// As [`load`].
pub fn read(path: &Path) -> Result<(Config, String), ConfigError> {
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|cause| ConfigError::Read {
        path: shown.clone(),
        cause,
    })?;
    let config = toml::from_str(&text).map_err(|e| ConfigError::Wrong {
        path: shown,
        what: e.to_string(),
    })?;
    Ok((config, text))
}
