//! What AI gateways count of tokens, on the pages of Envoy AI Gateway, agentgateway and whoever else follows
//! OpenTelemetry's conventions for generative AI (`gen_ai.client.token.usage`).
//!
//! The histogram's name on a page is `gen_ai_client_token_usage`, with its unit `…_token` in older exporters, and with
//! `agentgateway_` in front in that gateway. Of each histogram only the sum is read, and the count of prompts.

use std::borrow::Cow;

use super::exposition;

/// One running total.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Counted<'a> {
    /// Which total of this page, as written: the name and all labels.
    pub series: (&'a str, &'a str),
    /// Of what.
    pub what: What,
    /// `namespace/name` of the AIServiceBackend that answered; newer versions of Envoy AI Gateway say it.
    pub backend: Option<Cow<'a, str>>,
    /// `openai`, `azure.openai`, …
    pub provider: Cow<'a, str>,
    /// The model as the client named it, and as the gateway sent it on.
    pub models: [Cow<'a, str>; 2],
    /// Since the gateway's start.
    pub total: f64,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Requests that had a prompt.
    Requests,
    /// Prompt tokens, cached ones included.
    Input,
    /// Prompt tokens that the provider had cached.
    Cached,
    /// Produced tokens, those of reasoning included.
    Output,
}

/// Whether `name` is a sum or a count of the histogram; `true` for the sum.
fn family(name: &str) -> Option<bool> {
    let name = name.strip_prefix("agentgateway_").unwrap_or(name);
    let part = name.strip_prefix("gen_ai_client_token_usage")?;
    match part.strip_prefix("_token").unwrap_or(part) {
        "_sum" => Some(true),
        "_count" => Some(false),
        _ => None,
    }
}

/// Reads a page; none where nothing was asked of the gateway yet, or where it counts no tokens.
pub(super) fn read(page: &str) -> Vec<Counted<'_>> {
    let mut found = Vec::new();
    exposition::scan(page, family, |sum, line| {
        let label = |name: &str| exposition::label(line.labels, name);
        let kind = label("gen_ai_token_type").unwrap_or_default();
        let what = match (&*kind, sum) {
            ("input", true) => What::Input,
            ("input", false) => What::Requests,
            ("output", true) => What::Output,
            ("cached_input" | "input_cache_read", true) => What::Cached,
            _ => return,
        };
        if !line.value.is_finite() || line.value < 0.0 {
            return;
        }
        let asked = label("gen_ai_request_model").unwrap_or_default();
        found.push(Counted {
            series: (line.name, line.labels),
            what,
            backend: label("ai_backend").filter(|it| it != "unknown"),
            provider: label("gen_ai_provider_name")
                .or_else(|| label("gen_ai_system"))
                .unwrap_or_default(),
            models: [
                label("gen_ai_original_model").unwrap_or_else(|| asked.clone()),
                asked,
            ],
            total: line.value,
        });
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = r#"# TYPE gen_ai_client_token_usage histogram
gen_ai_client_token_usage_bucket{ai_backend="llm/azure",gen_ai_original_model="chat",gen_ai_provider_name="azure.openai",gen_ai_request_model="gpt-4o-mini",gen_ai_token_type="input",le="+Inf"} 7
gen_ai_client_token_usage_sum{ai_backend="llm/azure",gen_ai_original_model="chat",gen_ai_provider_name="azure.openai",gen_ai_request_model="gpt-4o-mini",gen_ai_token_type="input"} 4100
gen_ai_client_token_usage_count{ai_backend="llm/azure",gen_ai_original_model="chat",gen_ai_provider_name="azure.openai",gen_ai_request_model="gpt-4o-mini",gen_ai_token_type="input"} 7
gen_ai_client_token_usage_token_sum{gen_ai_provider_name="openai",gen_ai_request_model="gpt-4o",gen_ai_token_type="output"} 300
agentgateway_gen_ai_client_token_usage_sum{gen_ai_system="openai",gen_ai_request_model="gpt-4o",gen_ai_token_type="input_cache_read"} 50
gen_ai_client_token_usage_sum{gen_ai_request_model="gpt-4o",gen_ai_token_type="total"} 350
gen_ai_server_request_duration_seconds_sum{gen_ai_request_model="gpt-4o"} 3.5
"#;

    #[test]
    fn every_spelling_of_the_totals_is_read() {
        let said: Vec<String> = read(PAGE)
            .iter()
            .map(|it| {
                let backend = it.backend.as_deref().unwrap_or("–");
                let [client, sent] = &it.models;
                let provider = &it.provider;
                format!(
                    "{:?} {} {backend} {provider} {client} {sent}",
                    it.what, it.total
                )
            })
            .collect();
        assert_eq!(
            said,
            [
                "Input 4100 llm/azure azure.openai chat gpt-4o-mini",
                "Requests 7 llm/azure azure.openai chat gpt-4o-mini",
                "Output 300 – openai gpt-4o gpt-4o",
                "Cached 50 – openai gpt-4o gpt-4o",
            ]
        );
    }
}
