//! fleetctl: a terminal console for hybrid LLM fleets.

pub mod actuator;
pub mod clock;
pub mod config;
pub mod fleet;
pub mod handle;
pub mod sim;
<<<<<<< HEAD
pub mod source;
=======
>>>>>>> sim
pub mod tui;
pub mod web;
