//! The gateway beside nginx as a plain reverse proxy (and LiteLLM, where it is installed), in one run on one machine.
//!
//!     cargo bench --bench gateway -- all
//!
//! Linux only (`/proc`). The engine behind it and the clients before it are this same program in other roles, as processes
//! of their own, so that what is counted for a gateway is the gateway's.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a bench that cannot run has failed"
)]

mod client;
mod crowd;
mod engine;
mod peers;
mod process;
mod small;
mod streams;
mod table;

use std::path::PathBuf;

use clap::Parser;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use table::Table;

const PARTS: [&str; 6] = ["latency", "load", "streams", "idle", "held", "release"];

/// What the command line asks for.
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// all, or some of: latency load streams idle held release
    parts: Vec<String>,
    /// Rounds of direct, nginx and fleetctl in turn; their medians are told
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long one measurement of `load` and `streams` takes
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Connections of `idle`, `held` and `release`
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
    /// Another build of fleetctl than the one that Cargo made for this run
    #[arg(long, default_value = env!("CARGO_BIN_EXE_fleetctl"))]
    fleetctl: PathBuf,
    /// Has LiteLLM's proxy take part: the virtual environment that it is installed in
    #[arg(long, value_name = "VENV")]
    litellm: Option<PathBuf>,
    /// The places in the engine's queue of new connections in `release`
    #[arg(long, default_value_t = 4096)]
    backlog: u32,
    /// The engine's threads in `release`
    #[arg(long, default_value_t = 1)]
    engine_threads: usize,
    /// Waits so long while 10,000 are held and before they are let go, for a look from outside
    #[arg(long, default_value_t = 0)]
    linger: u64,
    /// Given by Cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some("role-engine") => return engine::main(&args[2]),
        Some("role-client") => return client::main(&args[2]),
        _ => {}
    }
    let asked = args
        .iter()
        .any(|it| it == "all" || it.ends_with("-help") || PARTS.contains(&it.as_str()));
    if !asked {
        // Cargo runs benches among the tests too, with words that are meant for those.
        println!(
            "cargo bench --bench gateway -- all, or some of: {}",
            PARTS.join(" ")
        );
        return;
    }
    let options = Options::parse();
    let all = options.parts.iter().any(|part| part == "all");
    if let Some(part) = options
        .parts
        .iter()
        .find(|it| !PARTS.contains(&it.as_str()))
        && part != "all"
    {
        eprintln!("`{part}` is no part; they are all {}", PARTS.join(" "));
        std::process::exit(2);
    }
    let files = raise_files();
    let mut table = Table::default();
    for part in PARTS {
        if !all && !options.parts.iter().any(|it| it == part) {
            continue;
        }
        eprintln!("{part} …");
        let noise = process::Noise::begin();
        match part {
            "latency" => small::latency(&options, &mut table),
            "load" => small::load(&options, &mut table),
            "streams" => streams::measure(&options, &mut table),
            "idle" => crowd::idle(&options, files, &mut table),
            "held" => crowd::held(&options, files, &mut table),
            "release" => crowd::release(&options, files, &mut table),
            _ => unreachable!("it is one of PARTS"),
        }
        table.note(noise.end(part));
    }
    table.print(&options);
}

/// Takes as many open files as are allowed; the children get as many. Says how many that are.
fn raise_files() -> u64 {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    hard
}
