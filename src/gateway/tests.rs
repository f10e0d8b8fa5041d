//! End to end: a real gateway on a port, small fakes behind it, and a picture made by hand.

mod cold;
pub(super) mod fake;
mod proxying;
