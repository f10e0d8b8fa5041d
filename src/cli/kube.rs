//! Fleets on Kubernetes: `--kube [CONTEXT]`, or `[[cluster]]` in the config.

mod open;
mod record;
mod seen;
mod told;

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use tokio_util::sync::CancellationToken;

use super::assemble::money;
use crate::cluster::{Access, Reach};
use crate::config::{self, Config};
use crate::fleet::backend::Price;
use crate::source::kube::{Named, NodePrice, Prices, Settings};
use crate::tui;

pub(super) use open::Open;
pub(super) use record::Records;
pub(super) use told::Happened;

/// Which clusters, and as whom; the flags are those of `kubectl`.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Kube {
    /// A Kubernetes cluster by its context [default: the current one]; several together in one table
    #[arg(long = "kube", global = true, value_name = "CONTEXT", num_args = 0..=1, default_missing_value = "", conflicts_with = "connect")]
    contexts: Vec<String>,
    /// The kubeconfig [default: $KUBECONFIG, ~/.kube/config, or the service account of this pod]
    #[arg(long, global = true, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Only these namespaces [default: all, or the context's own where you may not list all]
    #[arg(
        long = "namespace",
        global = true,
        value_name = "NAME",
        value_delimiter = ','
    )]
    namespaces: Vec<String>,
    /// All namespaces, also where the config names some; an error where you may not list them all
    #[arg(
        long = "all-namespaces",
        short = 'A',
        global = true,
        conflicts_with = "namespaces"
    )]
    everywhere: bool,
    /// Only workloads and pods with these labels: team=ml
    #[arg(long, short = 'l', global = true, value_name = "LABELS")]
    selector: Option<String>,
    /// Acts as this user
    #[arg(long = "as", global = true, value_name = "USER")]
    as_user: Option<String>,
    /// Acts as one of this group
    #[arg(
        long = "as-group",
        global = true,
        value_name = "GROUP",
        requires = "as_user"
    )]
    as_groups: Vec<String>,
}

/// The clusters that are meant, each with what is known of it.
pub(super) type Wanted = Vec<(Option<String>, Access, Settings)>;

impl Kube {
    /// Whether clusters are meant rather than a fleet of processes and addresses.
    pub(super) fn is_meant(&self, config: Option<&Config>) -> bool {
        !self.contexts.is_empty() || config.is_some_and(|it| !it.clusters.is_empty())
    }

    /// The clusters that are meant.
    ///
    /// # Errors
    /// Where the config contradicts itself.
    pub(super) fn wanted(&self, config: Option<&Config>) -> Result<Wanted> {
        let known = config.map_or(&[][..], |it| &it.clusters);
        let mut wanted: Wanted = Vec::new();
        if self.contexts.is_empty() {
            for one in known {
                wanted.push(self.of(Some(one), None, config)?);
            }
        }
        for context in &self.contexts {
            let named = known.iter().find(|it| {
                it.name.as_deref() == Some(context) || it.context.as_deref() == Some(context)
            });
            let context = Some(context.clone()).filter(|it| !it.is_empty());
            wanted.push(self.of(named, context, config)?);
        }
        Ok(wanted)
    }

    fn of(
        &self,
        known: Option<&config::Cluster>,
        context: Option<String>,
        config: Option<&Config>,
    ) -> Result<(Option<String>, Access, Settings)> {
        let said = |of: fn(&config::Cluster) -> Option<String>| known.and_then(of);
        let access = Access {
            kubeconfig: self
                .kubeconfig
                .clone()
                .or_else(|| known?.kubeconfig.clone()),
            context: said(|it| it.context.clone()).or(context),
            as_user: self
                .as_user
                .clone()
                .or_else(|| said(|it| it.as_user.clone())),
            as_groups: if self.as_groups.is_empty() {
                known.map(|it| it.as_groups.clone()).unwrap_or_default()
            } else {
                self.as_groups.clone()
            },
        };
        let mut settings = Settings::new("");
        settings.everywhere = self.everywhere;
        settings.namespaces = if self.everywhere {
            Vec::new()
        } else if self.namespaces.is_empty() {
            known.map(|it| it.namespaces.clone()).unwrap_or_default()
        } else {
            self.namespaces.clone()
        };
        settings.selector = self
            .selector
            .clone()
            .or_else(|| said(|it| it.selector.clone()));
        settings.prometheus = said(|it| it.prometheus.clone());
        settings.reach = known.map_or(Reach::Auto, |it| match it.pods {
            config::Pods::Auto => Reach::Auto,
            config::Pods::Direct => Reach::Direct,
            config::Pods::Proxy => Reach::Proxy,
        });
        settings.named = known
            .map(|it| it.workloads.iter().map(named).collect())
            .unwrap_or_default();
        if let Some(config) = config {
            settings.prices = prices(config)?;
            for line in &config.token_prices {
                let price = token_price(&line.price)
                    .with_context(|| format!("[[token_price]] `{}`", line.backend))?;
                settings.tokens.insert(line.backend.clone(), price);
            }
        }
        Ok((said(|it| it.name.clone()), access, settings))
    }
}

fn named(it: &config::Workload) -> Named {
    Named {
        namespace: it.namespace.clone(),
        name: it.name.clone(),
        model: it.model.clone(),
        ignore: it.ignore,
        naps: it.sleep == Some(config::PodSleep::Level1),
    }
}

fn token_price(it: &config::Price) -> Result<Price> {
    let input = money(&it.input).context("input")?;
    let cached = it
        .cached
        .as_ref()
        .map(money)
        .transpose()
        .context("cached")?;
    Ok(Price {
        input,
        cached: cached.unwrap_or(input),
        output: money(&it.output).context("output")?,
    })
}

/// The table of machines.
pub(super) fn prices(config: &Config) -> Result<Prices> {
    ensure!(
        config.node_prices.date.is_some() || config.node_prices.machines.is_empty(),
        "[node_prices] has no date; prices change, so say of when they are: date = \"2026-11-09\""
    );
    let mut prices = Prices {
        date: config.node_prices.date,
        lines: Vec::new(),
    };
    for line in &config.node_prices.machines {
        let place = || format!("[[node_prices.machine]] `{}`", line.instance);
        ensure!(
            line.on_demand.is_some() || line.spot.is_some(),
            "{}: it has no price; give it on_demand, spot or both",
            place()
        );
        prices.lines.push(NodePrice {
            instance: line.instance.clone(),
            region: line.region.clone(),
            on_demand: line
                .on_demand
                .as_ref()
                .map(money)
                .transpose()
                .with_context(place)?,
            spot: line
                .spot
                .as_ref()
                .map(money)
                .transpose()
                .with_context(place)?,
        });
    }
    Ok(prices)
}

/// What a config says of clusters, held against itself.
///
/// # Errors
/// What is wrong.
pub(super) fn check(config: &Config) -> Result<()> {
    let wanted = Kube::default().wanted(Some(config))?;
    let mut names: Vec<&String> = Vec::new();
    for (i, it) in config.clusters.iter().enumerate() {
        let name = it.name.as_ref().or(it.context.as_ref());
        if wanted.len() > 1 && name.is_none() {
            bail!(
                "[[cluster]] number {}: it has neither a name nor a context; where there are several, give each one",
                i + 1
            );
        }
        if let Some(name) = name {
            if names.contains(&name) {
                bail!("[[cluster]] `{name}`: that name stands twice; give each its own");
            }
            names.push(name);
        }
    }
    if !config.models.is_empty() {
        bail!(
            "it has [[cluster]] and [[model]]; what serves models on a cluster is found there, so leave one of them"
        );
    }
    Ok(())
}

/// Runs the console until the operator leaves.
pub(super) async fn console(
    wanted: Wanted,
    name: Option<String>,
    options: tui::run::Options,
) -> Result<()> {
    let shutdown = CancellationToken::new();
    let open = Open::start(wanted, name, Records::Written, shutdown.clone()).await?;
    let ended = tui::run::run(open.handle(), options, shutdown).await;
    open.end().await;
    ended.map_err(Into::into)
}
