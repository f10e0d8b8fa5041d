//! The rooms of the house, and who may know whom: read from the sources themselves.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a house that cannot be read has failed"
)]

use std::path::{Path, PathBuf};

/// A room, the sibling rooms that it may use, and the crates that it must not know.
const ROOMS: [(&str, &[&str], &[&str]); 18] = [
    (
        "fleet",
        &[],
        &[
            "tokio",
            "ratatui",
            "crossterm",
            "reqwest",
            "hyper",
            "axum",
            "kube",
        ],
    ),
    (
        "clock",
        &[],
        &["ratatui", "crossterm", "reqwest", "hyper", "axum"],
    ),
    (
        "config",
        &[],
        &["tokio", "ratatui", "crossterm", "reqwest", "hyper", "axum"],
    ),
    (
        "handle",
        &["fleet"],
        &["ratatui", "crossterm", "reqwest", "hyper", "axum"],
    ),
    ("web", &["fleet"], &["ratatui", "crossterm", "axum"]),
    (
        "cluster",
        &["fleet"],
        &["ratatui", "crossterm", "axum", "reqwest"],
    ),
    (
        "source",
        &["fleet", "config", "clock", "cluster", "process", "web"],
        &["ratatui", "crossterm", "axum"],
    ),
    (
        "admin",
        &["fleet", "handle", "secret"],
        &["ratatui", "crossterm", "reqwest"],
    ),
    (
        "remote",
        &["fleet", "handle", "web"],
        &["ratatui", "crossterm", "axum"],
    ),
    (
        "store",
        &["fleet"],
        &["ratatui", "crossterm", "reqwest", "hyper", "axum"],
    ),
    (
        "secret",
        &[],
        &["ratatui", "crossterm", "reqwest", "hyper", "axum", "tokio"],
    ),
    (
        "process",
        &[],
        &["ratatui", "crossterm", "reqwest", "hyper", "axum"],
    ),
    (
        "actuator",
        &["fleet", "config", "clock", "cluster", "process", "web"],
        &["ratatui", "crossterm", "axum"],
    ),
    (
        "gateway",
        &["fleet", "config", "clock", "handle", "secret"],
        &["ratatui", "crossterm", "kube"],
    ),
    (
        "hub",
        &["fleet", "clock", "handle", "source", "actuator", "store"],
        &["ratatui", "crossterm"],
    ),
    ("sim", &["config", "clock"], &["ratatui", "crossterm"]),
    (
        "tui",
        &["fleet", "handle"],
        &["reqwest", "hyper", "axum", "kube"],
    ),
    (
        "cli",
        &[
            "actuator", "admin", "clock", "cluster", "config", "fleet", "gateway", "handle", "hub",
            "process", "remote", "secret", "sim", "source", "store", "tui", "web",
        ],
        &[],
    ),
];

/// A file longer than this, tests aside, holds a second idea.
const LONGEST: usize = 400;

#[test]
fn no_room_knows_what_it_must_not() {
    let mut wrong = Vec::new();
    for path in sources(Path::new("src")) {
        let text = std::fs::read_to_string(&path).unwrap();
        let Some(room) = room_of(&path) else { continue };
        wrong.extend(
            strangers(&room, &text)
                .into_iter()
                .map(|what| format!("{}: {what}", path.display())),
        );
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_forbidden_line_is_noticed() {
    assert_eq!(
        strangers("fleet", "use tokio::sync::watch;"),
        ["knows tokio"]
    );
    assert_eq!(
        strangers("tui", "let x = crate::gateway::run;"),
        ["uses gateway"]
    );
    assert_eq!(strangers("sim", "use crate::{clock, hub};"), ["uses hub"]);
    assert_eq!(
        strangers(
            "fleet",
            "// use tokio::x\nuse std::fmt;\n#[cfg(test)]\nmod tests {\n    use tokio::x;\n}\n"
        ),
        Vec::<String>::new()
    );
}

#[test]
fn what_follows_a_test_item_is_read() {
    let text = "#[cfg(test)]\nmod tests;\n\nuse tokio::sync::watch;";
    assert_eq!(strangers("fleet", text), ["knows tokio"]);
}

#[test]
fn every_room_is_in_the_table_and_no_file_holds_two_ideas() {
    let mut wrong = Vec::new();
    for path in sources(Path::new("src")) {
        let text = std::fs::read_to_string(&path).unwrap();
        if let Some(room) = room_of(&path)
            && !ROOMS.iter().any(|(name, ..)| *name == room)
        {
            wrong.push(format!("{}: no such room in the table", path.display()));
        }
        let lines = production(&text).count();
        if lines > LONGEST && !LONG.contains(&path.to_str().unwrap()) {
            wrong.push(format!("{}: {lines} lines", path.display()));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Files that are long for a reason: each is one table or one exhaustive match that reads best whole.
const LONG: [&str; 5] = [
    "src/config.rs",
    "src/fleet/machine.rs",
    "src/fleet/order.rs",
    "src/fleet/preview.rs",
    "src/tui/keymap.rs",
];

/// What a room's text uses that it must not.
fn strangers(room: &str, text: &str) -> Vec<String> {
    let (_, siblings, crates) = ROOMS
        .iter()
        .find(|(name, ..)| *name == room)
        .unwrap_or_else(|| panic!("no room `{room}`"));
    let mut out = Vec::new();
    for line in production(text) {
        let line = line.trim();
        for (other, ..) in &ROOMS {
            let named = line.contains(&format!("crate::{other}::"))
                || line.contains(&format!("use crate::{other};"))
                || (line.starts_with("use crate::{") && words(line).any(|w| w == *other));
            if named && *other != room && !siblings.contains(other) {
                out.push(format!("uses {other}"));
            }
        }
        for stranger in *crates {
            if line.contains(&format!("{stranger}::")) && words(line).any(|w| w == *stranger) {
                out.push(format!("knows {stranger}"));
            }
        }
    }
    out
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_alphanumeric() && c != '_')
}

/// The lines of a file without its test items and comments: an item marked for tests ends with its `;` or its closing brace.
fn production(text: &str) -> impl Iterator<Item = &str> {
    let mut testing = false;
    text.lines().filter(move |line| {
        if line.contains("#[cfg(test)]") {
            testing = true;
            return false;
        }
        if testing {
            let indented = line.starts_with(' ');
            testing = indented || !(line.ends_with(';') || line.starts_with('}'));
            return false;
        }
        !line.trim_start().starts_with("//")
    })
}

fn room_of(path: &Path) -> Option<String> {
    let inside = path.strip_prefix("src").unwrap();
    let first = inside.components().next()?.as_os_str().to_str()?;
    let room = first.trim_end_matches(".rs");
    (!["lib", "main"].contains(&room)).then(|| room.to_owned())
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name == "tests" || name == "tests.rs" {
            continue;
        }
        if path.is_dir() {
            out.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
    out.sort();
    out
}
