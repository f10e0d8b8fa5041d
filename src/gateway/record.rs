//! What is kept of each request, and told of all of them.

pub(super) mod access_log;
pub(super) mod account;
pub(super) mod metrics;
pub(super) mod outbox;
pub(super) mod sampler;
