//! What one reading of an engine and of its GPUs says.

use serde::{Deserialize, Serialize};

/// One page of an engine's `/metrics`, in the units of the page; `None` where this version does not say.
///
/// Counters are totals since the engine started. Sums over data-parallel engines where there are several.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EngineSample {
    /// Requests in the running batch.
    pub running: Option<f64>,
    /// Requests waiting for a place in it.
    pub waiting: Option<f64>,
    /// KV-cache use, 0 to 1.
    pub kv: Option<f64>,
    /// Prompt tokens, total.
    pub prompt_tokens: Option<f64>,
    /// Generated tokens, total.
    pub generation_tokens: Option<f64>,
    /// Requests finished, total, whatever the reason.
    pub finished: Option<f64>,
    /// Preemptions, total.
    pub preemptions: Option<f64>,
    /// Prefix-cache queries in tokens, total.
    pub prefix_queries: Option<f64>,
    /// Prefix-cache hits in tokens, total.
    pub prefix_hits: Option<f64>,
    /// Whether the engine sleeps, where it says so.
    pub asleep: Option<bool>,
    /// It sleeps so deeply that its weights are gone (level 2).
    #[serde(default)]
    pub discarded: Option<bool>,
    /// Time to first token, seconds.
    pub ttft: Histogram,
    /// Time between tokens, seconds.
    pub inter_token: Histogram,
    /// Whole request, seconds.
    pub e2e: Histogram,
    /// Time in the queue, seconds.
    pub queue: Histogram,
    /// Configuration that the engine states (`vllm:cache_config_info` labels and the like), name and value.
    pub config: Vec<(String, String)>,
}

/// A Prometheus histogram: cumulative counts at upper bounds, the last bound infinite.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// Upper bounds, ascending; the last is `f64::INFINITY`.
    #[serde(with = "bounds")]
    pub bounds: Vec<f64>,
    /// Observations at or below each bound.
    pub counts: Vec<f64>,
    /// Sum of all observations.
    pub sum: f64,
}

impl Histogram {
    /// Observations in all.
    pub fn count(&self) -> f64 {
        self.counts.last().copied().unwrap_or(0.0)
    }

    /// The mean of all observations; `None` without any.
    pub fn mean(&self) -> Option<f64> {
        (self.count() > 0.0).then(|| self.sum / self.count())
    }

    /// What was observed since `earlier`. A counter that went back (a restart) or other bounds give `self` whole.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let restarted = self.bounds != earlier.bounds
            || self
                .counts
                .iter()
                .zip(&earlier.counts)
                .any(|(now, then)| now < then);
        if restarted {
            return self.clone();
        }
        Self {
            bounds: self.bounds.clone(),
            counts: self
                .counts
                .iter()
                .zip(&earlier.counts)
                .map(|(now, then)| now - then)
                .collect(),
            sum: self.sum - earlier.sum,
        }
    }

    /// The `q`-quantile (0 to 1), linear within its bucket as Prometheus' `histogram_quantile` does; `None` without observations.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let total = self.count();
        if total <= 0.0 {
            return None;
        }
        let rank = q * total;
        let at = self.counts.iter().position(|count| *count >= rank)?;
        let upper = *self.bounds.get(at)?;
        let (lower, below) = match at.checked_sub(1) {
            Some(before) => (self.bounds[before], self.counts[before]),
            None => (0.0, 0.0),
        };
        if upper.is_infinite() {
            return Some(lower);
        }
        let inside = self.counts[at] - below;
        Some(if inside > 0.0 {
            lower + (upper - lower) * (rank - below) / inside
        } else {
            upper
        })
    }
}

/// JSON has no infinity: `null` stands for it.
mod bounds {
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bounds: &[f64], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(
            bounds
                .iter()
                .map(|bound| bound.is_finite().then_some(*bound)),
        )
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<f64>, D::Error> {
        let bounds = Vec::<Option<f64>>::deserialize(from)?;
        Ok(bounds
            .into_iter()
            .map(|bound| bound.unwrap_or(f64::INFINITY))
            .collect())
    }
}
