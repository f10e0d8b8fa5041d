//! The command palette: a line above the footer, its completions above it.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::{Clear, Widget as _};
use unicode_width::UnicodeWidthStr;

use crate::tui::app::App;
use crate::tui::theme::Role;
use crate::tui::update::palette::completions;
use crate::tui::widget::panel::cut;

/// The widest completion list.
const WIDEST: u16 = 72;

pub(super) fn render(app: &App, input: &str, chosen: usize, footer: Rect, buf: &mut Buffer) {
    if footer.is_empty() {
        return;
    }
    let theme = &app.theme;
    let found = completions(app, input);
    let width = WIDEST.min(footer.width);
    for (i, text) in found.iter().enumerate() {
        let Some(y) = footer.y.checked_sub((found.len() - i) as u16) else {
            continue;
        };
        let place = Rect::new(footer.x, y, width, 1);
        Clear.render(place, buf);
        let ground = theme.of(Role::Text).patch(theme.of(Role::Dialog));
        buf.set_style(
            place,
            if i == chosen {
                ground.patch(theme.of(Role::Selection))
            } else {
                ground
            },
        );
        let edge = if i == chosen { theme.glyphs.edge } else { " " };
        buf.set_string(place.x, y, edge, theme.of(Role::Accent));
        buf.set_string(
            place.x + 1,
            y,
            cut(theme, text, width.saturating_sub(2)),
            ratatui::style::Style::new(),
        );
    }
    Clear.render(footer, buf);
    buf.set_style(footer, theme.of(Role::Text).patch(theme.of(Role::Dialog)));
    let line = format!(":{input}");
    buf.set_stringn(
        footer.x + 1,
        footer.y,
        &line,
        usize::from(footer.width.saturating_sub(2)),
        theme.of(Role::Accent),
    );
    let x = footer.x + 1 + (line.width() as u16).min(footer.width.saturating_sub(2));
    if x < footer.right() {
        buf.set_string(x, footer.y, theme.glyphs.edge, theme.of(Role::Accent));
    }
    let hint = "tab completes  enter runs  esc leaves";
    if footer.width > x - footer.x + 4 + hint.len() as u16 {
        buf.set_string(
            footer.right() - hint.len() as u16 - 1,
            footer.y,
            hint,
            theme.of(Role::Dim),
        );
    }
}
