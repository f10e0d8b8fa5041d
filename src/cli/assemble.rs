//! From a configuration to a fleet and the ways to reach it.

mod check;
mod clients;
mod kind;
mod place;
mod rules;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail, ensure};
use chrono::{DateTime, Utc};

use crate::actuator::Reach;
use crate::config;
use crate::fleet::backend::{Pin, SleepWay};
use crate::fleet::ledger::Ledger;
use crate::fleet::live::Live;
use crate::fleet::model::{ColdPolicy, DataPath, Eval};
use crate::fleet::{Backend, BackendId, Fleet, Model, State, Usd};
use crate::gateway::{Client, Key, Upstream};
use crate::process;
use crate::source::Target;
pub(super) use check::check;
use clients::clients;
pub(super) use clients::secret;
use kind::{hosted, self_hosted, sleep_way};
pub(super) use place::{Place, placed};
use rules::rules;

/// The engines that are processes of ours.
pub(super) type Engines = HashMap<BackendId, Arc<process::Engine>>;

/// A fleet and the ways to reach each of its backends.
pub(super) struct Assembled {
    pub(super) fleet: Fleet,
    pub(super) clients: Vec<Client>,
    pub(super) targets: Vec<Target>,
    pub(super) upstreams: Vec<Upstream>,
    pub(super) reaches: Vec<(BackendId, Reach)>,
}

/// Builds everything that the config describes. Every refusal names the model and backend at fault.
pub(super) fn assemble(
    config: &config::Config,
    engines: &Engines,
    speed: u32,
    now: DateTime<Utc>,
) -> Result<Assembled> {
    ensure!(
        !config.models.is_empty(),
        "the config has no [[model]]; add one with a [[model.backend]] and its url"
    );
    let mut out = Assembled {
        fleet: empty(config, speed, now)?,
        clients: clients(config)?,
        targets: Vec::new(),
        upstreams: Vec::new(),
        reaches: Vec::new(),
    };
    let mut backends = HashSet::new();
    for model in &config.models {
        let place = || Place::Model(model.name.clone());
        let mut facts = facts(model, &out.fleet).with_context(place)?;
        for backend in &model.backends {
            let place = || Place::Backend(model.name.clone(), backend.name.clone());
            let added = if backends.insert(backend.name.clone()) {
                add_backend(&mut out, &mut facts, backend, engines, config, now)
            } else {
                Err(anyhow!(
                    "that name stands twice; backends are unique within a fleet"
                ))
            };
            added.with_context(place)?;
        }
        out.fleet.models.push(Arc::new(facts));
    }
    Ok(out)
}

/// A model without its backends.
fn facts(model: &config::Model, so_far: &Fleet) -> Result<Model> {
    ensure!(
        so_far
            .models
            .iter()
            .all(|known| known.id.as_str() != model.name),
        "that name stands twice; give each model one name"
    );
    ensure_name(&model.name)?;
    ensure!(
        !model.backends.is_empty(),
        "it has no [[model.backend]]; add one"
    );
    ensure!(
        model.backends.iter().any(|b| b.weight > 0),
        "every weight is zero; leave at least one above"
    );
    Ok(Model {
        id: model.name.as_str().into(),
        backends: Vec::new(),
        cold: match model.cold {
            config::Cold::Wait => ColdPolicy::Wait,
            config::Cold::Overflow => ColdPolicy::Overflow,
            config::Cold::Reject => ColdPolicy::Reject,
            config::Cold::Bridge => ColdPolicy::Bridge {
                over: model.bridge_over,
            },
        },
        data_path: match model.data_path {
            config::DataPath::Any => DataPath::Any,
            config::DataPath::SelfHosted => DataPath::SelfHosted,
        },
        rules: rules(model)?,
        max_waiting: model.max_waiting,
        choose_backend: model.choose_backend,
        evals: Vec::new(),
        routes: Vec::new(),
    })
}

/// A name reaches terminals, headers and file names.
fn ensure_name(name: &str) -> Result<()> {
    ensure!(
        !name.trim().is_empty() && !name.chars().any(char::is_control),
        "its name is empty, or has characters that no terminal should get; give it another"
    );
    Ok(())
}

fn empty(config: &config::Config, speed: u32, now: DateTime<Utc>) -> Result<Fleet> {
    Ok(Fleet {
        speed,
        fixed_per_month: config
            .fixed_per_month
            .as_ref()
            .map(money)
            .transpose()
            .context("fixed_per_month")?
            .unwrap_or_default(),
        ..Fleet::new(&config.name, now)
    })
}

fn add_backend(
    out: &mut Assembled,
    model: &mut Model,
    c: &config::Backend,
    engines: &Engines,
    config: &config::Config,
    now: DateTime<Utc>,
) -> Result<()> {
    ensure_name(&c.name)?;
    let id = BackendId::from(c.name.as_str());
    let process = engines.get(&id).cloned();
    let url = address(c, process.as_deref())?;
    ensure!(
        !(c.hosted && model.data_path == DataPath::SelfHosted && c.weight > 0),
        "it is hosted, and its model may only use self-hosted backends; set its weight to 0"
    );
    ensure!(
        c.budget <= c.cap,
        "its budget is longer than its cap (10m where nothing is said); raise `cap` or lower `budget`"
    );
    let (key, auth) = access(c)?;
    let sleep = sleep_way(c)?;
    let kind = if c.hosted {
        hosted(c)?
    } else {
        self_hosted(c, sleep, config)?
    };
    let pin = c.pinned.as_ref().map(|reason| Pin {
        until: None,
        exactly: None,
        reason: reason.clone(),
        by: "config".into(),
    });
    ensure!(
        pin.is_none() || !c.hosted,
        "it is hosted, always there, and cannot be pinned; remove `pinned`"
    );
    for eval in &c.evals {
        model.evals.push(Eval {
            backend: id.clone(),
            name: eval.name.clone(),
            score: eval.score,
            date: eval.date,
        });
    }
    model.backends.push(id.clone());
    out.fleet.backends.push(Arc::new(Backend {
        id: id.clone(),
        model: model.id.clone(),
        kind,
        // Nobody has asked a hosted API yet; it is taken to be there until it says otherwise.
        state: if c.hosted {
            State::Ready { since: now }
        } else {
            State::Unknown { since: now }
        },
        max_running: c.max_running,
        weight: c.weight,
        pin,
        scheduled: None,
        drained: None,
        live: Live::default(),
        sample: None,
        gpus: Arc::new([]),
        ledger: Ledger {
            until: Some(now),
            ..Ledger::default()
        },
        wakes: VecDeque::new(),
        log: VecDeque::new(),
        place: None,
        doing: None,
        progress: None,
    }));
    out.targets.push(Target {
        backend: id.clone(),
        url: url.clone(),
        hosted: c.hosted,
        key: key.clone(),
        launcher: c.launcher.clone(),
        process: process.clone(),
        gpu_metrics: c.gpu_metrics.clone(),
        gpus: c.gpus.clone(),
        sleeps: matches!(sleep, SleepWay::Level1 | SleepWay::Level2),
    });
    out.upstreams.push(Upstream {
        // Azure's dated addresses have a deployment in them, named like the model where nobody says otherwise.
        model: c
            .upstream_model
            .clone()
            .or_else(|| (c.api == config::Api::Azure).then(|| model.id.to_string())),
        key: key.clone().map(Key::new),
        auth,
        api: c.api,
        api_version: c.api_version.clone(),
        stall_after: c.stall_after,
        continuous_usage: c.continuous_usage,
        ..Upstream::at(id.clone(), url.clone())
    });
    out.reaches.push((
        id,
        Reach {
            url,
            launcher: c.launcher.clone(),
            process,
            sleep,
            key,
        },
    ));
    Ok(())
}

/// Where it is reached, without `/v1`.
fn address(c: &config::Backend, process: Option<&process::Engine>) -> Result<String> {
    match (&c.url, process) {
        (Some(_), _) if !c.command.is_empty() => {
            bail!("it has a url and a command; leave one of them")
        }
        (None, Some(process)) => Ok(format!("http://127.0.0.1:{}", process.port())),
        (None, None) if !c.command.is_empty() => bail!(
            "its `command` is run by `fleetctl serve`; start that with this config, and attach with --connect"
        ),
        (None, None) => bail!("it has neither a url nor a command; give it one of them"),
        (Some(url), _) => {
            ensure!(
                c.env.is_empty() && c.dir.is_none() && c.port.is_none(),
                "env, dir and port go with a command; remove them"
            );
            ensure!(
                url.starts_with("http://") || url.starts_with("https://"),
                "`{url}` is not an address; write it like http://10.0.0.5:8000"
            );
            Ok(url.trim_end_matches('/').trim_end_matches("/v1").to_owned())
        }
    }
}

/// The key of a backend and how it is sent.
fn access(c: &config::Backend) -> Result<(Option<String>, config::Auth)> {
    let key = match (&c.api_key_env, &c.api_key_file) {
        (Some(_), Some(_)) => bail!("it has api_key_env and api_key_file; leave one of them"),
        (None, None) => None,
        (env, file) => Some(secret(env.as_deref(), file.as_deref()).context("its API key")?),
    };
    ensure!(
        c.api_version.is_none() || c.api == config::Api::Azure,
        "api_version goes with api = \"azure\"; remove it"
    );
    ensure!(
        c.max_running != Some(0),
        "max_running = 0 would send it nothing; remove it, or set its weight to 0"
    );
    let auth = c.auth.unwrap_or(match c.api {
        config::Api::Openai => config::Auth::Bearer,
        config::Api::Azure | config::Api::AzureV1 => config::Auth::ApiKey,
    });
    Ok((key, auth))
}

pub(super) fn money(text: &config::Money) -> Result<Usd> {
    Ok(text.0.parse::<Usd>()?)
}
