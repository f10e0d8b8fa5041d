//! The page as text: families in order, each with its help and type, each series once.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::histogram::Histogram;
use super::{Metrics, Series};
use crate::fleet::request::Operation;
use crate::fleet::{BackendId, Fleet, ModelId};
use crate::gateway::upstream::circuit::Phase;
use crate::gateway::upstream::slot::lock;

/// What is so now.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    pub(crate) in_flight: Vec<(BackendId, u32)>,
    pub(crate) held: Vec<(ModelId, u32)>,
    pub(crate) circuits: Vec<(BackendId, Phase)>,
    /// Client connections that are open.
    pub(crate) connections: u64,
    /// Lines that the access log could not write.
    pub(crate) log_dropped: u64,
    /// Seconds since 1970 when the gateway started.
    pub(crate) started: f64,
}

/// Labels and value of one sample.
type Sample = (String, String);
/// Labels of one series, as text, with what it counts.
type Grouped = BTreeMap<String, Series>;

impl Metrics {
    /// The whole page.
    pub(crate) fn render(&self, now: &Gauges, fleet: &Fleet) -> String {
        let mut page = String::with_capacity(16 << 10);
        self.counters(&mut page);
        self.histograms(&mut page, fleet);
        gauges(&mut page, now);
        page
    }

    /// Series that have the same labels by `name`, together.
    fn grouped(&self, name: impl Fn(&super::Labels) -> String) -> Grouped {
        let mut grouped = Grouped::new();
        let known = self.series.read();
        for (labels, series) in known.iter().flat_map(|known| known.iter()) {
            grouped.entry(name(labels)).or_default().add(&lock(series));
        }
        grouped
    }

    fn counters(&self, page: &mut String) {
        let each = self.grouped(|it| {
            labels(&[
                ("model", it.model.as_str()),
                ("backend", backend(it.backend.as_ref())),
                ("operation", it.operation.path()),
                ("route", it.route.word()),
                ("status", &it.status.to_string()),
            ])
        });
        let count = |of: fn(&Series) -> u64, grouped: &Grouped| -> Vec<Sample> {
            let some = grouped.iter().filter(|(_, series)| of(series) > 0);
            some.map(|(labels, series)| (labels.clone(), of(series).to_string()))
                .collect()
        };
        family(
            page,
            "fleetctl_requests_total",
            "counter",
            "Requests answered, by the status that the client saw (499: it went away).",
            &count(|series| series.requests, &each),
        );
        let by_backend = self.grouped(|it| {
            labels(&[
                ("model", it.model.as_str()),
                ("backend", backend(it.backend.as_ref())),
            ])
        });
        let fallbacks: Vec<Sample> = {
            let grouped = self.grouped(|it| {
                let fell = it.route == crate::fleet::request::Route::Fallback;
                if fell {
                    labels(&[
                        ("model", it.model.as_str()),
                        ("backend", backend(it.backend.as_ref())),
                    ])
                } else {
                    String::new()
                }
            });
            let mut samples = count(|series| series.requests, &grouped);
            samples.retain(|(labels, _)| !labels.is_empty());
            samples
        };
        family(
            page,
            "fleetctl_fallbacks_total",
            "counter",
            "Requests answered by another backend than their first choice.",
            &fallbacks,
        );
        family(
            page,
            "fleetctl_unmetered_requests_total",
            "counter",
            "Answers that said nothing of tokens; nothing is guessed.",
            &count(|series| series.unmetered, &by_backend),
        );
        family(
            page,
            "fleetctl_partial_requests_total",
            "counter",
            "Answers that were cut before their end, by the client or the backend.",
            &count(|series| series.partial, &by_backend),
        );
        let mut tokens = Vec::new();
        for (name, series) in &by_backend {
            for (kind, n) in [
                ("input", series.input),
                ("cached", series.cached),
                ("output", series.output),
                ("reasoning", series.reasoning),
            ] {
                let name = name.trim_end_matches('}');
                tokens.push((format!("{name},type=\"{kind}\"}}"), n.to_string()));
            }
        }
        family(
            page,
            "fleetctl_tokens_total",
            "counter",
            "Tokens as the answers told them; cached ones are part of input, reasoning ones of output.",
            &tokens,
        );
        let cost: Vec<Sample> = by_backend
            .iter()
            .map(|(name, series)| (name.clone(), format!("{:.12}", series.cost)))
            .collect();
        family(
            page,
            "fleetctl_cost_dollars_total",
            "counter",
            "Cost of tokens of hosted backends, US dollars; self-hosted ones are paid by the hour.",
            &cost,
        );
    }

    fn histograms(&self, page: &mut String, fleet: &Fleet) {
        let base = |it: &super::Labels| {
            let (operation, api) = names(it.operation);
            vec![
                ("gen_ai_operation_name", operation.to_owned()),
                ("gen_ai_provider_name", provider(it.backend.as_ref(), fleet)),
                ("gen_ai_request_model", it.model.to_string()),
                ("openai_api_type", api.to_owned()),
                ("fleetctl_backend", backend(it.backend.as_ref()).to_owned()),
            ]
        };
        let answered = self.grouped(|it| owned(&base(it)));
        let with_errors = self.grouped(|it| {
            let mut all = base(it);
            if it.status >= 400 {
                all.push(("error_type", it.status.to_string()));
            }
            owned(&all)
        });
        histogram(
            page,
            "gen_ai_server_request_duration_seconds",
            "Arrival to the end of the answer, waiting for a wake included.",
            &with_errors,
            |series| &series.duration,
        );
        histogram(
            page,
            "gen_ai_server_time_to_first_token_seconds",
            "Arrival to the first byte of the answer, waiting for a wake included.",
            &answered,
            |series| &series.first_token,
        );
        let mut sizes = Vec::new();
        for (name, series) in &answered {
            let name = name.trim_end_matches('}');
            for (kind, sizes_of) in [
                ("input", &series.input_sizes),
                ("output", &series.output_sizes),
            ] {
                sizes.push((format!("{name},gen_ai_token_type=\"{kind}\"}}"), sizes_of));
            }
        }
        write_histogram(
            page,
            "gen_ai_client_token_usage",
            "Tokens of one request.",
            &sizes,
        );
        let by_model = self.grouped(|it| labels(&[("model", it.model.as_str())]));
        histogram(
            page,
            "fleetctl_held_seconds",
            "How long requests were held for a wake or a place.",
            &by_model,
            |series| &series.held,
        );
    }
}

fn gauges(page: &mut String, now: &Gauges) {
    let of_models = |list: &[(ModelId, u32)]| -> Vec<Sample> {
        list.iter()
            .map(|(id, n)| (labels(&[("model", id.as_str())]), n.to_string()))
            .collect()
    };
    family(
        page,
        "fleetctl_held_requests",
        "gauge",
        "Requests held now.",
        &of_models(&now.held),
    );
    let in_flight: Vec<Sample> = now
        .in_flight
        .iter()
        .map(|(id, n)| (labels(&[("backend", id.as_str())]), n.to_string()))
        .collect();
    family(
        page,
        "fleetctl_in_flight_requests",
        "gauge",
        "Requests sent to a backend whose answer has not ended.",
        &in_flight,
    );
    let mut circuits = Vec::new();
    for (id, phase) in &now.circuits {
        for each in Phase::ALL {
            circuits.push((
                labels(&[("backend", id.as_str()), ("state", each.word())]),
                u8::from(each == *phase).to_string(),
            ));
        }
    }
    family(
        page,
        "fleetctl_circuit_state",
        "gauge",
        "1 for the state that a backend's circuit is in.",
        &circuits,
    );
    let single = |value: String| vec![(String::new(), value)];
    family(
        page,
        "fleetctl_connections",
        "gauge",
        "Client connections that are open.",
        &single(now.connections.to_string()),
    );
    family(
        page,
        "fleetctl_access_log_dropped_lines_total",
        "counter",
        "Lines that the access log could not take.",
        &single(now.log_dropped.to_string()),
    );
    family(
        page,
        "fleetctl_build_info",
        "gauge",
        "1, with the version.",
        &[(
            labels(&[("version", env!("CARGO_PKG_VERSION"))]),
            "1".to_owned(),
        )],
    );
    family(
        page,
        "process_start_time_seconds",
        "gauge",
        "Start of the gateway, seconds since 1970.",
        &single(format!("{:.3}", now.started)),
    );
}

/// The conventions' word for an operation, and OpenAI's for its API.
fn names(operation: Operation) -> (&'static str, &'static str) {
    match operation {
        Operation::Chat => ("chat", "chat_completions"),
        Operation::Responses => ("chat", "responses"),
        Operation::Completions => ("text_completion", ""),
        Operation::Embeddings => ("embeddings", ""),
    }
}

/// The conventions' word for a provider where they have one, else the fleet's own.
fn provider(id: Option<&BackendId>, fleet: &Fleet) -> String {
    let facts = id
        .and_then(|id| fleet.backend(id))
        .map(|backend| backend.hosted());
    match facts {
        None => String::new(),
        Some(None) => "self_hosted".to_owned(),
        Some(Some(facts)) => {
            let name = facts.provider.to_lowercase();
            if name.contains("azure") {
                "azure.ai.openai".to_owned()
            } else {
                name.replace(' ', "_")
            }
        }
    }
}

fn backend(id: Option<&BackendId>) -> &str {
    id.map_or("", BackendId::as_str)
}

fn family(page: &mut String, name: &str, kind: &str, help: &str, samples: &[Sample]) {
    if samples.is_empty() {
        return;
    }
    let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}");
    for (labels, value) in samples {
        let _ = writeln!(page, "{name}{labels} {value}");
    }
}

fn histogram(
    page: &mut String,
    name: &str,
    help: &str,
    grouped: &Grouped,
    of: fn(&Series) -> &Histogram,
) {
    let all: Vec<(String, &Histogram)> = grouped
        .iter()
        .map(|(labels, series)| (labels.clone(), of(series)))
        .collect();
    write_histogram(page, name, help, &all);
}

fn write_histogram(page: &mut String, name: &str, help: &str, all: &[(String, &Histogram)]) {
    let some: Vec<_> = all.iter().filter(|(_, it)| it.count() > 0).collect();
    if some.is_empty() {
        return;
    }
    let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} histogram");
    for (labels, it) in some {
        let open = labels.trim_end_matches('}');
        for (bound, count) in it.cumulative() {
            let bound = if bound.is_finite() {
                bound.to_string()
            } else {
                "+Inf".to_owned()
            };
            let _ = writeln!(page, "{name}_bucket{open},le=\"{bound}\"}} {count}");
        }
        let _ = writeln!(page, "{name}_sum{labels} {}", it.sum());
        let _ = writeln!(page, "{name}_count{labels} {}", it.count());
    }
}

/// `{a="b",c="d"}`, escaped; labels without a value are left out.
fn labels(all: &[(&str, &str)]) -> String {
    let mut text = String::from("{");
    for (name, value) in all {
        if value.is_empty() && *name != "backend" {
            continue;
        }
        if text.len() > 1 {
            text.push(',');
        }
        let _ = write!(text, "{name}=\"");
        for c in value.chars() {
            match c {
                '\\' => text.push_str("\\\\"),
                '"' => text.push_str("\\\""),
                '\n' => text.push_str("\\n"),
                c => text.push(c),
            }
        }
        text.push('"');
    }
    text.push('}');
    text
}

fn owned(all: &[(&str, String)]) -> String {
    let all: Vec<(&str, &str)> = all.iter().map(|(name, it)| (*name, it.as_str())).collect();
    labels(&all)
}
