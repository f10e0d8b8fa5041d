//! How the console's state changes.

use super::app::App;
use super::event::{Effect, Event};

/// Takes in one event and says what is to be done.
pub fn update(app: &mut App, event: Event) -> Vec<Effect> {
    let _ = (app, event);
    Vec::new()
}
