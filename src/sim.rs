//! Simulated engines, hosted APIs and clients that speak the real protocols over loopback, for the demo and the tests.
//!
//! Nothing else in the program knows that they are simulated: it reaches them over HTTP as it would any engine.

pub mod alone;
pub mod dcgm;
pub mod demo;
pub mod engine;
pub mod hosted;
pub mod launcher;
mod log;
pub mod traffic;
pub mod unit;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks, also after a holder panicked: every value kept here is whole between its statements.
fn hold<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Mixes a seed with a number, so that one seed gives many independent streams (splitmix64).
fn mix(seed: u64, with: u64) -> u64 {
    let mut z = seed
        .wrapping_add(with.wrapping_mul(0x9E37_79B9_7F4A_7C15))
        .wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
