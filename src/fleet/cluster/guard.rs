//! Whether an object is still what was looked at: a merge patch alone would write over whatever somebody set meanwhile.

use serde_json::Value;

use super::hpa;
use super::keda;
use super::mark::{Mark, PIN};
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
        leaves.iter().find_map(|(path, wanted)| {
            let is = find(now, path).unwrap_or(&Value::Null);
            if takes_all(object, path, wanted) {
                let theirs = self.is_theirs(at, object, path, wanted, is);
                // What nothing takes back is left out instead, see [`Self::still_ours`].
                return theirs.map_or_else(|| own_behavior(is), |why| back.map(|_| why));
            }
            let before = stood(back?, path)?;
            let ours = self.earlier(at, object, path).is_some();
            let fits = ours || is == *wanted || is == before;
            (!fits).then(|| said(path, is, before))
        })
    }

    /// What the step at `at` writes to `now` where nothing takes it back: without what somebody set since this plan wrote
    /// it, and what that is.
    pub fn still_ours(&self, at: usize, now: &Value) -> (Value, Vec<String>) {
        let Some((object, body, back)) = self.merge_at(at) else {
            return (Value::Null, Vec::new());
        };
        let (mut ours, mut left) = (body.clone(), Vec::new());
        if back.is_some() {
            return (ours, left);
        }
        let pin = now["metadata"]["annotations"][PIN].as_str();
        let pin = pin.and_then(Mark::read).filter(Mark::stands);
        let mut leaves = Vec::new();
        walk(body, &mut Vec::new(), &mut leaves);
        for (path, wanted) in leaves {
            let is = find(now, &path).unwrap_or(&Value::Null);
            let pinned = pin.as_ref().filter(|_| path.last() == Some(&keda::FORCE));
            let pinned = pinned.map(|pin| format!("{} pinned it, and it stays so", pin.by));
            let theirs = || {
                let why = self.is_theirs(at, object, &path, wanted, is)?;
                Some(format!("{why}: somebody else's, and it stays"))
            };
            if let Some(why) = pinned.or_else(theirs) {
                take_out(&mut ours, &path);
                left.push(why);
            }
        }
        (ours, left)
    }

    /// That what `is` at a path is not what an earlier step of this plan wrote there, or what stood where none did, nor
    /// what is `wanted`.
    fn is_theirs(
        &self,
        at: usize,
        object: &Object,
        path: &[&str],
        wanted: &Value,
        is: &Value,
    ) -> Option<String> {
        let (path, is) = if takes_all(object, path, wanted) {
            let policy = is["scaleDown"].get("selectPolicy");
            (&hpa::POLICY[..], policy.unwrap_or(&Value::Null))
        } else {
            (path, is)
        };
        let back = self.merge_at(at).and_then(|(.., back)| back);
        let stood = || stood(back?, path);
        let set = self.earlier(at, object, path).or_else(stood)?;
        (is != set && is != wanted).then(|| said(path, is, set))
    }

    /// What the last step before `at` writes at a path of an object.
    fn earlier(&self, at: usize, object: &Object, path: &[&str]) -> Option<&Value> {
        self.steps[..at].iter().rev().find_map(|it| match &it.step {
            Step::Merge {
                object: of, body, ..
            } if of == object => find(body, path),
            _ => None,
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
                let policy = is["scaleDown"].get("selectPolicy");
                let ours = find(body, &hpa::POLICY);
                let theirs = policy.zip(ours).filter(|(is, ours)| is != ours);
                let theirs = theirs.map(|(is, ours)| said(&hpa::POLICY, is, ours));
                return theirs.or_else(|| own_behavior(is));
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

/// The same of what is to be written: below what is nothing there is nothing.
fn stood<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, key| match value {
        Value::Null => Some(value),
        value => value.get(*key),
    })
}

/// Takes the value at a path out of a patch.
fn take_out(body: &mut Value, path: &[&str]) {
    let Some((key, below)) = path.split_first() else {
        return;
    };
    let Some(map) = body.as_object_mut() else {
        return;
    };
    if below.is_empty() {
        map.remove(*key);
    } else if let Some(inner) = map.get_mut(*key) {
        take_out(inner, below);
        if inner.as_object().is_some_and(serde_json::Map::is_empty) {
            map.remove(*key);
        }
    }
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
