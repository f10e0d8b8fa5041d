//! `fleetctl simulate`: one engine that computes nothing and speaks vLLM's protocol, to try a fleet without a GPU.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use chrono::Utc;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::sim::alone::{self, Alone};
use crate::sim::engine::Failure;

/// Runs a simulated engine: vLLM's protocol and log, no GPU, made-up answers.
#[derive(Debug, clap::Args)]
pub(super) struct Simulate {
    /// Where it listens, on 127.0.0.1
    #[arg(long)]
    port: u16,
    /// The name of its model
    #[arg(long, value_name = "NAME", default_value = "simulated")]
    model: String,
    /// How long its start takes
    #[arg(long, value_name = "SPAN", default_value = "20s", value_parser = humantime::parse_duration)]
    start: Duration,
    /// Fails on its way: `memory-taken`, `out-of-memory` or `missing-shard`
    #[arg(long, value_name = "HOW", value_parser = failure)]
    fail: Option<Failure>,
}

pub(super) fn run(simulate: &Simulate) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no thread to run on")?;
    let ended = runtime.block_on(async {
        let shutdown = CancellationToken::new();
        let (mut term, mut int) = (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        );
        let told = shutdown.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
            told.cancel();
        });
        let engine = Alone {
            port: simulate.port,
            model: simulate.model.clone(),
            start: simulate.start,
            failure: simulate.fail,
        };
        alone::run(engine, Clock::starting_at(Utc::now(), 1), shutdown).await
    });
    runtime.shutdown_timeout(Duration::ZERO);
    Ok(ended?)
}

fn failure(word: &str) -> Result<Failure, String> {
    match word {
        "memory-taken" => Ok(Failure::FreeMemory),
        "out-of-memory" => Ok(Failure::OutOfMemory),
        "missing-shard" => Ok(Failure::MissingShard),
        other => Err(format!(
            "`{other}` is none of memory-taken, out-of-memory and missing-shard"
        )),
    }
}
