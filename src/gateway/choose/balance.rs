//! Smooth weighted round-robin: shares hold over every cycle, not only on average.

/// Cycles that are remembered at once: one a rule and a set of backends that can answer.
const CYCLES: usize = 16;

/// Whose turn it is among the backends of one model.
///
/// The smooth variant that nginx uses: every pick raises each member by its weight, takes the highest and lowers it by the sum.
/// After as many picks as the sum of the weights (divided by their common factor) each member was taken exactly as often as
/// its weight says, wherever one starts to count.
///
/// Each set of members has a cycle of its own, which goes on where it was when the same set comes back: two rules that
/// take turns, or a backend that is full every other moment, do not disturb each other's shares.
#[derive(Debug, Default)]
pub(crate) struct Balance {
    /// The one that was used last comes first.
    cycles: Vec<Cycle>,
}

#[derive(Debug)]
struct Cycle {
    members: Vec<(usize, u32)>,
    /// One a member.
    standings: Vec<i64>,
}

impl Balance {
    /// The seat whose turn it is among `wanted` (seat, weight); `None` when nobody has a weight.
    pub(crate) fn pick(&mut self, wanted: &[(usize, u32)]) -> Option<usize> {
        match self.cycles.iter().position(|it| it.members == wanted) {
            Some(0) => {}
            Some(at) => self.cycles[..=at].rotate_right(1),
            None => {
                self.cycles.truncate(CYCLES - 1);
                let cycle = Cycle {
                    members: wanted.to_vec(),
                    standings: vec![0; wanted.len()],
                };
                self.cycles.insert(0, cycle);
            }
        }
        self.cycles.first_mut()?.next()
    }
}

impl Cycle {
    fn next(&mut self) -> Option<usize> {
        let mut total = 0;
        let mut best: Option<usize> = None;
        for (at, (_, weight)) in self.members.iter().enumerate() {
            let weight = i64::from(*weight);
            if weight == 0 {
                continue;
            }
            self.standings[at] += weight;
            total += weight;
            // The first in config order wins a tie.
            if best.is_none_or(|best| self.standings[at] > self.standings[best]) {
                best = Some(at);
            }
        }
        let best = best?;
        self.standings[best] -= total;
        Some(self.members[best].0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Balance;

    fn counts(picks: &[usize], seats: usize) -> Vec<usize> {
        (0..seats)
            .map(|seat| picks.iter().filter(|pick| **pick == seat).count())
            .collect()
    }

    #[test]
    fn sixty_five_to_thirty_five_holds_over_every_hundred() {
        let mut balance = Balance::default();
        let picks: Vec<usize> = (0..1000)
            .filter_map(|_| balance.pick(&[(0, 65), (1, 35)]))
            .collect();
        for window in picks.windows(100) {
            assert_eq!(counts(window, 2), [65, 35]);
        }
    }

    #[test]
    fn nobody_with_a_weight_is_nobodys_turn() {
        let mut balance = Balance::default();
        assert_eq!(balance.pick(&[]), None);
        assert_eq!(balance.pick(&[(0, 0), (1, 0)]), None);
        assert_eq!(balance.pick(&[(0, 0), (1, 3)]), Some(1));
    }

    #[test]
    fn concurrent_requests_share_exactly() {
        let balance = std::sync::Mutex::new(Balance::default());
        let taken = std::sync::Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..250 {
                        let seat = balance.lock().unwrap().pick(&[(0, 65), (1, 35)]).unwrap();
                        taken.lock().unwrap().push(seat);
                    }
                });
            }
        });
        assert_eq!(counts(&taken.into_inner().unwrap(), 2), [650, 350]);
    }

    #[test]
    fn a_set_that_comes_back_goes_on_where_it_was() {
        let mut balance = Balance::default();
        let mut both = Vec::new();
        for round in 0..300 {
            both.extend(balance.pick(&[(0, 65), (1, 35)]));
            if round % 7 == 0 {
                assert_eq!(balance.pick(&[(1, 35)]), Some(1));
                assert_eq!(balance.pick(&[(0, 1), (2, 1)]), Some(2 * (round / 7 % 2)));
            }
        }
        for window in both.windows(100) {
            assert_eq!(counts(window, 2), [65, 35]);
        }
    }

    proptest! {
        #[test]
        fn every_window_of_a_cycle_is_exact(weights in prop::collection::vec(0u32..40, 1..6), start in 0usize..50) {
            let sum = weights.iter().sum::<u32>() as usize;
            let wanted: Vec<(usize, u32)> = weights.iter().copied().enumerate().collect();
            let mut balance = Balance::default();
            let picks: Vec<usize> = (0..start + sum).filter_map(|_| balance.pick(&wanted)).collect();
            if sum > 0 {
                let seen = counts(&picks[start..], weights.len());
                prop_assert_eq!(seen, weights.iter().map(|w| *w as usize).collect::<Vec<_>>());
            }
        }

        #[test]
        fn changing_weights_never_picks_one_without_weight(steps in prop::collection::vec(prop::collection::vec(0u32..5, 1..5), 1..60)) {
            let mut balance = Balance::default();
            for weights in steps {
                let wanted: Vec<(usize, u32)> = weights.iter().copied().enumerate().collect();
                match balance.pick(&wanted) {
                    Some(seat) => prop_assert!(weights[seat] > 0),
                    None => prop_assert!(weights.iter().all(|w| *w == 0)),
                }
            }
        }
    }
}
