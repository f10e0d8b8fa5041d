//! Whose pages are read next: who waits longest goes first, and those that somebody waits for have a budget of their own.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::read::Engine;
use crate::fleet::BackendId;

/// Pages a second, at most, all backends together that nobody waits for.
const RATE: u32 = 20;
/// The same of those that somebody waits for.
const HURRY: u32 = 100;
/// Between two rounds of one backend, at least.
const EVERY: Duration = Duration::from_secs(2);
/// Backends whose pages are under way at once, of either sort.
const AT_ONCE: usize = 16;
/// Turns are given so often a second.
const A_SECOND: u32 = 2;

/// Between two times that turns are given.
pub(super) const TICK: Duration = Duration::from_millis(1000 / A_SECOND as u64);

/// How long it takes to read so many pods, each once.
pub(super) fn spread(pods: usize) -> Duration {
    Duration::from_secs(1) * u32::try_from(pods).unwrap_or(u32::MAX) / RATE
}

/// When each backend had its turn.
#[derive(Debug, Default)]
pub(super) struct Turns {
    known: HashMap<BackendId, Turn>,
    /// How many pages more may be asked for now.
    calm: i64,
    hurry: i64,
}

#[derive(Clone, Copy, Debug)]
struct Turn {
    /// When it began; of one that never had any, when it was first seen.
    from: Instant,
    had: bool,
    /// It is under way, and somebody waits for it.
    under_way: Option<bool>,
}

impl Turns {
    /// The backends whose turn it is; called once a [`TICK`].
    pub(super) fn next(
        &mut self,
        all: &[Arc<Engine>],
        is_urgent: impl Fn(&Engine) -> bool,
        now: Instant,
    ) -> Vec<Arc<Engine>> {
        let calm_every = EVERY.max(spread(all.iter().map(|it| it.pods.len()).sum()));
        self.calm = (self.calm + i64::from(RATE / A_SECOND)).min(RATE.into());
        self.hurry = (self.hurry + i64::from(HURRY / A_SECOND)).min(HURRY.into());
        let mut due: Vec<(Instant, bool, &Arc<Engine>)> = Vec::new();
        for engine in all {
            let turn = self.known.entry(engine.id.clone()).or_insert(Turn {
                from: now,
                had: false,
                under_way: None,
            });
            let urgent = is_urgent(engine);
            let every = if urgent { EVERY } else { calm_every };
            let at = turn.from + if turn.had { every } else { Duration::ZERO };
            if at <= now && turn.under_way.is_none() {
                due.push((at, urgent, engine));
            }
        }
        due.sort_by_key(|(at, ..)| *at);
        let of = |sort: bool| {
            let all = self.known.values();
            all.filter(|it| it.under_way == Some(sort)).count()
        };
        let mut under_way = [of(false), of(true)];
        let mut out = Vec::new();
        for (_, urgent, engine) in due {
            let budget = if urgent {
                &mut self.hurry
            } else {
                &mut self.calm
            };
            let under_way = &mut under_way[usize::from(urgent)];
            if *budget <= 0 || *under_way >= AT_ONCE {
                continue;
            }
            *budget -= engine.pods.len() as i64;
            *under_way += 1;
            let turn = Turn {
                from: now,
                had: true,
                under_way: Some(urgent),
            };
            self.known.insert(engine.id.clone(), turn);
            out.push(Arc::clone(engine));
        }
        out
    }

    /// Its turn has ended.
    pub(super) fn ended(&mut self, id: &BackendId) {
        if let Some(turn) = self.known.get_mut(id) {
            turn.under_way = None;
        }
    }

    /// Forgets backends that are gone, where there are many; whether it did.
    pub(super) fn tidy(&mut self, all: &[Arc<Engine>]) -> bool {
        let many = self.known.len() > all.len() * 2 + 16;
        if many {
            let ids: std::collections::HashSet<&BackendId> = all.iter().map(|it| &it.id).collect();
            self.known
                .retain(|id, turn| turn.under_way.is_some() || ids.contains(id));
        }
        many
    }
}

#[cfg(test)]
mod tests {
    use super::super::read::Paged;
    use super::*;

    fn engine(name: &str, pods: usize) -> Arc<Engine> {
        let pod = Paged {
            namespace: "llm".into(),
            name: name.into(),
            ip: "".into(),
            born: None,
            serves: true,
        };
        Arc::new(Engine {
            id: BackendId::from(name),
            port: 8000,
            pods: vec![pod; pods],
            workers: Vec::new(),
            until: None,
        })
    }

    /// How often each is read within so many seconds, where every page is answered at once.
    fn read(all: &[Arc<Engine>], urgent: &[&str], seconds: u32) -> HashMap<String, u32> {
        let (mut turns, mut now) = (Turns::default(), Instant::now());
        let mut times = HashMap::new();
        for _ in 0..seconds * A_SECOND {
            for it in turns.next(all, |it| urgent.contains(&it.id.as_str()), now) {
                *times.entry(it.id.as_str().to_owned()).or_default() += 1;
                turns.ended(&it.id);
            }
            now += TICK;
        }
        times
    }

    #[test]
    fn what_is_waited_for_comes_at_once_and_takes_nothing_from_the_others() {
        let all: Vec<_> = (0..50)
            .map(|at| engine(&format!("llm/{at:02}"), 50))
            .collect();
        let (mut turns, start) = (Turns::default(), Instant::now());
        let mut now = start;
        while now < start + Duration::from_secs(140) {
            for it in turns.next(&all, |_| false, now) {
                turns.ended(&it.id);
            }
            now += TICK;
        }
        let waited = |it: &Engine| it.id.as_str() == "llm/00";
        let next = turns.next(&all, waited, now);
        assert!(next.iter().any(|it| waited(it)), "125 s is not waited");
        let times = read(&all, &["llm/00", "llm/01"], 260);
        assert!(times["llm/00"] > 100);
        for it in &all[2..] {
            assert!(times[it.id.as_str()] >= 2, "{}", it.id);
        }
    }

    #[test]
    fn who_waits_longest_is_next_whatever_its_name() {
        let mut all: Vec<_> = (0..4).map(|at| engine(&format!("a/{at}"), 60)).collect();
        all.push(engine("z/last", 1));
        let times = read(&all, &[], 120);
        assert!(times.values().all(|it| *it >= 8), "{times:?}");
    }

    #[test]
    fn one_that_is_still_being_read_is_not_read_again() {
        let all = [engine("llm/chat", 3)];
        let (mut turns, now) = (Turns::default(), Instant::now());
        let minute = Duration::from_secs(60);
        assert_eq!(turns.next(&all, |_| true, now).len(), 1);
        assert!(turns.next(&all, |_| true, now + minute).is_empty());
        turns.ended(&all[0].id);
        assert_eq!(turns.next(&all, |_| true, now + minute).len(), 1);
    }
}
