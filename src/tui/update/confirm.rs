//! Asking before acting: a command with its preview, Cancel focused first.

use std::fmt::Write as _;

use crossterm::event::{KeyCode, KeyEvent};

use super::super::app::{App, Mode};
use super::super::event::Effect;
use super::toast;
use crate::fleet::{Command, Preview, preview};

/// Sends `commands`, after asking where one of them stops work or costs money.
pub(super) fn ask(app: &mut App, commands: Vec<Command>) -> Vec<Effect> {
    asked(app, commands, false)
}

/// The same, asking in any case.
pub(super) fn always(app: &mut App, commands: Vec<Command>) -> Vec<Effect> {
    asked(app, commands, true)
}

pub(super) fn read_only(app: &mut App) -> Vec<Effect> {
    toast(
        app,
        "read-only: start without --read-only to act".into(),
        true,
    )
}

fn asked(app: &mut App, commands: Vec<Command>, always: bool) -> Vec<Effect> {
    if app.read_only {
        return read_only(app);
    }
    let all: Vec<(Command, Preview)> = commands
        .into_iter()
        .map(|c| (preview(&app.fleet, &c), c))
        .map(|(p, c)| (c, p))
        .collect();
    let (refused, able): (Vec<_>, Vec<_>) = all.into_iter().partition(|(_, p)| p.refused.is_some());
    let mut effects = Vec::new();
    if let Some(reason) = refused.first().and_then(|(_, p)| p.refused.clone()) {
        effects = toast(app, reason, true);
    }
    if able.is_empty() {
        return effects;
    }
    let (commands, previews): (Vec<_>, Vec<_>) = able.into_iter().unzip();
    if always || previews.iter().any(|p| p.confirm) {
        app.mode = Mode::Confirm {
            commands,
            previews,
            apply: false,
        };
    } else {
        app.mode = Mode::Normal;
        effects.extend(commands.into_iter().map(Effect::Send));
    }
    effects
}

/// An open dialog speaks of the fleet as it is now: others act too while one reads.
pub(super) fn follow(app: &mut App) {
    let fleet = app.fleet.clone();
    let Mode::Confirm {
        commands, previews, ..
    } = &mut app.mode
    else {
        return;
    };
    let now: Vec<Preview> = commands.iter().map(|c| preview(&fleet, c)).collect();
    // What cannot be done any more keeps its last words; the fleet refuses it with the reason.
    for (shown, now) in previews.iter_mut().zip(now) {
        if now.refused.is_none() {
            *shown = now;
        }
    }
}

pub(super) fn press(app: &mut App, key: KeyEvent) -> Vec<Effect> {
    let Mode::Confirm {
        apply, previews, ..
    } = &mut app.mode
    else {
        return Vec::new();
    };
    match key.code {
        KeyCode::Left
        | KeyCode::Right
        | KeyCode::Tab
        | KeyCode::BackTab
        | KeyCode::Char('h' | 'l') => *apply = !*apply,
        KeyCode::Enter => {
            let apply = *apply;
            return push(app, apply);
        }
        KeyCode::Char('y') => {
            let text = previews.iter().map(told).collect::<Vec<_>>().join("\n");
            return vec![Effect::Copy(text)];
        }
        KeyCode::Esc | KeyCode::Char('q' | 'n') => app.mode = Mode::Normal,
        _ => {}
    }
    Vec::new()
}

/// Presses a button of the dialog.
pub(super) fn push(app: &mut App, apply: bool) -> Vec<Effect> {
    let Mode::Confirm { commands, .. } = std::mem::replace(&mut app.mode, Mode::Normal) else {
        return Vec::new();
    };
    if !apply {
        return Vec::new();
    }
    app.marks.clear();
    app.draft = None;
    commands.into_iter().map(Effect::Send).collect()
}

/// A preview as plain text.
fn told(p: &Preview) -> String {
    let mut out = format!("{} {}\n", p.verb, p.target);
    for line in p.what.iter().chain(&p.warnings) {
        let _ = writeln!(out, "  {line}");
    }
    for (backend, was, is) in &p.shares {
        let _ = writeln!(
            out,
            "  {backend} {:.0} % -> {:.0} %",
            was * 100.0,
            is * 100.0
        );
    }
    if let Some((was, is)) = p.burn {
        let _ = writeln!(out, "  cost ${was}/h -> ${is}/h");
    }
    out
}
