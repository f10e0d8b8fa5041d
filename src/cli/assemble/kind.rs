//! What a backend is made of: somebody else's API, or engines of ours and how they sleep.

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use chrono_tz::Tz;

use super::money;
use crate::config;
use crate::fleet::backend::{Capacity, Hosted, Price, SelfHosted, SleepWay};
use crate::fleet::group::Group;
use crate::fleet::schedule::Schedule;
use crate::fleet::{Kind, Stage};

/// How it sleeps.
pub(super) fn sleep_way(c: &config::Backend) -> Result<SleepWay> {
    let own = !c.command.is_empty();
    let usual = if own {
        config::Sleep::Release
    } else {
        config::Sleep::Never
    };
    let way = match c.sleep.unwrap_or(usual) {
        config::Sleep::Never => SleepWay::Never,
        config::Sleep::Level1 => SleepWay::Level1,
        config::Sleep::Level2 => SleepWay::Level2,
        config::Sleep::Release => SleepWay::Release,
    };
    ensure!(
        way != SleepWay::Release || c.launcher.is_some() || own,
        "sleep = \"release\" needs a launcher that starts and stops the engine"
    );
    ensure!(
        way == SleepWay::Never || !c.hosted,
        "it is hosted and cannot sleep; remove `sleep`"
    );
    Ok(way)
}

/// The facts of somebody else's API.
pub(super) fn hosted(c: &config::Backend) -> Result<Kind> {
    ensure!(
        c.rate.is_none(),
        "it is hosted: it has a price by the token, not a rate by the hour"
    );
    let price = match &c.price {
        Some(p) => {
            let input = money(&p.input).context("price.input")?;
            let cached = p
                .cached
                .as_ref()
                .map(money)
                .transpose()
                .context("price.cached")?
                .unwrap_or(input);
            Some(Price {
                input,
                cached,
                output: money(&p.output).context("price.output")?,
            })
        }
        None => None,
    };
    Ok(Kind::Hosted(Hosted {
        provider: c.provider.clone().unwrap_or_else(|| "hosted".into()),
        price,
    }))
}

/// The facts of one of ours.
pub(super) fn self_hosted(
    c: &config::Backend,
    sleep: SleepWay,
    config: &config::Config,
) -> Result<Kind> {
    let group = group(c, sleep, &config.groups)?;
    ensure!(
        c.price.is_none(),
        "it is self-hosted: it has a rate by the hour, not a price by the token; or set hosted = true"
    );
    let mut expected = Vec::new();
    for e in &c.expected {
        let Some(stage) = Stage::ALL.into_iter().find(|s| s.word() == e.stage) else {
            let words: Vec<_> = Stage::ALL.iter().map(|s| s.word()).collect();
            bail!(
                "`{}` is no stage of a wake; they are {}",
                e.stage,
                words.join(", ")
            );
        };
        expected.push((stage, e.takes));
    }
    expected.sort_by_key(|(stage, _)| *stage);
    Ok(Kind::SelfHosted(SelfHosted {
        rate: c.rate.as_ref().map(money).transpose().context("rate")?,
        capacity: match c.capacity {
            config::Capacity::OnDemand => Capacity::OnDemand,
            config::Capacity::Spot => Capacity::Spot,
            config::Capacity::Reserved => Capacity::Reserved,
        },
        replicas: c.replicas,
        sleep,
        startable: !c.command.is_empty() || c.launcher.is_some(),
        idle_after: c.idle_after,
        schedule: schedule(c, sleep, config)?,
        budget: c.budget,
        cap: c.cap,
        grace: c.grace,
        group,
        hardware: c.hardware.clone().unwrap_or_else(|| "–".into()),
        expected,
        ceiling: c.ceiling,
    }))
}

/// With whom it shares its GPUs.
fn group(c: &config::Backend, sleep: SleepWay, groups: &[config::Group]) -> Result<Option<Group>> {
    let Some(name) = &c.group else {
        return Ok(None);
    };
    ensure!(
        sleep != SleepWay::Never,
        "it is in the group `{name}` and could never make room; give it a way to sleep"
    );
    let known = groups.iter().find(|group| group.name == *name);
    let fits = known.map_or(1, |group| group.fits);
    ensure!(
        fits > 0,
        "the group `{name}` fits nobody; set its `fits` to 1 or more"
    );
    Ok(Some(Group {
        name: name.as_str().into(),
        fits,
    }))
}

/// When it is kept warm.
fn schedule(
    c: &config::Backend,
    sleep: SleepWay,
    config: &config::Config,
) -> Result<Option<Schedule>> {
    if c.keep_warm.is_empty() {
        return Ok(None);
    }
    ensure!(
        sleep != SleepWay::Never,
        "keep_warm needs a way to wake it; give it a way to sleep"
    );
    let mut windows = Vec::new();
    for hours in &c.keep_warm {
        let window = hours.parse().map_err(anyhow::Error::msg);
        windows.push(window.context("keep_warm")?);
    }
    let zone = zone(config)?;
    Ok(Some(Schedule { zone, windows }))
}

/// Whose hours are meant.
///
/// # Errors
/// Where the config names no time zone that is known.
pub(super) fn zone(config: &config::Config) -> Result<Tz> {
    match &config.time_zone {
        Some(name) => name.parse().map_err(|_| {
            anyhow!("time_zone: `{name}` is no time zone; write it like Europe/Berlin or UTC")
        }),
        // Where the machine does not say, its clock is taken for UTC, as most servers' is.
        None => Ok(iana_time_zone::get_timezone()
            .ok()
            .and_then(|name| name.parse().ok())
            .unwrap_or(Tz::UTC)),
    }
}
