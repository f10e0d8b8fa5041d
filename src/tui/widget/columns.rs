//! A table whose columns leave in the order of their worth when there is no room, and never cut a figure.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use unicode_width::UnicodeWidthStr;

use crate::tui::theme::{Role, Theme};

use super::panel;

/// Columns of air between two columns.
const GAP: u16 = 2;

/// One column of a table.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its heading.
    pub title: &'static str,
    /// Columns of the screen; the least where it grows.
    pub width: u16,
    /// Figures stand on the right, words on the left.
    pub right: bool,
    /// What is worth least leaves first.
    pub worth: u8,
    /// Takes what is left; its words are cut with an ellipsis.
    pub grows: bool,
}

impl Column {
    /// A column of figures.
    pub const fn figure(title: &'static str, width: u16, worth: u8) -> Self {
        Self {
            title,
            width,
            right: true,
            worth,
            grows: false,
        }
    }

    /// A column of words.
    pub const fn word(title: &'static str, width: u16, worth: u8) -> Self {
        Self {
            title,
            width,
            right: false,
            worth,
            grows: false,
        }
    }

    /// A column of words that takes what is left.
    pub const fn rest(title: &'static str, width: u16, worth: u8) -> Self {
        Self {
            title,
            width,
            right: false,
            worth,
            grows: true,
        }
    }
}

/// Where the columns that fit into `width` stand: start and width, in their own order; `None` for those that left.
pub fn fit(columns: &[Column], width: u16) -> Vec<Option<(u16, u16)>> {
    let mut kept = vec![true; columns.len()];
    let needed = |kept: &[bool]| -> u16 {
        let of: Vec<_> = columns.iter().zip(kept).filter(|(_, k)| **k).collect();
        of.iter().map(|(c, _)| c.width).sum::<u16>() + GAP * (of.len() as u16).saturating_sub(1)
    };
    while needed(&kept) > width {
        let least = (0..columns.len())
            .filter(|i| kept[*i])
            .min_by_key(|i| columns[*i].worth);
        match least {
            Some(i) => kept[i] = false,
            None => break,
        }
    }
    let left = width.saturating_sub(needed(&kept));
    let growing = columns
        .iter()
        .zip(&kept)
        .filter(|(c, k)| c.grows && **k)
        .count() as u16;
    let share = left.checked_div(growing).unwrap_or(0);
    let mut x = 0;
    columns
        .iter()
        .zip(&kept)
        .map(|(column, stays)| {
            stays.then(|| {
                let width = column.width + if column.grows { share } else { 0 };
                let at = (x, width);
                x += width + GAP;
                at
            })
        })
        .collect()
}

/// Draws the headings and the rows that fit. A cell is its text and its style.
pub fn render(
    theme: &Theme,
    columns: &[Column],
    rows: impl Iterator<Item = Vec<(String, Style)>>,
    area: Rect,
    buf: &mut Buffer,
) {
    let places = fit(columns, area.width);
    if area.height == 0 {
        return;
    }
    let dim = theme.of(Role::Dim);
    for (column, place) in columns.iter().zip(&places) {
        put(
            theme,
            column,
            *place,
            (column.title, dim),
            area,
            area.y,
            buf,
        );
    }
    for (row, y) in rows.zip(area.y + 1..area.bottom()) {
        for ((column, place), (text, style)) in columns.iter().zip(&places).zip(&row) {
            put(theme, column, *place, (text.as_str(), *style), area, y, buf);
        }
    }
}

fn put(
    theme: &Theme,
    column: &Column,
    place: Option<(u16, u16)>,
    (text, style): (&str, Style),
    area: Rect,
    y: u16,
    buf: &mut Buffer,
) {
    let Some((x, width)) = place else {
        return;
    };
    let text = panel::cut(theme, text, width);
    let indent = if column.right {
        width.saturating_sub(text.width() as u16)
    } else {
        0
    };
    buf.set_string(area.x + x + indent, y, &text, style);
}
