//! A config, held against itself before anything is started.

use std::collections::HashMap;

use anyhow::{Result, anyhow, ensure};
use chrono::{DateTime, Utc};

use super::kind::zone;
use super::{Engines, Place, assemble};
use crate::config;

/// Whether a fleet could be built of this config, with its engines taken to be there.
///
/// # Errors
/// What is wrong, with its place.
pub(in crate::cli) fn check(config: &config::Config, now: DateTime<Utc>) -> Result<()> {
    if !config.clusters.is_empty() {
        return crate::cli::kube::check(config);
    }
    zone(config)?;
    addresses(config)?;
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

/// Who listens where, and for whom.
fn addresses(config: &config::Config) -> Result<()> {
    let (gateway, admin) = (config.listen, config.admin.listen);
    ensure!(
        gateway.ip().is_loopback() || !config.gateway.keys.is_empty(),
        "listen = \"{gateway}\" can be reached from other machines, and there are no client keys; add a [[gateway.key]], or listen on 127.0.0.1"
    );
    ensure!(
        admin.ip().is_loopback() || !config.admin.tokens.is_empty(),
        "[admin] listen = \"{admin}\" can be reached from other machines, and there is no [[admin.token]]; add one, or listen on 127.0.0.1"
    );
    ensure!(
        gateway.port() != admin.port() || gateway.port() == 0,
        "the gateway and the admin API both listen on port {}; give each its own",
        gateway.port()
    );
    let taken = [(gateway, "the gateway"), (admin, "the admin API")];
    for model in &config.models {
        for backend in &model.backends {
            let other = taken.iter().find(|(at, _)| Some(at.port()) == backend.port);
            if let Some((_, whose)) = other {
                let place = Place::Backend(model.name.clone(), backend.name.clone());
                let port = backend.port.unwrap_or_default();
                return Err(anyhow!("port {port} is {whose}'s; give it another").context(place));
            }
        }
    }
    Ok(())
}
