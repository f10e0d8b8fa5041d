//! Everything that needs attention, each in full, the worst first.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Widget as _};

use super::help::centred;
use crate::fleet::{Finding, Severity};
use crate::tui::app::App;
use crate::tui::text;
use crate::tui::theme::Role;
use crate::tui::widget::panel;

/// The widest list: a sentence of this length is still read in one go.
const WIDEST: u16 = 110;

/// How much it matters, as a colour.
pub(super) fn role(severity: Severity) -> Role {
    match severity {
        Severity::Critical => Role::Critical,
        Severity::Warning => Role::Warning,
        Severity::Notice => Role::Dim,
    }
}

/// What a finding is about, in full; nothing where it is the whole fleet.
pub(super) fn name(app: &App, finding: &Finding) -> String {
    finding
        .backend
        .as_ref()
        .and_then(|id| app.fleet.backend(id))
        .map(|b| b.full_name())
        .unwrap_or_default()
}

/// The same as the table says it: without the model, and without a namespace that all have.
pub(super) fn short(app: &App, finding: &Finding) -> String {
    let Some(id) = &finding.backend else {
        return String::new();
    };
    let namespace = app.fleet.namespace.as_deref();
    let within = namespace.and_then(|it| id.as_str().strip_prefix(it)?.strip_prefix('/'));
    within.unwrap_or(id.as_str()).to_owned()
}

pub(super) fn render(app: &App, chosen: usize, area: Rect, buf: &mut Buffer) {
    let theme = &app.theme;
    let all = &app.fleet.findings;
    let width = WIDEST.min(area.width);
    // Only those are laid out that may be seen: there may be thousands.
    let laid = |it: &Finding| lines(app, it, usize::from(width.saturating_sub(6)));
    let mut height = 0_u16;
    for it in all {
        height = height.saturating_add(laid(it).len() as u16 + 1);
        if height >= area.height {
            break;
        }
    }
    let place = centred(area, width, height.max(2) + 1);
    Clear.render(place, buf);
    buf.set_style(place, theme.of(Role::Text).patch(theme.of(Role::Dialog)));
    let chosen = chosen.min(all.len().saturating_sub(1));
    let title = Line::from(vec![
        Span::styled("Needs attention", theme.of(Role::Accent)),
        Span::styled(
            format!("  {} of {}", chosen + 1, all.len()),
            theme.of(Role::Dim),
        ),
    ]);
    let keys = Line::from(vec![
        Span::styled("enter", theme.of(Role::Accent)),
        Span::styled(" goes to it  ", theme.of(Role::Dim)),
        Span::styled("y", theme.of(Role::Accent)),
        Span::styled(" copies  ", theme.of(Role::Dim)),
        Span::styled("esc", theme.of(Role::Accent)),
        Span::styled(" leaves", theme.of(Role::Dim)),
    ]);
    let inner = panel::render(theme, place, &title, &keys, buf);
    // The chosen one is whole on the screen; those before it as far as there is room.
    let room = usize::from(inner.height);
    let mut first = chosen;
    let mut tall = all.get(chosen).map_or(0, |it| laid(it).len() + 1);
    while let Some(before) = first.checked_sub(1) {
        tall += laid(&all[before]).len() + 1;
        if tall > room + 1 {
            break;
        }
        first = before;
    }
    let mut y = inner.y;
    for (at, finding) in all.iter().enumerate().skip(first) {
        if y >= inner.bottom() {
            return;
        }
        for line in &laid(finding) {
            if y >= inner.bottom() {
                return;
            }
            if at == chosen {
                let row = Rect::new(inner.x, y, inner.width, 1);
                buf.set_style(row, theme.of(Role::Selection));
                buf.set_string(inner.x, y, theme.glyphs.edge, theme.of(Role::Accent));
            }
            buf.set_line(inner.x + 2, y, line, inner.width.saturating_sub(2));
            y += 1;
        }
        y += 1;
    }
}

/// Its name on a line of its own, then what is wrong and what to do.
fn lines(app: &App, finding: &Finding, width: usize) -> Vec<Line<'static>> {
    let theme = &app.theme;
    let bold = theme
        .of(role(finding.severity))
        .add_modifier(Modifier::BOLD);
    let name = match name(app, finding) {
        none if none.is_empty() => "the fleet".to_owned(),
        name => name,
    };
    let head = format!("{} {name}", theme.glyphs.alert);
    let mut out = vec![Line::from(Span::styled(head, bold))];
    let said = text::on_screen(&finding.what);
    for line in text::wrapped(&said, width.saturating_sub(2), 0) {
        let said = Span::styled(format!("  {line}"), theme.of(Role::Text));
        out.push(Line::from(said));
    }
    out
}
