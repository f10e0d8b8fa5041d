//! Smooth weighted round-robin: shares hold over every cycle, not only on average.

/// Whose turn it is among the backends of one model.
///
/// The smooth variant that nginx uses: every pick raises each member by its weight, takes the highest and lowers it by the sum.
/// After as many picks as the sum of the weights (divided by their common factor) each member was taken exactly as often as
/// its weight says, wherever one starts to count.
#[derive(Debug, Default)]
pub(crate) struct Balance {
    /// Seat, weight and standing, as they were at the last pick.
    members: Vec<(usize, u32, i64)>,
}

impl Balance {
    /// The seat whose turn it is among `wanted` (seat, weight); `None` when nobody has a weight.
    ///
    /// Other members or other weights than last time start a new cycle: an old standing means nothing under new shares.
    pub(crate) fn pick(&mut self, wanted: &[(usize, u32)]) -> Option<usize> {
        let same = self.members.len() == wanted.len()
            && self
                .members
                .iter()
                .zip(wanted)
                .all(|((seat, weight, _), other)| (*seat, *weight) == *other);
        if !same {
            self.members.clear();
            self.members
                .extend(wanted.iter().map(|(seat, weight)| (*seat, *weight, 0)));
        }
        let mut total = 0;
        let mut best: Option<usize> = None;
        for at in 0..self.members.len() {
            let weight = i64::from(self.members[at].1);
            if weight == 0 {
                continue;
            }
            self.members[at].2 += weight;
            total += weight;
            // The first in config order wins a tie.
            if best.is_none_or(|best| self.members[at].2 > self.members[best].2) {
                best = Some(at);
            }
        }
        let taken = &mut self.members[best?];
        taken.2 -= total;
        Some(taken.0)
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
