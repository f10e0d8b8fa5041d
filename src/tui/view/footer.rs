//! The keys that do something here.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::fleet::Command;
use crate::tui::app::{App, Mode};
use crate::tui::keymap::{Action, Binding, Group, KEYMAP};
use crate::tui::theme::Role;

pub(super) fn render(app: &App, area: Rect, buf: &mut Buffer) {
    if area.is_empty() {
        return;
    }
    let theme = &app.theme;
    if app.mode == Mode::Filter {
        let line = format!("/{}", app.filter);
        buf.set_stringn(
            area.x + 1,
            area.y,
            &line,
            usize::from(area.width.saturating_sub(2)),
            theme.of(Role::Accent),
        );
        let hint = "  enter keeps  esc clears";
        let x = area.x + 2 + line.chars().count() as u16;
        buf.set_string(
            x.saturating_sub(1),
            area.y,
            theme.glyphs.edge,
            theme.of(Role::Accent),
        );
        buf.set_stringn(
            x,
            area.y,
            hint,
            usize::from(area.right().saturating_sub(x)),
            theme.of(Role::Dim),
        );
        return;
    }
    let width = |b: &Binding| (key(b).len() + 1 + b.word.len() + 2) as u16;
    let (program, rest) = KEYMAP
        .iter()
        .filter(|b| b.footer.contains(&app.screen) && !(app.read_only && b.group == Group::Act))
        .partition::<Vec<&Binding>, _>(|b| b.group == Group::Program);
    // The way to the rest of the keys, and the way out, always have their place.
    let mut room = area
        .width
        .saturating_sub(program.iter().map(|b| width(b)).sum());
    let fitting = rest.into_iter().take_while(|b| {
        let fits = width(b) <= room;
        room = room.saturating_sub(width(b));
        fits
    });
    let mut x = area.x + 1;
    for binding in fitting.collect::<Vec<_>>().into_iter().chain(program) {
        let key = key(binding);
        let width = (key.len() + 1 + binding.word.len()) as u16;
        if x + width > area.right() {
            break;
        }
        // What this user may not do is grey; the Backend screen says why.
        let (letter, word) = if may_not(app, binding.action) {
            (Role::Faint, Role::Faint)
        } else {
            (Role::Accent, Role::Dim)
        };
        buf.set_string(x, area.y, key, theme.of(letter));
        let at = x + key.len() as u16 + 1;
        buf.set_string(at, area.y, binding.word, theme.of(word));
        x += width + 2;
    }
}

/// Whether the cluster does not let this user do that to what is selected.
fn may_not(app: &App, action: Action) -> bool {
    let Some(b) = app.backend().filter(|b| b.place.is_some()) else {
        return false;
    };
    let backend = b.id.clone();
    let command = match action {
        Action::Wake => Command::Wake { backend },
        Action::Sleep => Command::Sleep { backend },
        Action::Drain => Command::Drain { backend },
        _ => return false,
    };
    app.fleet.forbids(&command).is_some()
}

/// The key that is shown.
fn key(binding: &Binding) -> &'static str {
    binding.keys.first().copied().unwrap_or_default()
}
