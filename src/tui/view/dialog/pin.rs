//! The pin form: for how long, at how many, and why.

use ratatui::text::{Line, Span};

use super::LABELS;
use crate::tui::app::App;
use crate::tui::pin_form::{PinField, PinForm};
use crate::tui::theme::Role;

/// Its lines, with the cursor in the field that has the keyboard.
pub(super) fn form(app: &App, form: &PinForm) -> Vec<Line<'static>> {
    let theme = &app.theme;
    let entry = |label: &str, value: &str, focused: bool, hint: &str| {
        let mut spans = vec![
            Span::styled(
                format!("{label:<LABELS$}"),
                theme.of(if focused { Role::Accent } else { Role::Dim }),
            ),
            Span::styled(value.to_owned(), theme.of(Role::Strong)),
        ];
        if focused {
            spans.push(Span::styled(theme.glyphs.edge, theme.of(Role::Accent)));
        }
        if value.is_empty() {
            spans.push(Span::styled(format!(" {hint}"), theme.of(Role::Faint)));
        }
        Line::from(spans)
    };
    let has = |field| form.field == field;
    let mut lines = vec![
        Line::default(),
        entry(
            "for",
            &form.duration,
            has(PinField::Duration),
            "until it is lifted",
        ),
    ];
    lines.extend(form.exactly.as_deref().map(|exactly| {
        let hint = "replicas; empty: as many as there are, or more";
        entry("at exactly", exactly, has(PinField::Exactly), hint)
    }));
    lines.extend([
        entry(
            "because",
            &form.reason,
            has(PinField::Reason),
            "the others will read it",
        ),
        Line::default(),
        form.error.as_deref().map_or_else(
            || {
                let number = form.exactly.as_deref().unwrap_or_default();
                let said = if number.trim().is_empty() {
                    "It stays warm; its idle timer rests. Times like 90m, 4h, 2d."
                } else {
                    "It stays at that number: nothing scales it. Times like 90m, 4h, 2d."
                };
                Line::from(Span::styled(said, theme.of(Role::Dim)))
            },
            |e| Line::from(Span::styled(e.to_owned(), theme.of(Role::Critical))),
        ),
        Line::default(),
        Line::from(vec![
            Span::styled("tab", theme.of(Role::Accent)),
            Span::styled(" field   ", theme.of(Role::Dim)),
            Span::styled("enter", theme.of(Role::Accent)),
            Span::styled(" preview   ", theme.of(Role::Dim)),
            Span::styled("esc", theme.of(Role::Accent)),
            Span::styled(" cancel", theme.of(Role::Dim)),
        ]),
    ]);
    lines
}
