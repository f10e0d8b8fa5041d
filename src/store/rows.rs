//! What is kept, row by row: written, and read again at the start.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use rusqlite::{Connection, Transaction, params};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::schema::StoreError;
use crate::fleet::backend::{Backend, DrainMark, Pin, WAKES_KEPT};
use crate::fleet::ledger::{Ledger, MINUTES_KEPT, Minute};
use crate::fleet::message::AuditEntry;
use crate::fleet::request::RequestRecord;
use crate::fleet::wake::WakeRecord;
use crate::fleet::{AUDIT_KEPT, BackendId, REQUESTS_KEPT};

/// One thing to be kept.
#[derive(Clone, Debug)]
pub enum Row {
    /// When the fleet was first watched.
    Started(DateTime<Utc>),
    /// What operators want of a backend.
    Desired(BackendId, Desired),
    /// A backend's account, without its minutes.
    Ledger(BackendId, Box<Ledger>),
    /// A minute of it, as it is now.
    Minute(BackendId, Minute),
    /// A finished request.
    Request(Arc<RequestRecord>),
    /// A finished wake.
    Wake(BackendId, Arc<WakeRecord>),
    /// A line of the audit.
    Audit(Arc<AuditEntry>),
}

/// What operators want of a backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Desired {
    /// Its weight.
    pub weight: u32,
    /// The weight of the config when this was written: a config that says otherwise since then wins.
    pub configured: u32,
    /// Kept warm.
    pub pin: Option<Pin>,
    /// When the hours began for which it was pinned last.
    #[serde(default)]
    pub scheduled: Option<DateTime<Utc>>,
    /// Out of service.
    pub drained: Option<DrainMark>,
}

impl Desired {
    /// What is wanted of this backend.
    pub fn of(backend: &Backend, configured: u32) -> Self {
        Self {
            weight: backend.weight,
            configured,
            pin: backend.pin.clone(),
            scheduled: backend.scheduled,
            drained: backend.drained.clone(),
        }
    }
}

/// What a store holds that a fleet begins with.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// When the fleet was first watched.
    pub started: Option<DateTime<Utc>>,
    /// What operators want.
    pub desired: HashMap<BackendId, Desired>,
    /// The accounts, with their newest minutes.
    pub ledgers: HashMap<BackendId, Ledger>,
    /// Past wakes, oldest first.
    pub wakes: HashMap<BackendId, VecDeque<Arc<WakeRecord>>>,
    /// The newest requests, oldest first.
    pub requests: VecDeque<Arc<RequestRecord>>,
    /// The newest lines of the audit, oldest first.
    pub audit: VecDeque<Arc<AuditEntry>>,
}

/// Writes one row.
pub(super) fn write(to: &Transaction<'_>, row: &Row) -> rusqlite::Result<()> {
    let sql = match row {
        Row::Started(_) => {
            "INSERT INTO fleet VALUES ('started', ?1) ON CONFLICT (key) DO UPDATE SET value = min(value, excluded.value)"
        }
        Row::Desired(..) => "INSERT OR REPLACE INTO desired VALUES (?1, ?2)",
        Row::Ledger(..) => "INSERT OR REPLACE INTO ledger VALUES (?1, ?2)",
        Row::Minute(..) => "INSERT OR REPLACE INTO minute VALUES (?1, ?2, ?3)",
        Row::Request(_) => "INSERT INTO request VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        Row::Wake(..) => "INSERT OR REPLACE INTO wake VALUES (?1, ?2, ?3)",
        Row::Audit(_) => "INSERT INTO audit VALUES (?1, ?2)",
    };
    let mut said = to.prepare_cached(sql)?;
    match row {
        Row::Started(at) => said.execute([time(*at)])?,
        Row::Desired(backend, desired) => {
            said.execute(params![backend.as_str(), json(desired)?])?
        }
        Row::Ledger(backend, ledger) => said.execute(params![backend.as_str(), json(ledger)?])?,
        Row::Minute(backend, minute) => {
            said.execute(params![backend.as_str(), time(minute.start), json(minute)?])?
        }
        Row::Request(record) => said.execute(params![
            time(record.at),
            record.id,
            record.model.as_str(),
            record.backend.as_ref().map(BackendId::as_str),
            record.status,
            json(record)?,
        ])?,
        Row::Wake(backend, wake) => {
            said.execute(params![backend.as_str(), time(wake.since), json(wake)?])?
        }
        Row::Audit(entry) => said.execute(params![time(entry.at), json(entry)?])?,
    };
    Ok(())
}

/// What a fleet begins with.
pub(super) fn read(from: &Connection) -> Result<Kept, StoreError> {
    let mut kept = Kept {
        started: newest::<String>(
            from,
            "SELECT json_quote(value) FROM fleet WHERE key = 'started'",
            1,
        )?
        .pop()
        .and_then(|at| at.parse().ok()),
        ..Kept::default()
    };
    for (backend, desired) in by_backend(from, "SELECT backend, data FROM desired")? {
        kept.desired.insert(backend, desired);
    }
    for (backend, ledger) in by_backend::<Ledger>(from, "SELECT backend, data FROM ledger")? {
        kept.ledgers.insert(backend, ledger);
    }
    let minutes = format!(
        "SELECT backend, data FROM (SELECT *, row_number() OVER (PARTITION BY backend ORDER BY start DESC) AS n FROM minute) WHERE n <= {MINUTES_KEPT} ORDER BY backend, start"
    );
    for (backend, minute) in by_backend::<Minute>(from, &minutes)? {
        let ledger = kept.ledgers.entry(backend).or_default();
        Arc::make_mut(&mut ledger.minutes).push_back(minute);
    }
    let wakes = format!(
        "SELECT backend, data FROM (SELECT *, row_number() OVER (PARTITION BY backend ORDER BY since DESC) AS n FROM wake) WHERE n <= {WAKES_KEPT} ORDER BY backend, since"
    );
    for (backend, wake) in by_backend(from, &wakes)? {
        kept.wakes.entry(backend).or_default().push_back(wake);
    }
    kept.requests = newest(
        from,
        "SELECT data FROM request ORDER BY rowid DESC",
        REQUESTS_KEPT,
    )?
    .into();
    kept.audit = newest(
        from,
        "SELECT data FROM audit ORDER BY rowid DESC",
        AUDIT_KEPT,
    )?
    .into();
    Ok(kept)
}

/// The first `most` of a query that begins with the newest, oldest first.
fn newest<T: DeserializeOwned>(
    from: &Connection,
    sql: &str,
    most: usize,
) -> Result<Vec<T>, StoreError> {
    let mut said = from
        .prepare(&format!("{sql} LIMIT {most}"))
        .map_err(|cause| wrong(&cause))?;
    let rows = said
        .query_map([], |row| row.get::<_, String>(0))
        .map_err(|cause| wrong(&cause))?;
    let mut all = Vec::new();
    for row in rows {
        all.push(parse(&row.map_err(|cause| wrong(&cause))?)?);
    }
    all.reverse();
    Ok(all)
}

fn by_backend<T: DeserializeOwned>(
    from: &Connection,
    sql: &str,
) -> Result<Vec<(BackendId, T)>, StoreError> {
    let mut said = from.prepare(sql).map_err(|cause| wrong(&cause))?;
    let rows = said
        .query_map([], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
        })
        .map_err(|cause| wrong(&cause))?;
    let mut all = Vec::new();
    for row in rows {
        let (backend, data) = row.map_err(|cause| wrong(&cause))?;
        all.push((backend.into(), parse(&data)?));
    }
    Ok(all)
}

fn parse<T: DeserializeOwned>(data: &str) -> Result<T, StoreError> {
    serde_json::from_str(data)
        .map_err(|error| StoreError::Content(format!("a row of the store cannot be read: {error}")))
}

fn wrong(cause: &rusqlite::Error) -> StoreError {
    StoreError::Content(format!("the store cannot be read: {cause}"))
}

fn json<T: Serialize>(of: &T) -> rusqlite::Result<String> {
    serde_json::to_string(of).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

/// Times as text that sorts.
fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}
