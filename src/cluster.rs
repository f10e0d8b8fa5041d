//! The API of a Kubernetes cluster: how it is reached, as whom, and what it serves. Nothing here decides anything.

mod access;
mod api;
mod fault;
mod lines;
mod served;

pub use access::{Access, contexts};
pub use api::{Api, Happened, Page};
pub use fault::Fault;
pub use served::Served;
