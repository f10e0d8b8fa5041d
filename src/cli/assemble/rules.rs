//! Routing rules from the configuration.

use anyhow::{Context, Result, ensure};

use crate::config;
use crate::fleet::rule::{Rule, When};

/// The rules of a model; each names one thing to look at, and backends that the model has.
pub(super) fn rules(model: &config::Model) -> Result<Vec<Rule>> {
    let mut rules = Vec::new();
    for (at, rule) in model.rules.iter().enumerate() {
        let place = format!("rule {}", at + 1);
        let mut seen = Vec::new();
        if let Some(name) = &rule.header {
            let value = rule.value.clone().with_context(|| {
                format!("{place}: `header` needs the `value` that it is to have")
            })?;
            seen.push(When::Header {
                name: name.to_ascii_lowercase(),
                value,
            });
        } else {
            ensure!(
                rule.value.is_none(),
                "{place}: `value` goes with `header`; name the header"
            );
        }
        if rule.json_schema {
            seen.push(When::JsonSchema);
        }
        if rule.tools {
            seen.push(When::Tools);
        }
        seen.extend(rule.prompt_over.map(When::PromptOver));
        let [when] = <[When; 1]>::try_from(seen).map_err(|seen| {
            anyhow::anyhow!(
                "{place}: it looks at {} things; give it exactly one of header, json_schema, tools and prompt_over",
                seen.len()
            )
        })?;
        ensure!(
            !rule.to.is_empty(),
            "{place}: `to` is empty; name a backend of this model"
        );
        for name in &rule.to {
            ensure!(
                model.backends.iter().any(|b| b.name == *name),
                "{place}: `{name}` is no backend of this model; it has {}",
                model
                    .backends
                    .iter()
                    .map(|b| b.name.as_str())
                    .collect::<Vec<_>>()
                    .join(", ")
            );
        }
        rules.push(Rule {
            when,
            to: rule.to.iter().map(|name| name.as_str().into()).collect(),
            fallback: rule.fallback,
        });
    }
    Ok(rules)
}
