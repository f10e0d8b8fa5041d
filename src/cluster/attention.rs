//! What is waited for: whoever operates a backend has its pages read before those of all others.

use std::collections::BTreeMap;

use tokio::sync::watch;

use crate::fleet::BackendId;

/// The backends that somebody waits for, and how many do; a clone is of the same ones.
#[derive(Clone, Debug, Default)]
pub struct Attention(watch::Sender<BTreeMap<BackendId, u32>>);

/// While it is held, a backend is waited for.
#[derive(Debug)]
pub struct Attended {
    all: Attention,
    id: BackendId,
}

impl Attention {
    /// Has a backend read at once and often, for as long as what is given is held.
    #[must_use]
    pub fn attend(&self, id: &BackendId) -> Attended {
        self.0
            .send_modify(|all| *all.entry(id.clone()).or_default() += 1);
        Attended {
            all: self.clone(),
            id: id.clone(),
        }
    }

    /// Whether somebody waits for what it says.
    pub fn is_watched(&self, id: &BackendId) -> bool {
        self.0.borrow().contains_key(id)
    }

    /// Learns of every change.
    pub fn changes(&self) -> watch::Receiver<BTreeMap<BackendId, u32>> {
        self.0.subscribe()
    }
}

impl Drop for Attended {
    fn drop(&mut self) {
        self.all.0.send_modify(|all| {
            if let Some(left) = all.get_mut(&self.id) {
                *left -= 1;
                if *left == 0 {
                    all.remove(&self.id);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_is_waited_for_until_the_last_has_what_it_waits_for() {
        let (all, id) = (Attention::default(), BackendId::from("llm/chat"));
        let elsewhere = all.clone();
        let first = all.attend(&id);
        let second = elsewhere.attend(&id);
        assert!(all.is_watched(&id) && !all.is_watched(&BackendId::from("llm/other")));
        drop(first);
        assert!(elsewhere.is_watched(&id));
        drop(second);
        assert!(!all.is_watched(&id));
    }
}
