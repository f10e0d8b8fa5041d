//! What calls to a cluster are made with, and when it is read again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use kube::Client;
use tokio::time::Instant;

use super::access::{Access, Reached, Unreached};
use super::fault::Fault;
use super::login::AGAIN;

/// Credentials are read again at most this often.
const RENEW_EVERY: Duration = Duration::from_secs(5);
/// A login that ends within this long is renewed meanwhile.
const SOON: TimeDelta = TimeDelta::seconds(60);

/// The credentials of one access.
pub(super) struct Credentials {
    access: Access,
    held: Mutex<Held>,
    /// Held while they are read again: one at a time.
    renewing: tokio::sync::Mutex<Renewed>,
}

/// What calls are made with.
struct Held {
    client: Client,
    /// Until when a plugin's login is good for.
    until: Option<DateTime<Utc>>,
    /// Why a plugin did not log in again.
    login: Option<String>,
}

/// When they were last read, and for how long that does.
struct Renewed {
    at: Instant,
    holds: Duration,
}

impl Credentials {
    /// Reads them for the first time, and the namespace of the context. A plugin may ask whoever sits there.
    ///
    /// # Errors
    /// In plain words.
    pub(super) async fn read(access: Access) -> Result<(Self, String), String> {
        let reached = access.client(true).await.map_err(|why| match why {
            Unreached::Files(why) | Unreached::Login(why) => why,
        })?;
        let held = Held {
            client: reached.client,
            until: reached.until,
            login: None,
        };
        let renewed = Renewed {
            at: Instant::now(),
            holds: RENEW_EVERY,
        };
        let new = Self {
            access,
            held: Mutex::new(held),
            renewing: tokio::sync::Mutex::new(renewed),
        };
        Ok((new, reached.namespace))
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a call is made with. A plugin's login that ends soon is renewed before it does.
    pub(super) async fn client(self: &Arc<Self>) -> Result<Client, Fault> {
        let until = self.held().until;
        let left = until.map(|it| it - Utc::now());
        if left.is_some_and(|it| it <= TimeDelta::zero()) {
            self.renew().await;
        } else if left.is_some_and(|it| it < SOON) && self.renewing.try_lock().is_ok() {
            let all = Arc::clone(self);
            tokio::spawn(async move { all.renew_now().await });
        }
        let held = self.held();
        match &held.login {
            Some(why) if held.until.is_some_and(|it| it <= Utc::now()) => {
                Err(Fault::Login(why.clone()))
            }
            _ => Ok(held.client.clone()),
        }
    }

    /// Reads the credentials again: somebody may have logged in anew. Whoever asks while that is under way waits for it.
    pub(super) async fn renew(self: &Arc<Self>) {
        let all = Arc::clone(self);
        // In a task of its own: a plugin goes on when whoever asked has no more time.
        let renewing = tokio::spawn(async move { all.renew_now().await });
        if let Err(why) = renewing.await {
            tracing::warn!("credentials were not read again: {why}");
        }
    }

    async fn renew_now(&self) {
        let mut renewed = self.renewing.lock().await;
        if renewed.at.elapsed() < renewed.holds {
            return;
        }
        renewed.holds = RENEW_EVERY;
        match self.access.client(false).await {
            Ok(Reached { client, until, .. }) => {
                *self.held() = Held {
                    client,
                    until,
                    login: None,
                };
            }
            Err(Unreached::Files(why)) => tracing::warn!("credentials were not read again: {why}"),
            Err(Unreached::Login(why)) => {
                tracing::warn!("{why}");
                self.held().login = Some(why);
                renewed.holds = AGAIN;
            }
        }
        renewed.at = Instant::now();
    }

    /// The credentials are not taken: what is known of why.
    pub(super) fn stranger(&self, fault: Fault) -> Fault {
        match (fault, &self.held().login) {
            (Fault::Stranger(_), Some(why)) => Fault::Login(why.clone()),
            (fault, _) => fault,
        }
    }
}
