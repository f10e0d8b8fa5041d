//! The command line, and the wiring of everything behind it.

mod assemble;
mod run;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// A terminal console for hybrid LLM fleets.
///
/// Without a config it opens the demo: simulated engines that speak vLLM's protocol over loopback HTTP,
/// synthetic traffic, and time that runs faster than the wall's (the header shows by how much).
#[derive(Debug, Parser)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[command(version, about, max_term_width = 100)]
pub struct Args {
    /// The fleet to look at; without it, the demo
    #[arg(long, short, value_name = "FILE", env = "FLEETCTL_CONFIG")]
    config: Option<PathBuf>,
    /// Where the gateway listens; overrides the config (port 0 takes a free one)
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    /// Takes the actions away: nothing can be woken, drained or changed from here
    #[arg(long)]
    read_only: bool,
    /// dark, light, ansi16, monochrome or colorblind
    #[arg(long, value_name = "NAME", env = "FLEETCTL_THEME")]
    theme: Option<String>,
    /// Draws with ASCII characters only
    #[arg(long)]
    ascii: bool,
    /// Leaves the mouse to the terminal
    #[arg(long)]
    no_mouse: bool,
    /// The name that goes into the audit [default: $USER]
    #[arg(long, value_name = "NAME")]
    operator: Option<String>,
    /// The demo's story: the same seed gives the same one
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "config")]
    seed: u64,
    /// How many times faster than the wall's clock the demo runs
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=60), conflicts_with = "config")]
    speed: u32,
    /// Writes diagnostics to this file; never to the terminal
    #[arg(long, value_name = "FILE", env = "FLEETCTL_LOG")]
    log: Option<PathBuf>,
    /// Runs the fleet and its gateway without a console, until interrupted
    #[arg(long)]
    headless: bool,
}

/// Parses the command line, runs it, and says what went wrong on stderr.
pub fn main() -> ExitCode {
    let args = Args::parse();
    match run::run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fleetctl: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whoever read our output has seen enough.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
    })
}
