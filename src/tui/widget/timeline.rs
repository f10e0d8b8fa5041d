//! A wake as a timeline of stages, with budget and cap as marks on the same axis.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::fleet::Backend;
use crate::tui::app::App;

/// Draws the stages of `backend`'s wake (running, or the last one) with its panel into `area`.
pub fn render(app: &App, backend: &Backend, area: Rect, buf: &mut Buffer) {
    let _ = (app, backend, area, buf);
}
