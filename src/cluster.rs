//! The API of a Kubernetes cluster: how it is reached, as whom, and what it serves. Nothing here decides anything.

mod access;
mod api;
mod attention;
mod credentials;
mod fault;
mod lines;
mod login;
mod reach;
mod served;

pub use access::{Access, contexts};
pub use api::{Api, Happened, Page};
pub use attention::{Attended, Attention};
pub use fault::Fault;
pub use reach::Reach;
pub use served::Served;
