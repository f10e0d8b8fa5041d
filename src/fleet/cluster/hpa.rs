//! A HorizontalPodAutoscaler's `behavior`.
//!
//! Where any of it is set the API server fills in all of it (`SetDefaults_HorizontalPodAutoscalerBehavior`), and taking the
//! one field away again leaves the rest: drift to whoever keeps the object in a repository. Where there was none before,
//! all of it goes.

use serde_json::{Value, json};

/// Where it is.
pub(super) const BEHAVIOR: [&str; 2] = ["spec", "behavior"];

/// Where it says how it chooses to scale down.
pub(super) const POLICY: [&str; 4] = ["spec", "behavior", "scaleDown", "selectPolicy"];

/// Whether nothing of a behavior is anybody's own but how it chooses to scale down: the rest is what the API server fills
/// in.
pub fn is_plain(behavior: &Value) -> bool {
    let Some(all) = behavior.as_object() else {
        return true;
    };
    all.iter().all(|(key, rules)| match key.as_str() {
        "scaleDown" => fits(
            rules,
            &json!({
                "selectPolicy": rules["selectPolicy"],
                "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
            }),
        ),
        "scaleUp" => fits(
            rules,
            &json!({
                "stabilizationWindowSeconds": 0,
                "selectPolicy": "Max",
                "policies": [
                    {"type": "Pods", "value": 4, "periodSeconds": 15},
                    {"type": "Percent", "value": 100, "periodSeconds": 15},
                ],
            }),
        ),
        _ => false,
    })
}

/// What is set is as it is filled in.
fn fits(rules: &Value, filled: &Value) -> bool {
    let all = rules.as_object().into_iter().flatten();
    let mut set = all.filter(|(_, value)| !value.is_null());
    set.all(|(key, value)| filled.get(key) == Some(value))
}

/// The patch that has it choose so; `None`: as one without a behavior does.
pub(super) fn choosing(select: Option<&str>) -> Value {
    match select {
        Some(select) => json!({"spec": {"behavior": {"scaleDown": {"selectPolicy": select}}}}),
        None => json!({"spec": {"behavior": null}}),
    }
}

/// The same for one as it stands now: what somebody gave it meanwhile stays.
pub(super) fn choosing_again(select: Option<&str>, plain: bool) -> Value {
    match select {
        None if !plain => choosing(Some("Max")),
        select => choosing(select),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_fills_in_is_nobodys_own() {
        let up = json!({
            "stabilizationWindowSeconds": 0,
            "selectPolicy": "Max",
            "policies": [
                {"type": "Pods", "value": 4, "periodSeconds": 15},
                {"type": "Percent", "value": 100, "periodSeconds": 15},
            ],
        });
        let down = |policies: Value| json!({"selectPolicy": "Disabled", "policies": policies});
        let filled = json!([{"type": "Percent", "value": 100, "periodSeconds": 15}]);
        let own = json!([{"type": "Pods", "value": 1, "periodSeconds": 60}]);
        for (behavior, plain) in [
            (Value::Null, true),
            (json!({"scaleDown": {"selectPolicy": "Disabled"}}), true),
            (json!({"scaleUp": up, "scaleDown": down(filled)}), true),
            (json!({"scaleUp": up, "scaleDown": down(own)}), false),
            (
                json!({"scaleDown": {"stabilizationWindowSeconds": 60}}),
                false,
            ),
            (json!({"scaleUp": {"selectPolicy": "Disabled"}}), false),
        ] {
            assert_eq!(is_plain(&behavior), plain, "{behavior}");
        }
    }
}
