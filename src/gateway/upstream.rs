//! The far side: how each backend is reached, and whether it may be asked.

pub(super) mod address;
pub(super) mod attempt;
pub(super) mod circuit;
pub(super) mod headroom;
pub(super) mod judge;
pub(super) mod slot;
pub(super) mod wire;
