//! The mouse: click selects, again opens, wheel scrolls, header click sorts.

use crossterm::event::{KeyCode, KeyEvent, MouseButton, MouseEvent, MouseEventKind};

use super::super::app::{App, Mode, Screen};
use super::super::event::Effect;
use super::super::view::{Hit, hit};
use super::{confirm, normal};

pub(super) fn update(app: &mut App, mouse: MouseEvent) -> Vec<Effect> {
    match mouse.kind {
        MouseEventKind::ScrollUp => wheel(app, -1),
        MouseEventKind::ScrollDown => wheel(app, 1),
        MouseEventKind::Down(MouseButton::Left) => return click(app, mouse.column, mouse.row),
        _ => {}
    }
    Vec::new()
}

fn wheel(app: &mut App, by: isize) {
    match app.mode {
        Mode::Normal => {
            let rows = if matches!(app.screen, Screen::Fleet | Screen::Routing | Screen::Cost) {
                1
            } else {
                3
            };
            normal::step(app, by * rows);
        }
        // What is read there moves as with the arrows.
        Mode::Confirm { .. } | Mode::Findings { .. } => {
            let code = if by < 0 { KeyCode::Up } else { KeyCode::Down };
            super::press(app, KeyEvent::from(code));
        }
        Mode::Filter | Mode::Palette { .. } | Mode::Pin { .. } | Mode::Help | Mode::Leave => {}
    }
}

fn click(app: &mut App, column: u16, row: u16) -> Vec<Effect> {
    match (hit(app, column, row), &app.mode) {
        (Some(Hit::Button(apply)), Mode::Confirm { .. }) => return confirm::push(app, apply),
        (Some(Hit::Tab(screen)), Mode::Normal) => normal::show(app, screen),
        (Some(Hit::Header(column)), Mode::Normal) => normal::sort(app, column),
        (Some(Hit::Row(id)), Mode::Normal) => {
            if app.selected.as_ref() == Some(&id) {
                normal::show(app, Screen::Backend);
            }
            app.selected = Some(id);
        }
        (None, Mode::Help) => app.mode = Mode::Normal,
        _ => {}
    }
    Vec::new()
}
