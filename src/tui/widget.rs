//! Pieces that several screens draw.

pub mod columns;
pub mod mix;
pub mod panel;
pub mod timeline;
