//! What a dialog says of a cluster: the steps, what the cluster makes of them, and the exact calls.

use ratatui::text::{Line, Span};

use super::{heading, wrapped};
use crate::fleet::Preview;
use crate::tui::app::{App, Rehearsal};
use crate::tui::theme::Role;
use crate::tui::update::confirm::exact;

/// Steps that are named one by one.
const STEPS: usize = 9;

/// The keys of a dialog.
pub(super) fn keys(app: &App, previews: &[Preview]) -> Line<'static> {
    let theme = &app.theme;
    let mut spans = Vec::new();
    let mut key = |letter: &'static str, word: &'static str| {
        if !spans.is_empty() {
            spans.push(Span::raw("  "));
        }
        spans.push(Span::styled(letter, theme.of(Role::Accent)));
        spans.push(Span::styled(format!(" {word}"), theme.of(Role::Dim)));
    };
    if previews.iter().any(|p| p.forceable) {
        key("f", "force");
    }
    if previews.iter().any(|p| !p.calls.is_empty()) {
        key(
            "e",
            if app.exact.is_some() {
                "in words"
            } else {
                "exact calls"
            },
        );
    }
    key("y", "copy");
    Line::from(spans)
}

/// Why it would be refused, where it can be forced.
pub(super) fn refused(app: &App, p: &Preview, width: u16) -> Vec<Line<'static>> {
    let theme = &app.theme;
    let mut out = vec![Line::default(), heading(theme, "Refused")];
    let why = p.refused.as_deref().unwrap_or_default();
    for part in why.split("; ") {
        out.extend(wrapped(theme, part, Role::Critical, width));
    }
    out.push(Line::default());
    out.extend(wrapped(
        theme,
        "f does it all the same, and shows what that means first",
        Role::Text,
        width,
    ));
    out
}

/// What is done there, in order.
pub(super) fn steps(app: &App, p: &Preview, width: u16) -> Vec<Line<'static>> {
    let theme = &app.theme;
    if p.steps.is_empty() {
        return Vec::new();
    }
    let mut out = vec![Line::default(), heading(theme, "On the cluster")];
    for (i, step) in p.steps.iter().take(STEPS).enumerate() {
        out.extend(wrapped(
            theme,
            &format!("{} {step}", i + 1),
            Role::Text,
            width,
        ));
    }
    if p.steps.len() > STEPS {
        let more = format!("and {} more", p.steps.len() - STEPS);
        out.push(Line::from(Span::styled(more, theme.of(Role::Dim))));
    }
    let (said, role) = match &app.rehearsal {
        Rehearsal::None => return out,
        Rehearsal::Asked => ("checking with the cluster".to_owned(), Role::Dim),
        Rehearsal::Accepted(said) => (said.clone(), Role::Good),
        Rehearsal::Refused(why) => (why.clone(), Role::Critical),
    };
    out.extend(wrapped(theme, &said, role, width));
    out
}

/// The calls as the API gets them, from the line on that was scrolled to.
pub(super) fn calls(app: &App, previews: &[Preview], width: u16) -> Vec<Line<'static>> {
    let theme = &app.theme;
    let calls = previews.iter().flat_map(|p| &p.calls);
    let mut lines: Vec<Line<'static>> = Vec::new();
    for call in calls {
        lines.push(Line::default());
        for (i, line) in exact(call).lines().enumerate() {
            let role = if i == 0 { Role::Strong } else { Role::Text };
            let mut rest = line;
            while !rest.is_empty() {
                let at = rest
                    .char_indices()
                    .nth(usize::from(width.max(10)))
                    .map_or(rest.len(), |(at, _)| at);
                let (part, after) = rest.split_at(at);
                lines.push(Line::from(Span::styled(part.to_owned(), theme.of(role))));
                rest = after;
            }
        }
    }
    let from = app.exact.unwrap_or(0).min(lines.len().saturating_sub(1));
    lines.split_off(from)
}
