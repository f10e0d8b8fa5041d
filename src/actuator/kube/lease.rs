//! Who operates a backend now: a lock that needs no controller. One that was not renewed is anybody's.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use http::Method;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::Hand;
use super::patience::{Undone, tried};
use super::running::Turn;
use crate::cluster::{Api, Fault};
use crate::fleet::cluster::lease_of;
use crate::fleet::cluster::object::{Kind, Object, collection};
use crate::fleet::cluster::plan::{MANAGER, Plan};

/// How long it holds without being renewed, seconds.
const HOLDS: i64 = 30;
/// It is renewed this often.
const RENEW: Duration = Duration::from_secs(10);
/// Where that did not work it is tried again this soon.
const SOON: Duration = Duration::from_secs(2);
/// An end that could not be told to the cluster is tried so often: it runs out by itself.
const ENDINGS: u32 = 3;
/// Clocks differ by less than this. One that ran out longer ago is nobody's; one that may have is looked at until it did.
const CLOCKS: i64 = 300;

/// A lease that is held.
#[derive(Clone, Debug)]
pub(super) struct Lease {
    api: Api,
    object: Object,
    holder: String,
    since: String,
    /// When it was last renewed, by this machine's clock: a wait that a suspended machine slept through counts.
    renewed: Arc<Mutex<DateTime<Utc>>>,
    /// It was given back: there is nothing left to keep.
    over: CancellationToken,
}

impl Lease {
    /// Takes it: makes it, or takes it over where nobody renewed it.
    ///
    /// # Errors
    /// Who has it, and since when.
    pub(super) async fn take(
        hand: &Hand,
        plan: &Plan,
        turn: Option<&Turn>,
    ) -> Result<Self, String> {
        let lease = Self {
            api: hand.api.clone(),
            object: lease_of(plan),
            holder: plan.mark.id.clone(),
            since: micros(),
            renewed: Arc::new(Mutex::new(Utc::now())),
            over: CancellationToken::new(),
        };
        let mut patience = hand.patience(plan, None, turn);
        loop {
            let made = lease.send(Method::POST, None).await;
            let taken = match made {
                Err(Fault::Changed(_)) => lease.take_over(&plan.mark.by, hand.pace).await?,
                other => other.map(drop),
            };
            let Err(fault) = taken else { break };
            patience.after(fault).await.map_err(|why| match why {
                Undone::Fault(fault) => format!("cannot hold {}: {fault}", lease.object),
                Undone::Worn(fault) => {
                    format!("cannot hold {}: {fault}{}", lease.object, tried())
                }
                Undone::Engine(why) => why,
                Undone::Stopped(why) => why.to_owned(),
            })?;
        }
        *lease.renewed() = Utc::now();
        Ok(lease)
    }

    async fn take_over(&self, by: &str, pace: u32) -> Result<Result<(), Fault>, String> {
        let mut looked_at: Option<Value> = None;
        loop {
            let now: Value = match self.api.get(&self.object.path(), None).await {
                Ok(now) => now,
                Err(fault) => return Ok(Err(fault)),
            };
            let spec = &now["spec"];
            let holder = spec["holderIdentity"].as_str().unwrap_or_default();
            if holder == self.holder {
                // The answer to our own taking of it was lost.
                return Ok(Ok(()));
            }
            let renewed: Option<DateTime<Utc>> =
                spec["renewTime"].as_str().and_then(|it| it.parse().ok());
            let holds = spec["leaseDurationSeconds"].as_i64().unwrap_or(HOLDS);
            // It was renewed by another machine's clock.
            let ended = renewed.map(|it| Utc::now() - it - TimeDelta::seconds(holds));
            let same = looked_at.as_ref() == Some(&now["metadata"]["resourceVersion"]);
            let is_free =
                holder.is_empty() || same || ended.is_none_or(|it| it > TimeDelta::seconds(CLOCKS));
            if is_free {
                let version = now["metadata"]["resourceVersion"].as_str();
                return Ok(self.send(Method::PUT, version).await.map(drop));
            }
            let is_held = looked_at.is_some() || ended.is_some_and(|it| it < TimeDelta::zero());
            if is_held {
                let since = spec["acquireTime"].as_str().unwrap_or("?");
                let who = who(holder);
                return Err(format!(
                    "{who} operates it since {since}; wait for the end{}",
                    if who == by {
                        " of your other operation"
                    } else {
                        ", or until that console is gone for 30 s"
                    }
                ));
            }
            // It ran out a moment ago, if both clocks are right: whoever holds it renews it in this time.
            looked_at = Some(now["metadata"]["resourceVersion"].clone());
            let holds = Duration::from_secs(u64::try_from(holds).unwrap_or(0).min(3600));
            tokio::time::sleep(holds / pace).await;
        }
    }

    /// Renews it until dropped, until somebody else has it, or until it could not be renewed for as long as it holds: says
    /// which.
    pub(super) async fn keep(&self) -> String {
        let mut next = RENEW;
        loop {
            tokio::select! {
                () = tokio::time::sleep(next) => {}
                () = self.over.cancelled() => std::future::pending().await,
            }
            match self.held(true).await {
                Ok(true) => next = RENEW,
                Ok(false) => next = SOON,
                Err(why) => return why,
            }
        }
    }

    /// Whether it is held still; renews it where that is due.
    ///
    /// # Errors
    /// Who has it now; or that nobody knows, as it could not be renewed for too long.
    pub(super) async fn is_held(&self) -> Result<(), String> {
        let age = Utc::now() - *self.renewed();
        let renew = age.to_std().is_ok_and(|age| age >= RENEW);
        self.held(renew).await.map(drop)
    }

    /// Whether it could be looked at; where it could not, it still holds.
    async fn held(&self, renew: bool) -> Result<bool, String> {
        let failed = match self.look(renew).await {
            Ok(None) => return Ok(true),
            Ok(Some(other)) => return Err(format!("{other} has taken it over")),
            Err(fault) => fault,
        };
        tracing::warn!("{} was not renewed: {failed}", self.object);
        let since = Utc::now() - *self.renewed();
        if since < TimeDelta::seconds(HOLDS) {
            if matches!(failed, Fault::Stranger(_) | Fault::Login(_)) {
                self.api.renew().await;
            }
            return Ok(false);
        }
        Err(format!(
            "the lease could not be renewed for {} s ({failed}): another console may have taken over",
            since.num_seconds()
        ))
    }

    /// Looks at it, and renews it; or who else has it.
    async fn look(&self, renew: bool) -> Result<Option<String>, Fault> {
        let now: Value = self.api.get(&self.object.path(), None).await?;
        let holder = now["spec"]["holderIdentity"].as_str().unwrap_or_default();
        if holder != self.holder {
            return Ok(Some(who(holder).to_owned()));
        }
        if renew {
            let version = now["metadata"]["resourceVersion"].as_str();
            self.send(Method::PUT, version).await?;
            *self.renewed() = Utc::now();
        }
        Ok(None)
    }

    fn renewed(&self) -> std::sync::MutexGuard<'_, DateTime<Utc>> {
        self.renewed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends it: there is nothing left to hold. One that somebody took over meanwhile is theirs.
    pub(super) async fn give_back(&self, pace: u32) {
        if self.over.is_cancelled() {
            return;
        }
        self.over.cancel();
        for _ in 0..ENDINGS {
            match self.end().await {
                Ok(()) => return,
                Err(fault) if fault.passes() || self.api.is_starting().await => {
                    tracing::warn!("{} was not given back: {fault}", self.object);
                    tokio::time::sleep(SOON / pace).await;
                }
                Err(fault) => {
                    tracing::warn!("{} was not given back: {fault}", self.object);
                    return;
                }
            }
        }
    }

    async fn end(&self) -> Result<(), Fault> {
        let path = self.object.path();
        let now: Value = match self.api.get(&path, None).await {
            Err(Fault::Absent(_)) => return Ok(()),
            now => now?,
        };
        if now["spec"]["holderIdentity"].as_str() != Some(&self.holder) {
            return Ok(());
        }
        let version = &now["metadata"]["resourceVersion"];
        let body = json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"resourceVersion": version}});
        self.api.send(Method::DELETE, &path, &body).await.map(drop)
    }

    async fn send(&self, method: Method, version: Option<&str>) -> Result<Value, Fault> {
        let mut body = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self.object.name, "namespace": self.object.namespace},
            "spec": {"holderIdentity": self.holder, "leaseDurationSeconds": HOLDS, "acquireTime": self.since, "renewTime": micros()},
        });
        if let Some(version) = version {
            body["metadata"]["resourceVersion"] = version.into();
        }
        let path = if method == Method::POST {
            collection(Kind::Lease, "v1", Some(&self.object.namespace))
        } else {
            self.object.path()
        };
        self.api
            .send(method, &format!("{path}?fieldManager={MANAGER}"), &body)
            .await
    }
}

/// Whose operation it is.
fn who(holder: &str) -> &str {
    holder.rsplit_once('-').map_or(holder, |(who, _)| who)
}

/// Now, as leases have it.
fn micros() -> String {
    Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}
