//! Pieces that several screens draw.

pub mod chart;
pub mod columns;
pub mod grid;
pub mod mix;
pub mod panel;
pub mod timeline;
