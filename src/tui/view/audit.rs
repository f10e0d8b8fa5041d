//! The Audit screen.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::tui::app::App;

/// Draws the Audit screen into `area`.
pub fn render(app: &App, area: Rect, buf: &mut Buffer) {
    let _ = (app, area, buf);
}
