//! Asking before acting: a command with its preview. Enter applies what stops nothing; what stops work starts on Cancel.

use std::fmt::Write as _;

use crossterm::event::{KeyCode, KeyEvent};
use serde_json::Value;

use super::super::app::{App, Mode, Rehearsal};
use super::super::event::Effect;
use super::super::view;
use super::toast;
use crate::fleet::cluster::call::Write;
use crate::fleet::cluster::mark::Mark;
use crate::fleet::{Actor, Command, Fleet, Preview, Receipt, Refusal, preview_by};

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
            apply: !commands.iter().zip(&previews).any(|(c, p)| stops(c, p)),
            commands,
            previews,
        };
    } else {
        app.mode = Mode::Normal;
        effects.extend(commands.into_iter().map(Effect::Send));
    }
    effects
}

/// Whether it stops work: then Enter alone does not do it.
fn stops(command: &Command, preview: &Preview) -> bool {
    match command {
        Command::Sleep { .. } | Command::Drain { .. } | Command::Force { .. } => true,
        Command::Wake { .. }
        | Command::Undrain { .. }
        | Command::Pin { .. }
        | Command::Unpin { .. }
        | Command::Weights { .. }
        | Command::Flip { .. }
        | Command::Undo => preview.affected > 0 || preview.refused.is_some(),
    }
}

/// What a command will do, on behalf of who sits here.
fn seen(app: &App, command: &Command) -> Preview {
    preview_by(&app.fleet, command, &Actor::Operator(app.operator.clone()))
}

/// Has the cluster check what is about to be asked for, where that is one thing.
fn rehearse(app: &mut App, commands: &[Command], previews: &[Preview]) -> Option<Effect> {
    app.exact = false;
    app.read_from = 0;
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

/// Whether `f` has a meaning: it would be refused, or waits for what may never come.
pub(in crate::tui) fn can_force(command: &Command, preview: &Preview) -> bool {
    let waits = matches!(command, Command::Sleep { .. } | Command::Drain { .. });
    preview.forceable || waits && !preview.calls.is_empty()
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
    if !can_force(command, preview) {
        return Vec::new();
    }
    let command = Box::new(command.clone());
    always(app, vec![Command::Force { command }])
}

/// An open dialog speaks of the fleet as it is now: others act too while one reads. What somebody changed meanwhile is
/// asked again: Enter alone does not apply what was decided by looking at something else.
pub(super) fn follow(app: &mut App, before: &Fleet) -> Vec<Effect> {
    let fleet = app.fleet.clone();
    let Mode::Confirm {
        commands,
        previews,
        apply,
    } = &mut app.mode
    else {
        return Vec::new();
    };
    let changed = |it: &Command| before.version(it) != fleet.version(it);
    let changed = commands.iter().find(|it| changed(it));
    let stands = changed.map(|it| fleet.target_of(it));
    if stands.is_some() {
        *apply = false;
    }
    let by = Actor::Operator(app.operator.clone());
    let now: Vec<Preview> = commands
        .iter()
        .map(|c| preview_by(&fleet, c, &by))
        .collect();
    // What cannot be done any more keeps its last words; the fleet refuses it with the reason.
    for (shown, now) in previews.iter_mut().zip(now) {
        if now.refused.is_none() {
            let calls = std::mem::take(&mut shown.calls);
            *shown = now;
            // Only when it was asked for moves on: what is being read stands still.
            if same(&calls, &shown.calls) {
                shown.calls = calls;
            }
        }
    }
    stands.map_or_else(Vec::new, |target| {
        let said = format!("{target} has changed while you looked: this is what stands now");
        toast(app, said, true)
    })
}

/// Whether calls differ in nothing but the moment and the name of the operation.
fn same(one: &[Write], other: &[Write]) -> bool {
    one.len() == other.len()
        && one.iter().zip(other).all(|(a, b)| {
            let rest = |it: &Write| Write {
                body: Value::Null,
                ..it.clone()
            };
            rest(a) == rest(b) && timeless(&a.body) == timeless(&b.body)
        })
}

/// A body without the moment and the name of the operation in its marks.
fn timeless(body: &Value) -> Value {
    match body {
        Value::String(text) => Mark::read(text).map_or_else(
            || body.clone(),
            |mark| {
                let mark = Mark {
                    id: String::new(),
                    at: chrono::DateTime::UNIX_EPOCH,
                    ..mark
                };
                mark.text().into()
            },
        ),
        Value::Array(all) => all.iter().map(timeless).collect(),
        Value::Object(all) => {
            let each = all.iter().map(|(key, it)| (key.clone(), timeless(it)));
            Value::Object(each.collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => body.clone(),
    }
}

/// Where reading goes on in an open dialog.
fn read(app: &mut App, key: KeyCode) {
    let (lines, room) = view::reading(app);
    let page = room.saturating_sub(1).max(1);
    let to = match key {
        KeyCode::Down | KeyCode::Char('j') => app.read_from + 1,
        KeyCode::Up | KeyCode::Char('k') => app.read_from.saturating_sub(1),
        KeyCode::PageDown | KeyCode::Char(' ') => app.read_from + page,
        KeyCode::PageUp => app.read_from.saturating_sub(page),
        KeyCode::End | KeyCode::Char('G') => lines,
        _ => 0,
    };
    app.read_from = to.min(lines.saturating_sub(room));
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
            app.exact = !app.exact;
            app.read_from = 0;
        }
        KeyCode::Down
        | KeyCode::Up
        | KeyCode::PageDown
        | KeyCode::PageUp
        | KeyCode::Home
        | KeyCode::End
        | KeyCode::Char('j' | 'k' | 'g' | 'G' | ' ') => read(app, key.code),
        KeyCode::Char('f') => return force(app),
        KeyCode::Char('y') => {
            let calls: Vec<String> = previews.iter().flat_map(|p| &p.calls).map(exact).collect();
            let (said, text) = match calls.len() {
                0 => {
                    let told: Vec<String> = previews.iter().map(told).collect();
                    ("copied what it says".to_owned(), told.join("\n"))
                }
                1 => ("copied the call".to_owned(), calls.join("")),
                n => (format!("copied {n} calls"), calls.join("\n\n")),
            };
            let mut effects = vec![Effect::Copy(text)];
            effects.extend(toast(app, said, false));
            return effects;
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
