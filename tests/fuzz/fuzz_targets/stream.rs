//! See `fleetctl::gateway::fuzzing::stream`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fleetctl::gateway::fuzzing::stream(data));
