//! New weights for the rules of a route: one JSON patch, guarded by all that was looked at.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::call::Write;
use super::mark::{self, Mark};
use super::object::Object;
use super::rule::{Rule, Weighted};

/// New weights for rules of one route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edit {
    /// Which route.
    pub route: Object,
    /// The version that was looked at.
    pub resource_version: Box<str>,
    /// Whether it has annotations.
    pub annotated: bool,
    /// The rules that change.
    pub rules: Vec<RuleEdit>,
    /// Written on it.
    pub mark: Mark,
}

/// New weights for one rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleEdit {
    /// Which rule.
    pub at: usize,
    /// Its targets in order: name, weight as written, weight wanted.
    pub refs: Vec<(Box<str>, Option<u32>, u32)>,
}

impl Edit {
    /// For a rule of a route, with what is wanted of each of its targets in order.
    pub fn of(rule: &Rule, wanted: &[Option<u32>], mark: &Mark) -> Self {
        Self {
            route: rule.route.clone(),
            resource_version: rule.resource_version.clone(),
            annotated: rule.annotated,
            rules: vec![RuleEdit::of(rule, wanted)],
            mark: mark.clone(),
        }
    }

    /// The JSON patch. Every guard holds or nothing happens (422): the route's version, and each target's name in its place.
    pub fn write(&self) -> Write {
        let mut patch = vec![json!({
            "op": "test", "path": "/metadata/resourceVersion", "value": self.resource_version,
        })];
        let each = || {
            self.rules.iter().flat_map(|rule| {
                let refs = rule.refs.iter().enumerate();
                refs.map(move |(i, it)| (format!("/spec/rules/{}/backendRefs/{i}", rule.at), it))
            })
        };
        for (path, (name, ..)) in each() {
            patch.push(json!({"op": "test", "path": format!("{path}/name"), "value": name}));
        }
        // `add` replaces what is there, and works where nothing is written, which means 1.
        for (path, (_, was, is)) in each() {
            if *was != Some(*is) {
                patch.push(json!({"op": "add", "path": format!("{path}/weight"), "value": is}));
            }
        }
        if !self.annotated {
            patch.push(json!({"op": "add", "path": "/metadata/annotations", "value": {}}));
        }
        patch.push(json!({
            "op": "add",
            "path": format!("/metadata/annotations/{}", mark::KEY.replace('~', "~0").replace('/', "~1")),
            "value": self.mark.text(),
        }));
        Write {
            method: "PATCH",
            path: self.route.path(),
            content_type: "application/json-patch+json",
            body: Value::Array(patch),
            object: self.route.clone(),
            subresource: None,
        }
    }

    /// What takes it back: the weights that stood before, where these still stand.
    #[must_use]
    pub fn back(&self) -> Self {
        self.back_to(&[])
    }

    /// The same with the weights of `before` for the rules that it has.
    #[must_use]
    pub fn back_to(&self, before: &[Weighted]) -> Self {
        let rules = self.rules.iter().map(|rule| {
            let known = before
                .iter()
                .find(|it| it.rule == rule.at && it.route == self.route);
            let refs = rule.refs.iter().enumerate().map(|(i, (name, was, is))| {
                let stood = known.and_then(|it| it.of(i, name));
                let stood = stood.unwrap_or(was.unwrap_or(1));
                (name.clone(), Some(*is), stood)
            });
            RuleEdit {
                at: rule.at,
                refs: refs.collect(),
            }
        });
        Self {
            rules: rules.collect(),
            annotated: true,
            ..self.clone()
        }
    }
}

impl RuleEdit {
    /// What is wanted of each target in order, as two may have one name in two namespaces; the others keep their own.
    pub fn of(rule: &Rule, wanted: &[Option<u32>]) -> Self {
        let refs = rule.refs.iter().enumerate().map(|(i, it)| {
            let new = wanted.get(i).copied().flatten();
            (it.name.clone(), it.weight, new.unwrap_or(it.share()))
        });
        Self {
            at: rule.at,
            refs: refs.collect(),
        }
    }

    /// The weights that it sets.
    pub(super) fn weighted(&self, rule: &Rule) -> Weighted {
        let refs = self.refs.iter();
        Weighted {
            route: rule.route.clone(),
            rule: self.at,
            weights: refs.map(|(name, _, is)| (name.clone(), *is)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::cluster::object::Kind;
    use crate::fleet::cluster::rule::Ref;

    #[test]
    fn a_flip_is_guarded_by_all_that_was_looked_at() {
        let target = |name: &str, weight| Ref {
            name: name.into(),
            weight,
            backend: None,
            fallback: false,
        };
        let rule = Rule {
            cluster: "prod".into(),
            route: Object::new(Kind::HttpRoute, "llm", "chat"),
            at: 2,
            matches: "".into(),
            resource_version: "48811234".into(),
            annotated: false,
            refs: vec![target("llama-70b", Some(90)), target("azure", None)],
            programmed: Ok(()),
            refused: false,
            mark: None,
            fixed: None,
            gitops: None,
        };
        let wanted = [Some(0), Some(100)];
        let edit = Edit::of(&rule, &wanted, &Mark::default());
        let write = edit.write();
        let Value::Array(patch) = write.body else {
            unreachable!()
        };
        let said: Vec<String> = patch
            .iter()
            .map(|op| {
                format!(
                    "{} {}",
                    op["op"].as_str().unwrap_or("?"),
                    op["path"].as_str().unwrap_or("?")
                )
            })
            .collect();
        assert_eq!(
            said,
            [
                "test /metadata/resourceVersion",
                "test /spec/rules/2/backendRefs/0/name",
                "test /spec/rules/2/backendRefs/1/name",
                "add /spec/rules/2/backendRefs/0/weight",
                "add /spec/rules/2/backendRefs/1/weight",
                "add /metadata/annotations",
                "add /metadata/annotations/fleetctl.dev~1op",
            ]
        );
        assert_eq!(patch[3]["value"], 0);
        assert_eq!(edit.back().rules[0].refs[1].2, 1);
    }
}
