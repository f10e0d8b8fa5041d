//! One picture of the console.

pub mod audit;
pub mod backend;
pub mod cost;
pub mod fleet;
pub mod requests;
pub mod routing;

use ratatui::Frame;

use super::app::App;

/// Draws everything.
pub fn view(app: &App, frame: &mut Frame<'_>) {
    let _ = (app, frame);
}
