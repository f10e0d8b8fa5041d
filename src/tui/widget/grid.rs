//! A table whose columns stand still: it drops whole columns where there is no room, and never cuts a figure.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;
use unicode_width::UnicodeWidthStr;

use crate::tui::theme::{ASCII, Role, Theme};

use super::panel;

const GAP: u16 = 2;
const WIDEST_GAP: u16 = 5;
/// What is drawn grows this much before the gaps do.
const DRAWN: u16 = 20;
const NARROWEST_NAME: u16 = 6;

/// One column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its heading.
    pub head: &'static str,
    /// Columns kept free for it, so that it does not move while figures change.
    pub min: u16,
    /// Text starts at the left; figures end at the right.
    pub left: bool,
    /// The highest rank goes first when there is no room; 0 stays.
    pub rank: u8,
    /// Takes what is left over.
    pub grows: bool,
}

impl Column {
    /// A column of figures.
    pub const fn figures(head: &'static str, min: u16, rank: u8) -> Self {
        Self {
            head,
            min,
            left: false,
            rank,
            grows: false,
        }
    }

    /// A column of words.
    pub const fn words(head: &'static str, min: u16, rank: u8) -> Self {
        Self {
            head,
            min,
            left: true,
            rank,
            grows: false,
        }
    }

    /// A column for something drawn, as wide as there is room.
    pub const fn drawn(head: &'static str, min: u16) -> Self {
        Self {
            head,
            min,
            left: true,
            rank: 0,
            grows: true,
        }
    }
}

/// Whether the terminal draws ASCII alone.
pub(in crate::tui) fn is_ascii(theme: &Theme) -> bool {
    *theme.glyphs == ASCII
}

/// Rows of cells, one for each column; the first cell is the row's name and is cut where it must be.
pub type Rows = Vec<Vec<Line<'static>>>;

/// Where a row was drawn: its index and its cells, in the order of the columns, of no width where a column was dropped.
pub type Placed = Vec<(usize, Vec<Rect>)>;

/// Draws heading and rows into `area`, around the `chosen` row where not all fit.
pub fn render(
    theme: &Theme,
    columns: &[Column],
    rows: &Rows,
    chosen: Option<usize>,
    area: Rect,
    buf: &mut Buffer,
) -> Placed {
    if area.height == 0 || area.width == 0 {
        return Vec::new();
    }
    let spans = spans(columns, rows, area);
    for (column, (x, width)) in columns.iter().zip(&spans) {
        if *width > 0 {
            let head = if is_ascii(theme) {
                column.head.replace('·', theme.glyphs.dot)
            } else {
                column.head.to_owned()
            };
            let text = Line::styled(head, theme.of(Role::Dim));
            place(column.left, &text, Rect::new(*x, area.y, *width, 1), buf);
        }
    }
    let height = usize::from(area.height - 1);
    let first = first_shown(chosen, rows.len(), height);
    let mut placed = Vec::new();
    for (line, (at, row)) in rows.iter().enumerate().skip(first).take(height).enumerate() {
        let y = area.y + 1 + line as u16;
        if chosen == Some(at) {
            select(theme, Rect::new(area.x, y, area.width, 1), buf);
        }
        let cells: Vec<_> = spans
            .iter()
            .map(|(x, width)| Rect::new(*x, y, *width, 1))
            .collect();
        for ((column, text), cell) in columns.iter().zip(row).zip(&cells) {
            if cell.width == 0 {
                continue;
            }
            if text.width() > usize::from(cell.width) {
                let whole: String = text.spans.iter().map(|s| s.content.as_ref()).collect();
                let style = text.spans.first().map(|s| s.style).unwrap_or_default();
                let cut = panel::cut(theme, &whole, cell.width);
                place(column.left, &Line::styled(cut, style), *cell, buf);
            } else {
                place(column.left, text, *cell, buf);
            }
        }
        placed.push((at, cells));
    }
    placed
}

/// The first row to draw so that `chosen` is seen.
fn first_shown(chosen: Option<usize>, rows: usize, height: usize) -> usize {
    let last = rows.saturating_sub(height);
    chosen
        .map_or(0, |at| at.saturating_sub(height / 2))
        .min(last)
}

fn select(theme: &Theme, row: Rect, buf: &mut Buffer) {
    let row = Rect {
        x: row.x.saturating_sub(1),
        width: row.width + 2,
        ..row
    }
    .intersection(buf.area);
    buf.set_style(row, theme.of(Role::Selection));
    buf.set_string(row.x, row.y, theme.glyphs.edge, theme.of(Role::Accent));
}

fn place(left: bool, text: &Line<'_>, cell: Rect, buf: &mut Buffer) {
    let width = text.width() as u16;
    let x = if left {
        cell.x
    } else {
        cell.x + cell.width.saturating_sub(width)
    };
    buf.set_line(x, cell.y, text, cell.width);
}

/// Left edge and width of each column; width 0 where it was dropped.
fn spans(columns: &[Column], rows: &Rows, area: Rect) -> Vec<(u16, u16)> {
    let mut widths: Vec<u16> = columns
        .iter()
        .enumerate()
        .map(|(i, column)| {
            let widest = rows
                .iter()
                .filter_map(|row| row.get(i))
                .map(Line::width)
                .max()
                .unwrap_or(0);
            column.min.max(column.head.width().max(widest) as u16)
        })
        .collect();
    let need = |widths: &[u16]| {
        let kept = widths.iter().filter(|w| **w > 0).count() as u16;
        widths.iter().sum::<u16>() + GAP * kept.saturating_sub(1)
    };
    while need(&widths) > area.width {
        let least = (1..columns.len())
            .filter(|i| widths[*i] > 0 && columns[*i].rank > 0)
            .max_by_key(|i| columns[*i].rank);
        let Some(least) = least else { break };
        widths[least] = 0;
    }
    let over = need(&widths).saturating_sub(area.width);
    if over > 0 && widths[0] > NARROWEST_NAME {
        widths[0] = widths[0].saturating_sub(over).max(NARROWEST_NAME);
    }
    for i in (1..columns.len()).rev() {
        if need(&widths) <= area.width {
            break;
        }
        widths[i] = 0;
    }
    widths[0] = widths[0].min(area.width);
    let mut left = area.width.saturating_sub(need(&widths));
    let drawn = columns.iter().position(|c| c.grows);
    let drawn = drawn.filter(|i| widths[*i] > 0);
    if let Some(i) = drawn {
        let more = left.min(DRAWN);
        widths[i] += more;
        left -= more;
    }
    let kept = widths.iter().filter(|w| **w > 0).count() as u16;
    let gap = GAP + (left / kept.saturating_sub(1).max(1)).min(WIDEST_GAP - GAP);
    left -= (gap - GAP) * kept.saturating_sub(1);
    if let Some(i) = drawn {
        widths[i] += left;
    } else if kept > 1 {
        // A little goes to the name; a table stretched further is harder to read along.
        widths[0] += left.min(16);
    }
    let mut x = area.x;
    widths
        .into_iter()
        .map(|width| {
            let at = x;
            if width > 0 {
                x += width + gap;
            }
            (at, width)
        })
        .collect()
}
