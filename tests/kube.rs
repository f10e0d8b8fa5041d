//! Fleets on Kubernetes, against an API server that keeps the rules of the real one.
//!
//! What an operation does is told in `tests/scenarios/kube`: what there is, what is asked for, and beside it every call
//! that changes anything, in order, and what the fleet shows in the end. What is not data stands in `tests/kube`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what cannot be set up or does not hold has failed"
)]

mod fake_kube;

mod kube {
    mod bench;
    mod causes;
    mod cli;
    mod clusters;
    mod deaths;
    mod engines;
    mod gpus;
    mod kaito;
    mod leases;
    mod logins;
    mod logs;
    mod past;
    mod reading;
    mod router;
    mod stages;
    mod starting;
    mod stories;
    mod tokens;
    mod told;
    mod watches;
    mod world;
    mod yard;
}
