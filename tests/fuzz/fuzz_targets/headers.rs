//! See `fleetctl::gateway::fuzzing::headers`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fleetctl::gateway::fuzzing::headers(data));
