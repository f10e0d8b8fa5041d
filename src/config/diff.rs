//! What differs between two configs, in words: for the audit of a reload.

use toml::{Table, Value};

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Where: `model m, backend a`; empty for the file's own keys.
    pub place: String,
    /// What: `weight 65 → 50`.
    pub what: String,
}

/// What may hold a secret, or is too long for a line: that it changed is said, not what it is.
const UNSPOKEN: [&str; 2] = ["env", "command"];

/// The differences between two files that are TOML, by key; what is gone stands at the end of its place.
pub fn differences(old: &str, new: &str) -> Vec<Difference> {
    let (Ok(old), Ok(new)) = (old.parse::<Table>(), new.parse::<Table>()) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    tables("", &old, &new, &mut found);
    found
}

fn tables(place: &str, old: &Table, new: &Table, found: &mut Vec<Difference>) {
    let keys = new
        .keys()
        .chain(old.keys().filter(|key| !new.contains_key(*key)));
    for key in keys {
        match (old.get(key), new.get(key)) {
            (before, after) if before == after => {}
            (Some(Value::Table(before)), Some(Value::Table(after))) if !unspoken(key) => {
                tables(&within(place, key), before, after, found);
            }
            (before, after) if is_list(before) && is_list(after) => {
                lists(place, key, list(before), list(after), found);
            }
            (before, after) => {
                let what = match (shown(key, before), shown(key, after)) {
                    (Some(before), Some(after)) => format!("{key} {before} → {after}"),
                    (None, Some(after)) if before.is_none() => {
                        format!("{key} {after}, was not set")
                    }
                    (Some(before), None) if after.is_none() => {
                        format!("{key} not set, was {before}")
                    }
                    _ => format!("{key} changed"),
                };
                found.push(Difference {
                    place: place.to_owned(),
                    what,
                });
            }
        }
    }
}

/// Lists of tables: by their names, or where they have none by their places.
fn lists(place: &str, key: &str, old: &[Value], new: &[Value], found: &mut Vec<Difference>) {
    let name = |(at, it): (usize, &Value)| match it.get("name").and_then(Value::as_str) {
        Some(name) => name.to_owned(),
        None => (at + 1).to_string(),
    };
    let named = |all: &[Value]| -> Vec<String> { all.iter().enumerate().map(name).collect() };
    let (before, after) = (named(old), named(new));
    let mut say = |name: &str, what: &str| {
        found.push(Difference {
            place: within(place, &format!("{key} {name}")),
            what: what.to_owned(),
        });
    };
    for name in before.iter().filter(|name| !after.contains(name)) {
        say(name, "removed");
    }
    for name in after.iter().filter(|name| !before.contains(name)) {
        say(name, "added");
    }
    for (name, it) in after.iter().zip(new) {
        let known = before.iter().position(|other| other == name);
        if let (Some(Value::Table(old)), Value::Table(new)) = (known.map(|at| &old[at]), it) {
            tables(&within(place, &format!("{key} {name}")), old, new, found);
        }
    }
    let kept = |of: &[String], other: &[String]| -> Vec<String> {
        of.iter()
            .filter(|name| other.contains(name))
            .cloned()
            .collect()
    };
    if kept(&before, &after) != kept(&after, &before) {
        found.push(Difference {
            place: place.to_owned(),
            what: format!("another order of {key}"),
        });
    }
}

fn is_list(value: Option<&Value>) -> bool {
    match value {
        None => true,
        Some(Value::Array(all)) => !all.is_empty() && all.iter().all(Value::is_table),
        Some(_) => false,
    }
}

fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn within(place: &str, key: &str) -> String {
    if place.is_empty() {
        key.to_owned()
    } else {
        format!("{place}, {key}")
    }
}

fn unspoken(key: &str) -> bool {
    UNSPOKEN.contains(&key)
}

/// As it stands in the file; `None` where it is not there, or is not to be shown.
fn shown(key: &str, value: Option<&Value>) -> Option<String> {
    let text = value?.to_string();
    // An address may have a password in it.
    (!unspoken(key) && !text.contains('@')).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_is_named_with_its_place() {
        let old = r#"
listen = "127.0.0.1:4000"
fixed_per_month = "10"
[gateway]
idle = "10s"
[[gateway.key]]
name = "app"
env = "APP"
[[model]]
name = "m"
[[model.backend]]
name = "a"
url = "http://u:secret@10.0.0.1"
weight = 65
command = ["vllm", "--api-key", "secret"]
[[model.backend]]
name = "b"
env = { HF_TOKEN = "secret" }
[[model.rule]]
tools = true
to = ["a"]
"#;
        let new = r#"
listen = "127.0.0.1:4000"
[gateway]
idle = "20s"
[[model]]
name = "m"
cold = "overflow"
[[model.backend]]
name = "b"
env = { HF_TOKEN = "other secret" }
[[model.backend]]
name = "a"
url = "http://u:secret@10.0.0.2"
weight = 50
command = ["vllm", "--api-key", "another secret"]
[[model.rule]]
tools = true
to = ["b"]
[[model]]
name = "n"
"#;
        let said: Vec<_> = differences(old, new)
            .into_iter()
            .map(|it| format!("{}: {}", it.place, it.what))
            .collect();
        assert_eq!(
            said,
            [
                "gateway: idle \"10s\" → \"20s\"",
                "gateway, key app: removed",
                "model n: added",
                "model m, backend b: env changed",
                "model m, backend a: command changed",
                "model m, backend a: url changed",
                "model m, backend a: weight 65 → 50",
                "model m: another order of backend",
                "model m: cold \"overflow\", was not set",
                "model m, rule 1: to [\"a\"] → [\"b\"]",
                ": fixed_per_month not set, was \"10\"",
            ]
        );
        assert_eq!(differences(old, old), []);
    }
}
