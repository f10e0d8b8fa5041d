//! What consoles write down of clusters, on this machine: accounts, wakes and the audit, for the next one to go on with.
//!
//! What operators want of a backend is not in it: that stands on the cluster.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use chrono::{DateTime, Datelike, NaiveTime, TimeDelta, Utc};
use etcetera::BaseStrategy as _;

use super::Wanted;
use crate::cli::serve::file_name;
use crate::fleet::restore::Past;
use crate::fleet::{BackendId, Fleet};
use crate::store::{self, Journal, Keep, Store};

/// How long the last rows may take to be written.
const LAST_ROWS: Duration = Duration::from_secs(2);
/// How long it is kept, and how large it grows.
const KEEP: Keep = Keep {
    age: Duration::from_secs(90 * 24 * 60 * 60),
    bytes: 256 << 20,
};
/// Nothing older is asked for: what a Prometheus keeps for longer is more than a screen tells.
const OLDEST: TimeDelta = TimeDelta::days(31);

/// What is done with the record of earlier consoles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Records {
    /// It is gone on with.
    Written,
    /// It is read: for commands that end at once.
    Read,
}

/// The record, for as long as it is open.
#[derive(Debug, Default)]
pub(super) struct Kept {
    writer: Option<JoinHandle<()>>,
    _lock: Option<File>,
    /// An earlier console has left one.
    there: bool,
}

impl Kept {
    /// Opens it, and lets the fleet begin with what it holds. Without one the fleet says so, and begins anew.
    pub(super) fn open(
        place: Option<PathBuf>,
        records: Records,
        fleet: &mut Fleet,
    ) -> (Self, Option<Journal>) {
        let Some(folder) = place else {
            return Default::default();
        };
        let file = store::file(&folder);
        if records == Records::Read {
            let kept = store::read(&file);
            let there = kept.is_ok();
            if let Ok(kept) = kept {
                begin(fleet, kept);
            }
            let read = Self {
                there,
                ..Self::default()
            };
            return (read, None);
        }
        let lock = match lock(&folder) {
            Ok(lock) => lock,
            Err(why) => {
                fleet.not_recorded = Some(format!("not recording: {why}"));
                return Default::default();
            }
        };
        let (store, kept, writer) = Store::start(file, KEEP);
        begin(fleet, kept);
        let journal = Journal::of_clusters(store, fleet);
        let kept = Self {
            writer: Some(writer),
            _lock: Some(lock),
            there: true,
        };
        (kept, Some(journal))
    }

    /// Whether there is one.
    pub(super) fn is_there(&self) -> bool {
        self.there
    }

    /// Waits until the last rows are written.
    pub(super) async fn close(self) {
        let Some(writer) = self.writer else { return };
        let written = tokio::task::spawn_blocking(move || writer.join());
        // A disk that takes longer loses the last minute, which the next console shows as unobserved.
        let _ = tokio::time::timeout(LAST_ROWS, written).await;
    }
}

fn begin(fleet: &mut Fleet, kept: store::Kept) {
    let mut past: BTreeMap<BackendId, Arc<Past>> = BTreeMap::new();
    let mut wakes = kept.wakes;
    for (id, ledger) in kept.ledgers {
        let wakes = wakes.remove(&id).unwrap_or_default();
        let one = Past {
            ledger: Some(ledger),
            wakes,
            ..Past::default()
        };
        past.insert(id, Arc::new(one));
    }
    fleet.past = Arc::new(past);
    fleet.restore(kept.started, kept.requests, kept.audit);
}

/// Since when gaps are worth filling: the month's begin, or the oldest gap.
pub(super) fn fill_from(fleet: &Fleet) -> DateTime<Utc> {
    let now = fleet.now;
    let month = now.with_day(1).unwrap_or(now).with_time(NaiveTime::MIN);
    let month = month.single().unwrap_or(now);
    let ledgers = fleet.past.values().filter_map(|it| it.ledger.as_ref());
    let missed = ledgers.filter_map(|it| it.gaps.first().map(|gap| gap.0).or(it.until));
    missed
        .min()
        .map_or(month, |at| at.min(month))
        .max(now - OLDEST)
}

/// The folder of what is looked at: the same clusters, namespaces and labels, from the same files.
pub(super) fn place(wanted: &Wanted) -> Option<PathBuf> {
    let base = etcetera::choose_base_strategy().ok()?;
    let state = base.state_dir().unwrap_or_else(|| base.data_dir());
    let mut names = Vec::new();
    let mut all = Vec::new();
    for (name, access, settings) in wanted {
        let context = access.context.as_deref().unwrap_or("current");
        names.push(file_name(name.as_deref().unwrap_or(context)));
        let file = access.kubeconfig.clone().map(|it| it.display().to_string());
        let file = file.or_else(|| std::env::var("KUBECONFIG").ok());
        all.push(format!(
            "{name:?} {context} {file:?} {:?} {:?}",
            settings.namespaces, settings.selector
        ));
    }
    let hash = digest(&SHA256, all.join("\n").as_bytes());
    let short = hash
        .as_ref()
        .first_chunk()
        .map_or(0, |it| u32::from_be_bytes(*it));
    let mut name = names.join("+");
    name.truncate(80);
    let folder = format!("{name}-{short:08x}");
    Some(state.join("fleetctl").join("clusters").join(folder))
}

/// One console a record: two would each write what the other does not know.
fn lock(folder: &Path) -> Result<File, String> {
    let shown = folder.display();
    fs::create_dir_all(folder).map_err(|error| format!("{shown} cannot be made: {error}"))?;
    let path = folder.join("lock");
    let file = File::create(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => {
            Err("another console on this machine keeps the record of this cluster".to_owned())
        }
        Err(fs::TryLockError::Error(error)) => Err(format!("{}: {error}", path.display())),
    }
}
