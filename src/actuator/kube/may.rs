//! Whether something may be done, asked call by call before any of it is tried.

use futures_util::future::join_all;

use super::Hand;
use crate::fleet::cluster::{Need, Permit};

impl Hand {
    /// What this user may do of what is needed. What the API does not say is tried, and refused where it may not be.
    pub async fn may(&self, needs: &[Need]) -> Vec<Permit> {
        let asked = needs.iter().map(|need| async move {
            let answer = self.api.may(need).await;
            let (allowed, why) = answer.unwrap_or((true, String::new()));
            need.answered(allowed, &why)
        });
        join_all(asked).await
    }
}
