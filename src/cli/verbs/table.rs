//! Tables for people, and output that ends when nobody reads it.

use std::io::{self, Write as _};

use anyhow::Result;
use serde_json::Value;
use unicode_width::UnicodeWidthStr as _;

use crate::admin::SCHEMA_VERSION;
use crate::fleet::clean;

/// Rows under their heads. A column whose head begins with `>` is right-aligned.
pub(super) fn print(heads: &[&str], rows: &[Vec<String>]) -> Result<()> {
    let heads: Vec<(bool, &str)> = heads
        .iter()
        .map(|head| match head.strip_prefix('>') {
            Some(head) => (true, head),
            None => (false, *head),
        })
        .collect();
    let cleaned = |row: &Vec<String>| row.iter().map(|cell| clean(cell)).collect();
    let rows: Vec<Vec<String>> = rows.iter().map(cleaned).collect();
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].width())
            .chain([heads[column].1.width()])
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let mut out = String::new();
        for ((cell, (right, _)), width) in cells.into_iter().zip(&heads).zip(&widths) {
            let gap = " ".repeat(width - cell.width());
            if *right {
                out += &gap;
                out += cell;
            } else {
                out += cell;
                out += &gap;
            }
            out += "  ";
        }
        out.trim_end().to_owned()
    };
    say(&line(heads.iter().map(|(_, head)| *head).collect()))?;
    for row in &rows {
        say(&line(row.iter().map(String::as_str).collect()))?;
    }
    Ok(())
}

/// One line, or a few, for people.
pub(in crate::cli) fn say(text: &str) -> Result<()> {
    tell(&plain(text))
}

/// The same, beside what a program may read.
pub(in crate::cli) fn aside(text: &str) -> Result<()> {
    writeln!(io::stderr(), "{}", plain(text))?;
    Ok(())
}

/// What comes from elsewhere in it is not for a terminal to obey; its lines stay.
pub(in crate::cli) fn plain(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(clean).collect();
    lines.join("\n")
}

/// A line as it is.
pub(in crate::cli) fn tell(line: &str) -> Result<()> {
    writeln!(io::stdout(), "{line}")?;
    Ok(())
}

/// One document for programs.
pub(super) fn document(mut value: Value) -> Result<()> {
    value["schema_version"] = SCHEMA_VERSION.into();
    tell(&serde_json::to_string_pretty(&value)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_keeps_its_lines_and_nothing_else_of_control() {
        assert_eq!(plain("a\u{1b}[2Jb\n  c\u{202e}d\u{9b}31m\te"), "ab\n  cd e");
    }
}
