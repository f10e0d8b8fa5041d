//! What is given up: what is too old, and the oldest where the file is too large.

use std::time::{Duration, Instant};

use rusqlite::{Connection, Transaction};

/// Between two looks for what is too old, on the wall.
const OLD: Duration = Duration::from_secs(3600);
/// Between two looks at the size, on the wall.
const LARGE: Duration = Duration::from_secs(60);
/// Rows that are given up in one go: others wait for the writer meanwhile.
const PIECE: u32 = 20_000;

/// How much a store keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Requests, lines of the audit, wakes and minutes older than this are given up; accounts stay.
    pub age: Duration,
    /// A file with more than this in it, bytes, gives up its oldest requests, and then its oldest minutes.
    pub bytes: u64,
}

impl Default for Keep {
    fn default() -> Self {
        Self {
            age: Duration::from_secs(90 * 24 * 3600),
            bytes: 4 << 30,
        }
    }
}

/// Gives up what is not to be kept, a piece at a time.
#[derive(Debug)]
pub(super) struct Sweep {
    keep: Keep,
    aged: Option<Instant>,
    sized: Option<Instant>,
}

impl Sweep {
    pub(super) fn new(keep: Keep) -> Self {
        Self {
            keep,
            aged: None,
            sized: None,
        }
    }

    /// A piece of it, where it is time.
    pub(super) fn look(&mut self, change: &Transaction<'_>) -> rusqlite::Result<()> {
        let due = |last: Option<Instant>, every| last.is_none_or(|at| at.elapsed() >= every);
        if due(self.aged, OLD) {
            let seconds = self.keep.age.as_secs();
            for (table, time) in [
                ("request", "at"),
                ("audit", "at"),
                ("wake", "since"),
                ("minute", "start"),
            ] {
                let sql = format!(
                    "DELETE FROM {table} WHERE {time} < strftime('%Y-%m-%dT%H:%M:%S', 'now', '-{seconds} seconds')"
                );
                change.execute(&sql, [])?;
            }
            self.aged = Some(Instant::now());
        }
        if due(self.sized, LARGE) {
            let over = used(change)? > self.keep.bytes;
            let gone = over && give_up(change)?;
            // With more to give up, the next batch goes on with it.
            self.sized = (!gone).then(Instant::now);
        }
        Ok(())
    }
}

/// Bytes of the file that hold something.
fn used(file: &Connection) -> rusqlite::Result<u64> {
    let number = |name| file.pragma_query_value(None, name, |row| row.get::<_, u32>(0));
    let pages = number("page_count")?.saturating_sub(number("freelist_count")?);
    Ok(u64::from(pages) * u64::from(number("page_size")?))
}

/// The oldest requests, or where there are none the oldest minutes; whether there was anything.
fn give_up(change: &Transaction<'_>) -> rusqlite::Result<bool> {
    let requests = format!(
        "DELETE FROM request WHERE rowid IN (SELECT rowid FROM request ORDER BY rowid LIMIT {PIECE})"
    );
    let minutes = format!(
        "DELETE FROM minute WHERE (backend, start) IN (SELECT backend, start FROM minute ORDER BY start LIMIT {PIECE})"
    );
    Ok(change.execute(&requests, [])? > 0 || change.execute(&minutes, [])? > 0)
}
