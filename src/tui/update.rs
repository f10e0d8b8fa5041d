//! How the console's state changes: one event in, effects out, nothing awaited.

pub(super) mod confirm;
mod findings;
mod leave;
mod mouse;
mod normal;
pub mod palette;
mod pin;
mod routing;

use std::collections::HashSet;
use std::sync::Arc;

use super::app::{App, Link, Mode, Toast};
use super::event::{Effect, Event};
use super::view::fleet::order::visible_order;
use crate::fleet::{Actor, BackendId, Fleet};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// Toasts on the screen at once; the oldest leaves.
const TOASTS: usize = 4;

/// Takes in one event and says what is to be done.
pub fn update(app: &mut App, event: Event) -> Vec<Effect> {
    match event {
        Event::Key(key) => press(app, key),
        Event::Paste(text) => {
            type_in(
                app,
                &text.chars().filter(|c| !c.is_control()).collect::<String>(),
            );
            Vec::new()
        }
        Event::Mouse(mouse) => mouse::update(app, mouse),
        Event::Resize(columns, rows) => {
            app.size = (columns, rows);
            Vec::new()
        }
        Event::Snapshot(fleet) => {
            let before = app.take(fleet);
            app.link = Link::Live;
            follow(app, &before);
            let mut effects = confirm::follow(app, &before);
            if app.mode == Mode::Leave && app.at_work().next().is_none() {
                // Nothing is left half done any more.
                app.mode = Mode::Normal;
            }
            effects.extend(ended(app, &before));
            effects
        }
        Event::Answer(Ok(receipt)) => {
            let undo = if receipt.undoable {
                " (z undoes it)"
            } else {
                ""
            };
            toast(app, format!("{}{undo}", receipt.said), false)
        }
        Event::Answer(Err(refusal)) => toast(app, refusal.to_string(), true),
        Event::Rehearsed(command, answer) => {
            confirm::rehearsed(app, &command, answer);
            Vec::new()
        }
        Event::Quiet(seconds) => {
            match &mut app.link {
                Link::Lost(_) => {}
                Link::Away(away, _) => *away = seconds,
                Link::Loading | Link::Live | Link::Stale(_) => app.link = Link::Stale(seconds),
            }
            Vec::new()
        }
        Event::Lost(reason) => {
            let away = match app.link {
                Link::Stale(seconds) | Link::Away(seconds, _) => seconds,
                Link::Loading | Link::Live | Link::Lost(_) => 0,
            };
            app.link = Link::Away(away, reason);
            Vec::new()
        }
        Event::Closed(reason) => {
            app.link = Link::Lost(reason);
            Vec::new()
        }
        Event::Expired(id) => {
            app.toasts.retain(|t| t.id != id);
            Vec::new()
        }
    }
}

/// A key goes to whatever has the keyboard.
fn press(app: &mut App, key: KeyEvent) -> Vec<Effect> {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    if control && key.code == KeyCode::Char('c') {
        return leave::quit(app);
    }
    if control && key.code == KeyCode::Char('z') {
        return vec![Effect::Suspend];
    }
    let other = KeyModifiers::ALT | KeyModifiers::META | KeyModifiers::SUPER | KeyModifiers::HYPER;
    if key.modifiers.intersects(other) {
        // Alt-w is not w: nothing is done by a key that nobody bound.
        return Vec::new();
    }
    if control && app.mode != Mode::Normal {
        if key.code == KeyCode::Char('u') {
            clear_field(app);
        }
        return Vec::new();
    }
    match app.mode {
        Mode::Normal => normal::press(app, key),
        Mode::Filter => filter(app, key),
        Mode::Palette { .. } => palette::press(app, key),
        Mode::Confirm { .. } => confirm::press(app, key),
        Mode::Pin { .. } => pin::press(app, key),
        Mode::Findings { .. } => findings::press(app, key),
        Mode::Leave => leave::press(app, key),
        Mode::Help => {
            app.mode = Mode::Normal;
            Vec::new()
        }
    }
}

fn filter(app: &mut App, key: KeyEvent) -> Vec<Effect> {
    match key.code {
        KeyCode::Enter => app.mode = Mode::Normal,
        KeyCode::Esc => {
            app.filter.clear();
            app.mode = Mode::Normal;
        }
        KeyCode::Backspace => {
            app.filter.pop();
        }
        KeyCode::Char(c) => app.filter.push(c),
        KeyCode::Up | KeyCode::Down => return normal::press(app, key),
        _ => {}
    }
    keep_selection_visible(app);
    Vec::new()
}

/// Empties the field that has the keyboard, as a shell does.
fn clear_field(app: &mut App) {
    match &mut app.mode {
        Mode::Filter => app.filter.clear(),
        Mode::Palette { input, chosen } => {
            input.clear();
            *chosen = 0;
        }
        Mode::Pin { .. } => pin::clear_field(app),
        Mode::Normal | Mode::Confirm { .. } | Mode::Help | Mode::Findings { .. } | Mode::Leave => {}
    }
}

/// Text goes into the field that has the keyboard.
fn type_in(app: &mut App, text: &str) {
    match &mut app.mode {
        Mode::Filter => app.filter.push_str(text),
        Mode::Palette { input, chosen } => {
            input.push_str(text);
            *chosen = 0;
        }
        Mode::Pin { .. } => pin::type_in(app, text),
        Mode::Normal | Mode::Confirm { .. } | Mode::Help | Mode::Findings { .. } | Mode::Leave => {}
    }
}

/// Says how operations on clusters ended that were begun from here.
fn ended(app: &mut App, before: &Fleet) -> Vec<Effect> {
    let Some(known) = before.audit.back().filter(|_| app.fleet.is_on_clusters()) else {
        return Vec::new();
    };
    let cluster = Actor::Policy("cluster".into());
    let new = app.fleet.audit.iter().rev();
    let new = new.take_while(|it| !Arc::ptr_eq(known, it));
    let ends = new.filter(|it| it.by == cluster && (it.bad || it.result.starts_with("done on ")));
    let mut said: Vec<(String, bool)> = ends
        .map(|it| {
            (
                format!("{} of {}: {}", it.verb, it.target, it.result),
                it.bad,
            )
        })
        .collect();
    said.reverse();
    said.into_iter()
        .flat_map(|(text, bad)| toast(app, text, bad))
        .collect()
}

/// Shows a short message for a while.
fn toast(app: &mut App, text: String, bad: bool) -> Vec<Effect> {
    let id = app.toasts.last().map_or(1, |t| t.id + 1);
    app.toasts.push(Toast { text, bad, id });
    if app.toasts.len() > TOASTS {
        app.toasts.remove(0);
    }
    vec![Effect::Expire(id)]
}

/// The selection stays on its backend; where that is gone, on the one that took its place.
fn follow(app: &mut App, before: &crate::fleet::Fleet) {
    let gone = |id: &crate::fleet::BackendId| app.fleet.backend(id).is_none();
    match &app.selected {
        Some(id) if gone(id) => {
            let at = before
                .backends
                .iter()
                .position(|b| b.id == *id)
                .unwrap_or(0);
            let last = app.fleet.backends.len().saturating_sub(1);
            app.selected = app.fleet.backends.get(at.min(last)).map(|b| b.id.clone());
            app.draft = None;
        }
        Some(_) => {}
        None => app.selected = app.fleet.backends.first().map(|b| b.id.clone()),
    }
    if !app.marks.is_empty() {
        let all = app.fleet.backends.iter();
        let there: HashSet<&BackendId> = all.map(|b| &b.id).collect();
        app.marks.retain(|id| there.contains(id));
    }
}

fn keep_selection_visible(app: &mut App) {
    let order = visible_order(app);
    if !app.selected.as_ref().is_some_and(|id| order.contains(id))
        && let Some(first) = order.into_iter().next()
    {
        app.selected = Some(first);
    }
}
