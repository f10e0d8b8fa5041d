//! What is kept of each request, and told of all of them.

pub(super) mod account;
pub(super) mod sampler;
