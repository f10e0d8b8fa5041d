//! The keys, from the one keymap.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Widget as _};

use crate::tui::app::App;
use crate::tui::keymap::{Binding, Group, KEYMAP};
use crate::tui::theme::{Role, Theme};
use crate::tui::widget::panel;

/// Columns of the keys.
const KEYS: u16 = 14;
const GROUPS: [(Group, &str); 4] = [
    (Group::Act, "Act"),
    (Group::View, "View"),
    (Group::Program, "Program"),
    (Group::Move, "Move"),
];

pub(super) fn render(app: &App, area: Rect, buf: &mut Buffer) {
    let theme = &app.theme;
    let mut lines = Vec::new();
    for (group, title) in GROUPS {
        let taken = if app.read_only && group == Group::Act {
            " (read-only: not here)"
        } else {
            ""
        };
        lines.push(Entry::Title(format!("{title}{taken}")));
        lines.extend(KEYMAP.iter().filter(|b| b.group == group).map(Entry::Key));
    }
    let seen = usize::from(area.height.saturating_sub(2));
    let columns = match area.width {
        // On a low screen the words alone, close together.
        78.. if lines.len() > 2 * seen => 3,
        78.. => 2,
        _ => 1,
    };
    let rows = lines.len().div_ceil(columns) as u16;
    let place = centred(area, if columns > 1 { 124 } else { 64 }, rows + 2);
    Clear.render(place, buf);
    buf.set_style(place, theme.of(Role::Text).patch(theme.of(Role::Dialog)));
    let title = Line::from(Span::styled("Keys", theme.of(Role::Accent)));
    let inner = panel::render(
        theme,
        place,
        &title,
        &Line::from(Span::styled("any key closes", theme.of(Role::Dim))),
        buf,
    );
    if inner.is_empty() {
        return;
    }
    let width = inner.width / columns as u16;
    for (i, entry) in lines.iter().enumerate() {
        let (column, row) = ((i as u16) / rows, (i as u16) % rows);
        if row >= inner.height || column >= columns as u16 {
            continue;
        }
        let place = Rect::new(
            inner.x + column * width,
            inner.y + row,
            width.saturating_sub(1),
            1,
        );
        let keys = if columns == 3 { KEYS - 3 } else { KEYS };
        entry.render(theme, keys, place, buf);
    }
}

enum Entry {
    Title(String),
    Key(&'static Binding),
}

impl Entry {
    fn render(&self, theme: &Theme, wide: u16, place: Rect, buf: &mut Buffer) {
        match self {
            Self::Title(title) => {
                buf.set_stringn(
                    place.x,
                    place.y,
                    title,
                    usize::from(place.width),
                    theme.of(Role::Strong),
                );
            }
            Self::Key(binding) => {
                let all = binding.keys.join(" ");
                // Half a key is none.
                let keys = if all.len() <= usize::from(wide - 2) {
                    all.as_str()
                } else {
                    binding.keys.first().copied().unwrap_or_default()
                };
                buf.set_stringn(
                    place.x + 1,
                    place.y,
                    keys,
                    usize::from(place.width.min(wide - 2)),
                    theme.of(Role::Accent),
                );
                let room = place.width.saturating_sub(wide);
                buf.set_string(
                    place.x + wide.min(place.width),
                    place.y,
                    if binding.help.len() <= usize::from(room) {
                        binding.help
                    } else {
                        binding.word
                    },
                    theme.of(Role::Text),
                );
            }
        }
    }
}

/// A place of at most this size in the middle of `area`.
pub(super) fn centred(area: Rect, width: u16, height: u16) -> Rect {
    let (width, height) = (width.min(area.width), height.min(area.height));
    Rect::new(
        area.x + (area.width - width) / 2,
        area.y + (area.height - height) / 2,
        width,
        height,
    )
}
