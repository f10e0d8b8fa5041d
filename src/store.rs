//! What must outlive this process: SQLite, one writer, in batches.
//!
//! Whoever records never waits for the disk. A full disk, a file that cannot be read and a queue that is full all mean *not
//! recording*, which is said and counted; nothing else stops for it.

mod journal;
mod keep;
mod rows;
mod schema;
#[cfg(test)]
mod tests;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use tokio::sync::{oneshot, watch};

pub use journal::Journal;
pub use keep::Keep;
pub use rows::{Desired, Kept, Row};
pub use schema::{StoreError, check, each, open, vacuum};

/// Rows on their way to the disk.
const QUEUE: usize = 65_536;

/// The way to the disk. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    to: SyncSender<Order>,
    lost: Arc<AtomicU64>,
    /// Why nothing is recorded now; `None` while all is well.
    pub trouble: watch::Receiver<Option<String>>,
}

/// What the writer is told.
#[derive(Debug)]
enum Order {
    Row(Box<Row>),
    /// What was recorded since the last one belongs together.
    Seal,
    /// Everything before this is to be on the disk; told whether it is.
    Flush(oneshot::Sender<bool>),
}

impl Store {
    /// Opens the file, makes it where it is not there, and reads what is to be known from the start. A file that cannot be
    /// used is left as it is: [`Store::trouble`] says why.
    pub fn start(path: PathBuf, keep: Keep) -> (Self, Kept, JoinHandle<()>) {
        let (opened, kept) = match schema::open(&path).and_then(|file| {
            let kept = rows::read(&file)?;
            Ok((file, kept))
        }) {
            Ok((file, kept)) => (Ok(file), kept),
            Err(error) => (Err(error.to_string()), Kept::default()),
        };
        let (to, orders) = sync_channel(QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        let why = opened.as_ref().err();
        let (say, trouble) = watch::channel(why.map(|why| format!("not recording: {why}")));
        let writer = writer::Writer::new(path, opened.ok(), Arc::clone(&lost), say, keep);
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || writer.run(&orders));
        let store = Self { to, lost, trouble };
        let thread = thread.unwrap_or_else(|error| {
            // Without a writer the queue is closed, and all that comes is counted as lost.
            tracing::error!("the store has no thread: {error}");
            std::thread::spawn(|| {})
        });
        (store, kept, thread)
    }

    /// Records a row, or counts it as lost.
    pub fn record(&self, row: Row) {
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) =
            self.to.try_send(Order::Row(Box::new(row)))
        {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What was recorded since the last seal is written together.
    pub fn seal(&self) {
        // Without a place in the queue the next one seals this as well.
        let _ = self.to.try_send(Order::Seal);
    }

    /// Resolves when everything recorded so far is on the disk, with whether it is.
    pub fn flush(&self) -> oneshot::Receiver<bool> {
        let (done, wait) = oneshot::channel();
        // Without a place in the queue `done` is dropped, which says no.
        let _ = self.to.try_send(Order::Flush(done));
        wait
    }
}

/// Reads what is in a store, and leaves it as it is.
///
/// # Errors
/// Where there is none, or it is no store.
pub fn read(path: &Path) -> Result<Kept, StoreError> {
    rows::read(&schema::look(path)?)
}

/// The usual place of a fleet's store within its state folder.
pub fn file(state: &Path) -> PathBuf {
    state.join("fleet.db")
}
