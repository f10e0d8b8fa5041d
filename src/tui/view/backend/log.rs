//! The engine's log, or what its cluster told of its pods; the newest line at the bottom.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::fleet::Backend;
use crate::tui::app::{App, Lines};
use crate::tui::theme::Role;
use crate::tui::widget::panel;

/// Columns of the time in front of each line.
const TIME: u16 = 9;
/// Rows that one line may take before it is cut.
const ROWS: usize = 4;

/// One line, whoever wrote it.
struct Row<'a> {
    at: DateTime<Utc>,
    text: Cow<'a, str>,
    /// What it stands out by; `None` for what is ordinary.
    role: Option<Role>,
}

/// Draws the log, or what the cluster told, into `area`; it follows the newest line unless scrolled back.
pub(super) fn render(app: &App, backend: &Backend, area: Rect, buf: &mut Buffer) {
    let theme = &app.theme;
    let lines = super::lines(app, backend);
    let skipped = app.scroll.min(lines.saturating_sub(1));
    let (name, unit, nothing) = if app.lines == Lines::Events {
        ("Events", "events", "nothing was told of its pods")
    } else {
        ("Engine log", "lines", "no line yet")
    };
    let mut title = super::heading(theme, name);
    title.push_span(ratatui::text::Span::styled(
        format!("  {lines} {unit}"),
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
            let said = panel::cut(theme, nothing, inner.width);
            buf.set_string(inner.x, inner.y, said, theme.of(Role::Faint));
        }
        return;
    }
    let time = if inner.width >= 40 { TIME } else { 0 };
    let width = inner.width.saturating_sub(time);
    let mut blocks = Vec::new();
    let mut used = 0;
    for line in newest_first(app, backend).skip(skipped) {
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
        let newest = at == 0 && skipped == 0;
        let ordinary = if newest { Role::Strong } else { Role::Dim };
        let role = line.role.unwrap_or(ordinary);
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

fn newest_first<'a>(app: &App, backend: &'a Backend) -> Box<dyn Iterator<Item = Row<'a>> + 'a> {
    if app.lines == Lines::Events {
        let all = backend.place.iter().flat_map(|it| it.told.iter().rev());
        return Box::new(all.map(|it| Row {
            at: it.at,
            text: format!("{} {}: {}", it.reason, it.of, it.note).into(),
            role: it.warning.then_some(Role::Warning),
        }));
    }
    Box::new(backend.log.iter().rev().map(|line| Row {
        at: line.at,
        text: line.text.as_str().into(),
        role: standing_out(&line.text),
    }))
}

fn standing_out(text: &str) -> Option<Role> {
    if text.contains("ERROR") || text.contains("Error") || text.contains("error:") {
        Some(Role::Critical)
    } else if text.contains("WARNING") {
        Some(Role::Warning)
    } else {
        None
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
