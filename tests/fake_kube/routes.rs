//! The gateway controller's part: routes get their status.

use serde_json::{Value, json};

use super::FakeKube;
use super::stamp::now;

impl FakeKube {
    /// Programs all routes as they are now: accepted by all their parents, references resolved.
    pub(crate) fn program_routes(&self) {
        for resource in ["httproutes", "aigatewayroutes"] {
            for route in self.all(resource) {
                let meta = &route["metadata"];
                let (space, name) = (&meta["namespace"], &meta["name"]);
                let path = [Some(resource), space.as_str(), name.as_str()];
                let path = path.map(Option::unwrap_or_default).join("/");
                self.judge_route(&path, "Accepted", true, "Accepted");
            }
        }
    }

    /// Sets a condition of a route, `httproutes/namespace/name`, for its current generation; the other condition is
    /// true.
    pub(crate) fn judge_route(&self, path: &str, condition: &str, holds: bool, reason: &str) {
        let route = self
            .get(path)
            .unwrap_or_else(|| panic!("no such route: {path}"));
        let generation = &route["metadata"]["generation"];
        let one = |kind: &str, otherwise: &str| {
            let asked = kind == condition;
            json!({
                "type": kind,
                "status": if asked && !holds { "False" } else { "True" },
                "reason": if asked { reason } else { otherwise },
                "message": "",
                "observedGeneration": generation,
                "lastTransitionTime": now(),
            })
        };
        let conditions = json!([
            one("Accepted", "Accepted"),
            one("ResolvedRefs", "ResolvedRefs")
        ]);
        let status = if path.starts_with("aigatewayroutes") {
            json!({ "conditions": conditions })
        } else {
            let parents = route["spec"]["parentRefs"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            let parents: Vec<Value> = parents
                .iter()
                .map(|parent| {
                    json!({
                        "parentRef": parent,
                        "controllerName": "gateway.envoyproxy.io/gatewayclass-controller",
                        "conditions": conditions,
                    })
                })
                .collect();
            json!({ "parents": parents })
        };
        if route["status"] != status {
            self.merge(path, &json!({ "status": status }));
        }
    }
}
