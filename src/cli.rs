//! The command line, and the wiring of everything behind it.

mod assemble;
mod attach;
mod config;
mod db;
mod exit;
mod fleet;
mod kube;
#[cfg(target_os = "linux")]
mod notify;
mod reload;
mod run;
mod serve;
mod simulate;
mod verbs;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// A terminal console for hybrid LLM fleets.
///
/// Without a config it opens the demo: simulated engines that speak vLLM's protocol over loopback HTTP,
/// synthetic traffic, and time that runs faster than the wall's (the header shows by how much).
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
pub struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    shared: Shared,
    #[command(flatten)]
    connect: attach::Connect,
    #[command(flatten)]
    kube: kube::Kube,
    /// Where the gateway listens; overrides the config (port 0 takes a free one)
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    /// dark, light, ansi16, monochrome or colorblind
    #[arg(long, value_name = "NAME", env = "FLEETCTL_THEME")]
    theme: Option<String>,
    /// Draws with ASCII characters only
    #[arg(long)]
    ascii: bool,
    /// Leaves the mouse to the terminal
    #[arg(long)]
    no_mouse: bool,
    /// The demo's story: the same seed gives the same one
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "config")]
    seed: u64,
    /// How many times faster than the wall's clock the demo runs
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=60), conflicts_with = "config")]
    speed: u32,
    /// Runs the fleet and its gateway without a console, until interrupted
    #[arg(long, conflicts_with = "connect")]
    headless: bool,
}

/// What every verb takes.
#[derive(Debug, clap::Args)]
struct Shared {
    /// The fleet to look at; without it, the demo
    #[arg(
        long,
        short,
        global = true,
        value_name = "FILE",
        env = "FLEETCTL_CONFIG"
    )]
    config: Option<PathBuf>,
    /// The name that goes into the audit [default: $USER]
    #[arg(long, global = true, value_name = "NAME")]
    operator: Option<String>,
    /// Writes diagnostics to this file; never to the terminal
    #[arg(long, global = true, value_name = "FILE", env = "FLEETCTL_LOG")]
    log: Option<PathBuf>,
    /// Takes the actions away: nothing can be woken, drained or changed from here
    #[arg(long, global = true)]
    read_only: bool,
}

impl Shared {
    /// Refuses what `--read-only` takes away.
    ///
    /// # Errors
    /// Where it was given.
    fn may_act(&self, what: &str) -> Result<(), exit::Ended> {
        if !self.read_only {
            return Ok(());
        }
        Err(exit::Ended::new(
            exit::Kind::Refused,
            format!("--read-only takes the actions away: {what} changes something"),
            "leave --read-only out, or look at what it would do with --dry-run",
        ))
    }

    /// The same where others operate from elsewhere: `ana@laptop`.
    fn operator_from_here(&self) -> String {
        let host = nix::unistd::gethostname().ok();
        let host = host.and_then(|it| it.into_string().ok());
        match (&self.operator, host) {
            (None, Some(host)) if !host.is_empty() => format!("{}@{host}", self.operator()),
            _ => self.operator(),
        }
    }

    fn operator(&self) -> String {
        self.operator
            .clone()
            .or_else(|| std::env::var("USER").ok())
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| "operator".into())
    }
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Serve(serve::Serve),
    #[command(flatten)]
    Fleet(verbs::Verb),
    /// Looks after the store of a fleet on this machine
    Db(db::Db),
    /// Checks a fleet's file
    #[command(subcommand)]
    Config(config::Verb),
    Simulate(simulate::Simulate),
}

/// Parses the command line, runs it, and says what went wrong on stderr.
pub fn main() -> ExitCode {
    let args = Args::parse();
    let is_for_programs = matches!(&args.verb, Some(Verb::Fleet(verb)) if verb.is_for_programs());
    let done = match &args.verb {
        Some(Verb::Serve(serve)) => serve::run(serve, &args.shared).map(|()| ExitCode::SUCCESS),
        Some(Verb::Fleet(verb)) => {
            verbs::run(verb, &args.shared, &args.connect, &args.kube).map(|()| ExitCode::SUCCESS)
        }
        Some(Verb::Db(db)) => db::run(db, &args.shared).map(|()| ExitCode::SUCCESS),
        Some(Verb::Config(verb)) => config::run(verb, &args.shared).map(|()| ExitCode::SUCCESS),
        Some(Verb::Simulate(simulate)) => simulate::run(simulate),
        None => run::run(args).map(|()| ExitCode::SUCCESS),
    };
    match done {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            if is_for_programs {
                println!("{:#}", exit::document(&error));
            }
            eprintln!("{}", verbs::plain(&format!("fleetctl: {error:#}")));
            exit::code(&error)
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
