//! End to end: a real gateway on a port, small fakes behind it, and a picture made by hand.

mod access;
mod apis;
mod cold;
pub(super) mod fake;
mod limits;
mod proxying;
mod renewal;
mod rules;
