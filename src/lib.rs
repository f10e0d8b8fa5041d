//! fleetctl: a terminal console for hybrid LLM fleets.

pub mod clock;
pub mod config;
pub mod fleet;
pub mod gateway;
pub mod handle;
pub mod tui;
