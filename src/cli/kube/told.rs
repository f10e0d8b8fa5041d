//! What a cluster keeps of what happened: its events, for verbs that end at once.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::Open;
use crate::cluster::{Api, Fault, Page};
use crate::fleet::Fleet;
use crate::fleet::cluster::place::Place;
use crate::fleet::cluster::plan::MANAGER;
use crate::fleet::cluster::{Cluster, PAGES};
use crate::source::engine_log::clean;

/// Events a page, and pages at most: older ones than those are gone soon.
const PAGE: usize = 500;
const MOST_PAGES: usize = 20;
/// How long it may take to find out how pages are read.
const ASKED: Duration = Duration::from_secs(5);

/// Something that happened.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Happened {
    pub(in crate::cli) at: DateTime<Utc>,
    /// `Pod`, and its name.
    pub(in crate::cli) about: (String, String),
    pub(in crate::cli) namespace: String,
    pub(in crate::cli) reason: String,
    pub(in crate::cli) note: String,
    pub(in crate::cli) bad: bool,
    /// Who did what, where it was told by a fleetctl.
    pub(in crate::cli) done: Option<(String, String)>,
}

impl Open {
    /// The events of everything that serves, or of what is at one place; oldest first.
    ///
    /// # Errors
    /// Where they may not be seen.
    pub(in crate::cli) async fn events(
        &self,
        fleet: &Fleet,
        of: Option<&Place>,
    ) -> Result<Vec<Happened>, Fault> {
        let mut all = Vec::new();
        for (api, _) in &self.reached {
            let places = fleet.backends.iter().filter_map(|b| b.place.as_deref());
            let here = places.filter(|it| it.cluster == *api.name());
            let here = here.filter(|it| of.is_none_or(|of| of.workload == it.workload));
            let namespaces: BTreeSet<&str> = here.map(|it| &*it.workload.namespace).collect();
            for namespace in namespaces {
                all.extend(of_namespace(api, namespace).await?);
            }
        }
        if let Some(place) = of {
            let name = &*place.workload.name;
            let owner = place.told_on();
            all.retain(|it| {
                let (kind, about) = (&*it.about.0, &*it.about.1);
                let rest = about.strip_prefix(name);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
                    || kind == owner.kind.word() && about == &*owner.name
            });
        }
        all.sort_by_key(|it| it.at);
        Ok(all)
    }

    /// Waits a little for what is asked after everything was seen: what may be done, and how pages are read.
    pub(in crate::cli) async fn until_asked(&self) {
        let mut snapshots = self.handle().snapshots;
        let asked = async {
            loop {
                let fleet = snapshots.borrow_and_update().clone();
                let read = |it: &Cluster| it.parts.iter().any(|part| part.resource == PAGES);
                let mut ready = fleet.backends.iter().filter_map(|b| b.place.as_deref());
                let nobody = !ready.any(|it| it.ready > 0);
                let mut all = fleet.clusters.iter();
                let known = all.all(|it| !it.permits.is_empty() && (nobody || read(it)));
                if known || snapshots.changed().await.is_err() {
                    return;
                }
            }
        };
        // What is not known by then is said to be so.
        let _ = tokio::time::timeout(ASKED, asked).await;
    }

    /// What each API server calls its version.
    pub(in crate::cli) async fn versions(&self) -> Vec<(String, Result<String, Fault>)> {
        let mut out = Vec::new();
        for (api, _) in &self.reached {
            let said: Result<Value, Fault> = api.get("/version", None).await;
            let said = said.map(|it| text(&it, "/gitVersion"));
            out.push((api.name().to_string(), said));
        }
        out
    }
}

async fn of_namespace(api: &Api, namespace: &str) -> Result<Vec<Happened>, Fault> {
    let mut out = Vec::new();
    let mut next = String::new();
    for _ in 0..MOST_PAGES {
        let more = if next.is_empty() {
            String::new()
        } else {
            format!("&continue={next}")
        };
        let path =
            format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events?limit={PAGE}{more}");
        let page: Page<Value> = api.get(&path, None).await?;
        out.extend(page.items.iter().filter_map(read));
        next = page.metadata.next;
        if next.is_empty() {
            break;
        }
    }
    Ok(out)
}

fn read(event: &Value) -> Option<Happened> {
    let at = [
        "/series/lastObservedTime",
        "/eventTime",
        "/deprecatedLastTimestamp",
        "/metadata/creationTimestamp",
    ];
    let at = at.iter().find_map(|path| {
        let said = event.pointer(path)?.as_str()?;
        said.parse::<DateTime<Utc>>().ok()
    })?;
    let ours = text(event, "/reportingController") == MANAGER;
    Some(Happened {
        at,
        about: (
            text(event, "/regarding/kind"),
            text(event, "/regarding/name"),
        ),
        namespace: text(event, "/regarding/namespace"),
        reason: text(event, "/reason"),
        note: text(event, "/note"),
        bad: text(event, "/type") == "Warning",
        done: ours.then(|| (text(event, "/reportingInstance"), text(event, "/action"))),
    })
}

/// Anybody may have written it: nothing in it is for a terminal to obey.
fn text(of: &Value, path: &str) -> String {
    clean(of.pointer(path).and_then(Value::as_str).unwrap_or_default())
}
