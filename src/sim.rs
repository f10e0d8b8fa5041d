//! A simulated fleet for the demo and the tests: it speaks only real protocols, over HTTP.

pub mod hosted;
pub mod traffic;
