//! The engine's log, the newest line at the bottom.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::fleet::Backend;
use crate::fleet::backend::LogLine;
use crate::tui::app::App;
use crate::tui::theme::Role;
use crate::tui::widget::panel;

/// Columns of the time in front of each line.
const TIME: u16 = 9;
/// Rows that one line may take before it is cut.
const ROWS: usize = 4;

/// Draws the log into `area`; it follows the newest line unless scrolled back.
pub(super) fn render(app: &App, backend: &Backend, area: Rect, buf: &mut Buffer) {
    let theme = &app.theme;
    let lines = backend.log.len();
    let skipped = app.scroll.min(lines.saturating_sub(1));
    let mut title = super::heading(theme, "Engine log");
    title.push_span(ratatui::text::Span::styled(
        format!("  {lines} lines"),
        theme.of(Role::Dim),
    ));
    let summary = if lines == 0 {
        ratatui::text::Line::default()
    } else if skipped > 0 {
        super::aside(theme, format!("{skipped} newer below"), Role::Warning)
    } else {
        super::aside(theme, "following".to_owned(), Role::Faint)
    };
    let inner = panel::render(theme, area, &title, &summary, buf);
    if lines == 0 {
        if inner.height > 0 {
            let said = panel::cut(theme, "no line yet", inner.width);
            buf.set_string(inner.x, inner.y, said, theme.of(Role::Faint));
        }
        return;
    }
    let time = if inner.width >= 40 { TIME } else { 0 };
    let width = inner.width.saturating_sub(time);
    let mut blocks = Vec::new();
    let mut used = 0;
    for line in backend.log.iter().rev().skip(skipped) {
        let rows = wrap(theme.glyphs.ellipsis, &line.text, width.into());
        used += rows.len();
        blocks.push((line, rows));
        if used >= usize::from(inner.height) {
            break;
        }
    }
    // The oldest of them may stick out at the top: what is drawn ends at the bottom.
    let mut drop = used.saturating_sub(inner.height.into());
    let mut y = inner.y;
    for (at, (line, rows)) in blocks.iter().enumerate().rev() {
        let role = role(line, at == 0 && skipped == 0);
        for (i, row) in rows.iter().enumerate() {
            if drop > 0 {
                drop -= 1;
                continue;
            }
            if i == 0 && time > 0 {
                let at = line.at.format("%H:%M:%S").to_string();
                buf.set_string(inner.x, y, at, theme.of(Role::Faint));
            }
            buf.set_stringn(inner.x + time, y, row, width.into(), theme.of(role));
            y += 1;
        }
    }
}

fn role(line: &LogLine, newest: bool) -> Role {
    let text = &line.text;
    if text.contains("ERROR") || text.contains("Error") || text.contains("error:") {
        Role::Critical
    } else if text.contains("WARNING") {
        Role::Warning
    } else if newest {
        Role::Strong
    } else {
        Role::Dim
    }
}

/// `text` in rows of at most `width`, broken at spaces where there are some.
fn wrap(ellipsis: &str, text: &str, width: usize) -> Vec<String> {
    let mut rows = vec![String::new()];
    let mut used = 0;
    if width < 8 {
        return rows;
    }
    for word in text.split_inclusive(' ') {
        let wide = word.trim_end().width();
        if used > 0 && used + wide > width {
            rows.push(String::new());
            used = 0;
        }
        for c in word.chars() {
            let wide = c.width().unwrap_or(0);
            if used + wide > width {
                if c == ' ' {
                    continue;
                }
                rows.push(String::new());
                used = 0;
            }
            if let Some(row) = rows.last_mut() {
                row.push(c);
            }
            used += wide;
        }
    }
    if rows.len() > ROWS {
        rows.truncate(ROWS);
        if let Some(row) = rows.last_mut() {
            while row.width() + 1 > width {
                row.pop();
            }
            row.push_str(ellipsis);
        }
    }
    rows
}
