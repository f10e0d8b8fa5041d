//! The one thing that is wrong, on a line of its own, with the key that helps.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use unicode_width::UnicodeWidthStr;

use super::findings;
use crate::fleet::Finding;
use crate::tui::app::{App, Screen};
use crate::tui::keymap::{Action, key_of};
use crate::tui::text;
use crate::tui::theme::Role;
use crate::tui::widget::panel::cut;

/// From here on there is room for a model's name before its backend's.
const WIDE: u16 = 120;

pub(super) fn render(app: &App, area: Rect, buf: &mut Buffer) {
    if area.is_empty() {
        return;
    }
    let theme = &app.theme;
    let Some((at, shown)) = app
        .shown_finding()
        .and_then(|at| Some((at, app.fleet.findings.get(at)?)))
    else {
        // The row stays, so that nothing jumps when something goes wrong.
        let calm = if app.fleet.backends.is_empty() {
            ""
        } else {
            "nothing needs attention"
        };
        buf.set_stringn(
            area.x + 1,
            area.y,
            calm,
            usize::from(area.width.saturating_sub(1)),
            theme.of(Role::Faint),
        );
        return;
    };
    let role = findings::role(shown.severity);
    buf.set_style(area, theme.of(Role::Alert));
    let mut keys = keys(app, shown, at);
    let width = |keys: &[(String, String)]| {
        keys.iter()
            .map(|(k, w)| k.width() + w.width() + 3)
            .sum::<usize>()
    };
    let room = usize::from(area.width.saturating_sub(2));
    while width(&keys) > room / 2 && keys.pop().is_some() {}
    let mut x = area.right().saturating_sub(width(&keys) as u16);
    let left = room.saturating_sub(width(&keys) + 2);
    for (key, word) in &keys {
        buf.set_string(x, area.y, key, theme.of(Role::Accent));
        buf.set_string(
            x + key.width() as u16 + 1,
            area.y,
            word,
            theme.of(Role::Dim),
        );
        x += (key.width() + word.width() + 3) as u16;
    }
    let name = if area.width < WIDE {
        findings::short(app, shown)
    } else {
        findings::name(app, shown)
    };
    let glyph = theme.glyphs.alert;
    let head = if name.is_empty() {
        format!("{glyph} ")
    } else {
        format!("{glyph} {name} ")
    };
    buf.set_stringn(
        area.x + 1,
        area.y,
        &head,
        left,
        theme.of(role).add_modifier(ratatui::style::Modifier::BOLD),
    );
    let rest = left.saturating_sub(head.width());
    buf.set_string(
        area.x + 1 + head.width().min(left) as u16,
        area.y,
        cut(theme, &text::on_screen(&shown.what), rest as u16),
        theme.of(Role::Text),
    );
}

/// The keys that help with it. A key acts on what is selected: those of another backend are not offered, but the way there.
fn keys(app: &App, shown: &Finding, at: usize) -> Vec<(String, String)> {
    let all = app.fleet.findings.len();
    let there = match &shown.backend {
        Some(id) => app.selected.as_ref() == Some(id),
        None => true,
    };
    let next = key_of(Action::NextFinding).to_owned();
    let mut out = Vec::new();
    if !there {
        out.push((next.clone(), "go to it".to_owned()));
    }
    if let Some(id) = &shown.backend
        && app.acts_on(id)
    {
        let able = shown.keys.iter().filter(|(key, _)| offered(app, *key));
        out.extend(able.map(|(key, word)| match key {
            '\n' => ("enter".to_owned(), word.clone()),
            key => (key.to_string(), word.clone()),
        }));
    }
    if all > 1 {
        let list = key_of(Action::Findings).to_owned();
        out.insert(0, (list, format!("{} of {all}", at + 1)));
        if there {
            out.push((next, "next".to_owned()));
        }
    }
    out
}

/// Whether a finding's key does on this screen what the finding means by it.
fn offered(app: &App, key: char) -> bool {
    match key {
        '\n' => matches!(app.screen, Screen::Fleet | Screen::Cost),
        // On Routing the one is a weight that goes up, and the other leads nowhere.
        'l' | 'r' => app.screen != Screen::Routing,
        _ => !app.read_only,
    }
}
