//! See `fleetctl::gateway::fuzzing::body`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fleetctl::gateway::fuzzing::body(data));
