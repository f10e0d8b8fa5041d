//! The `/metrics` page: the 0.32.0 page with its figures replaced by the engine's.

use std::fmt::Write as _;

use super::meters::{Counter, Hist, Meters};
use super::spec::Spec;

/// The page of vLLM 0.32.0: every family with its help, labels and buckets, values zero unless constant.
const TEMPLATE: &str = include_str!("page.txt");
/// Tokens of a block of the KV cache.
const BLOCK: u32 = 16;

/// The gauges of a moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gauges {
    /// Requests in the batch.
    pub(super) running: usize,
    /// Requests before it.
    pub(super) waiting: usize,
    /// Share of the KV cache.
    pub(super) kv: f64,
    /// Sleep level, where asleep.
    pub(super) level: Option<u8>,
}

/// A page ready to be filled in.
#[derive(Debug)]
pub(super) struct Page {
    parts: Vec<(String, Slot)>,
    rest: String,
}

#[derive(Clone, Copy, Debug)]
enum Slot {
    Created,
    Running,
    Waiting,
    Kv,
    Awake,
    Offloaded,
    Discarded,
    Counter(Counter),
    Bucket(Hist, usize),
    Count(Hist),
    Sum(Hist),
}

impl Page {
    /// The page of an engine, and its histograms' upper bounds in the order of [`Hist::ALL`].
    pub(super) fn new(spec: &Spec) -> (Self, Vec<Vec<f64>>) {
        let kv = spec.shape.kv_tokens;
        let template = TEMPLATE
            .replace("{model}", &spec.model)
            .replace("{blocks}", &(kv / BLOCK).to_string())
            .replace("{tokens}", &kv.to_string())
            .replace(
                "{concurrency}",
                &format!("{:.2}", f64::from(kv) / f64::from(spec.max_len.max(1))),
            );
        let mut bounds: Vec<Vec<f64>> = vec![Vec::new(); Hist::ALL.len()];
        let mut parts = Vec::new();
        let mut text = String::new();
        for line in template.lines() {
            match line.rsplit_once(' ') {
                Some((series, _)) if !line.starts_with('#') => {
                    if let Some(slot) = slot(series, &mut bounds) {
                        text.push_str(series);
                        text.push(' ');
                        parts.push((std::mem::take(&mut text), slot));
                        text.push('\n');
                        continue;
                    }
                }
                _ => {}
            }
            text.push_str(line);
            text.push('\n');
        }
        (Self { parts, rest: text }, bounds)
    }

    /// The page now; `created` is when the engine's process began, Unix seconds.
    pub(super) fn fill(&self, gauges: Gauges, meters: &Meters, created: f64) -> String {
        let mut out = String::with_capacity(56 * 1024);
        for (text, slot) in &self.parts {
            out.push_str(text);
            let value = value(*slot, gauges, meters, created);
            // Writing to a String cannot fail.
            let _ = write!(out, "{value:?}");
        }
        out.push_str(&self.rest);
        out
    }
}

fn value(slot: Slot, gauges: Gauges, meters: &Meters, created: f64) -> f64 {
    let flag = |on: bool| if on { 1.0 } else { 0.0 };
    let of = |hist| meters.histogram(hist);
    match slot {
        Slot::Created => created,
        Slot::Running => gauges.running as f64,
        Slot::Waiting => gauges.waiting as f64,
        Slot::Kv => gauges.kv,
        Slot::Awake => flag(gauges.level.is_none()),
        Slot::Offloaded => flag(gauges.level == Some(1)),
        Slot::Discarded => flag(gauges.level == Some(2)),
        Slot::Counter(counter) => meters.count(counter) as f64,
        Slot::Bucket(hist, at) => of(hist).map_or(0.0, |h| h.up_to(at) as f64),
        Slot::Count(hist) => of(hist).map_or(0.0, |h| h.count() as f64),
        Slot::Sum(hist) => of(hist).map_or(0.0, |h| h.sum),
    }
}

/// What to put after a series' name; none: the template's value stays.
fn slot(series: &str, bounds: &mut [Vec<f64>]) -> Option<Slot> {
    let name = series.split('{').next().unwrap_or(series);
    if name.ends_with("_created") || name == "process_start_time_seconds" {
        return Some(Slot::Created);
    }
    let has = |label: &str| series.contains(label);
    for (suffix, kind) in [("_bucket", 'b'), ("_count", 'c'), ("_sum", 's')] {
        let Some(base) = name.strip_suffix(suffix) else {
            continue;
        };
        let operation = label(series, "operation").map(|o| format!("/{o}"));
        let key = format!("{base}{}", operation.unwrap_or_default());
        let Some((hist, _)) = Hist::ALL.iter().find(|(_, k)| *k == key) else {
            continue;
        };
        return Some(match kind {
            'b' => {
                let upper = label(series, "le")?;
                let of = bounds.get_mut(*hist as usize)?;
                of.push(upper.parse().unwrap_or(f64::INFINITY));
                Slot::Bucket(*hist, of.len() - 1)
            }
            'c' => Slot::Count(*hist),
            _ => Slot::Sum(*hist),
        });
    }
    Some(match name {
        "vllm:num_requests_running" => Slot::Running,
        "vllm:num_requests_waiting" => Slot::Waiting,
        "vllm:num_requests_waiting_by_reason" if has("capacity") => Slot::Waiting,
        "vllm:kv_cache_usage_perc" => Slot::Kv,
        "vllm:engine_sleep_state" if has("\"awake\"") => Slot::Awake,
        "vllm:engine_sleep_state" if has("weights_offloaded") => Slot::Offloaded,
        "vllm:engine_sleep_state" if has("discard_all") => Slot::Discarded,
        "vllm:prompt_tokens_total" | "vllm:prefix_cache_queries_total" => {
            Slot::Counter(Counter::Prompt)
        }
        "vllm:prefix_cache_hits_total" | "vllm:prompt_tokens_cached_total" => {
            Slot::Counter(Counter::PromptCached)
        }
        "vllm:prompt_tokens_by_source_total" if has("local_compute") => {
            Slot::Counter(Counter::PromptComputed)
        }
        "vllm:prompt_tokens_by_source_total" if has("local_cache_hit") => {
            Slot::Counter(Counter::PromptCached)
        }
        "vllm:prompt_tokens_cached_by_source_total" if has("device") => {
            Slot::Counter(Counter::PromptCached)
        }
        "vllm:generation_tokens_total" => Slot::Counter(Counter::Generated),
        "vllm:request_success_total" if has("\"stop\"") => Slot::Counter(Counter::Stopped),
        "vllm:request_success_total" if has("\"length\"") => Slot::Counter(Counter::Length),
        "vllm:request_success_total" if has("\"abort\"") => Slot::Counter(Counter::Aborted),
        "vllm:request_success_total" if has("\"error\"") => Slot::Counter(Counter::Errors),
        "vllm:admission_rejections_total" if has("max_num_queued_reqs") => {
            Slot::Counter(Counter::Rejected)
        }
        "http_requests_total"
        | "http_request_size_bytes_count"
        | "http_response_size_bytes_count" => Slot::Counter(Counter::Http),
        _ => return None,
    })
}

fn label<'a>(series: &'a str, name: &str) -> Option<&'a str> {
    let labels = series.split_once('{')?.1;
    labels
        .split(',')
        .find_map(|pair| pair.strip_prefix(name)?.strip_prefix("=\""))
        .and_then(|rest| rest.split('"').next())
}
