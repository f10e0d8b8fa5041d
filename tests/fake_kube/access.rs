//! Who asks, and what they may do.

use serde_json::{Value, json};

use super::failure::Failure;
use super::request::{Call, Request};
use super::resources;

#[derive(Debug, Clone)]
struct Rule {
    allow: bool,
    verb: String,
    group: String,
    resource: String,
    namespace: Option<String>,
}

/// The rules, of which the last that fits decides; without one, all is allowed.
#[derive(Debug)]
pub(super) struct Access {
    rules: Vec<Rule>,
    pub(super) user: String,
    pub(super) groups: Vec<String>,
    pub(super) token: Option<String>,
    /// Rules cannot be listed, as where a webhook decides: each question has to be asked.
    pub(super) incomplete: bool,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            rules: Vec::new(),
            user: "ana".into(),
            groups: vec!["platform".into(), "system:authenticated".into()],
            token: None,
            incomplete: false,
        }
    }
}

/// What is to be done to what.
#[derive(Debug, Clone, Copy)]
struct Deed<'a> {
    verb: &'a str,
    group: &'a str,
    /// With the subresource.
    resource: &'a str,
    /// Empty for the whole cluster.
    namespace: &'a str,
    name: &'a str,
}

impl Access {
    pub(super) fn rule(
        &mut self,
        allow: bool,
        [verb, group, resource]: [&str; 3],
        namespace: Option<&str>,
    ) {
        self.rules.push(Rule {
            allow,
            verb: verb.to_owned(),
            group: group.to_owned(),
            resource: resource.to_owned(),
            namespace: namespace.map(str::to_owned),
        });
    }

    pub(super) fn clear(&mut self) {
        self.rules.clear();
    }

    fn allows(&self, deed: Deed<'_>) -> bool {
        let fits = |rule: &Rule| {
            let one = |rule: &str, is: &str| rule == "*" || rule == is;
            one(&rule.verb, deed.verb)
                && one(&rule.group, deed.group)
                && one(&rule.resource, deed.resource)
                && rule
                    .namespace
                    .as_deref()
                    .is_none_or(|n| n == deed.namespace)
        };
        self.rules
            .iter()
            .rev()
            .find(|r| fits(r))
            .is_none_or(|r| r.allow)
    }

    fn check(&self, user: &str, deed: Deed<'_>) -> Result<(), Failure> {
        if self.allows(deed) {
            return Ok(());
        }
        let Deed {
            verb,
            group,
            resource,
            namespace,
            name,
        } = deed;
        let plural = resource.split('/').next().unwrap_or_default();
        let dotted = if group.is_empty() {
            plural.to_owned()
        } else {
            format!("{plural}.{group}")
        };
        let quoted = if name.is_empty() {
            String::new()
        } else {
            format!(" \"{name}\"")
        };
        let place = if namespace.is_empty() {
            "at the cluster scope".to_owned()
        } else {
            format!("in the namespace \"{namespace}\"")
        };
        let message = format!(
            "{dotted}{quoted} is forbidden: User \"{user}\" cannot {verb} resource \
             \"{resource}\" in API group \"{group}\" {place}"
        );
        let mut refused = Failure::new(403, "Forbidden", message);
        let mut details = json!({ "kind": plural });
        if !name.is_empty() {
            details["name"] = name.into();
        }
        if !group.is_empty() {
            details["group"] = group.into();
        }
        refused.details = Some(details);
        Err(refused)
    }

    /// Finds out who asks; a wrong token and an impersonation that is not allowed are refused.
    pub(super) fn authenticate(&self, request: &Request) -> Result<(String, Vec<String>), Failure> {
        let header = |name: &str| request.headers.get(name).and_then(|v| v.to_str().ok());
        if let Some(token) = &self.token
            && header("authorization").and_then(|a| a.strip_prefix("Bearer ")) != Some(token)
        {
            return Err(Failure::unauthorized());
        }
        let Some(other) = header("impersonate-user") else {
            return Ok((self.user.clone(), self.groups.clone()));
        };
        let deed = Deed {
            verb: "impersonate",
            group: "",
            resource: "users",
            namespace: "",
            name: other,
        };
        self.check(&self.user, deed)?;
        let mut groups: Vec<String> = request
            .headers
            .get_all("impersonate-group")
            .iter()
            .filter_map(|v| v.to_str().ok().map(str::to_owned))
            .collect();
        groups.push("system:authenticated".into());
        Ok((other.to_owned(), groups))
    }

    /// Checks a request that is about a resource; reviews are for everyone.
    pub(super) fn authorize(&self, call: &Call) -> Result<(), Failure> {
        if call.verb.is_empty() || call.resource.ends_with("reviews") {
            return Ok(());
        }
        let deed = Deed {
            verb: call.verb,
            group: &call.group,
            resource: &call.resource,
            namespace: call.namespace.as_deref().unwrap_or_default(),
            name: call.name.as_deref().unwrap_or_default(),
        };
        self.check(&call.user, deed)
    }

    /// Answers a review: access, rules, or the user itself.
    pub(super) fn review(
        &self,
        kind: &str,
        mut review: Value,
        user: &str,
        groups: &[String],
    ) -> Value {
        review["status"] = match kind {
            "SelfSubjectAccessReview" => self.verdict(&review["spec"]),
            "SelfSubjectRulesReview" => {
                self.rules(review["spec"]["namespace"].as_str().unwrap_or_default())
            }
            _ => json!({ "userInfo": { "username": user, "groups": groups } }),
        };
        review["metadata"]["creationTimestamp"] = Value::Null;
        review
    }

    fn verdict(&self, spec: &Value) -> Value {
        let asked = &spec["resourceAttributes"];
        let text = |name: &str| asked[name].as_str().unwrap_or_default();
        let resource = match text("subresource") {
            "" => text("resource").to_owned(),
            sub => format!("{}/{sub}", text("resource")),
        };
        let deed = Deed {
            verb: text("verb"),
            group: text("group"),
            resource: &resource,
            namespace: text("namespace"),
            name: text("name"),
        };
        if asked.is_null() || self.allows(deed) {
            json!({ "allowed": true, "reason": "RBAC: allowed by ClusterRoleBinding \"fleet\" of ClusterRole \"fleet\" to User \"ana\"" })
        } else {
            json!({ "allowed": false, "reason": "no RBAC policy matched" })
        }
    }

    fn rules(&self, namespace: &str) -> Value {
        let everything = [json!({ "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"] })];
        let listed = resources::KINDS.iter().flat_map(|kind| {
            let scale = kind.scale.map(|_| "scale");
            let extra = kind.extra.iter().map(|(name, ..)| *name).chain(scale);
            let names = std::iter::once(kind.plural.to_owned())
                .chain(extra.map(|sub| format!("{}/{sub}", kind.plural)));
            names.filter_map(|resource| {
                let verbs: Vec<&str> = kind
                    .verbs()
                    .iter()
                    .copied()
                    .filter(|verb| {
                        self.allows(Deed {
                            verb,
                            group: kind.group,
                            resource: &resource,
                            namespace,
                            name: "",
                        })
                    })
                    .collect();
                (!verbs.is_empty()).then(|| {
                    json!({ "verbs": verbs, "apiGroups": [kind.group], "resources": [resource] })
                })
            })
        });
        let rules: Vec<Value> = if self.incomplete {
            Vec::new()
        } else if self.rules.is_empty() {
            everything.into()
        } else {
            listed.collect()
        };
        json!({
            "resourceRules": rules,
            "nonResourceRules": [{ "verbs": ["get"], "nonResourceURLs": ["/api", "/api/*", "/apis", "/apis/*", "/version"] }],
            "incomplete": self.incomplete,
        })
    }
}
