//! Label and field selectors.

use super::failure::Failure;
use super::object::Object;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Has(String),
    Lacks(String),
}

/// Which objects a list or a watch is about.
#[derive(Debug, Clone, Default)]
pub(super) struct Selector {
    namespace: Option<String>,
    labels: Vec<Test>,
    fields: Vec<Test>,
}

impl Selector {
    pub(super) fn new(
        namespace: Option<&str>,
        labels: &str,
        fields: &str,
    ) -> Result<Self, Failure> {
        Ok(Self {
            namespace: namespace.map(str::to_owned),
            labels: parse(labels)?,
            fields: parse(fields)?,
        })
    }

    /// Only the object of this name.
    pub(super) fn named(mut self, name: &str) -> Self {
        self.fields
            .push(Test::In("metadata.name".into(), vec![name.to_owned()]));
        self
    }

    /// Whether more than the namespace is asked for.
    pub(super) fn selective(&self) -> bool {
        !self.labels.is_empty() || !self.fields.is_empty()
    }

    pub(super) fn matches(&self, object: &Object) -> bool {
        self.namespace.as_ref().is_none_or(|n| *n == object.key.0)
            && self
                .labels
                .iter()
                .all(|t| t.holds(|k| object.labels.get(k).map(String::as_str)))
            && self
                .fields
                .iter()
                .all(|t| t.holds(|k| Some(object.fields.get(k).map_or("", String::as_str))))
    }
}

impl Test {
    fn holds<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> bool {
        match self {
            Self::In(key, any) => value(key).is_some_and(|v| any.iter().any(|a| a == v)),
            Self::NotIn(key, any) => value(key).is_none_or(|v| any.iter().all(|a| a != v)),
            Self::Has(key) => value(key).is_some(),
            Self::Lacks(key) => value(key).is_none(),
        }
    }
}

/// `a=b`, `a==b`, `a!=b`, `a in (b,c)`, `a notin (b,c)`, `a`, `!a`, joined by commas.
fn parse(text: &str) -> Result<Vec<Test>, Failure> {
    split(text)
        .into_iter()
        .map(str::trim)
        .filter(|t| !t.is_empty())
        .map(|term| {
            test(term)
                .ok_or_else(|| Failure::bad_request(format!("unable to parse requirement: {term}")))
        })
        .collect()
}

/// Splits at the commas outside parentheses.
fn split(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut terms) = (0_i32, 0, Vec::new());
    for (i, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                terms.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

fn test(term: &str) -> Option<Test> {
    if let Some((key, value)) = term.split_once("!=") {
        return Some(Test::NotIn(name(key)?, vec![value.trim().to_owned()]));
    }
    if let Some((key, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
        return Some(Test::In(name(key)?, vec![value.trim().to_owned()]));
    }
    if let Some((left, set)) = term.split_once('(') {
        let any = set
            .strip_suffix(')')?
            .split(',')
            .map(|v| v.trim().to_owned())
            .collect();
        let (key, verb) = left.trim().rsplit_once(' ')?;
        return match verb {
            "in" => Some(Test::In(name(key)?, any)),
            "notin" => Some(Test::NotIn(name(key)?, any)),
            _ => None,
        };
    }
    match term.strip_prefix('!') {
        Some(key) => Some(Test::Lacks(name(key)?)),
        None => Some(Test::Has(name(term)?)),
    }
}

/// A label or field name, without a stray character.
fn name(text: &str) -> Option<String> {
    let text = text.trim();
    let fine = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    (!text.is_empty() && text.chars().all(fine)).then(|| text.to_owned())
}
