//! Short messages, bottom right.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::{Clear, Widget as _};
use unicode_width::UnicodeWidthStr;

use crate::tui::app::App;
use crate::tui::text::on_screen;
use crate::tui::theme::Role;
use crate::tui::widget::panel::cut;

pub(super) fn render(app: &App, area: Rect, buf: &mut Buffer) {
    let theme = &app.theme;
    let widest = area.width.saturating_sub(4);
    for (up, toast) in app.toasts.iter().rev().enumerate() {
        let y = area.bottom().checked_sub(2 + up as u16);
        let Some(y) = y.filter(|y| *y > area.y && widest > 8) else {
            return;
        };
        let (glyph, role) = if toast.bad {
            (theme.glyphs.failed, Role::Critical)
        } else {
            (theme.glyphs.done, Role::Good)
        };
        let text = cut(theme, &on_screen(&toast.text), widest - 5);
        let width = text.width() as u16 + 4;
        let place = Rect::new(area.right() - width - 2, y, width, 1);
        Clear.render(place, buf);
        buf.set_style(
            place,
            theme.of(Role::Text).patch(theme.of(Role::ButtonIdle)),
        );
        buf.set_string(place.x + 1, y, glyph, theme.of(role));
        buf.set_string(place.x + 3, y, text, ratatui::style::Style::new());
    }
}
