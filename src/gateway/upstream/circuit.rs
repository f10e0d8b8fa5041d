//! The circuit of one backend: open after a failure, tried again by one probe at a time with growing pauses.

use chrono::{DateTime, TimeDelta, Utc};

/// The first pause after a failure, fleet time.
const FIRST_PAUSE: TimeDelta = TimeDelta::seconds(1);
/// The longest pause between probes, fleet time.
const LONGEST_PAUSE: TimeDelta = TimeDelta::seconds(30);
/// Server errors in a row that open it.
const DOUBTS: u8 = 3;

/// Whether requests may be sent to a backend, as far as its own answers tell. Times are fleet time.
#[derive(Debug, Default)]
pub(crate) struct Circuit {
    open: Option<Open>,
    limited_until: Option<DateTime<Utc>>,
    /// Failures in a row that might have been their requests' doing.
    doubts: u8,
    /// The newest hang that opened it.
    hung_since: Option<DateTime<Utc>>,
}

#[derive(Debug)]
struct Open {
    until: DateTime<Utc>,
    pause: TimeDelta,
    probing: bool,
}

/// What a circuit does with requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// They go through.
    Closed,
    /// None goes through.
    Open,
    /// One goes through, to try.
    Probing,
    /// None goes through: the backend asked to be left alone.
    Limited,
}

impl Phase {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::Closed, Self::Open, Self::Probing, Self::Limited];

    /// The word for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::Probing => "probing",
            Self::Limited => "limited",
        }
    }
}

impl Circuit {
    /// What it does with requests now.
    pub(crate) fn phase(&self, now: DateTime<Utc>) -> Phase {
        match &self.open {
            _ if self.limited(now).is_some() => Phase::Limited,
            Some(open) if open.probing || now >= open.until => Phase::Probing,
            Some(_) => Phase::Open,
            None => Phase::Closed,
        }
    }

    /// Whether a request may go now.
    pub(crate) fn allows(&self, now: DateTime<Utc>) -> bool {
        self.limited(now).is_none()
            && self
                .open
                .as_ref()
                .is_none_or(|open| now >= open.until && !open.probing)
    }

    /// Until when it asked to be left alone (429); `None` when it did not.
    pub(crate) fn limited(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.limited_until.filter(|until| now < *until)
    }

    /// When the next probe may go; `None` when it is closed.
    pub(crate) fn opens_at(&self) -> Option<DateTime<Utc>> {
        self.open.as_ref().map(|open| open.until)
    }

    /// Takes the place of a request; false when none may go. On an open circuit the request is the probe.
    pub(crate) fn begin(&mut self, now: DateTime<Utc>) -> bool {
        let allowed = self.allows(now);
        if allowed && let Some(open) = &mut self.open {
            open.probing = true;
        }
        allowed
    }

    /// It began to answer.
    pub(crate) fn succeed(&mut self) {
        self.open = None;
        self.limited_until = None;
    }

    /// Its answer came to a good end. One that only began well says nothing against those that broke off.
    pub(crate) fn complete(&mut self) {
        self.doubts = 0;
    }

    /// It failed in a way that might be the request's doing: one that makes an engine stumble must not shut everybody out.
    /// A few in a row are a failure.
    pub(crate) fn doubt(&mut self, now: DateTime<Utc>) {
        self.doubts = self.doubts.saturating_add(1);
        if self.open.is_some() || self.doubts >= DOUBTS {
            self.fail(now);
        }
    }

    /// It did not answer, or with a server error. The pause doubles with every failed probe.
    ///
    /// A failure of a request that was under way when the circuit opened is the same failure, and does not double it.
    pub(crate) fn fail(&mut self, now: DateTime<Utc>) {
        let pause = match &self.open {
            Some(open) if !open.probing => open.pause,
            Some(open) => (open.pause * 2).min(LONGEST_PAUSE),
            None => FIRST_PAUSE,
        };
        self.open = Some(Open {
            until: now + pause,
            pause,
            probing: false,
        });
    }

    /// It has produced nothing since then although it should; the same hang opens the circuit once. Whether this was news.
    pub(crate) fn hangs(&mut self, since: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        let new = self.hung_since.replace(since) != Some(since);
        if new {
            self.fail(now);
        }
        new
    }

    /// It asked to be left alone until then.
    pub(crate) fn limit(&mut self, until: DateTime<Utc>) {
        self.abandon();
        self.limited_until = Some(until);
    }

    /// The request ended without telling anything: the client left.
    pub(crate) fn abandon(&mut self) {
        if let Some(open) = &mut self.open {
            open.probing = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};

    use super::Circuit;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    #[test]
    fn one_probe_at_a_time_with_growing_pauses() {
        let mut circuit = Circuit::default();
        assert!(circuit.begin(at(0)) && circuit.begin(at(0)));
        circuit.fail(at(0));
        circuit.fail(at(0));
        assert!(!circuit.allows(at(0)));
        assert!(circuit.begin(at(1)), "the probe");
        assert!(!circuit.begin(at(1)), "one at a time");
        circuit.fail(at(1));
        assert_eq!(circuit.opens_at(), Some(at(3)));
        for _ in 0..10 {
            let next = circuit.opens_at().unwrap();
            assert!(circuit.begin(next));
            circuit.fail(next);
        }
        let before = circuit.opens_at().unwrap();
        assert!(circuit.begin(before));
        circuit.fail(before);
        assert_eq!(circuit.opens_at().unwrap() - before, TimeDelta::seconds(30));
        assert!(circuit.begin(circuit.opens_at().unwrap()));
        circuit.succeed();
        assert!(circuit.begin(at(0)) && circuit.begin(at(0)));
    }

    #[test]
    fn one_bad_request_shuts_nobody_out() {
        let mut circuit = Circuit::default();
        for _ in 0..10 {
            circuit.doubt(at(0));
            circuit.doubt(at(0));
            assert!(circuit.allows(at(0)));
            circuit.succeed();
            circuit.complete();
        }
        for _ in 0..3 {
            circuit.doubt(at(0));
        }
        assert!(!circuit.allows(at(0)));
        assert!(circuit.begin(at(1)), "the probe");
        circuit.doubt(at(1));
        assert_eq!(circuit.opens_at(), Some(at(3)), "one is enough for a probe");
    }

    #[test]
    fn a_probe_that_tells_nothing_makes_room_for_the_next() {
        let mut circuit = Circuit::default();
        circuit.fail(at(0));
        assert!(circuit.begin(at(1)));
        circuit.abandon();
        assert!(circuit.begin(at(1)));
    }

    #[test]
    fn a_limit_holds_until_it_ends() {
        let mut circuit = Circuit::default();
        circuit.limit(at(7));
        assert!(!circuit.allows(at(6)) && circuit.allows(at(7)));
    }
}
