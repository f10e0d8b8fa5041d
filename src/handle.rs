//! The one port behind which a fleet is reached: pictures out, orders in.
//!
//! An in-process hub gives one, and so does the client of a `serve` elsewhere. The console and the command line cannot
//! tell what is behind it.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

use crate::fleet::{Actor, Command, Fleet, Receipt, Refusal};

/// A command on its way to the owner of the fleet.
#[derive(Debug)]
pub struct Order {
    /// What is asked for.
    pub command: Command,
    /// Who asks.
    pub by: Actor,
    /// What the sender saw of that which is to be changed ([`Fleet::version`]): refused where it is another by now.
    pub expects: Option<String>,
    /// Only to be tried: a cluster checks it and changes nothing.
    pub rehearse: bool,
    /// Where the answer goes; dropped when nobody waits for it.
    pub reply: Option<oneshot::Sender<Result<Receipt, Refusal>>>,
}

/// A way to a fleet. Cheap to clone.
#[derive(Clone, Debug)]
pub struct FleetHandle {
    /// The newest picture; closed when the fleet is gone.
    pub snapshots: watch::Receiver<Arc<Fleet>>,
    /// Commands, bounded: an order that finds no place is refused to its sender, not lost.
    pub orders: mpsc::Sender<Order>,
    /// Whether the fleet is in reach, and since when it is not; a fleet in this process always is.
    pub reach: watch::Receiver<Reach>,
}

/// Whether a fleet is in reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Pictures come as they change.
    Near,
    /// The picture is old; somebody tries again.
    Lost(String),
}
