//! Pictures with numbers, and the newest few kept: who was away for a moment gets what changed, not everything.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::fleet::Fleet;

/// Pictures that are kept: some seconds of a busy fleet, a minute of a quiet one. They share what did not change.
const KEPT: usize = 64;

/// A picture and its number.
pub(super) type Numbered = (u64, Arc<Fleet>);

/// The pictures of one fleet since its start.
#[derive(Debug)]
pub(super) struct Feed {
    /// Tells the numbers of one run from those of another.
    pub(super) run: String,
    newest: watch::Receiver<Numbered>,
    kept: Arc<Mutex<VecDeque<Numbered>>>,
}

impl Feed {
    /// Numbers what comes, until `shutdown`.
    pub(super) fn start(
        mut from: watch::Receiver<Arc<Fleet>>,
        shutdown: CancellationToken,
    ) -> Self {
        let first = from.borrow_and_update().clone();
        // Not by when the fleet began: a restart does not begin it anew.
        let run = format!("{:x}", first.now.timestamp_micros());
        let (tell, newest) = watch::channel((0, Arc::clone(&first)));
        let kept = Arc::new(Mutex::new(VecDeque::from([(0, first)])));
        let keep = Arc::clone(&kept);
        tokio::spawn(async move {
            for number in 1.. {
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    changed = from.changed() => if changed.is_err() { return },
                }
                let picture = from.borrow_and_update().clone();
                let mut kept = keep.lock().unwrap_or_else(PoisonError::into_inner);
                if kept.len() == KEPT {
                    kept.pop_front();
                }
                kept.push_back((number, Arc::clone(&picture)));
                drop(kept);
                tell.send_replace((number, picture));
            }
        });
        Self { run, newest, kept }
    }

    /// The newest picture, now and from now on.
    pub(super) fn follow(&self) -> watch::Receiver<Numbered> {
        self.newest.clone()
    }

    /// The picture of this number, where it is still kept.
    pub(super) fn at(&self, number: u64) -> Option<Numbered> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|(of, _)| *of == number).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_restart_has_numbers_of_its_own() {
        let at = |second| format!("2026-07-01T00:00:0{second}Z").parse().unwrap();
        let begun = Fleet::new("m", at(0));
        let mut restarted = Fleet::new("m", at(7));
        restarted.started = begun.started;
        let shutdown = CancellationToken::new();
        let [one, other] = [begun, restarted].map(|first| {
            let (_, pictures) = watch::channel(Arc::new(first));
            Feed::start(pictures, shutdown.clone())
        });
        assert_ne!(one.run, other.run);
    }
}
