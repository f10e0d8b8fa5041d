//! The one that writes: a thread of its own, a transaction a batch.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::{oneshot, watch};

use super::keep::{Keep, Sweep};
use super::rows::{self, Row};
use super::{Order, schema};

/// Between two attempts with a disk that does not take anything, on the wall.
const AGAIN: Duration = Duration::from_secs(5);

pub(super) struct Writer {
    path: PathBuf,
    file: Option<Connection>,
    lost: Arc<AtomicU64>,
    say: watch::Sender<Option<String>>,
    /// When the file was last tried, and why it was not taken.
    tried: Instant,
    why: String,
    sweep: Sweep,
}

impl Writer {
    pub(super) fn new(
        path: PathBuf,
        file: Option<Connection>,
        lost: Arc<AtomicU64>,
        say: watch::Sender<Option<String>>,
        keep: Keep,
    ) -> Self {
        let why = say.borrow().clone().unwrap_or_default();
        Self {
            path,
            file,
            lost,
            tried: Instant::now(),
            why,
            sweep: Sweep::new(keep),
            say,
        }
    }

    /// Writes until nobody records any more. What stands between two seals is written together or not at all.
    pub(super) fn run(mut self, orders: &Receiver<Order>) {
        let mut batch = Vec::new();
        while let Ok(order) = orders.recv() {
            match order {
                Order::Row(row) => batch.push(*row),
                Order::Seal => self.commit(&mut batch, None),
                Order::Flush(done) => self.commit(&mut batch, Some(done)),
            }
        }
        // What is not sealed does not fit the accounts.
    }

    fn commit(&mut self, batch: &mut Vec<Row>, waiting: Option<oneshot::Sender<bool>>) {
        let written = self.write(batch);
        if let Err(why) = &written {
            self.why.clone_from(why);
        }
        if let Err(why) = &written {
            let lost =
                self.lost.fetch_add(batch.len() as u64, Ordering::Relaxed) + batch.len() as u64;
            self.tell(Some(format!("not recording: {why} ({lost} rows lost)")));
        } else {
            let lost = self.lost.load(Ordering::Relaxed);
            // What was lost stays lost; it is said as long as this process lives.
            self.tell(
                (lost > 0).then(|| format!("recording again; {lost} rows were lost meanwhile")),
            );
        }
        batch.clear();
        if let Some(done) = waiting {
            // Whoever waited may be gone.
            let _ = done.send(written.is_ok());
        }
    }

    fn write(&mut self, batch: &[Row]) -> Result<(), String> {
        if self.file.is_none() {
            if self.tried.elapsed() < AGAIN {
                return Err(self.why.clone());
            }
            self.tried = Instant::now();
            self.file = Some(schema::open(&self.path).map_err(|error| error.to_string())?);
        }
        let Some(file) = &mut self.file else {
            return Err("it is not open".to_owned());
        };
        let done = (|| {
            let change = file.transaction()?;
            for row in batch {
                rows::write(&change, row)?;
            }
            self.sweep.look(&change)?;
            change.commit()
        })();
        done.map_err(|error: rusqlite::Error| {
            // Tried anew with a fresh connection: the file may have been moved away.
            self.file = None;
            self.tried = Instant::now();
            format!("{}: {error}", self.path.display())
        })
    }

    fn tell(&self, trouble: Option<String>) {
        self.say.send_if_modified(|said| {
            let news = *said != trouble;
            *said = trouble;
            news
        });
    }
}
