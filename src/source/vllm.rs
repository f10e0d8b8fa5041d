//! vLLM's metrics page, of every version from 0.8.5 on, as one [`EngineSample`].
//!
//! Names that changed: `gpu_cache_usage_perc` became `kv_cache_usage_perc` in 0.9.2, `gpu_prefix_cache_*` became
//! `prefix_cache_*`, `time_per_output_token_seconds` became `inter_token_latency_seconds` in 0.10.2. Where a page has
//! both, the new one counts.

use super::engine_log::clean;
use super::exposition::{self, Line};
use crate::fleet::engine::{EngineSample, Histogram};

/// What a line of the page is about.
#[derive(Clone, Copy, Debug)]
enum Family {
    Running,
    Waiting,
    Kv,
    KvOld,
    PromptTokens,
    GenerationTokens,
    Finished,
    Preemptions,
    PrefixQueries,
    PrefixQueriesOld,
    PrefixHits,
    PrefixHitsOld,
    SleepState,
    CacheConfig,
    Ttft(Part),
    InterToken(Part),
    PerOutputToken(Part),
    E2e(Part),
    Queue(Part),
}

/// Which line of a histogram. `_count` is the infinite bucket over again and is not read.
#[derive(Clone, Copy, Debug)]
enum Part {
    Bucket,
    Sum,
}

/// Whether `name` is one of those read, and which.
fn family(name: &str) -> Option<Family> {
    use Part::{Bucket, Sum};
    Some(match name.strip_prefix("vllm:")? {
        "num_requests_running" => Family::Running,
        "num_requests_waiting" => Family::Waiting,
        "kv_cache_usage_perc" => Family::Kv,
        "gpu_cache_usage_perc" => Family::KvOld,
        "prompt_tokens_total" => Family::PromptTokens,
        "generation_tokens_total" => Family::GenerationTokens,
        "request_success_total" => Family::Finished,
        "num_preemptions_total" => Family::Preemptions,
        "prefix_cache_queries_total" => Family::PrefixQueries,
        "gpu_prefix_cache_queries_total" => Family::PrefixQueriesOld,
        "prefix_cache_hits_total" => Family::PrefixHits,
        "gpu_prefix_cache_hits_total" => Family::PrefixHitsOld,
        "engine_sleep_state" => Family::SleepState,
        "cache_config_info" => Family::CacheConfig,
        "time_to_first_token_seconds_bucket" => Family::Ttft(Bucket),
        "time_to_first_token_seconds_sum" => Family::Ttft(Sum),
        "inter_token_latency_seconds_bucket" => Family::InterToken(Bucket),
        "inter_token_latency_seconds_sum" => Family::InterToken(Sum),
        "time_per_output_token_seconds_bucket" => Family::PerOutputToken(Bucket),
        "time_per_output_token_seconds_sum" => Family::PerOutputToken(Sum),
        "e2e_request_latency_seconds_bucket" => Family::E2e(Bucket),
        "e2e_request_latency_seconds_sum" => Family::E2e(Sum),
        "request_queue_time_seconds_bucket" => Family::Queue(Bucket),
        "request_queue_time_seconds_sum" => Family::Queue(Sum),
        _ => return None,
    })
}

/// What is gathered on the way through a page.
#[derive(Default)]
struct Gathered {
    sample: EngineSample,
    kv: Mean,
    kv_old: Mean,
    prefix_queries_old: Option<f64>,
    prefix_hits_old: Option<f64>,
    per_output_token: Histogram,
    /// Engines that say they are awake; `None` where none says anything.
    awake: Option<f64>,
    any: bool,
}

/// The mean over data-parallel engines.
#[derive(Default)]
struct Mean {
    sum: f64,
    count: f64,
}

/// Reads a page; `None` where no family of vLLM's is on it, so that it is somebody else's.
pub fn read(page: &str) -> Option<EngineSample> {
    let mut gathered = Gathered::default();
    exposition::scan(page, family, |family, line| gathered.add(family, line));
    gathered.finish()
}

impl Gathered {
    fn add(&mut self, family: Family, line: Line<'_>) {
        self.any = true;
        if line.value.is_nan() {
            return;
        }
        let sample = &mut self.sample;
        match family {
            Family::Running => sum(&mut sample.running, line.value),
            Family::Waiting => sum(&mut sample.waiting, line.value),
            Family::Kv => self.kv.add(line.value),
            Family::KvOld => self.kv_old.add(line.value),
            Family::PromptTokens => sum(&mut sample.prompt_tokens, line.value),
            Family::GenerationTokens => sum(&mut sample.generation_tokens, line.value),
            Family::Finished => sum(&mut sample.finished, line.value),
            Family::Preemptions => sum(&mut sample.preemptions, line.value),
            Family::PrefixQueries => sum(&mut sample.prefix_queries, line.value),
            Family::PrefixQueriesOld => sum(&mut self.prefix_queries_old, line.value),
            Family::PrefixHits => sum(&mut sample.prefix_hits, line.value),
            Family::PrefixHitsOld => sum(&mut self.prefix_hits_old, line.value),
            Family::SleepState => match exposition::label(line.labels, "sleep_state").as_deref() {
                Some("awake") => sum(&mut self.awake, line.value),
                Some("discard_all") => {
                    let discarded = sample.discarded.get_or_insert(false);
                    *discarded |= line.value > 0.0;
                }
                Some(_) | None => {}
            },
            Family::CacheConfig => config(&mut sample.config, line.labels),
            Family::Ttft(part) => observe(&mut sample.ttft, part, line),
            Family::InterToken(part) => observe(&mut sample.inter_token, part, line),
            Family::PerOutputToken(part) => observe(&mut self.per_output_token, part, line),
            Family::E2e(part) => observe(&mut sample.e2e, part, line),
            Family::Queue(part) => observe(&mut sample.queue, part, line),
        }
    }

    fn finish(self) -> Option<EngineSample> {
        if !self.any {
            return None;
        }
        let mut sample = self.sample;
        sample.kv = self.kv.value().or_else(|| self.kv_old.value());
        sample.prefix_queries = sample.prefix_queries.or(self.prefix_queries_old);
        sample.prefix_hits = sample.prefix_hits.or(self.prefix_hits_old);
        sample.asleep = self.awake.map(|awake| awake <= 0.0);
        if sample.inter_token.bounds.is_empty() {
            sample.inter_token = self.per_output_token;
        }
        Some(sample)
    }
}

impl Mean {
    fn add(&mut self, value: f64) {
        self.sum += value;
        self.count += 1.0;
    }

    fn value(&self) -> Option<f64> {
        (self.count > 0.0).then(|| self.sum / self.count)
    }
}

fn sum(total: &mut Option<f64>, value: f64) {
    *total = Some(total.unwrap_or(0.0) + value);
}

/// Adds one line to a histogram; the same bound of another engine adds to what is there.
fn observe(histogram: &mut Histogram, part: Part, line: Line<'_>) {
    match part {
        Part::Sum => histogram.sum += line.value,
        Part::Bucket => {
            let Some(bound) = exposition::label(line.labels, "le")
                .and_then(|le| le.parse::<f64>().ok())
                .filter(|bound| !bound.is_nan())
            else {
                return;
            };
            match histogram.bounds.binary_search_by(|b| b.total_cmp(&bound)) {
                Ok(at) => histogram.counts[at] += line.value,
                Err(at) => {
                    histogram.bounds.insert(at, bound);
                    histogram.counts.insert(at, line.value);
                }
            }
        }
    }
}

/// The labels are the configuration; engines of one server share it, so the first one speaks for all.
fn config(config: &mut Vec<(String, String)>, labels: &str) {
    if config.is_empty() {
        config.extend(
            exposition::labels(labels)
                .filter(|(name, _)| *name != "engine")
                .map(|(name, value)| (clean(name), clean(&value))),
        );
    }
}

#[cfg(test)]
mod tests;
