//! The Audit screen: who did what, with what result, newest first.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;

use crate::fleet::{Actor, AuditEntry};
use crate::tui::app::App;
use crate::tui::text;
use crate::tui::theme::{Role, Theme};
use crate::tui::widget::columns::{self, Column};
use crate::tui::widget::panel;

/// Draws the Audit screen into `area`.
pub fn render(app: &App, area: Rect, buf: &mut Buffer) {
    let theme = &app.theme;
    let all = app.fleet.audit_with_marks();
    let matching: Vec<_> = all
        .iter()
        .rev()
        .filter(|entry| matches(entry, &app.filter))
        .collect();
    let bad = matching.iter().filter(|entry| entry.bad).count();
    let mut title = Line::from(vec![
        Span::styled("Audit", theme.of(Role::Accent)),
        Span::styled(format!("  {} entries", matching.len()), theme.of(Role::Dim)),
    ]);
    if !app.filter.is_empty() {
        let said = format!(" match {}", app.filter);
        title.push_span(Span::styled(said, theme.of(Role::Warning)));
    }
    let summary = if bad > 0 {
        Line::from(Span::styled(format!("{bad} bad"), theme.of(Role::Critical)))
    } else {
        Line::from(Span::styled("nothing bad", theme.of(Role::Faint)))
    };
    let inner = panel::render(theme, area, &title, &summary, buf);
    if matching.is_empty() {
        let said = if app.filter.is_empty() {
            "Nothing has been done yet. What operators, requests and policies do appears here."
        } else {
            "Nothing matches the filter. esc clears it, / changes it."
        };
        if inner.height > 0 {
            let said = panel::cut(theme, said, inner.width);
            buf.set_string(inner.x, inner.y, said, theme.of(Role::Dim));
        }
        return;
    }
    // A backend's own name says which it is; its model's is left out where it would cost the result.
    let short = inner.width < 100;
    let target = matching
        .iter()
        .map(|e| target(e, short).width())
        .max()
        .unwrap_or(0);
    let columns = [
        Column::word("TIME", 8, 90),
        Column::figure("AGO", 5, 40),
        Column::word("WHO", 10, 80),
        Column::word("AS", 8, 30),
        Column::word("VERB", 8, 100),
        Column::word("TARGET", target.clamp(6, 32) as u16, 60),
        Column::rest("RESULT", 28, 95),
    ];
    let first = app.scroll.min(matching.len() - 1);
    let rows = matching
        .iter()
        .skip(first)
        .map(|entry| cells(app, entry, short));
    columns::render(theme, &columns, rows, inner, buf);
}

fn matches(entry: &AuditEntry, filter: &str) -> bool {
    let hay = format!(
        "{} {} {} {}",
        entry.by.name(),
        entry.verb,
        entry.target,
        entry.result
    );
    super::requests::contains_all(&hay, filter)
}

fn target(entry: &AuditEntry, short: bool) -> &str {
    match entry.target.rsplit_once('/') {
        Some((_, name)) if short => name,
        _ => &entry.target,
    }
}

fn cells(app: &App, entry: &AuditEntry, short: bool) -> Vec<(String, Style)> {
    let theme = &app.theme;
    let verb = if entry.bad {
        Role::Critical
    } else {
        verb(&entry.verb)
    };
    let result = if entry.bad {
        Role::Critical
    } else {
        Role::Text
    };
    let (kind, who) = actor(&entry.by);
    vec![
        (entry.at.format("%H:%M:%S").to_string(), theme.of(Role::Dim)),
        (text::age(app.fleet.now - entry.at), theme.of(Role::Faint)),
        (entry.by.name().to_owned(), theme.of(who)),
        (kind.to_owned(), theme.of(Role::Faint)),
        (entry.verb.clone(), bold(theme, verb)),
        (target(entry, short).to_owned(), theme.of(Role::Text)),
        (entry.result.clone(), theme.of(result)),
    ]
}

fn bold(theme: &Theme, role: Role) -> Style {
    theme.of(role).add_modifier(ratatui::style::Modifier::BOLD)
}

fn actor(by: &Actor) -> (&'static str, Role) {
    match by {
        Actor::Operator(_) => ("operator", Role::Text),
        Actor::Request => ("request", Role::Waking),
        Actor::Policy(_) => ("policy", Role::Dim),
    }
}

fn verb(word: &str) -> Role {
    match word {
        "wake" | "late" => Role::Waking,
        "warm" => Role::Good,
        "sleep" | "asleep" => Role::Asleep,
        "drain" => Role::Warning,
        _ => Role::Text,
    }
}

/// What happened last, for the Fleet screen while nothing wakes.
pub(super) fn render_newest(app: &App, area: Rect, buf: &mut Buffer) {
    let theme = &app.theme;
    let title = Line::from(Span::styled("Lately", theme.of(Role::Accent)));
    let inner = panel::render(theme, area, &title, &Line::default(), buf);
    if app.fleet.audit.is_empty() && !inner.is_empty() {
        let said = panel::cut(theme, "nothing has happened yet", inner.width);
        buf.set_string(inner.x, inner.y, said, theme.of(Role::Dim));
    }
    for (i, entry) in app
        .fleet
        .audit
        .iter()
        .rev()
        .take(usize::from(inner.height))
        .enumerate()
    {
        let y = inner.y + i as u16;
        let verb = if entry.bad {
            Role::Critical
        } else {
            Role::Text
        };
        let line = Line::from(vec![
            Span::styled(
                entry.at.format("%H:%M:%S  ").to_string(),
                theme.of(Role::Dim),
            ),
            Span::styled(format!("{:<9}", entry.verb), theme.of(verb)),
            Span::styled(format!("{}  ", entry.target), theme.of(Role::Text)),
            Span::styled(entry.result.clone(), theme.of(Role::Dim)),
        ]);
        buf.set_line(inner.x, y, &line, inner.width);
    }
}
