//! How long things have been what they are.

use crate::fleet::Backend;
use crate::tui::app::App;
use crate::tui::text;
use crate::tui::widget::grid::is_ascii;

/// How long it has been what it is; *at least* so long where it was so when it was first seen.
pub(super) fn age(app: &App, b: &Backend) -> String {
    let age = text::age(app.fleet.now - b.state.since());
    match app.fleet.knows_since(b) {
        Some(_) => age,
        None if is_ascii(&app.theme) => format!(">={age}"),
        None => format!("≥{age}"),
    }
}
