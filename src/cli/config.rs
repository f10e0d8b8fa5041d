//! `fleetctl config`: a fleet's file, checked before it is used.

use std::path::PathBuf;

use anyhow::Result;
use chrono::Utc;
use clap::Subcommand;

use super::Shared;
use super::assemble;
use super::exit::{Ended, Kind};
use super::verbs::say;
use crate::config;

const EXAMPLE: &str = include_str!("../../examples/fleet.toml");

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Says what is wrong with a file, or that nothing is
    Check {
        /// The file; the one of --config where none is named
        file: Option<PathBuf>,
    },
    /// Prints a commented example
    Example,
}

pub(super) fn run(verb: &Verb, shared: &Shared) -> Result<()> {
    match verb {
        Verb::Example => say(EXAMPLE.trim_end()),
        Verb::Check { file } => {
            let Some(path) = file.as_ref().or(shared.config.as_ref()) else {
                let hint = "name it: fleetctl config check fleet.toml";
                return Err(Ended::new(Kind::Failed, "no file to check", hint).into());
            };
            let config = config::load(path)?;
            assemble::check(&config, Utc::now())?;
            let backends: usize = config.models.iter().map(|model| model.backends.len()).sum();
            say(&format!(
                "{} is good: {} models, {backends} backends",
                path.display(),
                config.models.len()
            ))
        }
    }
}
