//! Going to what needs attention: one after the other, or from the list of all.

use crossterm::event::{KeyCode, KeyEvent};

use super::super::app::{App, Followed, Mode, Screen};
use super::super::event::Effect;
use super::super::view::fleet::order::visible_order;
use super::toast;

/// To the finding that the banner shows, where something else is selected; else to the next one.
pub(super) fn next(app: &mut App) -> Vec<Effect> {
    let Some(shown) = app.shown_finding() else {
        return toast(app, "nothing needs attention".into(), false);
    };
    let about = app.fleet.findings[shown].backend.clone();
    let there = about.is_none() || about == app.selected;
    let to = if there {
        (shown + 1) % app.fleet.findings.len()
    } else {
        shown
    };
    go(app, to);
    Vec::new()
}

/// Opens the list of all, at the one that the banner shows.
pub(super) fn open(app: &mut App) -> Vec<Effect> {
    let Some(chosen) = app.shown_finding() else {
        return toast(app, "nothing needs attention".into(), false);
    };
    app.mode = Mode::Findings { chosen };
    Vec::new()
}

pub(super) fn press(app: &mut App, key: KeyEvent) -> Vec<Effect> {
    let last = app.fleet.findings.len().saturating_sub(1);
    let Mode::Findings { chosen } = &mut app.mode else {
        return Vec::new();
    };
    *chosen = (*chosen).min(last);
    match key.code {
        KeyCode::Down | KeyCode::Char('j' | 'n') => *chosen = (*chosen + 1).min(last),
        KeyCode::Up | KeyCode::Char('k') => *chosen = chosen.saturating_sub(1),
        KeyCode::PageDown => *chosen = (*chosen + PAGE).min(last),
        KeyCode::PageUp => *chosen = chosen.saturating_sub(PAGE),
        KeyCode::Home | KeyCode::Char('g') => *chosen = 0,
        KeyCode::End | KeyCode::Char('G') => *chosen = last,
        KeyCode::Enter => {
            let to = *chosen;
            app.mode = Mode::Normal;
            go(app, to);
        }
        KeyCode::Char('y') => {
            let text: Vec<String> = app.fleet.findings.iter().map(|it| told(app, it)).collect();
            let mut effects = toast(app, "copied all of them".into(), false);
            effects.push(Effect::Copy(text.join("\n")));
            return effects;
        }
        KeyCode::Esc | KeyCode::Char('q' | '!') => app.mode = Mode::Normal,
        _ => {}
    }
    Vec::new()
}

/// Findings that PgUp and PgDn move by.
const PAGE: usize = 5;

fn told(app: &App, finding: &crate::fleet::Finding) -> String {
    let name = finding
        .backend
        .as_ref()
        .and_then(|id| app.fleet.backend(id))
        .map_or_else(String::new, |b| format!("{}: ", b.full_name()));
    format!("{name}{}", finding.what)
}

/// Selects what a finding is about, and has the banner show it.
fn go(app: &mut App, to: usize) {
    let Some(finding) = app.fleet.findings.get(to) else {
        return;
    };
    let about = finding.backend.clone();
    let before = app.fleet.findings.iter().take(to);
    let nth = before.filter(|it| it.backend == about).count();
    if let Some(id) = &about
        && let Some(model) = app.fleet.backend(id).map(|b| b.model.clone())
    {
        if app.model().is_none_or(|it| it.id != model) {
            app.draft = None;
        }
        if app.selected.as_ref() != Some(id) && app.screen == Screen::Backend {
            app.scroll = 0;
        }
        app.selected = Some(id.clone());
        // What a filter hides is not acted on: it has to be seen.
        if app.screen == Screen::Fleet && !visible_order(app).contains(id) {
            app.filter.clear();
        }
    }
    app.finding = Some(Followed {
        about,
        nth,
        selected: app.selected.clone(),
    });
}
