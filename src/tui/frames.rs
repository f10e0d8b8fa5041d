//! Frames are a budget, not a timer: drawn when something changed, and never more often than this.

use std::time::Duration;

use tokio::time::Instant;

/// The least time between two frames: thirty a second.
pub const APART: Duration = Duration::from_millis(33);

/// When the next frame may be drawn.
#[derive(Clone, Copy, Debug, Default)]
pub struct Frames {
    drawn: Option<Instant>,
    wanted: Option<Instant>,
}

impl Frames {
    /// Something changed: a frame is wanted as soon as the budget allows.
    pub fn request(&mut self, now: Instant) {
        self.request_at(now);
    }

    /// The operator did something: a frame is wanted at once, whatever the budget.
    pub fn demand(&mut self, now: Instant) {
        self.drawn = None;
        self.request_at(now);
    }

    /// Only ages moved on: a frame is wanted `lazily` after the last one.
    pub fn request_lazily(&mut self, now: Instant, lazily: Duration) {
        self.request_at(self.drawn.map_or(now, |drawn| (drawn + lazily).max(now)));
    }

    /// When to draw; `None` while nothing is wanted.
    pub fn due(&self) -> Option<Instant> {
        let wanted = self.wanted?;
        Some(self.drawn.map_or(wanted, |drawn| wanted.max(drawn + APART)))
    }

    /// A frame was drawn.
    pub fn drawn(&mut self, now: Instant) {
        self.drawn = Some(now);
        self.wanted = None;
    }

    fn request_at(&mut self, at: Instant) {
        self.wanted = Some(self.wanted.map_or(at, |before| before.min(at)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn nothing_is_drawn_while_nothing_changes() {
        assert_eq!(Frames::default().due(), None);
        let mut frames = Frames::default();
        frames.request(Instant::now());
        frames.drawn(Instant::now());
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(frames.due(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_of_changes_is_one_frame_and_a_key_is_at_once() {
        let mut frames = Frames::default();
        let start = Instant::now();
        frames.request(start);
        assert_eq!(frames.due(), Some(start), "the first at once");
        frames.drawn(start);
        for _ in 0..100 {
            frames.request(start);
        }
        assert_eq!(frames.due(), Some(start + APART));
        frames.demand(start);
        assert_eq!(frames.due(), Some(start));
    }

    #[tokio::test(start_paused = true)]
    async fn ages_are_drawn_once_a_second() {
        let mut frames = Frames::default();
        let start = Instant::now();
        frames.drawn(start);
        frames.request_lazily(start, Duration::from_secs(1));
        frames.request_lazily(start, Duration::from_secs(1));
        assert_eq!(frames.due(), Some(start + Duration::from_secs(1)));
        frames.request(start);
        assert_eq!(
            frames.due(),
            Some(start + APART),
            "a real change does not wait for it"
        );
    }
}
