//! Models and their backends as the configuration has them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use chrono::{NaiveDate, TimeDelta};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::span;

/// A model and its backends.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// The name that clients ask for.
    pub name: String,
    /// What a request meets when nothing is ready: `wait` (default), `overflow`, `reject` or `bridge`.
    #[serde(default)]
    pub cold: Cold,
    /// With `cold = "bridge"`: the next backend answers as long as the wake is estimated to take longer than this yet.
    #[serde(default = "default_bridge_over", with = "span::text")]
    #[schemars(with = "String")]
    pub bridge_over: TimeDelta,
    /// Requests that are held at most; the next gets 429 with the wake's estimate as `Retry-After`.
    #[serde(default = "default_max_waiting")]
    pub max_waiting: u32,
    /// Whether a client may name a backend itself, by the header `x-fleet-backend`.
    #[serde(default)]
    pub choose_backend: bool,
    /// `any` (default), or `self`: never to a hosted backend.
    #[serde(default)]
    pub data_path: DataPath,
    /// Who answers what, before weights decide; the first rule that matches does.
    #[serde(default, rename = "rule", skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// In fallback order.
    #[serde(default, rename = "backend", skip_serializing_if = "Vec::is_empty")]
    pub backends: Vec<Backend>,
}

/// Which requests go where. Exactly one of `header` (with `value`), `json_schema`, `tools` and `prompt_over` says which.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Requests whose header of this name has the `value`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// See `header`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Requests whose `response_format.type` is `json_schema`.
    #[serde(default)]
    pub json_schema: bool,
    /// Requests with tools.
    #[serde(default)]
    pub tools: bool,
    /// Requests whose prompt is longer than this many bytes as it stands in the body; a token of English is about four.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_over: Option<u64>,
    /// Backends of this model: by weight, then in this order.
    pub to: Vec<String>,
    /// Whether another backend may answer when none of these can.
    #[serde(default)]
    pub fallback: bool,
}

/// One backend. Which fields apply depends on `hosted`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Backend {
    /// Unique within the fleet.
    pub name: String,
    /// Base address without `/v1`: `http://10.0.0.5:8000`. Either this or `command`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The engine as a process of this machine, which `fleetctl serve` starts and stops: the program and its arguments.
    /// `{port}` in them stands for `port`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// With `command`: set in its environment; `{port}` stands for `port`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// With `command`: the folder that it runs in; that of the config file where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dir: Option<PathBuf>,
    /// With `command`: the port that it listens on, on 127.0.0.1; absent: a free one is chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// With `command`: how long it may take to end by itself once told to (SIGTERM); then the whole group is killed.
    #[serde(default = "default_stop_within", with = "span::text")]
    #[schemars(with = "String")]
    pub stop_within: TimeDelta,
    /// Somebody else's API, paid by the token.
    #[serde(default)]
    pub hosted: bool,
    /// Who runs it, for people (hosted).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The model's name there, where it differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_model: Option<String>,
    /// The environment variable that holds the key sent there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_env: Option<String>,
    /// The file that holds the key sent there; white space around it does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_file: Option<PathBuf>,
    /// How the key is sent: `bearer` (default) or, as Azure has it, `api-key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// The shape of its addresses: `openai` (default), `azure` (deployment in the path, dated) or `azure-v1`.
    #[serde(default)]
    pub api: Api,
    /// With `api = "azure"`: the dated version, `2024-10-21` unless said otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// Requests that it is sent at once at most; those beyond go elsewhere or wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_running: Option<u32>,
    /// A stream that says nothing for this long has failed.
    #[serde(default = "default_stall", with = "span::text")]
    #[schemars(with = "String")]
    pub stall_after: TimeDelta,
    /// It can tell usage in every event of a stream (vLLM's `continuous_usage_stats`): ask it to, so that a stream that is
    /// cut is charged to the token. Costs a little CPU an event.
    #[serde(default)]
    pub continuous_usage: bool,
    /// Share of the model's traffic relative to its siblings.
    #[serde(default = "default_weight")]
    pub weight: u32,
    /// Dollars per replica-hour (self-hosted).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Money>,
    /// Dollars per million tokens (hosted).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
    /// `on-demand` (default), `spot` or `reserved`.
    #[serde(default)]
    pub capacity: Capacity,
    /// Engines it runs when awake.
    #[serde(default = "default_replicas")]
    pub replicas: u32,
    /// The machine's kind, for people: `4×A100-80GB`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hardware: Option<String>,
    /// How it sleeps: `never` (default), `level1`, `level2` (vLLM's sleep mode), `release` (through `launcher`, or the end
    /// of its process: the default with `command`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sleep: Option<Sleep>,
    /// An HTTP launcher that starts and stops the engine: `POST URL/start`, `POST URL/stop`, `GET URL`, `GET URL/log?follow=true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launcher: Option<String>,
    /// The backends of one group have their GPUs in common: waking one has an idle one leave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// A dcgm-exporter page with this backend's GPUs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_metrics: Option<String>,
    /// This backend's GPUs by index: of that page, and with `command` the ones that its process sees; empty: all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<u32>,
    /// Sleeps after this long with nothing running or waiting; absent: never by itself.
    #[serde(
        default,
        with = "span::optional",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<String>")]
    pub idle_after: Option<TimeDelta>,
    /// Hours at which it is kept warm: `["mon-fri 08:00-18:00"]`, in the fleet's `time_zone`. A pin that comes by itself:
    /// an operator may lift it until the next day.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keep_warm: Vec<String>,
    /// A wake longer than this is late.
    #[serde(default = "default_budget", with = "span::text")]
    #[schemars(with = "String")]
    pub budget: TimeDelta,
    /// A wake longer than this has failed, and what waits for it gets 504.
    #[serde(default = "default_cap", with = "span::text")]
    #[schemars(with = "String")]
    pub cap: TimeDelta,
    /// The longest that a drain waits for running requests.
    #[serde(default = "default_grace", with = "span::text")]
    #[schemars(with = "String")]
    pub grace: TimeDelta,
    /// How long each stage of a wake usually takes, until this is learned: `{ load = "2m30s" }`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expected: Vec<Expected>,
    /// Output tokens a second that it can sustain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ceiling: Option<f64>,
    /// Keep it warm from the start: the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<String>,
    /// Evaluation scores to weigh against cost.
    #[serde(default, rename = "eval", skip_serializing_if = "Vec::is_empty")]
    pub evals: Vec<Eval>,
}

/// Backends that share GPUs; a group that is named by backends alone fits one of them at a time.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// How many of its backends fit at once.
    pub fits: u32,
}

/// What a stage usually takes.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// `queued`, `node`, `image`, `start`, `load`, `compile`, `capture` or `health`.
    pub stage: String,
    /// How long.
    #[serde(with = "span::text")]
    #[schemars(with = "String")]
    pub takes: TimeDelta,
}

/// Dollars per million tokens.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Prompt tokens.
    pub input: Money,
    /// Cached prompt tokens; as `input` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached: Option<Money>,
    /// Produced tokens.
    pub output: Money,
}

/// One evaluation score.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
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
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Money(pub String);

/// See [`Model::cold`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Cold {
    /// Held.
    #[default]
    Wait,
    /// Answered elsewhere.
    Overflow,
    /// Refused.
    Reject,
    /// Answered elsewhere while the wake takes long, held when it is near.
    Bridge,
}

/// See [`Model::data_path`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Sleep {
    /// Not by us.
    #[default]
    Never,
    /// vLLM sleep level 1.
    Level1,
    /// vLLM sleep level 2.
    Level2,
    /// Through the launcher, or by the end of its process.
    Release,
}

/// See [`Backend::api`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Api {
    /// `URL/v1/chat/completions`.
    #[default]
    Openai,
    /// `URL/openai/deployments/NAME/chat/completions?api-version=DATE`.
    Azure,
    /// `URL/openai/v1/chat/completions`.
    AzureV1,
}

/// See [`Backend::auth`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Auth {
    /// `Authorization: Bearer KEY`.
    #[default]
    Bearer,
    /// `api-key: KEY`.
    ApiKey,
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
fn default_stall() -> TimeDelta {
    TimeDelta::minutes(2)
}
fn default_stop_within() -> TimeDelta {
    TimeDelta::seconds(20)
}
fn default_bridge_over() -> TimeDelta {
    TimeDelta::seconds(30)
}
fn default_max_waiting() -> u32 {
    10_000
}
