//! `fleetctl db`: the store of a fleet on this machine, looked at, written out, tidied.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Subcommand, ValueEnum};

use super::Shared;
use super::exit::{Ended, Kind};
use super::serve::state_of;
use super::verbs::{say, tell};
use crate::store;

#[derive(Debug, clap::Args)]
pub(super) struct Db {
    /// Where `serve` keeps it [default: fleetctl/NAME in $XDG_STATE_HOME, by the config's name]
    #[arg(long, global = true, value_name = "FOLDER", env = "FLEETCTL_STATE")]
    state: Option<PathBuf>,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Looks at every page
    Check,
    /// Writes rows as JSON lines, oldest first
    Export {
        /// Which
        table: Table,
    },
    /// Gives room that nothing uses back to the disk
    Vacuum,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Table {
    Requests,
    Minutes,
    Ledger,
    Wakes,
    Audit,
}

pub(super) fn run(db: &Db, shared: &Shared) -> Result<()> {
    let state = state_of(db.state.as_deref(), shared)?;
    let path = store::file(&state);
    if !path.exists() {
        let what = format!("there is no store at {}", path.display());
        return Err(Ended::new(
            Kind::NotFound,
            what,
            "name its folder with --state, or its fleet with --config",
        )
        .into());
    }
    match db.what {
        What::Check => {
            let wrong = store::check(&path)?;
            if wrong.is_empty() {
                return say(&format!("{} is sound", path.display()));
            }
            let hint = "move it away while serve is stopped: a new one begins; what can be read is in `fleetctl db export`";
            Err(Ended::new(Kind::Failed, wrong.join("\n"), hint).into())
        }
        What::Export { table } => {
            let name = match table {
                Table::Requests => "request",
                Table::Minutes => "minute",
                Table::Ledger => "ledger",
                Table::Wakes => "wake",
                Table::Audit => "audit",
            };
            let mut ended = Ok(());
            store::each(&path, name, |row| {
                ended = tell(row);
                ended.is_ok()
            })?;
            ended
        }
        What::Vacuum => {
            let size = |path: &PathBuf| std::fs::metadata(path).map_or(0, |data| data.len());
            let before = size(&path);
            store::vacuum(&path)?;
            say(&format!(
                "{}: {before} bytes before, {} now",
                path.display(),
                size(&path)
            ))
        }
    }
}
