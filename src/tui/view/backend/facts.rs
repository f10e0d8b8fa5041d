//! Labels with their figures, one a line, the figures in one column.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use unicode_width::UnicodeWidthStr;

use crate::tui::theme::{Role, Theme};
use crate::tui::widget::panel;

/// One line: what it is, its figure, and what to know of it.
#[derive(Clone, Debug)]
pub(super) struct Fact {
    /// What it is.
    pub label: &'static str,
    /// The figure with its colour; `None` is unknown.
    pub figure: Option<(String, Role)>,
    /// Said behind it where there is room.
    pub note: String,
}

impl Fact {
    /// A figure in the colour of text.
    pub(super) fn new(label: &'static str, figure: Option<String>) -> Self {
        Self {
            label,
            figure: figure.map(|text| (text, Role::Text)),
            note: String::new(),
        }
    }

    /// The same in another colour.
    pub(super) fn role(mut self, role: Role) -> Self {
        if let Some((_, own)) = &mut self.figure {
            *own = role;
        }
        self
    }

    /// The same with something behind it.
    pub(super) fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }
}

/// Draws as many as fit, labels on the left, figures right-aligned in one column, notes behind them.
pub(super) fn render(theme: &Theme, facts: &[Fact], old: bool, area: Rect, buf: &mut Buffer) {
    let none = (theme.glyphs.none.to_owned(), Role::Faint);
    let labels = facts.iter().map(|f| f.label.width()).max().unwrap_or(0) as u16;
    let figures = facts
        .iter()
        .filter_map(|f| f.figure.as_ref())
        .map(|(text, _)| text.width())
        .max()
        .unwrap_or(1) as u16;
    let right = (area.x + labels + 2 + figures).min(area.right());
    for (fact, y) in facts.iter().zip(area.top()..area.bottom()) {
        let (text, role) = fact.figure.as_ref().unwrap_or(&none);
        let room = area.width.saturating_sub(text.width() as u16 + 1);
        let label = panel::cut(theme, fact.label, room);
        buf.set_string(area.x, y, label, theme.of(Role::Dim));
        let style = theme.of(if old && *role == Role::Text {
            Role::Dim
        } else {
            *role
        });
        let x = right.saturating_sub(text.width() as u16).max(area.x);
        buf.set_stringn(
            x,
            y,
            text,
            usize::from(area.right().saturating_sub(x)),
            style,
        );
        let room = area.right().saturating_sub(right + 2);
        // A short note is whole or not there; only a sentence may lose its end.
        if !fact.note.is_empty()
            && (fact.note.width() <= usize::from(room) || fact.note.width() > 32 && room >= 12)
        {
            let said = panel::cut(theme, &fact.note, room);
            buf.set_string(right + 2, y, said, theme.of(Role::Faint));
        }
    }
}

/// A whole number as the engine counts it, thousands separated, never shortened.
pub(super) fn exact(n: f64) -> String {
    let digits = format!("{:.0}", n.max(0.0));
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
