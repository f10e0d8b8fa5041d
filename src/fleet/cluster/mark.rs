//! What is written on an object that was operated, so that everybody sees who did what.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::rule::{Rule, Weighted};
use crate::fleet::backend::exact;
use crate::fleet::clean;

/// The annotation's key. Its value is a [`Mark`] as JSON; the last operation only.
pub const KEY: &str = "fleetctl.dev/op";

/// The annotation's key for a pin, which what is done later does not replace.
pub const PIN: &str = "fleetctl.dev/pin";

/// What is begun is over or left within this long.
const LASTS: TimeDelta = TimeDelta::minutes(10);

/// What was done to an object, or is being done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// `wake`, `sleep`, `drain`, `undrain`, `pin`, `unpin` or `weights`.
    pub op: String,
    /// Of which backend or model: `llm/llama`.
    pub of: String,
    /// Who.
    pub by: String,
    /// As whom to the cluster, where that is somebody else: a token's user, or the one who is impersonated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// When it was asked for.
    pub at: DateTime<Utc>,
    /// Why, where somebody said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Until when it is meant to stand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
    /// Tells one operation from another; the holder of its lease.
    pub id: String,
    /// Whether all of it is done; what several steps do is not until the last.
    #[serde(default)]
    pub done: bool,
    /// It was begun and taken back: what stood before it stands again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub undone: bool,
    /// What a least number was set to, so that what somebody else wrote since is not undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<u32>,
    /// The number that a pin holds it at, where it holds it at one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exactly: Option<u32>,
    /// The weights that were set, so that it can be told whether they still stand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<Weighted>,
    /// What stood before.
    #[serde(default, skip_serializing_if = "Before::is_empty")]
    pub prev: Before,
}

/// What stood before an operation: all that is needed to take it back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    /// Replicas asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    /// The weights of the rules that were changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub weights: Vec<Weighted>,
    /// The least replicas of the autoscaler, or of the owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<u32>,
    /// How the autoscaler chose to scale down; `None`: nothing was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// Annotations that were replaced.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub annotations: Vec<(String, Option<String>)>,
}

impl Before {
    /// What an annotation was that was replaced.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        let mut all = self.annotations.iter();
        all.find(|(it, _)| it == key)?.1.as_deref()
    }

    /// Whether it has the weights of that rule.
    pub fn names(&self, rule: &Rule) -> bool {
        let mut all = self.weights.iter();
        all.any(|it| it.rule == rule.at && it.route == rule.route)
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Mark {
    /// The same, ended.
    #[must_use]
    pub fn closed(&self) -> Self {
        Self {
            done: true,
            ..self.clone()
        }
    }

    /// ` at exactly 3`, where a pin holds it so, for a sentence.
    pub fn exact(&self) -> String {
        exact(self.exactly)
    }

    /// Who did it, and as whom to the cluster.
    pub fn who(&self) -> String {
        match &self.user {
            Some(user) => format!("{} as {user}", self.by),
            None => self.by.clone(),
        }
    }

    /// It stands: all of it was done, and nobody took it back.
    pub fn stands(&self) -> bool {
        self.done && !self.undone
    }

    /// What it left keeps the backend down still: a sleep or a drain, until all of that is taken back.
    pub fn keeps_down(&self) -> bool {
        match &*self.op {
            "sleep" | "drain" => !self.undone,
            "undrain" => !self.stands(),
            _ => false,
        }
    }

    /// It began, and neither ended nor was taken back: who did it is at it, or is gone.
    pub fn is_open(&self) -> bool {
        !self.done && !self.undone
    }

    /// It began so lately that who did it may well be at it: no operation but a wake waits for longer.
    pub fn is_fresh(&self, now: DateTime<Utc>) -> bool {
        now - self.at < LASTS
    }

    /// The mark in an annotation; `None` where it is not one of ours, which is no fault.
    pub fn read(text: &str) -> Option<Self> {
        let mut mark: Self = serde_json::from_str(text).ok()?;
        mark.clean();
        Some(mark)
    }

    /// Anybody who may annotate could have written it: nothing in it is for a terminal to obey.
    fn clean(&mut self) {
        let Self {
            op,
            of,
            by,
            user,
            at: _,
            reason,
            until: _,
            id,
            done: _,
            undone: _,
            set: _,
            exactly: _,
            to,
            prev,
        } = self;
        for said in [op, of, by, reason, id].into_iter().chain(user) {
            *said = clean(said);
        }
        let Before {
            replicas: _,
            weights,
            min: _,
            policy,
            annotations,
        } = prev;
        for Weighted {
            route,
            rule: _,
            weights,
        } in to.iter_mut().chain(weights)
        {
            let names = weights.iter_mut().map(|(name, _)| name);
            for said in names.chain([&mut route.version, &mut route.namespace, &mut route.name]) {
                *said = clean(said).into();
            }
        }
        let both = annotations
            .iter_mut()
            .map(|(key, value)| [Some(key), value.as_mut()]);
        for said in both.flatten().flatten().chain(policy) {
            *said = clean(said);
        }
    }

    /// As an annotation's value.
    pub fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_mark_is_for_a_terminal_to_obey() {
        let evil = "\u{1b}]0;x\u{7}a\u{202e}\u{9b}2Jb\u{1b}";
        let weighted = Weighted {
            route: crate::fleet::cluster::object::Object::new(
                crate::fleet::cluster::object::Kind::HttpRoute,
                evil,
                evil,
            ),
            rule: 0,
            weights: vec![(evil.into(), 7)],
        };
        let mark = Mark {
            op: evil.into(),
            of: evil.into(),
            by: evil.into(),
            user: Some(evil.into()),
            reason: evil.into(),
            id: evil.into(),
            to: vec![weighted.clone()],
            prev: Before {
                weights: vec![weighted],
                policy: Some(evil.into()),
                annotations: vec![(evil.into(), Some(evil.into()))],
                ..Before::default()
            },
            ..Mark::default()
        };
        let read = Mark::read(&mark.text()).unwrap();
        assert_eq!(read.of, "ab");
        assert_eq!(&*read.to[0].weights[0].0, "ab");
        let odd = |c: char| c.is_control() || c == '\u{202e}';
        assert!(!format!("{read:?}").contains("\\u"), "{read:?}");
        assert!(!read.text().contains(odd));
    }
}
