//! One picture of the console.

pub mod audit;
pub mod backend;
pub mod cost;
pub mod fleet;
pub mod requests;
pub mod routing;
