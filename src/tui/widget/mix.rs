//! The request mix over the last minutes as a stacked chart: self-hosted, hosted, held.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::tui::app::App;

/// Draws the chart with its panel into `area`.
pub fn render(app: &App, area: Rect, buf: &mut Buffer) {
    let _ = (app, area, buf);
}
