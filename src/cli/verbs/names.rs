//! Which backend or model is meant: by its name, with its model's before it, or as short as a screen shows it.

use std::sync::Arc;

use super::super::exit::{Ended, Kind};
use crate::fleet::{Backend, BackendId, Fleet, ModelId};

/// The backend that is meant.
///
/// # Errors
/// Where there is none, or more than one.
pub(super) fn backend<'f>(fleet: &'f Fleet, text: &str) -> Result<&'f Arc<Backend>, Ended> {
    let mut all = fleet.backends.iter();
    let whole = all.find(|b| b.id.as_str() == text || b.full_name() == text);
    if let Some(b) = whole {
        return Ok(b);
    }
    let short: Vec<&Arc<Backend>> = fleet
        .backends
        .iter()
        .filter(|b| is_short_for(fleet, b, text))
        .collect();
    match short[..] {
        [one] => Ok(one),
        [] => Err(Ended::new(
            Kind::NotFound,
            format!("no backend {text}"),
            format!(
                "this fleet has {}; `fleetctl status` shows them",
                listed(fleet.backends.iter().map(|b| b.id.as_str()))
            ),
        )),
        _ => Err(Ended::new(
            Kind::NotFound,
            format!("{text} is more than one backend"),
            format!("say which: {}", listed(short.iter().map(|b| b.id.as_str()))),
        )),
    }
}

/// The model that is meant.
///
/// # Errors
/// Where there is none, or more than one.
pub(super) fn model(fleet: &Fleet, text: &str) -> Result<ModelId, Ended> {
    let names = || fleet.models.iter().map(|it| it.id.as_str());
    if names().any(|it| it == text) {
        return Ok(text.into());
    }
    let short: Vec<&str> = names()
        .filter(|it| it.rsplit('/').next() == Some(text))
        .collect();
    match short[..] {
        [one] => Ok(one.into()),
        [] => Err(Ended::new(
            Kind::NotFound,
            format!("no model {text}"),
            format!("this fleet has {}", listed(names())),
        )),
        _ => Err(Ended::new(
            Kind::NotFound,
            format!("{text} is more than one model"),
            format!("say which: {}", listed(short.into_iter())),
        )),
    }
}

/// Weights by the backends that are meant, of which a model's own come first.
///
/// # Errors
/// Where one is more than one.
pub(super) fn weights(
    fleet: &Fleet,
    model: &ModelId,
    wanted: &[(BackendId, u32)],
) -> Result<Vec<(BackendId, u32)>, Ended> {
    let each = wanted.iter().map(|(name, weight)| {
        let own = fleet
            .backends_of(model)
            .filter(|b| b.id == *name || is_short_for(fleet, b, name.as_str()));
        let own: Vec<&Arc<Backend>> = own.collect();
        let id = match own[..] {
            [one] => one.id.clone(),
            // The fleet says that it is none of this model's.
            [] => name.clone(),
            _ => backend(fleet, name.as_str())?.id.clone(),
        };
        Ok((id, *weight))
    });
    each.collect()
}

/// Whether it is called so where its namespace and its cluster are not said.
fn is_short_for(fleet: &Fleet, b: &Backend, text: &str) -> bool {
    let (_, within) = fleet.name_within(&b.id);
    within == text || within.rsplit('/').next() == Some(text)
}

fn listed<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let all: Vec<&str> = names.collect();
    if all.is_empty() {
        "none".to_owned()
    } else {
        all.join(", ")
    }
}
