//! A config, held against itself before anything is started.

use std::collections::HashMap;

use anyhow::{Result, anyhow};
use chrono::{DateTime, Utc};

use super::{Engines, Place, assemble};
use crate::config;

/// Whether a fleet could be built of this config, with its engines taken to be there.
///
/// # Errors
/// What is wrong, with its place.
pub(in crate::cli) fn check(config: &config::Config, now: DateTime<Utc>) -> Result<()> {
    let mut ports = HashMap::new();
    for (model, backend) in config
        .models
        .iter()
        .flat_map(|model| model.backends.iter().map(move |backend| (model, backend)))
    {
        if let Some(port) = backend.port
            && let Some(other) = ports.insert(port, &backend.name)
        {
            let twice = anyhow!("port {port} is `{other}`'s already; give each its own");
            let place = Place::Backend(model.name.clone(), backend.name.clone());
            return Err(twice.context(place));
        }
    }
    let mut config = config.clone();
    for backend in config
        .models
        .iter_mut()
        .flat_map(|model| &mut model.backends)
    {
        // Where an engine of this machine will listen is known once it is there.
        if !backend.command.is_empty() && backend.url.is_none() {
            backend.command.clear();
            backend.env.clear();
            (backend.dir, backend.port) = (None, None);
            backend.url = Some("http://127.0.0.1:1".to_owned());
            // Its process is how it is started and ended.
            backend
                .launcher
                .get_or_insert_with(|| "http://127.0.0.1:1".to_owned());
            backend.sleep.get_or_insert(config::Sleep::Release);
        }
    }
    assemble(&config, &Engines::new(), 1, now).map(|_| ())
}
