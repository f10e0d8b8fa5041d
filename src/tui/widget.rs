//! Pieces that several screens draw.

pub mod mix;
pub mod panel;
pub mod timeline;
