//! One simulated engine as a program of its own: what a supervisor is tried with where there is no GPU.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::engine::{Failure, Shape, Spec, Stages};
use super::log::Read;
use super::unit::{Status, Unit};
use crate::clock::Clock;

/// What it is like.
#[derive(Clone, Debug)]
pub struct Alone {
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    /// The name that it serves its model under.
    pub model: String,
    /// How long its whole start takes.
    pub start: Duration,
    /// How it goes wrong, where it does.
    pub failure: Option<Failure>,
}

/// Runs it until `shutdown`, with its log on standard output; the exit status is its own.
///
/// # Errors
/// Where the port cannot be had, or nobody reads the log any more.
pub async fn run(alone: Alone, clock: Clock, shutdown: CancellationToken) -> io::Result<ExitCode> {
    let unit = Unit::at(alone.port, spec(&alone), clock, shutdown.child_token())?;
    unit.start();
    let log = unit.log();
    let mut changed = log.watch();
    let mut at = 0;
    let mut out = io::stdout();
    let tell = async {
        loop {
            match log.read(at) {
                Read::Text(text, next) => {
                    out.write_all(text.as_bytes())?;
                    out.flush()?;
                    at = next;
                }
                // The log lives as long as its unit.
                Read::Later => drop(changed.changed().await),
                Read::Over => return io::Result::Ok(()),
            }
        }
    };
    tokio::select! {
        told = tell => told?,
        // There is no machine to wait for.
        () = shutdown.cancelled() => {}
    }
    Ok(match unit.status() {
        Status::Exited(status) => ExitCode::from(u8::try_from(status).unwrap_or(1)),
        Status::Stopped | Status::Starting | Status::Running => ExitCode::SUCCESS,
    })
}

fn spec(alone: &Alone) -> Spec {
    let whole = alone.start.as_secs_f64();
    Spec {
        name: alone.model.clone(),
        model: alone.model.clone(),
        weights: alone.model.clone(),
        node: "localhost".to_owned(),
        hardware: "NVIDIA A100-SXM4-80GB".to_owned(),
        gpus: 1,
        memory: 81920,
        power_limit: 400.0,
        weights_gib: 15.0,
        shards: 4,
        max_len: 8192,
        shape: Shape {
            single: 60.0,
            ceiling: 2400.0,
            prefill: 12_000.0,
            first: 0.02,
            kv_tokens: 200_000,
            max_seqs: 256,
            max_queued: None,
        },
        start: Stages {
            node: 0.0,
            image: 0.0,
            start: whole * 0.2,
            load: whole * 0.5,
            compile: whole * 0.2,
            capture: whole * 0.1,
        },
        sleep_takes: 0.2,
        wake_takes: 0.2,
        first_start: alone.failure,
        stream_events: 8,
        seed: u64::from(alone.port),
    }
}
