//! Where a request may go, from what is known of its model's backends. Pure.

use chrono::{DateTime, Utc};

use crate::fleet::model::ColdPolicy;
use crate::fleet::request::Route;
use crate::fleet::{Backend, State};

/// What may be expected of a backend now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It takes requests.
    Eligible,
    /// It will take requests if it is woken, or without that in a while.
    Coming,
    /// It asked to be left alone until then.
    Limited(DateTime<Utc>),
    /// Its circuit is open until then.
    Broken(DateTime<Utc>),
    /// An operator took it out of service.
    Drained,
    /// It failed or is down.
    Failed,
    /// This traffic must not go there, or it cannot be reached.
    Barred,
}

/// One backend of the model.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) weight: u32,
    pub(crate) standing: Standing,
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// One of these by weight (seat, weight).
    Weighted(Vec<(usize, u32)>),
    /// This one.
    One(usize, Route),
    /// This one now, while a sleeping one is woken.
    OneAndWake(usize),
    /// Nowhere yet.
    Hold,
    /// Nowhere.
    Refuse(Why),
}

/// Why a request goes nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// They sleep, and the model's policy is to refuse.
    Asleep,
    /// All are drained.
    Drained,
    /// This one failed.
    Failed(usize),
    /// All that are left asked to be left alone until then.
    Limited(DateTime<Utc>),
    /// The circuits of all that are left are open until then.
    Broken(DateTime<Utc>),
    /// All were tried, or there are none.
    Exhausted,
    /// This traffic may go to none of them.
    Barred,
}

/// What the picture says of a backend; its circuit is the gateway's own knowledge.
pub(crate) fn standing(backend: &Backend, now: DateTime<Utc>) -> Standing {
    if backend.drained.is_some() {
        return Standing::Drained;
    }
    match &backend.state {
        State::Warm { .. } | State::Ready { .. } => Standing::Eligible,
        State::Unknown { .. } | State::Asleep { .. } | State::Waking(_) | State::Draining(_) => {
            Standing::Coming
        }
        // The picture may lag behind the end of the pause.
        State::Limited { until, .. } if *until <= now => Standing::Eligible,
        State::Limited { until, .. } => Standing::Limited(*until),
        State::Failed(_) | State::Down { .. } => Standing::Failed,
    }
}

/// Decides for one request; `asked` is the seat that its header named, `tried` the seats that refused it already.
pub(crate) fn choose(
    rows: &[Row],
    cold: ColdPolicy,
    asked: Option<usize>,
    tried: &[usize],
) -> Choice {
    let open = || {
        rows.iter().enumerate().filter(move |(seat, row)| {
            asked.is_none_or(|asked| asked == *seat)
                && !tried.contains(seat)
                && row.standing != Standing::Barred
        })
    };
    let eligible = || open().filter(|(_, row)| row.standing == Standing::Eligible);
    let weighted = || eligible().filter(|(_, row)| row.weight > 0);
    let spare = eligible()
        .find(|(_, row)| row.weight == 0)
        .map(|(seat, _)| seat);

    if !tried.is_empty() {
        let next = weighted().map(|(seat, _)| seat).next().or(spare);
        return next.map_or(Choice::Refuse(Why::Exhausted), |seat| {
            Choice::One(seat, Route::Fallback)
        });
    }
    if asked.is_some()
        && let Some((seat, _)) = eligible().next()
    {
        return Choice::One(seat, Route::Header);
    }
    let mut by_weight: Vec<(usize, u32)> = Vec::with_capacity(rows.len());
    by_weight.extend(weighted().map(|(seat, row)| (seat, row.weight)));
    if let [(seat, _)] = by_weight[..]
        && open().count() == 1
    {
        return Choice::One(seat, Route::Only);
    }
    if !by_weight.is_empty() {
        return Choice::Weighted(by_weight);
    }
    let coming = |(_, row): &(usize, &Row)| row.standing == Standing::Coming;
    let weighted_coming = open().filter(coming).any(|(_, row)| row.weight > 0);
    match (spare, cold) {
        (Some(seat), ColdPolicy::Overflow | ColdPolicy::Bridge { .. }) if weighted_coming => {
            return Choice::OneAndWake(seat);
        }
        (
            Some(seat),
            ColdPolicy::Wait
            | ColdPolicy::Overflow
            | ColdPolicy::Reject
            | ColdPolicy::Bridge { .. },
        ) if !weighted_coming => {
            return Choice::One(seat, Route::Fallback);
        }
        (
            Some(_) | None,
            ColdPolicy::Wait
            | ColdPolicy::Overflow
            | ColdPolicy::Reject
            | ColdPolicy::Bridge { .. },
        ) => {}
    }
    if open().any(|row| coming(&row)) {
        return match cold {
            ColdPolicy::Wait | ColdPolicy::Overflow | ColdPolicy::Bridge { .. } => Choice::Hold,
            ColdPolicy::Reject => Choice::Refuse(Why::Asleep),
        };
    }
    Choice::Refuse(why_not(open()))
}

/// Why none of `rows` can ever be waited for; the most hopeful reason wins.
fn why_not<'a>(rows: impl Iterator<Item = (usize, &'a Row)> + Clone) -> Why {
    let mut limited: Option<DateTime<Utc>> = None;
    let mut broken: Option<DateTime<Utc>> = None;
    let sooner = |known: Option<DateTime<Utc>>, until| {
        Some(known.map_or(until, |known: DateTime<Utc>| known.min(until)))
    };
    for (_, row) in rows.clone() {
        match row.standing {
            Standing::Limited(until) => limited = sooner(limited, until),
            Standing::Broken(until) => broken = sooner(broken, until),
            Standing::Eligible
            | Standing::Coming
            | Standing::Drained
            | Standing::Failed
            | Standing::Barred => {}
        }
    }
    if let Some(until) = limited {
        return Why::Limited(until);
    }
    if let Some(until) = broken {
        return Why::Broken(until);
    }
    let mut rows = rows.peekable();
    if rows.peek().is_none() {
        return Why::Barred;
    }
    rows.find(|(_, row)| row.standing == Standing::Failed)
        .map_or(Why::Drained, |(seat, _)| Why::Failed(seat))
}

#[cfg(test)]
mod tests {
    use super::{Choice, Row, Standing, Why, choose};
    use crate::fleet::model::ColdPolicy;
    use crate::fleet::request::Route;

    use ColdPolicy::{Overflow, Reject, Wait};
    use Standing::{Barred, Coming, Drained, Eligible, Failed};

    /// Weight and standing of each seat, the policy, the seat asked for, the seats tried, and what is chosen.
    type Case = (
        &'static [(u32, Standing)],
        ColdPolicy,
        Option<usize>,
        &'static [usize],
        Choice,
    );

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn every_case_of_the_choice() {
        let both = || Choice::Weighted(vec![(0, 65), (1, 35)]);
        let cases: Vec<Case> = vec![
            (&[(65, Eligible), (35, Eligible)], Wait, None, &[], both()),
            (
                &[(65, Coming), (35, Eligible)],
                Wait,
                None,
                &[],
                Choice::Weighted(vec![(1, 35)]),
            ),
            (
                &[(1, Eligible)],
                Wait,
                None,
                &[],
                Choice::One(0, Route::Only),
            ),
            (
                &[(1, Eligible), (1, Barred)],
                Wait,
                None,
                &[],
                Choice::One(0, Route::Only),
            ),
            (
                &[(65, Eligible), (35, Eligible)],
                Wait,
                Some(1),
                &[],
                Choice::One(1, Route::Header),
            ),
            (
                &[(65, Eligible), (35, Coming)],
                Wait,
                Some(1),
                &[],
                Choice::Hold,
            ),
            (
                &[(65, Eligible), (0, Eligible)],
                Wait,
                None,
                &[0],
                Choice::One(1, Route::Fallback),
            ),
            (
                &[(65, Eligible), (0, Eligible)],
                Wait,
                Some(0),
                &[0],
                Choice::Refuse(Why::Exhausted),
            ),
            (
                &[(65, Coming), (0, Eligible)],
                Wait,
                None,
                &[],
                Choice::Hold,
            ),
            (
                &[(65, Coming), (0, Eligible)],
                Overflow,
                None,
                &[],
                Choice::OneAndWake(1),
            ),
            (
                &[(65, Coming), (0, Eligible)],
                Reject,
                None,
                &[],
                Choice::Refuse(Why::Asleep),
            ),
            (
                &[(65, Failed), (0, Eligible)],
                Wait,
                None,
                &[],
                Choice::One(1, Route::Fallback),
            ),
            (
                &[(65, Drained), (0, Eligible)],
                Overflow,
                None,
                &[],
                Choice::One(1, Route::Fallback),
            ),
            (&[(0, Coming)], Wait, None, &[], Choice::Hold),
            (&[(1, Coming)], Overflow, None, &[], Choice::Hold),
            (
                &[(1, Drained), (1, Drained)],
                Wait,
                None,
                &[],
                Choice::Refuse(Why::Drained),
            ),
            (
                &[(1, Drained), (1, Failed)],
                Wait,
                None,
                &[],
                Choice::Refuse(Why::Failed(1)),
            ),
            (&[(1, Barred)], Wait, None, &[], Choice::Refuse(Why::Barred)),
        ];
        for (rows, cold, asked, tried, expected) in cases {
            let built: Vec<Row> = rows
                .iter()
                .map(|(weight, standing)| Row {
                    weight: *weight,
                    standing: *standing,
                })
                .collect();
            let chosen = choose(&built, cold, asked, tried);
            assert_eq!(chosen, expected, "{rows:?} {cold:?} {asked:?} {tried:?}");
        }
    }
}
