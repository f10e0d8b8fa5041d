//! fleetctl: a terminal console for hybrid LLM fleets.

pub mod actuator;
pub mod admin;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod fleet;
pub mod gateway;
pub mod handle;
pub mod hub;
pub mod process;
pub mod remote;
pub mod secret;
pub mod sim;
pub mod source;
pub mod store;
pub mod tui;
pub mod web;
