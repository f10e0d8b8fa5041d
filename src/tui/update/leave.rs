//! Leaving: at once, or after asking where an operation would be left half done.

use crossterm::event::{KeyCode, KeyEvent};

use super::super::app::{App, Mode};
use super::super::event::Effect;

/// Leaves, where nothing of this console is under way; else asks first, and leaves when asked again.
pub(super) fn quit(app: &mut App) -> Vec<Effect> {
    if app.mode == Mode::Leave || app.at_work().next().is_none() {
        return vec![Effect::Quit];
    }
    app.mode = Mode::Leave;
    Vec::new()
}

pub(super) fn press(app: &mut App, key: KeyEvent) -> Vec<Effect> {
    match key.code {
        KeyCode::Char('q') => return vec![Effect::Quit],
        KeyCode::Enter | KeyCode::Esc | KeyCode::Char('n') => app.mode = Mode::Normal,
        _ => {}
    }
    Vec::new()
}
