//! Objects of the API, each as small as what is read of it: what nobody reads is dropped while it is parsed.

mod event;
mod meta;
mod node;
mod owner;
mod pod;
mod route;
mod router;
mod scaling;
mod workload;

pub(super) use event::Event;
pub(super) use meta::{Key, Meta, Words};
pub(super) use node::{Claim, Made, Node};
pub(super) use owner::{InferenceService, InferenceSet, LlmService, Revision, Workspace};
pub(super) use pod::{Condition, Container, Pod};
pub(super) use route::{Address, AiBackend, BackendRef, Pool, Route, RouteRule, Service};
pub(super) use scaling::{Hpa, Scaled};
pub(super) use workload::Workload;
