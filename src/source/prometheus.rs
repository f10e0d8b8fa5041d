//! A Prometheus asked for the past: `GET /api/v1/query_range`.
//!
//! Its form: <https://prometheus.io/docs/prometheus/latest/querying/api/#range-queries>.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;

use super::kube::encoded;
use crate::web;

/// How long an answer may take: a day of a large cluster is megabytes.
const LIMIT: Duration = Duration::from_secs(30);

/// One series of an answer.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(super) struct Series {
    /// Its labels, the name among them where the query kept it.
    #[serde(default)]
    pub metric: BTreeMap<String, String>,
    /// Unix seconds with the value there, in order; only steps at which there was one.
    #[serde(default)]
    pub values: Vec<(f64, String)>,
}

impl Series {
    /// A label; empty where it has none.
    pub(super) fn label(&self, name: &str) -> &str {
        self.metric.get(name).map_or("", String::as_str)
    }

    /// Its values with their times; what is no number is left out.
    pub(super) fn points(&self) -> impl Iterator<Item = (i64, f64)> {
        let points = self.values.iter();
        points.filter_map(|(at, value)| {
            let value: f64 = value.parse().ok()?;
            value.is_finite().then_some((at.round() as i64, value))
        })
    }
}

#[derive(Deserialize)]
struct Answer {
    status: String,
    #[serde(default)]
    error: String,
    data: Option<Data>,
}

#[derive(Deserialize)]
struct Data {
    #[serde(default)]
    result: Vec<Series>,
}

/// What `query` came to at each `step` from `from` to `to`, both included.
///
/// # Errors
/// In plain words.
pub(super) async fn range(
    http: &reqwest::Client,
    base: &str,
    query: &str,
    (from, to): (DateTime<Utc>, DateTime<Utc>),
    step: TimeDelta,
) -> Result<Vec<Series>, String> {
    let url = format!(
        "{}/api/v1/query_range?query={}&start={}&end={}&step={}",
        base.trim_end_matches('/'),
        encoded(query),
        from.timestamp(),
        to.timestamp(),
        step.num_seconds()
    );
    let reply = web::get(http, &url, None, LIMIT).await;
    let reply = reply.map_err(|fault| fault.to_string())?;
    let answer: Answer = match serde_json::from_slice(&reply.body) {
        Ok(answer) => answer,
        Err(_) if !reply.ok() => return Err(reply.words()),
        Err(error) => return Err(format!("its answer is not what Prometheus says: {error}")),
    };
    if answer.status != "success" {
        return Err(web::clean(&answer.error));
    }
    Ok(answer.data.map(|it| it.result).unwrap_or_default())
}
