//! End to end, against small fakes.
