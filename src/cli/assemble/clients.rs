//! Who may ask, with their keys.

use anyhow::{Context, Result, anyhow, bail, ensure};

use super::Place;
use crate::config;
use crate::gateway::{Client, Key};

/// Who may ask, with their keys.
pub(super) fn clients(config: &config::Config) -> Result<Vec<Client>> {
    let mut clients: Vec<Client> = Vec::new();
    for key in &config.gateway.keys {
        let known = clients.iter().any(|other| *other.name == *key.name);
        let client = client(key, known, config);
        clients.push(client.with_context(|| Place::Key(key.name.clone()))?);
    }
    Ok(clients)
}

fn client(key: &config::ClientKey, known: bool, config: &config::Config) -> Result<Client> {
    ensure!(!known, "that name stands twice; give each key one name");
    for name in key.models.iter().flatten() {
        ensure!(
            config.models.iter().any(|model| model.name == *name),
            "`{name}` is no model of this fleet; it has {}",
            names(config).join(", ")
        );
    }
    Ok(Client {
        name: key.name.as_str().into(),
        key: Key::new(secret(key.env.as_deref(), key.file.as_deref())?),
        self_only: key.data_path == config::DataPath::SelfHosted,
        models: key.models.clone(),
    })
}

fn names(config: &config::Config) -> Vec<&str> {
    let names = config.models.iter().map(|model| model.name.as_str());
    names.collect()
}

/// A secret from the environment or a file; never from the config itself.
pub(in crate::cli) fn secret(env: Option<&str>, file: Option<&std::path::Path>) -> Result<String> {
    let found = match (env, file) {
        (Some(variable), None) => std::env::var(variable).map_err(|_| {
            anyhow!("the environment variable {variable} is not set; set it, or name a file")
        })?,
        (None, Some(path)) => std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?,
        (Some(_), Some(_)) => bail!("it has both `env` and `file`; leave one of them"),
        (None, None) => bail!("it has neither `env` nor `file`; say where the key is"),
    };
    let found = found.trim();
    ensure!(!found.is_empty(), "it is empty");
    Ok(found.to_owned())
}
