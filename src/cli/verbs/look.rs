//! The verbs that look.

use std::sync::Arc;

use anyhow::Result;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::{Output, names, table};
use crate::admin::status_of;
use crate::fleet::{Backend, Fleet, RequestRecord, State, Usd};
use crate::handle::FleetHandle;

/// A missing figure.
const NONE: &str = "–";

pub(super) fn status(fleet: &Fleet, watched: bool, output: Output) -> Result<()> {
    if output == Output::Json {
        let mut told = status_of(fleet);
        if !watched {
            // What it cost before this moment nobody has written down.
            told["spent"] = json!(null);
            told["since"] = json!(null);
        }
        return table::document(told);
    }
    let rows: Vec<Vec<String>> = fleet.backends.iter().map(|b| row(fleet, b)).collect();
    let heads = [
        "MODEL",
        "BACKEND",
        "STATE",
        ">SINCE",
        ">WEIGHT",
        ">NOW",
        ">REQ/S",
        ">IN FLIGHT",
        ">HELD",
        ">TTFT",
        ">TOK/S",
        ">$/H",
        "PIN",
    ];
    table::print(&heads, &rows)?;
    let burn = match fleet.burn() {
        Some(burn) => format!("${burn}/h"),
        None => format!("at least ${}/h", fleet.burn_known().0),
    };
    let spent = if watched {
        let since = fleet.started.format("%a %H:%M");
        format!(", ${} since {since}", fleet.spent())
    } else {
        String::new()
    };
    table::say(&format!("\n{}: {burn}{spent}", fleet.name))?;
    for finding in &fleet.findings {
        let of = finding
            .backend
            .as_ref()
            .map_or(String::new(), |id| format!("{id}: "));
        table::say(&format!("! {of}{}", finding.what))?;
    }
    Ok(())
}

/// `waking load 61 %`, `asleep`.
fn state(b: &Backend) -> String {
    let word = b.state.word();
    let State::Waking(wake) = &b.state else {
        return word.to_owned();
    };
    wake.current().map_or(word.to_owned(), |span| {
        let percent = span.percent.map_or(String::new(), |p| format!(" {p:.0} %"));
        format!("{word} {}{percent}", span.stage.word())
    })
}

/// What runs on it now: what passed through here, or on clusters what its engines say.
fn in_flight(fleet: &Fleet, b: &Backend) -> Option<u32> {
    if fleet.is_on_clusters() {
        b.live.running
    } else {
        Some(b.live.in_flight)
    }
}

/// Requests that wait for it in a gateway of ours.
fn held(fleet: &Fleet, b: &Backend) -> Option<u32> {
    (!fleet.is_on_clusters()).then_some(b.live.held)
}

fn row(fleet: &Fleet, b: &Backend) -> Vec<String> {
    let drained = if b.drained.is_some() {
        " (out of service)"
    } else {
        ""
    };
    let figure =
        |n: Option<f64>, digits: usize| n.map_or(NONE.to_owned(), |n| format!("{n:.digits$}"));
    vec![
        b.model.to_string(),
        b.id.to_string(),
        format!("{}{drained}", state(b)),
        fleet
            .knows_since(b)
            .map_or(NONE.to_owned(), |since| ago(fleet.now - since)),
        b.weight.to_string(),
        b.live
            .share
            .map_or(NONE.to_owned(), |share| format!("{:.0} %", share * 100.0)),
        figure(b.live.requests_per_s, 1),
        in_flight(fleet, b).map_or(NONE.to_owned(), |n| n.to_string()),
        held(fleet, b).map_or(NONE.to_owned(), |n| n.to_string()),
        b.live
            .ttft_p50
            .map_or(NONE.to_owned(), |s| format!("{:.0} ms", s * 1000.0)),
        figure(b.live.tokens_per_s, 0),
        b.burn(fleet.now)
            .map_or("?".to_owned(), |burn| burn.to_string()),
        b.pin.as_ref().map_or(String::new(), |pin| match pin.until {
            Some(until) => format!(
                "{} ({}{}, until {})",
                pin.reason,
                pin.by,
                pin.exact(),
                until.format("%a %H:%M")
            ),
            None => format!("{} ({}{})", pin.reason, pin.by, pin.exact()),
        }),
    ]
}

/// Prints the newest requests, and goes on as they come.
pub(super) async fn requests(
    handle: &mut FleetHandle,
    number: usize,
    follow: bool,
    output: Output,
) -> Result<()> {
    let fleet = handle.snapshots.borrow_and_update().clone();
    let newest: Vec<_> = newest(&fleet.requests, number).collect();
    if output == Output::Json && !follow {
        return table::document(json!({"requests": newest}));
    }
    let mut last = fleet.requests.back().cloned();
    let heads = [
        "TIME    ", "MODEL", "BACKEND", "ROUTE", "STATUS", ">TTFT", ">TOOK", ">IN", ">OUT", ">$",
        "ERROR",
    ];
    if output == Output::Table {
        let rows: Vec<_> = newest.iter().map(|record| request(record)).collect();
        table::print(&heads, &rows)?;
    }
    while follow && handle.snapshots.changed().await.is_ok() {
        let fleet = handle.snapshots.borrow_and_update().clone();
        let known =
            |it: &Arc<RequestRecord>| last.as_ref().is_some_and(|last| Arc::ptr_eq(last, it));
        let new = fleet
            .requests
            .iter()
            .rev()
            .take_while(|it| !known(it))
            .count();
        for record in fleet.requests.iter().skip(fleet.requests.len() - new) {
            match output {
                Output::Json => table::tell(&serde_json::to_string(record)?)?,
                Output::Table => table::say(&request(record).join("  "))?,
            }
        }
        last = fleet.requests.back().cloned().or(last);
    }
    Ok(())
}

fn request(record: &RequestRecord) -> Vec<String> {
    let millis = |span: Option<TimeDelta>| {
        span.map_or(NONE.to_owned(), |span| {
            format!("{} ms", span.num_milliseconds())
        })
    };
    let tokens = |of: fn(&crate::fleet::request::Usage) -> u64| {
        record
            .usage
            .as_ref()
            .map_or(NONE.to_owned(), |usage| of(usage).to_string())
    };
    vec![
        clock(record.at),
        record.model.to_string(),
        record
            .backend
            .as_ref()
            .map_or(NONE.to_owned(), ToString::to_string),
        record.route.word().to_owned(),
        record.status.to_string(),
        millis(record.ttft),
        millis(Some(record.took)),
        tokens(|usage| usage.input),
        tokens(|usage| usage.output),
        record
            .cost
            .map_or("?".to_owned(), |cost| format!("{cost:.6}")),
        match (&record.error, record.partial) {
            (Some(error), _) => error.clone(),
            (None, true) => "cut short".to_owned(),
            (None, false) => String::new(),
        },
    ]
}

pub(super) fn wakes(fleet: &Fleet, of: Option<&str>, output: Output) -> Result<()> {
    let backends: Vec<&Arc<Backend>> = match of {
        Some(name) => vec![names::backend(fleet, name)?],
        None => fleet.backends.iter().collect(),
    };
    if output == Output::Json {
        let told: Vec<_> = backends
            .iter()
            .map(|b| json!({"backend": b.id, "model": b.model, "wakes": b.wakes}))
            .collect();
        return table::document(json!({"backends": told}));
    }
    let mut rows = Vec::new();
    for b in backends {
        for wake in &b.wakes {
            let stages: Vec<String> = wake
                .stages
                .iter()
                .map(|(stage, took)| format!("{} {}", stage.word(), ago(*took)))
                .collect();
            rows.push(vec![
                clock(wake.since),
                b.full_name(),
                wake.by.clone(),
                ago(wake.took()),
                wake.failure.clone().unwrap_or_else(|| "warm".to_owned()),
                stages.join(", "),
            ]);
        }
    }
    rows.sort();
    table::print(&["TIME", "BACKEND", "BY", ">TOOK", "END", "STAGES"], &rows)
}

/// What is said where nobody has ever watched.
const UNWATCHED: &str = "no console has watched this cluster from here yet: run the console, or give [[cluster]] a prometheus";

pub(super) fn cost(fleet: &Fleet, watched: bool, output: Output) -> Result<()> {
    if !watched {
        return match output {
            Output::Json => table::document(json!({
                "dollars": null, "dollars_per_hour": fleet.burn(), "backends": [], "note": UNWATCHED,
            })),
            Output::Table => table::say(UNWATCHED),
        };
    }
    let per_million = |b: &Backend| b.ledger.per_million_output();
    if output == Output::Json {
        let told: Vec<_> = fleet
            .backends
            .iter()
            .map(|b| {
                json!({
                    "backend": b.id,
                    "model": b.model,
                    "requests": b.ledger.requests,
                    "unmetered": b.ledger.unmetered,
                    "tokens_in": b.ledger.tokens_in,
                    "tokens_cached": b.ledger.tokens_cached,
                    "tokens_out": b.ledger.tokens_out,
                    "awake_ms": b.ledger.awake_ms,
                    "busy_ms": b.ledger.busy_ms,
                    "dollars": b.ledger.total(),
                    "dollars_partial": b.cost_is_partial(),
                    "unobserved_ms": b.ledger.unobserved_ms,
                    "dollars_idle": b.ledger.idle.total(),
                    "dollars_tokens": b.ledger.tokens,
                    "dollars_per_million_output": per_million(b),
                })
            })
            .collect();
        return table::document(json!({
            "since": fleet.started, "now": fleet.now, "unobserved_ms": fleet.unobserved().num_milliseconds(), "from_prometheus_ms": fleet.filled().num_milliseconds(), "dollars": fleet.spent(), "dollars_gone": fleet.spent_by_past(), "dollars_per_hour": fleet.burn(), "backends": told,
        }));
    }
    let money = |amount: Usd| format!("{amount:.4}");
    let known = |amount: Usd, partial: bool| {
        if partial {
            "?".to_owned()
        } else {
            money(amount)
        }
    };
    let rows: Vec<Vec<String>> = fleet
        .backends
        .iter()
        .map(|b| {
            vec![
                b.full_name(),
                b.ledger.requests.to_string(),
                b.ledger.tokens_in.to_string(),
                b.ledger.tokens_out.to_string(),
                format!("{:.2}", b.ledger.awake_ms as f64 / 3.6e6),
                known(b.ledger.total(), b.cost_is_partial()),
                known(
                    b.ledger.idle.total(),
                    b.cost_is_partial() || b.use_is_unknown(),
                ),
                per_million(b).map_or(NONE.to_owned(), money),
            ]
        })
        .collect();
    let heads = [
        "BACKEND",
        ">REQUESTS",
        ">TOKENS IN",
        ">OUT",
        ">HOURS",
        ">$",
        ">$ IDLE",
        ">$/M OUT",
    ];
    table::print(&heads, &rows)?;
    let part = |span: TimeDelta, what: &str| {
        if span >= TimeDelta::seconds(1) {
            format!(", {} of it {what}", ago(span))
        } else {
            String::new()
        }
    };
    let gone = match fleet.spent_by_past() {
        gone if gone > Usd::ZERO => format!(" (${gone} by backends that are not here any more)"),
        _ => String::new(),
    };
    let partial = fleet.backends.iter().any(|b| b.cost_is_partial());
    table::say(&format!(
        "\n{}${}{gone} since {}{}{}",
        if partial { "at least " } else { "" },
        fleet.spent(),
        fleet.started.format("%a %b %d %H:%M"),
        part(fleet.filled(), "from Prometheus"),
        part(fleet.unobserved(), "unobserved"),
    ))
}

fn newest<T>(of: &std::collections::VecDeque<T>, number: usize) -> impl Iterator<Item = &T> {
    of.iter().skip(of.len().saturating_sub(number))
}

fn clock(at: DateTime<Utc>) -> String {
    at.with_timezone(&chrono::Local)
        .format("%H:%M:%S")
        .to_string()
}

/// `45s`, `2m05s`, `3h02m`, `4d`.
pub(super) fn ago(span: TimeDelta) -> String {
    let s = span.num_seconds().max(0);
    match s {
        0..60 => format!("{s}s"),
        60..3600 => format!("{}m{:02}s", s / 60, s % 60),
        3600..86400 => format!("{}h{:02}m", s / 3600, s % 3600 / 60),
        _ => format!("{}d", s / 86400),
    }
}
