//! Weights that are not edited here, and edits that somebody takes back.

use super::decide::has_weight;
use super::plan::{Plan, Step};
use super::rule::Rule;
use crate::fleet::Fleet;
use crate::fleet::id::BackendId;

/// What to do where weights are not edited here.
pub(super) const ELSEWHERE: &str = "change them there; or use --force to leave them as they are";

/// That requests come by a rule whose weights are not edited here.
pub(super) fn weightless(rules: &[&Rule], id: &BackendId) -> Result<(), (String, String)> {
    let mut all = rules.iter().filter(|it| has_weight(it, id));
    let found = all.find_map(|rule| Some((rule, rule.fixed.as_ref()?)));
    found.map_or(Ok(()), |(rule, why)| {
        if rule.refs.len() == 1 {
            let what = format!(
                "{} leads to it alone ({why}): its requests would fail",
                rule.route
            );
            return Err((what, "use --force if that is meant".into()));
        }
        let what = format!(
            "it still gets requests by {}, whose weights are not edited here: {why}",
            rule.route
        );
        Err((what, ELSEWHERE.into()))
    })
}

impl Fleet {
    /// Routes of a plan whose weights a tool will set back.
    pub(super) fn reverted(&self, plan: &Plan) -> Vec<String> {
        let mut out = Vec::new();
        for it in &plan.steps {
            let Step::Weights { edit, .. } = &it.step else {
                continue;
            };
            let mut rules = self.models.iter().flat_map(|it| &it.routes);
            let of = rules.find(|it| it.cluster == plan.cluster && it.route == edit.route);
            if let Some(tool) = of.and_then(|it| it.gitops.as_ref()) {
                let said = format!("{tool} manages {} and is likely to revert this", edit.route);
                if !out.contains(&said) {
                    out.push(said);
                }
            }
        }
        out
    }
}
