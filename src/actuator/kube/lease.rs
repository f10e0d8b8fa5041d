//! Who operates a backend now: a lock that needs no controller. One that was not renewed is anybody's.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use http::Method;
use serde_json::{Value, json};

use crate::cluster::{Api, Fault};
use crate::fleet::cluster::lease_of;
use crate::fleet::cluster::object::{Kind, Object, collection};
use crate::fleet::cluster::plan::{MANAGER, Plan};

/// How long it holds without being renewed, seconds.
const HOLDS: i64 = 30;
/// It is renewed this often.
const RENEW: Duration = Duration::from_secs(10);

/// A lease that is held.
#[derive(Clone, Debug)]
pub(super) struct Lease {
    api: Api,
    object: Object,
    holder: String,
    since: String,
}

impl Lease {
    /// Takes it: makes it, or takes it over where nobody renewed it.
    ///
    /// # Errors
    /// Who has it, and since when.
    pub(super) async fn take(api: &Api, plan: &Plan) -> Result<Self, String> {
        let lease = Self {
            api: api.clone(),
            object: lease_of(plan),
            holder: plan.mark.id.clone(),
            since: micros(),
        };
        let made = lease.send(Method::POST, None).await;
        let taken = match made {
            Err(Fault::Changed(_)) => lease.take_over(&plan.mark.by).await?,
            other => other.map(drop),
        };
        taken.map_err(|fault| format!("cannot hold {}: {fault}", lease.object))?;
        Ok(lease)
    }

    async fn take_over(&self, by: &str) -> Result<Result<(), Fault>, String> {
        let now: Value = match self.api.get(&self.object.path(), None).await {
            Ok(now) => now,
            Err(fault) => return Ok(Err(fault)),
        };
        let spec = &now["spec"];
        let holder = spec["holderIdentity"].as_str().unwrap_or_default();
        let renewed: Option<DateTime<Utc>> =
            spec["renewTime"].as_str().and_then(|it| it.parse().ok());
        let holds = spec["leaseDurationSeconds"].as_i64().unwrap_or(HOLDS);
        let ends = renewed.map(|it| it + TimeDelta::seconds(holds));
        if !holder.is_empty() && ends.is_some_and(|it| it > Utc::now()) {
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
        let version = now["metadata"]["resourceVersion"].as_str();
        Ok(self.send(Method::PUT, version).await.map(drop))
    }

    /// Renews it until dropped, or until somebody else has it: says who.
    pub(super) async fn keep(&self) -> String {
        loop {
            tokio::time::sleep(RENEW).await;
            let now: Result<Value, Fault> = self.api.get(&self.object.path(), None).await;
            let Ok(now) = now else { continue };
            let holder = now["spec"]["holderIdentity"].as_str().unwrap_or_default();
            if holder != self.holder {
                return who(holder).to_owned();
            }
            let version = now["metadata"]["resourceVersion"].as_str();
            if let Err(fault) = self.send(Method::PUT, version).await {
                tracing::warn!("{} was not renewed: {fault}", self.object);
            }
        }
    }

    /// Ends it: there is nothing left to hold. One that somebody took over meanwhile is theirs.
    pub(super) async fn give_back(&self) {
        let path = self.object.path();
        let now: Result<Value, Fault> = self.api.get(&path, None).await;
        let Ok(now) = now else { return };
        if now["spec"]["holderIdentity"].as_str() != Some(&self.holder) {
            return;
        }
        let version = &now["metadata"]["resourceVersion"];
        let body = json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"resourceVersion": version}});
        if let Err(fault) = self.api.send(Method::DELETE, &path, &body).await {
            tracing::warn!("{} was not given back: {fault}", self.object);
        }
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
