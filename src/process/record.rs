//! What is remembered of a run on disk, so that whoever comes after us finds it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};

use super::Spec;
use super::table::Being;

/// A run.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) run: u64,
    pub(super) since: SystemTime,
    /// What was run, see [`fingerprint`].
    pub(super) of: String,
    pub(super) port: u16,
    process: Being,
}

impl Record {
    pub(super) fn new(run: u64, process: &Being, spec: &Spec, port: u16) -> Self {
        Self {
            run,
            since: SystemTime::now(),
            of: fingerprint(spec),
            port,
            process: process.clone(),
        }
    }

    /// Its process, where it lives.
    pub(super) fn being(&self) -> Option<Being> {
        self.process.lives().then(|| self.process.clone())
    }

    /// The record in this folder; `None` where there is none, or none that can be read: then the mark of the processes
    /// is all there is.
    pub(super) fn read(folder: &Path) -> io::Result<Option<Self>> {
        match fs::read(file(folder)) {
            Ok(text) => Ok(serde_json::from_slice(&text)
                .inspect_err(|error| tracing::warn!("{}: {error}", file(folder).display()))
                .ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All of it or nothing: a reader never sees half a record.
    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        let whole = file(folder);
        let part = whole.with_extension("new");
        fs::write(&part, serde_json::to_vec(self)?)?;
        fs::rename(part, whole)
    }

    /// The run is over. Its number stays, so that no two runs have the same.
    pub(super) fn forget(folder: &Path) {
        let over = Self::read(folder).ok().flatten().map(|record| Self {
            of: String::new(),
            ..record
        });
        if let Some(over) = over
            && let Err(error) = over.write(folder)
        {
            tracing::warn!("{}: {error}", file(folder).display());
        }
    }
}

/// Tells one way of running an engine from another, without giving away what its environment holds.
pub(super) fn fingerprint(spec: &Spec) -> String {
    let told = (&spec.command, &spec.env, &spec.dir, spec.port, &spec.gpus);
    let told = serde_json::to_vec(&told).unwrap_or_default();
    BASE64_STANDARD.encode(digest(&SHA256, &told))
}

fn file(folder: &Path) -> PathBuf {
    folder.join("run.json")
}
