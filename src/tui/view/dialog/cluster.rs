//! What a dialog says of a cluster: the steps, what the cluster makes of them, and the exact calls.

use ratatui::text::{Line, Span};

use super::{heading, wrapped};
use crate::fleet::{Command, Preview};
use crate::tui::app::{App, Rehearsal};
use crate::tui::theme::Role;
use crate::tui::update::confirm::{can_force, exact};

/// Over the steps.
pub(super) const STEPS_HEAD: &str = "On the cluster";

/// The keys of a dialog: first what Enter does. What has no room is left out whole.
pub(super) fn keys(
    app: &App,
    commands: &[Command],
    previews: &[Preview],
    apply: bool,
    room: u16,
) -> Line<'static> {
    let theme = &app.theme;
    let mut all = vec![
        ("enter", if apply { "applies" } else { "cancels" }),
        ("tab", "other"),
    ];
    if let ([command], [preview]) = (commands, previews)
        && can_force(command, preview)
    {
        all.push(("f", "force"));
    }
    if previews.iter().any(|p| !p.calls.is_empty()) {
        all.push(("e", if app.exact { "in words" } else { "calls" }));
    }
    all.push(("y", "copy"));
    let mut line = Line::default();
    for (key, word) in all {
        let wide = line.width() + key.len() + word.len() + 3;
        if wide > usize::from(room) {
            break;
        }
        if !line.spans.is_empty() {
            line.push_span(Span::raw("  "));
        }
        line.push_span(Span::styled(key, theme.of(Role::Accent)));
        line.push_span(Span::styled(format!(" {word}"), theme.of(Role::Dim)));
    }
    line
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
    let mut out = vec![Line::default(), heading(theme, STEPS_HEAD)];
    for (i, step) in p.steps.iter().enumerate() {
        out.extend(wrapped(
            theme,
            &format!("{} {step}", i + 1),
            Role::Text,
            width,
        ));
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

/// The calls as the API gets them.
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
    lines
}
