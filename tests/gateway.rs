//! The gateway against upstreams that misbehave on the wire.
//!
//! Each fault is played by a fake that writes raw bytes. What the client sees and what goes on record stands in tables.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what cannot be set up or does not hold has failed"
)]

mod gateway {
    mod answers;
    mod bench;
    mod fault;
    mod faults;
    mod fleet;
    mod pieces;
    mod pool;
    mod upstream;
    mod words;
}
