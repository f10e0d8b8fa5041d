//! When nothing is left on a backend: no request arrives any more, and none runs, by its pods' own counters.

use std::time::Duration;

use super::Hand;
use crate::fleet::cluster::DRAIN_PATIENCE;
use crate::fleet::cluster::place::{FROM_PROMETHEUS, Place};
use crate::fleet::cluster::plan::{Plan, Step};
use crate::fleet::cluster::rule::Rule;
use crate::fleet::{Backend, BackendId, Fleet, State};

/// Nothing new in so long is silence: a client that asks now and then is heard.
const STILL: Duration = Duration::from_secs(10);
/// New requests have to end within this long once the weight is off: else another way leads there.
const SILENT: Duration = Duration::from_secs(30);
/// How long it may take to find out whether pods can be read.
const READABLE: Duration = Duration::from_secs(20);

impl Hand {
    /// Until the pods' own counter of prompt tokens stands still for a while.
    pub(super) async fn until_silent(&self, id: &BackendId) -> Result<(), String> {
        let _read_first = self.attention.attend(id);
        self.readable(id).await?;
        // Since when it stands, and where. One that falls is of other pods: it counts from there.
        let mut before: Option<(chrono::DateTime<chrono::Utc>, f64)> = None;
        let long = chrono::TimeDelta::from_std(STILL / self.pace).unwrap_or_default();
        let mut rises = 0;
        let mut gone = false;
        let still = |fleet: &Fleet| {
            let Some(b) = fleet.backend(id) else {
                gone = true;
                return true;
            };
            if serves_nothing(b) {
                return true;
            }
            let Some((at, tokens)) = b
                .live
                .read_at
                .zip(b.sample.as_ref().and_then(|it| it.prompt_tokens))
            else {
                return false;
            };
            match before {
                Some((then, was)) if was.to_bits() == tokens.to_bits() => at - then >= long,
                Some(_) | None => {
                    rises += u32::from(before.is_some_and(|(_, was)| was < tokens));
                    before = Some((at, tokens));
                    false
                }
            }
        };
        let silent = self.until(SILENT, still).await;
        if gone {
            return Err(unseen(id));
        }
        if silent.is_ok() {
            return Ok(());
        }
        // What it rose by first may have come before the weight was off.
        if rises < 2 {
            return Err(format!(
                "whether requests still arrive at {id} is not known: its counters were not read often enough within {} s; --force goes on without",
                SILENT.as_secs()
            ));
        }
        Err(format!(
            "requests still arrive at {id} after {} s without weight: {}",
            SILENT.as_secs(),
            self.ways_to(id)
        ))
    }

    /// What may still lead to it, as far as it is seen.
    fn ways_to(&self, id: &BackendId) -> String {
        let fleet = self.seen();
        let rules = fleet
            .iter()
            .flat_map(|it| &it.models)
            .flat_map(|it| &it.routes);
        let leads = |rule: &&Rule| {
            let mut refs = rule.refs.iter();
            refs.any(|it| it.backend.as_ref() == Some(id) && it.share() > 0)
        };
        let mut names: Vec<String> = rules.filter(leads).map(|it| it.route.to_string()).collect();
        names.dedup();
        if names.is_empty() {
            return "no route that is seen sends it any: a client of its Service, or of its pods"
                .into();
        }
        format!("{} still sends it some", names.join(", "))
    }

    /// Whether its pods say anything; waits until that is known.
    async fn readable(&self, id: &BackendId) -> Result<(), String> {
        let unread = |fleet: &Fleet| {
            let place = fleet.backend(id).and_then(|b| b.place.clone())?;
            let cluster = fleet.clusters.iter().find(|it| it.name == place.cluster)?;
            cluster.unread().map(ToOwned::to_owned)
        };
        let mut gone = false;
        let known = |fleet: &Fleet| {
            let Some(b) = fleet.backend(id) else {
                gone = true;
                return true;
            };
            b.live.read_at.is_some() || serves_nothing(b) || unread(fleet).is_some()
        };
        let known = self.until(READABLE * self.pace, known).await;
        if gone {
            return Err(unseen(id));
        }
        let fleet = self.seen();
        let coarse =
            |it: &Place| !it.serving.is_empty() && it.read_by.as_deref() == Some(FROM_PROMETHEUS);
        let place = fleet.as_ref().and_then(|it| it.backend(id)?.place.clone());
        if place.is_some_and(|it| coarse(&it)) {
            return Err(format!(
                "the pods of {id} are only read from Prometheus: what runs between two of its scrapes is not seen; --force goes on without"
            ));
        }
        let why = fleet.and_then(|fleet| unread(&fleet));
        match (known, why) {
            (Ok(()), None) => Ok(()),
            (_, why) => Err(format!(
                "whether the pods of {id} are idle is not known: {}; --force goes on without",
                why.unwrap_or_else(|| "their pages are not answered".to_owned())
            )),
        }
    }

    /// Until nothing runs any more. What runs for too long is told, and waited for once more: an operator has that long to cut
    /// it or to take the drain back; then it is taken back.
    pub(super) async fn until_idle(
        &self,
        plan: &Plan,
        step: &Step,
        id: &BackendId,
    ) -> Result<(), String> {
        let _read_first = self.attention.attend(id);
        self.readable(id).await?;
        let seen = self.seen();
        let place = seen
            .as_ref()
            .and_then(|it| it.backend(id)?.place.as_deref());
        let limit = place.map_or(DRAIN_PATIENCE, Place::patience);
        let limit = limit.to_std().unwrap_or_default();
        let mut gone = false;
        let mut idle = |fleet: &Fleet| {
            let Some(b) = fleet.backend(id) else {
                gone = true;
                return true;
            };
            match &b.state {
                State::Draining(drain) if drain.idle_reads >= 2 => true,
                // Where nothing serves nothing runs. Who is not ready may be too busy to say so: that one is asked.
                _ => serves_nothing(b),
            }
        };
        let mut done = self.until(limit, &mut idle).await;
        if let (Err(()), Some(n @ 1..)) = (&done, self.runs(id)) {
            let seconds = limit.as_secs();
            let words = format!(
                "{} after {seconds} s: taken back in {seconds} s more",
                still(n)
            );
            self.report(plan, words, Some(step), true).await;
            done = self.until(limit, idle).await;
        }
        if gone {
            return Err(unseen(id));
        }
        if done.is_ok() {
            return Ok(());
        }
        let fleet = self.seen();
        let b = fleet.as_ref().and_then(|it| it.backend(id));
        let unread = b.and_then(|b| b.live.error.clone());
        let seconds = limit.as_secs();
        Err(match self.runs(id) {
            Some(n @ 1..) => format!(
                "{} on {id} after {} s; --force cuts {}",
                still(n),
                2 * seconds,
                if n == 1 { "it" } else { "them" }
            ),
            Some(_) => format!(
                "whether the pods of {id} are idle is not known: they were not read often enough within {seconds} s; --force goes on without"
            ),
            None => format!(
                "whether the pods of {id} are idle is not known: {}; --force goes on without",
                unread.unwrap_or_else(|| "they cannot be read".to_owned())
            ),
        })
    }

    /// Requests that run on it, where its pods say so.
    fn runs(&self, id: &BackendId) -> Option<u32> {
        let seen = self.seen();
        let b = seen.as_ref()?.backend(id)?;
        b.live.running.filter(|_| b.live.error.is_none())
    }
}

/// How much still runs, in words.
fn still(n: u32) -> String {
    match n {
        1 => "1 request still runs".to_owned(),
        n => format!("{n} requests still run"),
    }
}

/// Whether it is known that no request can run on it.
fn serves_nothing(b: &Backend) -> bool {
    b.place.as_ref().is_some_and(|it| it.serving.is_empty())
}

/// One that is gone from the picture may run all the same.
fn unseen(id: &BackendId) -> String {
    format!("{id} is not seen any more: whether anything runs on it is not known")
}
