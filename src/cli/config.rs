//! `fleetctl config`: a fleet's file, checked before it is used.

use std::path::PathBuf;

use anyhow::Result;
use clap::Subcommand;

use super::Shared;
use super::assemble::placed;
use super::exit::{Ended, Kind};
use super::serve::checked;
use super::verbs::{say, tell};
use crate::config;

const EXAMPLE: &str = include_str!("../../examples/fleet.toml");

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Says what is wrong with a file, or that nothing is
    Check {
        /// The file; the one of --config where none is named
        file: Option<PathBuf>,
    },
    /// Prints a file as it is understood: with what it leaves to us filled in
    Show {
        /// The file; the one of --config where none is named
        file: Option<PathBuf>,
    },
    /// Prints the JSON Schema of such files, for editors: what each key means, and what it may be
    Schema,
    /// Prints a commented example
    Example,
}

/// A variable that is named so has a value that is not shown.
const SECRETS: [&str; 4] = ["KEY", "TOKEN", "SECRET", "PASSWORD"];

pub(super) fn run(verb: &Verb, shared: &Shared) -> Result<()> {
    match verb {
        Verb::Example => tell(EXAMPLE.trim_end()),
        Verb::Schema => tell(&serde_json::to_string_pretty(&config::schema())?),
        Verb::Show { file } => {
            let mut config = config::load(named(file.as_ref(), shared, "show")?)?;
            for backend in config.models.iter_mut().flat_map(|it| &mut it.backends) {
                for (name, value) in &mut backend.env {
                    let name = name.to_uppercase();
                    if SECRETS.iter().any(|secret| name.contains(secret)) {
                        "***".clone_into(value);
                    }
                }
            }
            tell(toml::to_string(&config)?.trim_end())
        }
        Verb::Check { file } => {
            let path = named(file.as_ref(), shared, "check")?;
            let (config, text) = config::read(path)?;
            placed(checked(&config), path, &text)?;
            let backends: usize = config.models.iter().map(|model| model.backends.len()).sum();
            let counted =
                |n: usize, one: &str| format!("{n} {one}{}", if n == 1 { "" } else { "s" });
            if !config.clusters.is_empty() {
                let clusters = counted(config.clusters.len(), "cluster");
                return say(&format!("{} is good: {clusters}", path.display()));
            }
            say(&format!(
                "{} is good: {}, {}",
                path.display(),
                counted(config.models.len(), "model"),
                counted(backends, "backend")
            ))
        }
    }
}

/// The file that is meant.
fn named<'a>(file: Option<&'a PathBuf>, shared: &'a Shared, verb: &str) -> Result<&'a PathBuf> {
    file.or(shared.config.as_ref()).ok_or_else(|| {
        let hint = format!("name it: fleetctl config {verb} fleet.toml");
        Ended::new(Kind::Failed, "no file was named", &hint).into()
    })
}
