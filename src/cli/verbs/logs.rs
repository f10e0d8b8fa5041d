//! Engines' logs.

use std::sync::Arc;

use anyhow::Result;
use serde_json::json;

use super::super::exit::{Ended, Kind};
use super::super::kube::Open;
use super::{Output, names, table};
use crate::cluster::Fault;
use crate::fleet::BackendId;
use crate::handle::FleetHandle;

/// Lines of a pod's log that are fetched where nobody says how many.
const USUAL: usize = 300;

/// Whose log, and how much of it.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Logs {
    /// Whose
    backend: String,
    /// The newest so many lines [default: all that are kept; of a pod 300]
    #[arg(long, short = 'n', value_name = "NUMBER")]
    number: Option<usize>,
    /// Goes on as it grows
    #[arg(long, short)]
    follow: bool,
    #[command(flatten)]
    form: super::Form,
}

impl Logs {
    pub(super) fn output(&self) -> Output {
        self.form.output
    }

    pub(super) fn goes_on(&self) -> bool {
        self.follow
    }
}

/// Prints an engine's log, and goes on as it grows.
pub(super) async fn log(
    handle: &mut FleetHandle,
    clusters: Option<&Open>,
    wanted: &Logs,
) -> Result<()> {
    let fleet = handle.snapshots.borrow().clone();
    let id = names::backend(&fleet, &wanted.backend)?.id.clone();
    if let (Some(clusters), false) = (clusters, wanted.follow) {
        return of_pod(handle, clusters, &id, wanted).await;
    }
    let mut last = None;
    loop {
        let fleet = handle.snapshots.borrow_and_update().clone();
        let lines = &names::backend(&fleet, id.as_str())?.log;
        let new = lines
            .iter()
            .rev()
            .take_while(|line| last.as_ref().is_none_or(|last| !Arc::ptr_eq(last, line)))
            .count();
        // How many are wanted is asked of what is there; what comes, comes.
        let n = match &last {
            None => wanted.number.map_or(new, |number| number.min(new)),
            Some(_) => new,
        };
        let newest = lines.iter().skip(lines.len() - n);
        match (wanted.output(), wanted.follow) {
            (Output::Json, false) => {
                let lines: Vec<&str> = newest.map(|line| line.text.as_str()).collect();
                return table::document(json!({"backend": id, "lines": lines}));
            }
            (Output::Json, true) => {
                for line in newest {
                    table::tell(&json!({"backend": id, "line": line.text}).to_string())?;
                }
            }
            (Output::Table, _) => {
                for line in newest {
                    table::say(&line.text)?;
                }
            }
        }
        last = lines.back().cloned().or(last);
        if !wanted.follow || handle.snapshots.changed().await.is_err() {
            return Ok(());
        }
    }
}

/// The end of a pod's log, from the cluster itself.
async fn of_pod(
    handle: &FleetHandle,
    clusters: &Open,
    id: &BackendId,
    wanted: &Logs,
) -> Result<()> {
    let fleet = handle.snapshots.borrow().clone();
    let b = names::backend(&fleet, id.as_str())?;
    let Some(place) = b.place.as_deref() else {
        let what = format!("{id} is hosted: its log is with who hosts it");
        return Err(Ended::new(Kind::NotFound, what, "").into());
    };
    let Some(of) = &place.log else {
        let what = format!("no pod of {id} has a log now: it is {}", b.state.word());
        let hint = format!("`fleetctl status` shows why; `fleetctl wake {id}` starts one");
        return Err(Ended::new(Kind::NotFound, what, hint).into());
    };
    let lines = clusters
        .log_of(place, of, wanted.number.unwrap_or(USUAL))
        .await
        .map_err(|fault| {
            let kind = match &fault {
                Fault::Forbidden(_) => Kind::Refused,
                Fault::Absent(_) => Kind::NotFound,
                _ => Kind::Failed,
            };
            Ended::new(kind, format!("no log of {}: {fault}", of.pod), "")
        })?;
    if wanted.output() == Output::Json {
        let told = json!({"backend": id, "pod": of.pod, "container": of.container, "lines": lines});
        return table::document(told);
    }
    lines.iter().try_for_each(|line| table::say(line))
}
