//! Asking before acting: a command with its preview, Cancel focused first.

use std::fmt::Write as _;

use crossterm::event::{KeyCode, KeyEvent};

use super::super::app::{App, Mode, Rehearsal};
use super::super::event::Effect;
use super::toast;
use crate::fleet::cluster::plan::Write;
use crate::fleet::{Actor, Command, Preview, Receipt, Refusal, preview_by};

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
    // On clusters what is undone is what the marks on them say.
    let by = Actor::Operator(app.operator.clone());
    let mut meant = Vec::with_capacity(commands.len());
    let mut always = always;
    for command in commands {
        let back = matches!(command, Command::Undo).then(|| app.fleet.undo_by_marks(&by));
        match back.flatten() {
            Some(Ok(back)) => {
                always = true;
                meant.push(back.command);
            }
            Some(Err(refusal)) => return toast(app, refusal.to_string(), true),
            None => meant.push(command),
        }
    }
    let commands = meant;
    let all: Vec<(Command, Preview)> = commands
        .into_iter()
        .map(|c| (seen(app, &c), c))
        .map(|(p, c)| (c, p))
        .collect();
    let forceable = matches!(all.as_slice(), [(_, only)] if only.forceable);
    let (refused, able): (Vec<_>, Vec<_>) = all
        .into_iter()
        .partition(|(_, p)| p.refused.is_some() && !forceable);
    let mut effects = Vec::new();
    if let Some(reason) = refused.first().and_then(|(_, p)| p.refused.clone()) {
        effects = toast(app, reason, true);
    }
    if able.is_empty() {
        return effects;
    }
    let (commands, previews): (Vec<_>, Vec<_>) = able.into_iter().unzip();
    if always || forceable || previews.iter().any(|p| p.confirm) {
        effects.extend(rehearse(app, &commands, &previews));
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

/// What a command will do, on behalf of who sits here.
fn seen(app: &App, command: &Command) -> Preview {
    preview_by(&app.fleet, command, &Actor::Operator(app.operator.clone()))
}

/// Has the cluster check what is about to be asked for, where that is one thing.
fn rehearse(app: &mut App, commands: &[Command], previews: &[Preview]) -> Option<Effect> {
    app.exact = None;
    app.rehearsal = Rehearsal::None;
    let ([command], [preview]) = (commands, previews) else {
        return None;
    };
    if preview.calls.is_empty() || matches!(command.inner(), Command::Undo) {
        return None;
    }
    app.rehearsal = Rehearsal::Asked;
    Some(Effect::Rehearse(command.clone()))
}

/// The cluster has said what it makes of it.
pub(super) fn rehearsed(app: &mut App, command: &Command, answer: Result<Receipt, Refusal>) {
    let Mode::Confirm { commands, .. } = &app.mode else {
        return;
    };
    if matches!(commands.as_slice(), [only] if only == command) {
        app.rehearsal = match answer {
            Ok(receipt) => Rehearsal::Accepted(receipt.said),
            Err(refusal) => Rehearsal::Refused(refusal.what),
        };
    }
}

/// Asks for the same by force.
fn force(app: &mut App) -> Vec<Effect> {
    let Mode::Confirm {
        commands, previews, ..
    } = &app.mode
    else {
        return Vec::new();
    };
    let ([command], [preview]) = (commands.as_slice(), previews.as_slice()) else {
        return Vec::new();
    };
    if !preview.forceable {
        return Vec::new();
    }
    let command = Box::new(command.clone());
    always(app, vec![Command::Force { command }])
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
    let by = Actor::Operator(app.operator.clone());
    let now: Vec<Preview> = commands
        .iter()
        .map(|c| preview_by(&fleet, c, &by))
        .collect();
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
        KeyCode::Char('e') if previews.iter().any(|p| !p.calls.is_empty()) => {
            app.exact = if app.exact.is_some() { None } else { Some(0) };
        }
        KeyCode::Down | KeyCode::Char('j') => {
            app.exact = app.exact.map(|line| line + 1);
        }
        KeyCode::Up | KeyCode::Char('k') => {
            app.exact = app.exact.map(|line| line.saturating_sub(1));
        }
        KeyCode::Char('f') => return force(app),
        KeyCode::Char('y') if previews.iter().any(|p| !p.calls.is_empty()) => {
            let calls = previews.iter().flat_map(|p| &p.calls);
            let text: Vec<String> = calls.map(exact).collect();
            return vec![Effect::Copy(text.join("\n\n"))];
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
    if let Mode::Confirm { previews, .. } = &app.mode
        && apply
        && previews.iter().any(|p| p.refused.is_some())
    {
        // It says why; only the forced form goes on from here.
        return Vec::new();
    }
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

/// A call as it is sent.
pub(in crate::tui) fn exact(call: &Write) -> String {
    let body = serde_json::to_string_pretty(&call.body).unwrap_or_default();
    format!(
        "{} {}\n{}\n{body}",
        call.method, call.path, call.content_type
    )
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
