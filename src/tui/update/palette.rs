//! The command palette: the keymap's words and a few that take a name, with completion.

use crossterm::event::{KeyCode, KeyEvent};

use super::super::app::{App, Column, Mode, Screen};
use super::super::event::Effect;
use super::super::keymap::{Group, KEYMAP};
use super::super::theme::{self, Theme};
use super::{confirm, leave, normal, pin, toast};
use crate::fleet::{BackendId, Command};

/// Completions that are shown.
const SHOWN: usize = 8;
/// Verbs that take a backend.
const VERBS: [&str; 6] = ["wake", "sleep", "drain", "undrain", "unpin", "select"];
/// Orders of the table by name.
const SORTS: [(&str, Column); 9] = [
    ("backend", Column::Backend),
    ("state", Column::State),
    ("requests", Column::Requests),
    ("running", Column::Running),
    ("ttft", Column::Ttft),
    ("tokens", Column::Tokens),
    ("gpu", Column::Gpu),
    ("kv", Column::Kv),
    ("rate", Column::Rate),
];

pub(super) fn press(app: &mut App, key: KeyEvent) -> Vec<Effect> {
    let found = if let Mode::Palette { input, .. } = &app.mode {
        completions(app, input)
    } else {
        Vec::new()
    };
    let Mode::Palette { input, chosen } = &mut app.mode else {
        return Vec::new();
    };
    match key.code {
        KeyCode::Esc => app.mode = Mode::Normal,
        KeyCode::Backspace if input.is_empty() => app.mode = Mode::Normal,
        KeyCode::Backspace => {
            input.pop();
            *chosen = 0;
        }
        KeyCode::Char(c) => {
            input.push(c);
            *chosen = 0;
        }
        KeyCode::Down => *chosen = (*chosen + 1).min(found.len().saturating_sub(1)),
        KeyCode::Up => *chosen = chosen.saturating_sub(1),
        KeyCode::Tab => {
            if let Some(text) = found.get(*chosen) {
                input.clone_from(text);
                *chosen = 0;
            }
        }
        KeyCode::Enter => {
            // What is highlighted runs; but what is typed does where it is a command as it stands and nothing was chosen.
            let line = match found.get(*chosen) {
                Some(text) if *chosen > 0 || goes_on(text, input) || !is_whole(input) => {
                    text.clone()
                }
                Some(_) | None => input.clone(),
            };
            app.mode = Mode::Normal;
            return run(app, line.trim());
        }
        _ => {}
    }
    Vec::new()
}

/// Commands that begin with `input`, then those that contain it.
pub fn completions(app: &App, input: &str) -> Vec<String> {
    let wanted = input.trim_start().to_lowercase();
    let all = every(app);
    let begins = all.iter().filter(|c| c.to_lowercase().starts_with(&wanted));
    let contains = all
        .iter()
        .filter(|c| !c.to_lowercase().starts_with(&wanted) && c.to_lowercase().contains(&wanted));
    begins.chain(contains).take(SHOWN).cloned().collect()
}

fn every(app: &App) -> Vec<String> {
    let words = KEYMAP
        .iter()
        .filter(|b| b.group != Group::Move && !(app.read_only && b.group == Group::Act))
        .map(|b| b.word.to_owned());
    let screens = Screen::ALL
        .iter()
        .map(|s| format!("screen {}", s.title().to_lowercase()));
    let themes = theme::NAMES.iter().map(|n| format!("theme {n}"));
    let sorts = SORTS.iter().map(|(name, _)| format!("sort {name}"));
    let named = VERBS
        .iter()
        .filter(|v| !app.read_only || **v == "select")
        .flat_map(|verb| {
            app.fleet
                .backends
                .iter()
                .map(move |b| format!("{verb} {}", b.id))
        });
    let pins = app
        .fleet
        .backends
        .iter()
        .filter(|b| !b.is_hosted() && !app.read_only)
        .map(|b| format!("pin {} 4h ", b.id));
    let weights = app.fleet.models.iter().filter(|_| !app.read_only).map(|m| {
        let weights: Vec<String> = app
            .fleet
            .backends_of(&m.id)
            .map(|b| format!("{}={}", b.id, b.weight))
            .collect();
        format!("weights {} {}", m.id, weights.join(" "))
    });
    let clusters = app
        .whole
        .clusters
        .iter()
        .filter(|_| app.whole.clusters.len() > 1);
    let clusters = clusters.map(|it| format!("fleet {}", it.name));
    let clusters = clusters.chain((app.whole.clusters.len() > 1).then(|| "fleet all".to_owned()));
    words
        .chain(clusters)
        .chain(screens)
        .chain(themes)
        .chain(sorts)
        .chain(named)
        .chain(pins)
        .chain(weights)
        .collect()
}

/// Whether `text` only completes the last word of `input`: `theme li` is no theme, `theme light` is.
fn goes_on(text: &str, input: &str) -> bool {
    let input = input.trim_start();
    input.contains(' ')
        && text.starts_with(input)
        && text.split_whitespace().count() == input.split_whitespace().count()
}

/// Whether the line names a command with all that it needs.
fn is_whole(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let first = words.next().unwrap_or_default();
    let rest = words.count();
    rest > 0 || KEYMAP.iter().any(|b| b.word == line.trim()) || first == "quit"
}

fn run(app: &mut App, line: &str) -> Vec<Effect> {
    let mut words = line.split_whitespace();
    let verb = words.next().unwrap_or_default();
    let args: Vec<&str> = words.collect();
    if args.is_empty() {
        return match KEYMAP.iter().find(|b| b.word == line) {
            Some(binding) if binding.action == super::super::keymap::Action::Quit => {
                leave::quit(app)
            }
            Some(binding) => normal::act(app, binding.action),
            None => unknown(app, line),
        };
    }
    let backend = |app: &App| {
        app.fleet
            .backends
            .iter()
            .find(|b| b.id.as_str() == args[0])
            .map(|b| b.id.clone())
    };
    match (verb, backend(app)) {
        ("wake", Some(backend)) => confirm::ask(app, vec![Command::Wake { backend }]),
        ("sleep", Some(backend)) => confirm::ask(app, vec![Command::Sleep { backend }]),
        ("drain", Some(backend)) => confirm::ask(app, vec![Command::Drain { backend }]),
        ("undrain", Some(backend)) => confirm::ask(app, vec![Command::Undrain { backend }]),
        ("unpin", Some(backend)) => confirm::ask(app, vec![Command::Unpin { backend }]),
        ("pin", Some(backend)) => pin_line(app, backend, &args[1..]),
        ("select", Some(backend)) => {
            app.selected = Some(backend);
            Vec::new()
        }
        ("screen", _) => match Screen::ALL
            .into_iter()
            .find(|s| s.title().eq_ignore_ascii_case(args[0]))
        {
            Some(screen) => {
                normal::show(app, screen);
                Vec::new()
            }
            None => unknown(app, line),
        },
        ("fleet", _) => only(app, args[0]),
        ("theme", _) => match Theme::named(args[0], app.theme.glyphs) {
            Ok(theme) => {
                app.theme = theme;
                Vec::new()
            }
            Err(error) => toast(app, error.to_string(), true),
        },
        ("sort", _) => match SORTS.iter().find(|(name, _)| *name == args[0]) {
            Some((_, column)) => {
                normal::sort(app, *column);
                Vec::new()
            }
            None => unknown(app, line),
        },
        ("weights", _) => weights_line(app, &args),
        (verb, None) if VERBS.contains(&verb) || verb == "pin" => toast(
            app,
            format!("no backend `{}`{}", args[0], near(app, args[0])),
            true,
        ),
        _ => unknown(app, line),
    }
}

/// Looks at one of several clusters, or at all of them again.
fn only(app: &mut App, name: &str) -> Vec<Effect> {
    let known = app.whole.clusters.iter().any(|it| *it.name == *name);
    if name != "all" && !known {
        let all: Vec<&str> = app.whole.clusters.iter().map(|it| &*it.name).collect();
        let what = format!("no cluster `{name}`; there are {}", all.join(", "));
        return toast(app, what, true);
    }
    app.only = (name != "all").then(|| name.to_owned());
    let whole = std::sync::Arc::clone(&app.whole);
    app.take(whole);
    if app.backend().is_none() {
        app.selected = app.fleet.backends.first().map(|b| b.id.clone());
    }
    Vec::new()
}

fn pin_line(app: &mut App, backend: BackendId, rest: &[&str]) -> Vec<Effect> {
    let Some((span, reason)) = rest.split_first().filter(|(_, reason)| !reason.is_empty()) else {
        return toast(
            app,
            "write it like: pin BACKEND 4h because of the launch; at exactly 3 replicas: pin BACKEND 4h =3 …".into(),
            true,
        );
    };
    // `=3`: at exactly so many.
    let number = reason.first().and_then(|it| it.strip_prefix('='));
    let reason = &reason[usize::from(number.is_some())..];
    let exactly = number.map(pin::replicas).transpose();
    match exactly.and_then(|exactly| Ok((pin::span(span)?, exactly.flatten()))) {
        Ok((span, exactly)) => {
            let until = span.map(|s| app.fleet.now + s);
            confirm::always(
                app,
                vec![Command::Pin {
                    backend,
                    until,
                    exactly,
                    reason: reason.join(" "),
                }],
            )
        }
        Err(what) => toast(app, what, true),
    }
}

fn weights_line(app: &mut App, args: &[&str]) -> Vec<Effect> {
    let weights: Option<Vec<(BackendId, u32)>> = args[1..]
        .iter()
        .map(|pair| {
            pair.split_once('=')
                .and_then(|(b, w)| Some((BackendId::from(b), w.parse().ok()?)))
        })
        .collect();
    match weights {
        Some(weights) if !weights.is_empty() => confirm::ask(
            app,
            vec![Command::Weights {
                model: args[0].into(),
                weights,
            }],
        ),
        _ => toast(
            app,
            "write it like: weights MODEL this=65 that=35".into(),
            true,
        ),
    }
}

fn unknown(app: &mut App, line: &str) -> Vec<Effect> {
    toast(
        app,
        format!("no command `{line}`; : shows them as you type"),
        true,
    )
}

/// The backend whose name shares the longest beginning, as a hint.
fn near(app: &App, name: &str) -> String {
    let common = |id: &str| {
        id.chars()
            .zip(name.chars())
            .take_while(|(a, b)| a == b)
            .count()
    };
    let best = app
        .fleet
        .backends
        .iter()
        .max_by_key(|b| common(b.id.as_str()));
    best.filter(|b| common(b.id.as_str()) > 0)
        .map_or(String::new(), |b| format!("; did you mean {}?", b.id))
}
