//! Screens, drawn from a fixed fleet.
