//! Where in the text of a config something stands.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A step into a config.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// Into the table of this key.
    Table(&'a str),
    /// Into the table of this `name` in the list of this key.
    Named(&'a str, &'a str),
}

/// The line of the table at the end of these steps, by its `name` where it has one; of several the last. Counted from 1.
pub fn line_of(text: &str, steps: &[Step<'_>]) -> Option<usize> {
    let table = DeTable::parse(text).ok()?;
    let mut here = table.get_ref();
    let mut at = table.span().start;
    for step in steps {
        let inner = match step {
            Step::Table(key) => here.get(*key)?,
            Step::Named(key, name) => named(here.get(*key)?, name)?,
        };
        let DeValue::Table(table) = inner.get_ref() else {
            return None;
        };
        here = table;
        at = here.get("name").unwrap_or(inner).span().start;
    }
    Some(text.get(..at)?.matches('\n').count() + 1)
}

fn named<'t, 'i>(list: &'t Spanned<DeValue<'i>>, name: &str) -> Option<&'t Spanned<DeValue<'i>>> {
    let DeValue::Array(all) = list.get_ref() else {
        return None;
    };
    let is_it = |it: &&Spanned<DeValue<'i>>| {
        let DeValue::Table(table) = it.get_ref() else {
            return false;
        };
        let known = table.get("name").and_then(|name| name.get_ref().as_str());
        known == Some(name)
    };
    all.iter().rev().find(is_it)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found() {
        let text = "listen = \"x\"\n[gateway]\nidle = \"1s\"\n[[gateway.key]]\nname = \"app\"\n[[model]]\nname = \"m\"\n\n\
                    [[model.backend]]\nurl = \"y\"\nname = \"b\"\n[[model.backend]]\nname = \"b\"\n";
        let line = |steps: &[Step<'_>]| line_of(text, steps);
        assert_eq!(line(&[Step::Named("model", "m")]), Some(7));
        let backend = [Step::Named("model", "m"), Step::Named("backend", "b")];
        assert_eq!(line(&backend), Some(13), "of two the one that is too many");
        let key = [Step::Table("gateway"), Step::Named("key", "app")];
        assert_eq!(line(&key), Some(5));
        assert_eq!(line(&[Step::Named("model", "n")]), None);
        assert_eq!(line(&[Step::Table("listen")]), None);
    }
}
