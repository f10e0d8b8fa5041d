//! Weights on the Routing screen: a draft until it is applied.

use super::super::app::App;
use super::super::event::Effect;
use super::{confirm, toast};
use crate::fleet::{BackendId, Command};

/// One press moves a weight by this much.
const STEP: i64 = 5;
/// Weights are percent to the operator.
const MOST: i64 = 100;

/// Changes the selected backend's weight in the draft; begins one where there is none.
pub(super) fn change(app: &mut App, by: i64) -> Vec<Effect> {
    if app.read_only {
        return confirm::read_only(app);
    }
    let (Some(id), Some(model)) = (app.selected.clone(), app.model().map(|m| m.id.clone())) else {
        return Vec::new();
    };
    let standing = || {
        app.fleet
            .backends_of(&model)
            .map(|b| (b.id.clone(), b.weight))
            .collect::<Vec<(BackendId, u32)>>()
    };
    let mut draft = app.draft.clone().unwrap_or_else(standing);
    if let Some((_, weight)) = draft.iter_mut().find(|(b, _)| *b == id) {
        *weight = (i64::from(*weight) + by * STEP).clamp(0, MOST.max(i64::from(*weight))) as u32;
    }
    let same = draft == standing();
    app.draft = (!same).then_some(draft);
    Vec::new()
}

/// Asks whether to apply the draft.
pub(super) fn apply(app: &mut App) -> Vec<Effect> {
    if app.read_only {
        return confirm::read_only(app);
    }
    let (Some(weights), Some(model)) = (app.draft.clone(), app.model().map(|m| m.id.clone()))
    else {
        return toast(
            app,
            "change a weight with the arrow keys first".into(),
            false,
        );
    };
    confirm::ask(app, vec![Command::Weights { model, weights }])
}
