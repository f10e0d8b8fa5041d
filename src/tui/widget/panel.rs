//! A framed area with a title on the left and a summary on the right.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;
use unicode_width::UnicodeWidthStr;

use crate::tui::theme::{Role, Theme};

/// Draws the frame and gives back the area inside it, one column of air on each side.
pub fn render(
    theme: &Theme,
    area: Rect,
    title: &Line<'_>,
    summary: &Line<'_>,
    buf: &mut Buffer,
) -> Rect {
    if area.width < 4 || area.height < 2 {
        return Rect { height: 0, ..area };
    }
    let [left_top, right_top, left_bottom, right_bottom, across, down] = theme.glyphs.frame;
    let style = theme.of(Role::Border);
    let (right, bottom) = (area.right() - 1, area.bottom() - 1);
    for x in area.left()..=right {
        buf.set_string(x, area.y, across, style);
        buf.set_string(x, bottom, across, style);
    }
    for y in area.top()..=bottom {
        buf.set_string(area.x, y, down, style);
        buf.set_string(right, y, down, style);
    }
    for (x, y, corner) in [
        (area.x, area.y, left_top),
        (right, area.y, right_top),
        (area.x, bottom, left_bottom),
        (right, bottom, right_bottom),
    ] {
        buf.set_string(x, y, corner, style);
    }
    let room = area.width.saturating_sub(6);
    let title_width = (title.width() as u16).min(room);
    buf.set_string(area.x + 2, area.y, " ", style);
    buf.set_line(area.x + 3, area.y, title, title_width);
    buf.set_string(area.x + 3 + title_width, area.y, " ", style);
    let summary_width = summary.width() as u16;
    if summary_width > 0 && summary_width + title_width + 6 <= room {
        let x = right - 3 - summary_width;
        buf.set_string(x, area.y, " ", style);
        buf.set_line(x + 1, area.y, summary, summary_width);
        buf.set_string(right - 2, area.y, " ", style);
    }
    Rect {
        x: area.x + 2,
        y: area.y + 1,
        width: area.width - 4,
        height: area.height - 2,
    }
}

/// `text` cut to `width` columns, with an ellipsis where something was cut.
pub fn cut(theme: &Theme, text: &str, width: u16) -> String {
    let width = usize::from(width);
    if text.width() <= width {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 1;
    for c in text.chars() {
        used += unicode_width::UnicodeWidthChar::width(c).unwrap_or(0);
        if used > width {
            break;
        }
        out.push(c);
    }
    if width > 0 {
        out.push_str(theme.glyphs.ellipsis);
    }
    out
}
