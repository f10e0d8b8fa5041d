//! Where a request may go, and whose turn it is.

pub(super) mod balance;
pub(super) mod desk;
pub(super) mod route;
pub(super) mod rules;
