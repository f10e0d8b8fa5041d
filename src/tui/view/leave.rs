//! What is left half done by leaving, and the ways on.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Widget as _};

use super::help::centred;
use crate::fleet::Backend;
use crate::tui::app::App;
use crate::tui::text;
use crate::tui::theme::Role;
use crate::tui::widget::panel;

/// The widest.
const WIDEST: u16 = 76;
/// Operations that are named one by one.
const NAMED: usize = 6;

pub(super) fn render(app: &App, area: Rect, buf: &mut Buffer) {
    let theme = &app.theme;
    let width = WIDEST.min(area.width);
    let room = usize::from(width.saturating_sub(4));
    let mut lines = vec![Line::default()];
    let all: Vec<&Backend> = app.at_work().collect();
    for b in all.iter().take(NAMED) {
        lines.extend(
            text::wrapped(&under_way(app, b), room, 2)
                .into_iter()
                .map(|it| Line::styled(it, theme.of(Role::Warning))),
        );
    }
    if all.len() > NAMED {
        let more = format!("and {} more", all.len() - NAMED);
        lines.push(Line::styled(more, theme.of(Role::Dim)));
    }
    lines.push(Line::default());
    let what = "It is left there, and marked as unfinished. Another console can take it over, or roll a drain back.";
    for line in text::wrapped(what, room, 0) {
        lines.push(Line::styled(line, theme.of(Role::Text)));
    }
    lines.push(Line::default());
    let mut keys = Line::default();
    for (key, word) in [
        ("enter", "stays here"),
        ("q", "leaves it"),
        ("ctrl-c", "leaves it"),
    ] {
        keys.push_span(Span::styled(key, theme.of(Role::Accent)));
        keys.push_span(Span::styled(format!(" {word}   "), theme.of(Role::Dim)));
    }
    lines.push(keys);
    let place = centred(area, width, lines.len() as u16 + 2);
    Clear.render(place, buf);
    buf.set_style(place, theme.of(Role::Text).patch(theme.of(Role::Dialog)));
    let title = Line::styled("Leave?", theme.of(Role::Warning));
    let on = Line::styled(format!("on {}", app.whole.name), theme.of(Role::Warning));
    let inner = panel::render(theme, place, &title, &on, buf);
    for (y, line) in (inner.y..inner.bottom()).zip(&lines) {
        buf.set_line(inner.x, y, line, inner.width);
    }
}

/// `drain of llama-3.3-70b/llm/llama is at step 3 of 9: …`
fn under_way(app: &App, b: &Backend) -> String {
    let doing = b.doing.as_deref().unwrap_or_default();
    match &b.progress {
        Some(at) => format!(
            "{} of {} is at step {} of {} for {}: {doing}",
            at.op,
            b.full_name(),
            at.step,
            at.of,
            text::clock(app.whole.now - at.step_since)
        ),
        None => format!("{} is at: {doing}", b.full_name()),
    }
}
