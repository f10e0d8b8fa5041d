//! Which rule of its model a request meets.

use http::HeaderMap;

use crate::fleet::request::Route;
use crate::fleet::rule::{Rule, When};
use crate::gateway::client::peek::Facts;

/// The first of `rules` that the request meets, and the word for it.
pub(crate) fn first(rules: &[Rule], headers: &HeaderMap, facts: Facts) -> Option<(usize, Route)> {
    rules.iter().enumerate().find_map(|(at, rule)| {
        let (met, route) = match &rule.when {
            When::Header { name, value } => (
                headers
                    .get_all(name.as_str())
                    .iter()
                    .any(|given| given.as_bytes() == value.as_bytes()),
                Route::Header,
            ),
            When::JsonSchema => (facts.json_schema, Route::Schema),
            When::Tools => (facts.tools, Route::Tools),
            When::PromptOver(bytes) => (facts.prompt > *bytes, Route::Length),
        };
        met.then_some((at, route))
    })
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::first;
    use crate::fleet::request::Route;
    use crate::fleet::rule::{Rule, When};
    use crate::gateway::client::peek::Facts;

    #[test]
    fn the_first_rule_that_is_met_decides() {
        let header = When::Header {
            name: "x-class".to_owned(),
            value: "batch".to_owned(),
        };
        let rules: Vec<Rule> = [header, When::JsonSchema, When::Tools, When::PromptOver(100)]
            .into_iter()
            .map(|when| Rule {
                when,
                to: Vec::new(),
                fallback: false,
            })
            .collect();
        let facts = |json_schema, tools, prompt| Facts {
            json_schema,
            tools,
            prompt,
        };
        let cases = [
            ("batch", facts(true, true, 1000), Some((0, Route::Header))),
            ("Batch", facts(true, true, 1000), Some((1, Route::Schema))),
            ("", facts(false, true, 1000), Some((2, Route::Tools))),
            ("", facts(false, false, 101), Some((3, Route::Length))),
            ("", facts(false, false, 100), None),
        ];
        for (class, facts, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.insert("x-class", HeaderValue::from_static(class));
            assert_eq!(
                first(&rules, &headers, facts),
                expected,
                "{class} {facts:?}"
            );
        }
    }
}
