//! The far side: how each backend is reached, and whether it may be asked.

pub(super) mod circuit;
pub(super) mod proxy;
pub(super) mod slot;
