//! What clients say and are told: bodies, headers, names, errors.

pub(super) mod body;
pub(super) mod envelope;
pub(super) mod headers;
pub(super) mod keys;
pub(super) mod names;
pub(super) mod peek;
pub(super) mod wishes;
