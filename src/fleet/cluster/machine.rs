//! Machines that exist for a backend, and what they cost.

use serde::{Deserialize, Serialize};

use crate::fleet::money::Usd;

/// A machine that exists for a backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Its name; a claim's, while it is still on its way.
    pub name: Box<str>,
    /// `Standard_NC96ads_A100_v4`.
    pub instance: Box<str>,
    /// `eastus`.
    pub region: Box<str>,
    /// It may be taken back.
    pub spot: bool,
    /// GPUs on it.
    pub gpus: u32,
    /// Of these, asked for by this backend's pods.
    pub held: u32,
    /// Dollars an hour for all of it; `None` where the table does not have it.
    pub price: Option<Usd>,
    /// It answers.
    pub ready: bool,
    /// Nothing of this backend runs on it, and it exists for nobody else.
    pub idle: bool,
}

impl Machine {
    /// Dollars an hour of this backend's share of it.
    pub fn share(&self) -> Option<Usd> {
        if self.idle {
            return self.price;
        }
        if self.held == 0 {
            // Nothing that is counted: what it costs without a price is unknown, not nothing.
            return self.price.map(|_| Usd::ZERO);
        }
        self.price?
            .times(i128::from(self.held))
            .split(i128::from(self.gpus.max(self.held)))
    }
}
