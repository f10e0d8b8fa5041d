//! The one documented configuration.

use std::path::Path;

use chrono::{NaiveDate, TimeDelta};
use serde::{Deserialize, Deserializer, Serialize};

/// A fleet as its operator describes it. Money is decimal text; spans are like `90s`, `8m`, `1h30m`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The fleet's name, shown in the header and in every dialog.
    #[serde(default = "default_name")]
    pub name: String,
    /// Where the gateway listens; port 0 takes a free one.
    #[serde(default = "default_listen")]
    pub listen: std::net::SocketAddr,
    /// Dollars a month that come with self-hosting whatever the traffic: labour, egress, storage.
    #[serde(default)]
    pub fixed_per_month: Option<Money>,
    /// The models that clients may ask for.
    #[serde(default, rename = "model")]
    pub models: Vec<Model>,
}

/// A model and its backends.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// The name that clients ask for.
    pub name: String,
    /// What a request meets when nothing is ready: `wait` (default), `overflow` or `reject`.
    #[serde(default)]
    pub cold: Cold,
    /// `any` (default), or `self`: never to a hosted backend.
    #[serde(default)]
    pub data_path: DataPath,
    /// In fallback order.
    #[serde(default, rename = "backend")]
    pub backends: Vec<Backend>,
}

/// One backend. Which fields apply depends on `hosted`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backend {
    /// Unique within the fleet.
    pub name: String,
    /// Base address without `/v1`: `http://10.0.0.5:8000`.
    pub url: String,
    /// Somebody else's API, paid by the token.
    #[serde(default)]
    pub hosted: bool,
    /// Who runs it, for people (hosted).
    #[serde(default)]
    pub provider: Option<String>,
    /// The model's name there, where it differs.
    #[serde(default)]
    pub upstream_model: Option<String>,
    /// The environment variable that holds the key sent there as a bearer token.
    #[serde(default)]
    pub api_key_env: Option<String>,
    /// Share of the model's traffic relative to its siblings.
    #[serde(default = "default_weight")]
    pub weight: u32,
    /// Dollars per replica-hour (self-hosted).
    #[serde(default)]
    pub rate: Option<Money>,
    /// Dollars per million tokens (hosted).
    #[serde(default)]
    pub price: Option<Price>,
    /// `on-demand` (default), `spot` or `reserved`.
    #[serde(default)]
    pub capacity: Capacity,
    /// Engines it runs when awake.
    #[serde(default = "default_replicas")]
    pub replicas: u32,
    /// The machine's kind, for people: `4×A100-80GB`.
    #[serde(default)]
    pub hardware: Option<String>,
    /// How it sleeps: `never` (default), `level1`, `level2` (vLLM's sleep mode), `release` (through `launcher`).
    #[serde(default)]
    pub sleep: Sleep,
    /// An HTTP launcher that starts and stops the engine: `POST URL/start`, `POST URL/stop`, `GET URL`, `GET URL/log?follow=true`.
    #[serde(default)]
    pub launcher: Option<String>,
    /// A dcgm-exporter page with this backend's GPUs.
    #[serde(default)]
    pub gpu_metrics: Option<String>,
    /// Which GPUs of that page are this backend's, by index; empty: all of them.
    #[serde(default)]
    pub gpus: Vec<u32>,
    /// Sleeps after this long with nothing running or waiting; absent: never by itself.
    #[serde(default, deserialize_with = "optional_span")]
    pub idle_after: Option<TimeDelta>,
    /// A wake longer than this is late.
    #[serde(default = "default_budget", deserialize_with = "span")]
    pub budget: TimeDelta,
    /// A wake longer than this has failed, and what waits for it gets 504.
    #[serde(default = "default_cap", deserialize_with = "span")]
    pub cap: TimeDelta,
    /// The longest that a drain waits for running requests.
    #[serde(default = "default_grace", deserialize_with = "span")]
    pub grace: TimeDelta,
    /// How long each stage of a wake usually takes, until this is learned: `{ load = "2m30s" }`.
    #[serde(default)]
    pub expected: Vec<Expected>,
    /// Output tokens a second that it can sustain.
    #[serde(default)]
    pub ceiling: Option<f64>,
    /// Keep it warm from the start: the reason.
    #[serde(default)]
    pub pinned: Option<String>,
    /// Evaluation scores to weigh against cost.
    #[serde(default, rename = "eval")]
    pub evals: Vec<Eval>,
}

/// What a stage usually takes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// `queued`, `node`, `image`, `start`, `load`, `compile`, `capture` or `health`.
    pub stage: String,
    /// How long.
    #[serde(deserialize_with = "span")]
    pub takes: TimeDelta,
}

/// Dollars per million tokens.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Prompt tokens.
    pub input: Money,
    /// Cached prompt tokens; as `input` when absent.
    #[serde(default)]
    pub cached: Option<Money>,
    /// Produced tokens.
    pub output: Money,
}

/// One evaluation score.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Eval {
    /// The evaluation's name.
    pub name: String,
    /// Its score.
    pub score: f64,
    /// When it ran: `2026-10-30`.
    pub date: NaiveDate,
}

/// Money as decimal text, exactly as written; checked when the fleet is built.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Money(pub String);

/// See [`Model::cold`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cold {
    /// Held.
    #[default]
    Wait,
    /// Answered elsewhere.
    Overflow,
    /// Refused.
    Reject,
}

/// See [`Model::data_path`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DataPath {
    /// Anywhere.
    #[default]
    Any,
    /// Self-hosted only.
    #[serde(rename = "self")]
    SelfHosted,
}

/// See [`Backend::capacity`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Capacity {
    /// By the hour.
    #[default]
    OnDemand,
    /// May be taken back.
    Spot,
    /// Paid for whether used or not.
    Reserved,
}

/// See [`Backend::sleep`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sleep {
    /// Not by us.
    #[default]
    Never,
    /// vLLM sleep level 1.
    Level1,
    /// vLLM sleep level 2.
    Level2,
    /// Through the launcher.
    Release,
}

fn default_name() -> String {
    "fleet".to_owned()
}
fn default_listen() -> std::net::SocketAddr {
    ([127, 0, 0, 1], 4000).into()
}
fn default_weight() -> u32 {
    100
}
fn default_replicas() -> u32 {
    1
}
fn default_budget() -> TimeDelta {
    TimeDelta::minutes(8)
}
fn default_cap() -> TimeDelta {
    TimeDelta::minutes(10)
}
fn default_grace() -> TimeDelta {
    TimeDelta::seconds(120)
}

/// `90s`, `8m`, `1h30m` as a span.
///
/// # Errors
/// Says what is wrong with the text.
pub fn parse_span(text: &str) -> Result<TimeDelta, String> {
    let span = humantime::parse_duration(text)
        .map_err(|e| format!("`{text}` is not a span of time like 90s, 8m or 1h30m: {e}"))?;
    TimeDelta::from_std(span).map_err(|_| format!("`{text}` is too long"))
}

fn span<'de, D: Deserializer<'de>>(from: D) -> Result<TimeDelta, D::Error> {
    parse_span(&String::deserialize(from)?).map_err(serde::de::Error::custom)
}

fn optional_span<'de, D: Deserializer<'de>>(from: D) -> Result<Option<TimeDelta>, D::Error> {
    span(from).map(Some)
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

/// Reads and checks a configuration file.
///
/// # Errors
/// Where it cannot be read, is no TOML, has unknown keys or values that cannot be.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|cause| ConfigError::Read {
        path: shown.clone(),
        cause,
    })?;
    toml::from_str(&text).map_err(|e| ConfigError::Wrong {
        path: shown,
        what: e.to_string(),
    })
}
