//! Who may ask, with their keys.

use anyhow::{Context, Result, bail, ensure};

use crate::config;
use crate::gateway::{Client, Key};

/// Who may ask, with their keys.
pub(super) fn clients(config: &config::Config) -> Result<Vec<Client>> {
    let mut clients: Vec<Client> = Vec::new();
    for (at, key) in config.gateway.keys.iter().enumerate() {
        let place = || format!("[[gateway.key]] {} (`{}`)", at + 1, key.name);
        ensure!(
            clients.iter().all(|other| *other.name != *key.name),
            "{}: that name stands twice; give each key one name",
            place()
        );
        for name in key.models.iter().flatten() {
            ensure!(
                config.models.iter().any(|model| model.name == *name),
                "{}: `{name}` is no model of this fleet",
                place()
            );
        }
        clients.push(Client {
            name: key.name.as_str().into(),
            key: Key::new(secret(key.env.as_deref(), key.file.as_deref()).with_context(place)?),
            self_only: key.data_path == config::DataPath::SelfHosted,
            models: key.models.clone(),
        });
    }
    Ok(clients)
}

/// A secret from the environment or a file; never from the config itself.
pub(in crate::cli) fn secret(env: Option<&str>, file: Option<&std::path::Path>) -> Result<String> {
    let found = match (env, file) {
        (Some(variable), None) => std::env::var(variable)
            .with_context(|| format!("the environment variable {variable} is not set"))?,
        (None, Some(path)) => std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?,
        (Some(_), Some(_)) => bail!("it has both `env` and `file`; leave one of them"),
        (None, None) => bail!("it has neither `env` nor `file`; say where the key is"),
    };
    let found = found.trim();
    ensure!(!found.is_empty(), "it is empty");
    Ok(found.to_owned())
}
