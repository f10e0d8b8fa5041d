//! Answers on their way to the client, read in passing.

pub(super) mod live;
pub(super) mod sse;
pub(super) mod usage;
