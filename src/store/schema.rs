//! The file: opened, brought up to date, checked.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

/// Each step brings a file from its number to the next. Steps that were released never change.
const STEPS: [&str; 1] = ["
    CREATE TABLE fleet (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
    CREATE TABLE desired (backend TEXT PRIMARY KEY, data TEXT NOT NULL) STRICT;
    CREATE TABLE ledger (backend TEXT PRIMARY KEY, data TEXT NOT NULL) STRICT;
    CREATE TABLE minute (backend TEXT NOT NULL, start TEXT NOT NULL, data TEXT NOT NULL, PRIMARY KEY (backend, start)) STRICT, WITHOUT ROWID;
    CREATE TABLE request (at TEXT NOT NULL, id TEXT NOT NULL, model TEXT NOT NULL, backend TEXT, status INTEGER NOT NULL, data TEXT NOT NULL) STRICT;
    CREATE INDEX request_at ON request (at);
    CREATE TABLE wake (backend TEXT NOT NULL, since TEXT NOT NULL, data TEXT NOT NULL, PRIMARY KEY (backend, since)) STRICT, WITHOUT ROWID;
    CREATE TABLE audit (at TEXT NOT NULL, data TEXT NOT NULL) STRICT;
    CREATE INDEX audit_at ON audit (at);
"];
/// How long a lock of another program (`fleetctl db`) is waited for.
const BUSY: Duration = Duration::from_secs(5);

/// Why a store cannot be used, with what to do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite says no.
    #[error(
        "{path}: {cause}; `fleetctl db check` looks at it, and moving it away begins a new one"
    )]
    File {
        /// Which.
        path: String,
        /// Why.
        cause: rusqlite::Error,
    },
    /// A newer fleetctl made it.
    #[error(
        "{path} was made by a newer fleetctl (its schema is {found}, this one knows {known}); use that one, or move the file away"
    )]
    Newer {
        /// Which.
        path: String,
        /// Its schema's number.
        found: usize,
        /// The newest that is known here.
        known: usize,
    },
    /// What it holds is not what it should be.
    #[error("{0}")]
    Content(String),
}

/// Opens a store, and brings it up to date.
///
/// # Errors
/// Where it is no store, a newer one, or cannot be written.
pub fn open(path: &Path) -> Result<Connection, StoreError> {
    let fault = |cause| StoreError::File {
        path: path.display().to_string(),
        cause,
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut file = Connection::open_with_flags(path, flags).map_err(fault)?;
    file.busy_timeout(BUSY).map_err(fault)?;
    file.pragma_update(None, "journal_mode", "WAL")
        .map_err(fault)?;
    // What is committed survives the end of this process; the newest of it may not survive the machine's.
    file.pragma_update(None, "synchronous", "NORMAL")
        .map_err(fault)?;
    let found: u32 = file
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(fault)?;
    let found = found as usize;
    if found > STEPS.len() {
        return Err(StoreError::Newer {
            path: path.display().to_string(),
            found,
            known: STEPS.len(),
        });
    }
    for (number, step) in STEPS.iter().enumerate().skip(found) {
        let change = file.transaction().map_err(fault)?;
        change.execute_batch(step).map_err(fault)?;
        change
            .pragma_update(None, "user_version", number as u32 + 1)
            .map_err(fault)?;
        change.commit().map_err(fault)?;
    }
    Ok(file)
}

/// Opens a store to read it alone.
///
/// # Errors
/// Where there is none.
pub(super) fn look(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags).map_err(|cause| StoreError::File {
        path: path.display().to_string(),
        cause,
    })
}

/// Looks at every page; what is wrong, or nothing.
///
/// # Errors
/// Where it cannot even be opened.
pub fn check(path: &Path) -> Result<Vec<String>, StoreError> {
    let fault = |cause| StoreError::File {
        path: path.display().to_string(),
        cause,
    };
    let file = open(path)?;
    let mut said = file.prepare("PRAGMA integrity_check").map_err(fault)?;
    let rows = said.query_map([], |row| row.get(0)).map_err(fault)?;
    let lines: Vec<String> = rows.collect::<Result<_, _>>().map_err(fault)?;
    Ok(lines.into_iter().filter(|line| line != "ok").collect())
}

/// Each row of a table as JSON, oldest first, until `take` has had enough.
///
/// # Errors
/// Where it cannot be read.
pub fn each(
    path: &Path,
    table: &str,
    mut take: impl FnMut(&str) -> bool,
) -> Result<(), StoreError> {
    let fault = |cause| StoreError::File {
        path: path.display().to_string(),
        cause,
    };
    let order = match table {
        "minute" => "start, backend",
        "wake" => "since, backend",
        "ledger" => "backend",
        _ => "rowid",
    };
    let named = ["minute", "wake", "ledger"].contains(&table);
    // What has no name of its own in its data gets the backend's.
    let data = if named {
        "json_set(data, '$.backend', backend)"
    } else {
        "data"
    };
    let file = open(path)?;
    let mut said = file
        .prepare(&format!("SELECT {data} FROM {table} ORDER BY {order}"))
        .map_err(fault)?;
    let mut rows = said.query([]).map_err(fault)?;
    while let Some(row) = rows.next().map_err(fault)? {
        let data: String = row.get(0).map_err(fault)?;
        if !take(&data) {
            break;
        }
    }
    Ok(())
}

/// Gives room that nothing uses back to the disk.
///
/// # Errors
/// Where it cannot be written.
pub fn vacuum(path: &Path) -> Result<(), StoreError> {
    open(path)?
        .execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE)")
        .map_err(|cause| StoreError::File {
            path: path.display().to_string(),
            cause,
        })
}
