//! What clients say and are told: bodies, headers, names, errors.

pub(super) mod envelope;
pub(super) mod headers;
pub(super) mod names;
pub(super) mod peek;
