//! Requests that wait for a wake, and the wakes that they ask for.

pub(super) mod heartbeat;
pub(super) mod place;
pub(super) mod room;
pub(super) mod wake;
