//! The console on a fleet elsewhere: `fleetctl --connect URL`.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use tokio_util::sync::CancellationToken;

use crate::remote::{self, Address};
use crate::tui;

/// Where the fleet is, and who asks.
#[derive(Debug, clap::Args)]
pub(super) struct Connect {
    /// The admin address of a running `fleetctl serve`: http://127.0.0.1:4001
    #[arg(
        id = "connect",
        long = "connect",
        global = true,
        value_name = "URL",
        env = "FLEETCTL_CONNECT"
    )]
    url: Option<String>,
    /// The file that holds the token for it; or the token itself in FLEETCTL_TOKEN
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The authority of its certificate, PEM, where this machine does not know it
    #[arg(long, global = true, value_name = "FILE", env = "FLEETCTL_CA")]
    ca_file: Option<PathBuf>,
}

impl Connect {
    /// The address that was named.
    pub(super) fn address(&self) -> Result<Option<Address>> {
        match &self.url {
            Some(url) => self.at(url).map(Some),
            None => Ok(None),
        }
    }

    /// This address, with the token that was named.
    pub(super) fn at(&self, url: &str) -> Result<Address> {
        ensure!(
            url.starts_with("http://") || url.starts_with("https://"),
            "`{url}` is not an address; write it like http://127.0.0.1:4001"
        );
        let token = match &self.token_file {
            Some(path) => Some(
                std::fs::read_to_string(path)
                    .with_context(|| format!("cannot read {}", path.display()))?
                    .trim()
                    .to_owned(),
            ),
            None => std::env::var("FLEETCTL_TOKEN").ok(),
        };
        let token = token.filter(|token| !token.is_empty());
        let authority = self.ca_file.as_ref().map(|path| {
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
        });
        Ok(Address {
            url: url.to_owned(),
            token,
            authority: authority.transpose()?,
        })
    }
}

/// Runs the console until the operator leaves.
pub(super) async fn console(address: Address, options: tui::run::Options) -> Result<()> {
    let shutdown = CancellationToken::new();
    let url = address.url.clone();
    let handle = remote::attach(address, shutdown.clone())
        .await
        .with_context(|| format!("no fleet at {url}"))?;
    let options = tui::run::Options {
        attached: true,
        ..options
    };
    let ended = tui::run::run(handle, options, shutdown.clone()).await;
    shutdown.cancel();
    ended.map_err(Into::into)
}
