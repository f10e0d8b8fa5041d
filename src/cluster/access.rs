//! How a cluster is reached and as whom, the way `kubectl` does it: kubeconfig, context, exec plugins, impersonation.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, Utc};
use http::{HeaderName, HeaderValue};
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};

use super::login::{AGAIN, by_hand, log_in};

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);

/// A way to a cluster.
pub(super) struct Reached {
    pub client: Client,
    /// Of the context.
    pub namespace: String,
    /// Until when a plugin's login is good for.
    pub until: Option<DateTime<Utc>>,
}

/// Why there is none.
pub(super) enum Unreached {
    /// What the files say does not do.
    Files(String),
    /// A plugin did not log in.
    Login(String),
}

impl From<String> for Unreached {
    fn from(why: String) -> Self {
        Self::Files(why)
    }
}

/// Which cluster, and as whom. One value for every path: nothing reads "the current context" again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Which file; `None`: `$KUBECONFIG`, `~/.kube/config`, or the service account of the pod that this runs in.
    pub kubeconfig: Option<PathBuf>,
    /// Which context; `None`: the current one at the start.
    pub context: Option<String>,
    /// Whom to act as.
    pub as_user: Option<String>,
    /// Of which groups that one is.
    pub as_groups: Vec<String>,
}

impl Access {
    /// The name of the context that is meant; settles "the current one" for good.
    ///
    /// # Errors
    /// In plain words.
    pub fn settle(&mut self) -> Result<String, String> {
        let Some(config) = self.read()? else {
            self.context = None;
            return Ok("in-cluster".to_owned());
        };
        let name = match &self.context {
            Some(name) => name.clone(),
            None => config
                .current_context
                .clone()
                .filter(|it| !it.is_empty())
                .ok_or_else(|| {
                    format!(
                        "{} has no current context; name one with --kube CONTEXT{}",
                        self.place(),
                        listed(&config)
                    )
                })?,
        };
        if !config.contexts.iter().any(|it| it.name == name) {
            return Err(format!(
                "{} has no context {name}{}",
                self.place(),
                listed(&config)
            ));
        }
        self.context = Some(name.clone());
        Ok(name)
    }

    /// Reads the kubeconfig; `None` where there is none, inside a cluster.
    fn read(&self) -> Result<Option<Kubeconfig>, String> {
        let read = match &self.kubeconfig {
            Some(path) => Kubeconfig::read_from(path),
            None => Kubeconfig::read(),
        };
        match read {
            Ok(config) => Ok(Some(config)),
            Err(_) if self.kubeconfig.is_none() && kube::Config::incluster().is_ok() => Ok(None),
            Err(why) => Err(format!(
                "cannot read {}: {}; name a kubeconfig with --kubeconfig FILE",
                self.place(),
                innermost(&why)
            )),
        }
    }

    /// Whether this runs in a pod of the cluster, and asks with its service account.
    pub(super) fn is_inside(&self) -> bool {
        self.kubeconfig.is_none() && matches!(self.read(), Ok(None))
    }

    fn place(&self) -> String {
        match &self.kubeconfig {
            Some(path) => path.display().to_string(),
            None => match std::env::var("KUBECONFIG") {
                Ok(path) if !path.is_empty() => path,
                _ => "~/.kube/config".to_owned(),
            },
        }
    }

    /// A client, with what the files say now and what a plugin gives, which may ask whoever sits there where it `may_ask`.
    ///
    /// # Errors
    /// In plain words.
    pub(super) async fn client(&self, may_ask: bool) -> Result<Reached, Unreached> {
        let mut config = match self.read()? {
            None => kube::Config::incluster().map_err(|why| Unreached::Files(innermost(&why)))?,
            Some(file) => {
                let options = KubeConfigOptions {
                    context: self.context.clone(),
                    ..KubeConfigOptions::default()
                };
                kube::Config::from_custom_kubeconfig(file, &options)
                    .await
                    .map_err(|why| {
                        Unreached::Files(format!("{}: {}", self.place(), innermost(&why)))
                    })?
            }
        };
        let until = self.log_in(&mut config, may_ask).await?;
        config.connect_timeout = Some(CONNECT);
        // Whoever asks decides what is tried again.
        config.default_retry = false;
        config.headers.push((
            HeaderName::from_static("user-agent"),
            HeaderValue::from_static(concat!("fleetctl/", env!("CARGO_PKG_VERSION"))),
        ));
        if let Some(user) = &self.as_user {
            config.auth_info.impersonate = Some(user.clone());
            config.auth_info.impersonate_groups =
                Some(self.as_groups.clone()).filter(|it| !it.is_empty());
        }
        let namespace = config.default_namespace.clone();
        let client = Client::try_from(config).map_err(|why| Unreached::Files(innermost(&why)))?;
        Ok(Reached {
            client,
            namespace,
            until,
        })
    }

    /// Puts what a plugin gives in its place; until when that is good for.
    async fn log_in(
        &self,
        config: &mut kube::Config,
        may_ask: bool,
    ) -> Result<Option<DateTime<Utc>>, Unreached> {
        let auth = &mut config.auth_info;
        let other = auth.token.is_some() || auth.token_file.is_some() || auth.username.is_some();
        let Some(exec) = auth.exec.take().filter(|_| !other) else {
            return Ok(None);
        };
        let login = log_in(&exec, may_ask).await.map_err(|why| {
            if may_ask {
                return Unreached::Login(format!("there is no login: {why}"));
            }
            Unreached::Login(format!(
                "your login has expired: run `{}` in another terminal; it is tried again every {} s ({why})",
                by_hand(&exec, self.context.as_deref()),
                AGAIN.as_secs()
            ))
        })?;
        let encoded = |text: String| BASE64.encode(text);
        auth.token = login.token.map(Into::into);
        if let (Some(certificate), Some(key)) = (login.certificate, login.key) {
            auth.client_certificate_data = Some(encoded(certificate));
            auth.client_key_data = Some(encoded(key).into());
        }
        Ok(login.until)
    }
}

/// The contexts of a kubeconfig.
///
/// # Errors
/// In plain words.
pub fn contexts(access: &Access) -> Result<Vec<String>, String> {
    let config = access.read()?;
    Ok(config.map_or_else(Vec::new, |it| {
        it.contexts.into_iter().map(|it| it.name).collect()
    }))
}

fn listed(config: &Kubeconfig) -> String {
    let names: Vec<&str> = config.contexts.iter().map(|it| it.name.as_str()).collect();
    if names.is_empty() {
        String::new()
    } else {
        format!("; it has {}", names.join(", "))
    }
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut at = error;
    while let Some(cause) = at.source() {
        at = cause;
    }
    at.to_string()
}
