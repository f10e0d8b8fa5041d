//! The screens and their keys.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::tui::app::{App, Screen};
use crate::tui::theme::Role;

/// Columns between two tabs: where there is room, and where there is little.
const GAPS: (u16, u16) = (2, 1);
/// From here on there is room.
const WIDE: u16 = 100;

pub(super) fn render(app: &App, area: Rect, buf: &mut Buffer) {
    if area.is_empty() {
        return;
    }
    let mut end = area.x;
    for (screen, place) in places(area) {
        let (key, name) = if screen == app.screen {
            (Role::Accent, Role::Accent)
        } else {
            (Role::Dim, Role::Dim)
        };
        buf.set_stringn(place.x, place.y, key_of(screen), 1, app.theme.of(key));
        buf.set_stringn(
            place.x + 2,
            place.y,
            screen.title(),
            usize::from(place.width.saturating_sub(2)),
            app.theme.of(name),
        );
        end = place.right();
    }
    let rights = if app.read_only {
        "read-only"
    } else {
        "read-write"
    };
    let mut right = vec![(
        rights.to_owned(),
        if app.read_only {
            Role::Warning
        } else {
            Role::Faint
        },
    )];
    if let Some(gateway) = &app.fleet.gateway {
        right.insert(0, (gateway.clone(), Role::Dim));
    }
    // The whole of it, or only the rights, or nothing: never a part of an address.
    while !right.is_empty() {
        let width: usize = right
            .iter()
            .map(|(t, _)| t.chars().count() + 2)
            .sum::<usize>()
            - 1;
        if usize::from(area.right().saturating_sub(end)) > width {
            let mut x = area.right() - width as u16;
            for (text, role) in &right {
                buf.set_string(x, area.y, text, app.theme.of(*role));
                x += text.chars().count() as u16 + 2;
            }
            break;
        }
        right.remove(0);
    }
}

/// The tab at that column.
pub(super) fn at(area: Rect, column: u16) -> Option<Screen> {
    places(area)
        .into_iter()
        .find(|(_, place)| (place.left()..place.right()).contains(&column))
        .map(|(screen, _)| screen)
}

fn places(area: Rect) -> Vec<(Screen, Rect)> {
    let gap = if area.width < WIDE { GAPS.1 } else { GAPS.0 };
    let mut x = area.x + 1;
    let mut out = Vec::new();
    for screen in Screen::ALL {
        let width = screen.title().len() as u16 + 2;
        if x + width > area.right() {
            break;
        }
        out.push((screen, Rect::new(x, area.y, width, 1)));
        x += width + gap;
    }
    out
}

fn key_of(screen: Screen) -> String {
    Screen::ALL
        .iter()
        .position(|s| *s == screen)
        .map_or(String::new(), |at| (at + 1).to_string())
}
