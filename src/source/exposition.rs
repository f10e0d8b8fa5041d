//! The text that Prometheus scrapes: one pass, borrowing, only the wanted families.
//!
//! Reads both the Prometheus text format and OpenMetrics. Timestamps and exemplars are passed over, and so is a last
//! line without its line feed: it may be cut short, and half a number is a wrong number.

use std::borrow::Cow;

use memchr::{memchr, memchr2};

/// One sample of a wanted family.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line<'a> {
    /// The metric's name, with its suffix: `x_bucket`, `x_total`.
    pub name: &'a str,
    /// What stands between the braces, as written; empty where there are none. See [`labels`].
    pub labels: &'a str,
    /// The value; may be NaN or infinite.
    pub value: f64,
}

/// Gives `take` every sample whose name `pick` knows, in the order of the page.
///
/// A line that is not understood is passed over: one odd line of one exporter must not hide the others.
pub fn scan<'a, F>(
    page: &'a str,
    mut pick: impl FnMut(&'a str) -> Option<F>,
    mut take: impl FnMut(F, Line<'a>),
) {
    let mut rest = page;
    while let Some(end) = memchr(b'\n', rest.as_bytes()) {
        let line = &rest[..end];
        rest = &rest[end + 1..];
        if line.starts_with('#') {
            continue;
        }
        let Some(name_end) = memchr2(b'{', b' ', line.as_bytes()) else {
            continue;
        };
        let name = &line[..name_end];
        let Some(family) = pick(name) else {
            continue;
        };
        if let Some((labels, value)) = sample(&line[name_end..]) {
            take(
                family,
                Line {
                    name,
                    labels,
                    value,
                },
            );
        }
    }
}

/// The labels and the value of what follows a name.
fn sample(after_name: &str) -> Option<(&str, f64)> {
    let (labels, figures) = match after_name.strip_prefix('{') {
        Some(inside) => {
            let end = closing_brace(inside)?;
            (&inside[..end], &inside[end + 1..])
        }
        None => ("", after_name),
    };
    // What may follow the value, a timestamp and an exemplar, is set off by white space.
    let value = figures.split_ascii_whitespace().next()?.parse().ok()?;
    Some((labels, value))
}

/// Where the brace closes that was opened before `inside`: not within quotes.
fn closing_brace(inside: &str) -> Option<usize> {
    let bytes = inside.as_bytes();
    let mut at = 0;
    loop {
        at += memchr2(b'"', b'}', &bytes[at..])?;
        if bytes[at] == b'}' {
            return Some(at);
        }
        at = closing_quote(bytes, at + 1)? + 1;
    }
}

/// Where the quote closes whose inside begins at `at`.
fn closing_quote(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

/// The labels of a [`Line`], name and value; copies only a value that has escapes.
pub fn labels(raw: &str) -> Labels<'_> {
    Labels { rest: raw }
}

/// The value of one label.
pub fn label<'a>(raw: &'a str, name: &str) -> Option<Cow<'a, str>> {
    labels(raw)
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

/// See [`labels`].
#[derive(Clone, Debug)]
pub struct Labels<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Labels<'a> {
    type Item = (&'a str, Cow<'a, str>);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest.trim_start_matches([',', ' ']);
        let equals = memchr(b'=', rest.as_bytes())?;
        let value = rest[equals + 1..].trim_start().strip_prefix('"')?;
        let end = closing_quote(value.as_bytes(), 0)?;
        self.rest = &value[end + 1..];
        Some((rest[..equals].trim(), unescape(&value[..end])))
    }
}

/// `\\`, `\"` and `\n` are the format's escapes; any other backslash stands for itself.
fn unescape(text: &str) -> Cow<'_, str> {
    if memchr(b'\\', text.as_bytes()).is_none() {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => plain.push('\n'),
            Some(c @ ('\\' | '"')) => plain.push(c),
            Some(c) => plain.extend(['\\', c]),
            None => plain.push('\\'),
        }
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(page: &str) -> Vec<(String, String, String)> {
        let mut found = Vec::new();
        scan(
            page,
            |name| (!name.starts_with("skip")).then_some(()),
            |(), line| {
                found.push((
                    line.name.to_owned(),
                    line.labels.to_owned(),
                    line.value.to_string(),
                ));
            },
        );
        found
    }

    #[test]
    fn lines_as_they_come_in_the_wild() {
        // page, name, labels, value; an empty name where nothing may come out.
        let cases = [
            ("a 1\n", "a", "", "1"),
            ("a 1.5e+02\r\n", "a", "", "150"),
            ("a{x=\"1\"} 2\n", "a", "x=\"1\"", "2"),
            ("a{x=\"1\"}  2 1700000000000\n", "a", "x=\"1\"", "2"),
            ("a{} 3\n", "a", "", "3"),
            ("a{x=\"}\"} 4\n", "a", "x=\"}\"", "4"),
            ("a{x=\"\\\"}\"} 5\n", "a", "x=\"\\\"}\"", "5"),
            ("a{x=\"\\\\\"} 6\n", "a", "x=\"\\\\\"", "6"),
            (
                "a_bucket{le=\"+Inf\"} 7 # {trace=\"x\"} 0.1 9\n",
                "a_bucket",
                "le=\"+Inf\"",
                "7",
            ),
            ("a NaN\n", "a", "", "NaN"),
            ("a +Inf\n", "a", "", "inf"),
            ("a -Inf\n", "a", "", "-inf"),
            ("a{x=\"é漢\"} 8\n", "a", "x=\"é漢\"", "8"),
            ("# a 1\n", "", "", ""),
            ("skipped 1\n", "", "", ""),
            ("a\n", "", "", ""),
            ("a x\n", "", "", ""),
            ("a{x=\"1\" 2\n", "", "", ""),
            ("a{x=\"1\\\n", "", "", ""),
            ("a 12", "", "", ""),
            ("\n\r\n \n", "", "", ""),
            ("", "", "", ""),
        ];
        for (page, name, labels, value) in cases {
            let expected: Vec<_> = (!name.is_empty())
                .then(|| (name.to_owned(), labels.to_owned(), value.to_owned()))
                .into_iter()
                .collect();
            assert_eq!(all(page), expected, "{page:?}");
        }
    }

    #[test]
    fn labels_unescaped() {
        let raw = r#"a="1", b="x\\y\"z\nw",c="",d="\q","#;
        let read: Vec<_> = labels(raw).map(|(k, v)| (k, v.into_owned())).collect();
        assert_eq!(
            read,
            [
                ("a", "1".to_owned()),
                ("b", "x\\y\"z\nw".to_owned()),
                ("c", String::new()),
                ("d", "\\q".to_owned()),
            ]
        );
        assert_eq!(label(raw, "a"), Some(Cow::Borrowed("1")));
        assert_eq!(label(raw, "z"), None);
    }

    proptest::proptest! {
        #[test]
        fn nothing_breaks_it(page in ".{0,200}\n?.{0,50}\n") {
            scan(&page, |_| Some(()), |(), line| {
                let _ = labels(line.labels).count();
            });
        }

        #[test]
        fn any_label_value_comes_back(value in "\\PC{0,20}[\\\\\"\n]{0,4}\\PC{0,5}") {
            let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let page = format!("a{{x=\"{escaped}\"}} 1\n");
            let mut seen = None;
            scan(&page, |_| Some(()), |(), line| seen = label(line.labels, "x").map(Cow::into_owned));
            proptest::prop_assert_eq!(seen, Some(value));
        }
    }
}
