//! Whether an object is still what was looked at: a merge patch alone would write over whatever somebody set meanwhile.

use serde_json::Value;

use super::hpa;
use super::object::{Kind, Object};
use super::plan::{Plan, Step};

/// Our own annotations say what was done: they guard nothing.
const OURS: &str = "fleetctl.dev/";

impl Plan {
    /// The object that has to be read before the step at `at` writes to it; `None` where nothing is to be compared.
    pub fn guarded(&self, at: usize) -> Option<&Object> {
        let (object, body, _) = self.merge_at(at)?;
        let mut leaves = Vec::new();
        walk(body, &mut Vec::new(), &mut leaves);
        // A pod's machine is kept or it is not: there is nothing to write over.
        (object.kind != Kind::Pod && !leaves.is_empty()).then_some(object)
    }

    /// What of the object is neither what was looked at nor what the step at `at` wants; `now`: the object as it was read.
    ///
    /// What an earlier step of the same plan wrote is left out: that is ours.
    pub fn changed_since(&self, at: usize, now: &Value) -> Option<String> {
        let (object, body, back) = self.merge_at(at)?;
        let mut leaves = Vec::new();
        walk(body, &mut Vec::new(), &mut leaves);
        let earlier = self.steps[..at].iter().filter_map(|it| match &it.step {
            Step::Merge {
                object: of, body, ..
            } if of == object => Some(body),
            _ => None,
        });
        let earlier: Vec<&Value> = earlier.collect();
        leaves.iter().find_map(|(path, wanted)| {
            let is = find(now, path).unwrap_or(&Value::Null);
            if takes_all(object, path, wanted) {
                return own_behavior(is);
            }
            let before = find(back?, path)?;
            let ours = earlier.iter().any(|it| find(it, path).is_some());
            let fits = ours || is == *wanted || is == before;
            (!fits).then(|| said(path, is, before))
        })
    }

    /// What somebody set after the step at `at`, which taking it back would write over.
    pub fn set_since(&self, at: usize, now: &Value) -> Option<String> {
        let (object, body, back) = self.merge_at(at)?;
        let mut leaves = Vec::new();
        walk(back?, &mut Vec::new(), &mut leaves);
        leaves.iter().find_map(|(path, before)| {
            let is = find(now, path).unwrap_or(&Value::Null);
            if takes_all(object, path, before) {
                return own_behavior(is);
            }
            let ours = find(body, path)?;
            let fits = is == ours || is == *before;
            (!fits).then(|| said(path, is, ours))
        })
    }

    fn merge_at(&self, at: usize) -> Option<(&Object, &Value, Option<&Value>)> {
        let planned = self.steps.get(at)?;
        let Step::Merge { object, body, .. } = &planned.step else {
            return None;
        };
        let back = match &planned.back {
            Some(Step::Merge { body, .. }) => Some(body),
            _ => None,
        };
        Some((object, body, back))
    }
}

/// Whether all that says how an autoscaler behaves is taken away: the API server filled in what nobody wrote.
fn takes_all(object: &Object, path: &[&str], to: &Value) -> bool {
    object.kind == Kind::HorizontalPodAutoscaler && to.is_null() && *path == hpa::BEHAVIOR
}

/// That somebody gave it a behavior meanwhile.
fn own_behavior(is: &Value) -> Option<String> {
    (!hpa::is_plain(is)).then(|| "somebody gave it a behavior of its own".to_owned())
}

/// Every value that a patch sets, with where.
fn walk<'a>(value: &'a Value, path: &mut Vec<&'a str>, out: &mut Vec<(Vec<&'a str>, &'a Value)>) {
    let Some(map) = value.as_object() else {
        out.push((path.clone(), value));
        return;
    };
    for (key, value) in map {
        if key.starts_with(OURS) {
            continue;
        }
        path.push(key);
        walk(value, path, out);
        path.pop();
    }
}

fn find<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, key| value.get(*key))
}

/// `minReplicas is 4 now, and was 1`.
fn said(path: &[&str], is: &Value, was: &Value) -> String {
    let word = |value: &Value| match value {
        Value::Null => "not set".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let name = path.last().copied().unwrap_or_default();
    format!("{name} is {} now, and was {}", word(is), word(was))
}
