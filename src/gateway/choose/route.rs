//! Where a request may go, from what is known of its model's backends. Pure.

use chrono::{DateTime, Utc};

use crate::fleet::request::Route;
use crate::fleet::{Backend, State};

/// What may be expected of a backend now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It takes requests.
    Eligible,
    /// It will take requests if it is woken, or without that in a while.
    Coming,
    /// It runs as many requests as it may.
    Full,
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
    /// The request's rule or header names it; without these, every row is named.
    pub(crate) named: bool,
    pub(crate) standing: Standing,
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// One of these by weight (seat, weight), for this reason.
    Weighted(Vec<(usize, u32)>, Route),
    /// This one.
    One(usize, Route),
    /// This one now, for this reason, while a sleeping one is woken.
    OneAndWake(usize, Route),
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
        // It is started again by itself: as good as waking.
        State::Failed(_) if backend.starts_again().is_some() => Standing::Coming,
        State::Failed(_) | State::Down { .. } => Standing::Failed,
    }
}

/// What a request brings to the choice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish<'a> {
    /// What it meets when nothing is ready.
    pub(crate) cold: Cold,
    /// A rule or its header named the rows that are [`Row::named`], by this word; without one all are.
    pub(crate) route: Option<Route>,
    /// Seats that refused it already.
    pub(crate) tried: &'a [usize],
}

/// The model's cold policy, with what it says of the wake that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cold {
    /// Hold it.
    Wait,
    /// Answer it elsewhere, by this word, and wake.
    Elsewhere(Route),
    /// Refuse it.
    Reject,
}

/// Decides for one request.
pub(crate) fn choose(rows: &[Row], wish: Wish<'_>) -> Choice {
    let open = || {
        rows.iter()
            .enumerate()
            .filter(|(seat, row)| !wish.tried.contains(seat) && row.standing != Standing::Barred)
    };
    let eligible = || open().filter(|(_, row)| row.standing == Standing::Eligible);
    // Where a rule names only backends without a weight, it means them all the same.
    let weightless = wish.route.is_some() && !rows.iter().any(|row| row.named && row.weight > 0);
    let first_choice = |row: &Row| row.named && (row.weight > 0 || weightless);
    let spare = || {
        eligible()
            .filter(|(_, row)| !first_choice(row))
            .min_by_key(|(_, row)| !row.named)
            .map(|(seat, _)| seat)
    };

    if !wish.tried.is_empty() {
        let next = eligible().find(|(_, row)| first_choice(row));
        return next
            .map(|(seat, _)| seat)
            .or_else(spare)
            .map_or(Choice::Refuse(Why::Exhausted), |seat| {
                Choice::One(seat, Route::Fallback)
            });
    }
    let mut ready: Vec<(usize, u32)> = Vec::with_capacity(rows.len());
    ready.extend(
        eligible()
            .filter(|(_, row)| first_choice(row))
            .map(|(seat, row)| (seat, row.weight)),
    );
    match (ready.as_slice(), wish.route) {
        ([], _) => {}
        ([(seat, _)], Some(route)) => return Choice::One(*seat, route),
        ([(seat, _), ..], Some(route)) if weightless => return Choice::One(*seat, route),
        ([(seat, _)], None) if open().count() == 1 => return Choice::One(*seat, Route::Only),
        (_, route) => return Choice::Weighted(ready, route.unwrap_or(Route::Weight)),
    }
    let coming =
        |(_, row): &(usize, &Row)| matches!(row.standing, Standing::Coming | Standing::Full);
    let hoped_for = open().filter(coming).any(|(_, row)| first_choice(row));
    match (spare(), wish.cold) {
        (Some(seat), Cold::Elsewhere(route)) if hoped_for => {
            return Choice::OneAndWake(seat, route);
        }
        (Some(seat), Cold::Wait | Cold::Elsewhere(_) | Cold::Reject) if !hoped_for => {
            return Choice::One(seat, Route::Fallback);
        }
        (Some(_) | None, Cold::Wait | Cold::Elsewhere(_) | Cold::Reject) => {}
    }
    // One that is full has a place again soon, whatever the policy is for those that sleep.
    if open().any(|(_, row)| row.standing == Standing::Full) {
        return Choice::Hold;
    }
    if open().any(|row| coming(&row)) {
        return match wish.cold {
            Cold::Wait | Cold::Elsewhere(_) => Choice::Hold,
            Cold::Reject => Choice::Refuse(Why::Asleep),
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
            | Standing::Full
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
    use super::{Choice, Cold, Row, Standing, Wish, choose};
    use crate::fleet::request::Route;

    /// `65 eligible, 0! full`: weight and standing of each seat; `!` marks those that a rule names.
    fn rows(text: &str) -> Vec<Row> {
        let row = |row: &str| {
            let (weight, standing) = row.trim().split_once(' ').unwrap();
            Row {
                weight: weight.trim_end_matches('!').parse().unwrap(),
                named: !text.contains('!') || weight.ends_with('!'),
                standing: match standing {
                    "eligible" => Standing::Eligible,
                    "coming" => Standing::Coming,
                    "full" => Standing::Full,
                    "drained" => Standing::Drained,
                    "failed" => Standing::Failed,
                    "barred" => Standing::Barred,
                    other => panic!("no standing: {other}"),
                },
            }
        };
        text.split(',').map(row).collect()
    }

    fn said(choice: Choice) -> String {
        match choice {
            Choice::Weighted(wanted, route) => format!("{wanted:?} {}", route.word()),
            Choice::One(seat, route) => format!("{seat} {}", route.word()),
            Choice::OneAndWake(seat, route) => format!("{seat} {} and wake", route.word()),
            Choice::Hold => "hold".to_owned(),
            Choice::Refuse(why) => format!("{why:?}"),
        }
    }

    /// Rows, policy, word of the rule, seats tried, and what is chosen.
    type Case = (
        &'static str,
        Cold,
        Option<Route>,
        &'static [usize],
        &'static str,
    );

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn every_case_of_the_choice() {
        use Cold::{Elsewhere, Reject, Wait};
        let (overflow, bridge) = (Elsewhere(Route::Fallback), Elsewhere(Route::Bridge));
        let rule = Some(Route::Schema);
        let cases: [Case; 32] = [
            (
                "65 eligible, 35 eligible",
                Wait,
                None,
                &[],
                "[(0, 65), (1, 35)] weight",
            ),
            (
                "65 coming, 35 eligible",
                Wait,
                None,
                &[],
                "[(1, 35)] weight",
            ),
            ("65 full, 35 eligible", Wait, None, &[], "[(1, 35)] weight"),
            ("1 eligible", Wait, None, &[], "0 only"),
            ("1 eligible, 1 barred", Wait, None, &[], "0 only"),
            // After a refusal: the next with a weight, then one without.
            ("65 eligible, 0 eligible", Wait, None, &[0], "1 fallback"),
            (
                "65 eligible, 0 eligible, 5 eligible",
                Wait,
                None,
                &[0],
                "2 fallback",
            ),
            ("65 eligible, 0 full", Wait, None, &[0], "Exhausted"),
            // Cold.
            ("65 coming, 0 eligible", Wait, None, &[], "hold"),
            (
                "65 coming, 0 eligible",
                overflow,
                None,
                &[],
                "1 fallback and wake",
            ),
            (
                "65 coming, 0 eligible",
                bridge,
                None,
                &[],
                "1 bridge and wake",
            ),
            ("65 coming, 0 eligible", Reject, None, &[], "Asleep"),
            ("0 coming", Wait, None, &[], "hold"),
            ("1 coming", overflow, None, &[], "hold"),
            // Full: elsewhere where the policy says so, else a place is waited for.
            ("65 full, 0 eligible", Wait, None, &[], "hold"),
            (
                "65 full, 0 eligible",
                overflow,
                None,
                &[],
                "1 fallback and wake",
            ),
            ("65 full", Reject, None, &[], "hold"),
            // Nothing to hope for.
            ("65 failed, 0 eligible", Wait, None, &[], "1 fallback"),
            ("65 drained, 0 eligible", overflow, None, &[], "1 fallback"),
            ("1 drained, 1 drained", Wait, None, &[], "Drained"),
            ("1 drained, 1 failed", Wait, None, &[], "Failed(1)"),
            ("1 barred", Wait, None, &[], "Barred"),
            // A rule: strict ones bar the rest, the others leave it as a last resort.
            ("65 barred, 35! eligible", Wait, rule, &[], "1 schema"),
            (
                "65! eligible, 35! eligible",
                Wait,
                rule,
                &[],
                "[(0, 65), (1, 35)] schema",
            ),
            (
                "0! eligible, 0! eligible, 9 eligible",
                Wait,
                rule,
                &[],
                "0 schema",
            ),
            (
                "0! failed, 0! eligible, 9 eligible",
                Wait,
                rule,
                &[],
                "1 schema",
            ),
            ("0! failed, 9 eligible", Wait, rule, &[], "1 fallback"),
            ("0! coming, 9 eligible", Wait, rule, &[], "hold"),
            (
                "0! coming, 9 eligible",
                overflow,
                rule,
                &[],
                "1 fallback and wake",
            ),
            (
                "5! failed, 0! eligible, 9 eligible",
                Wait,
                rule,
                &[],
                "1 fallback",
            ),
            ("5! eligible, 9 eligible", Wait, rule, &[0], "1 fallback"),
            ("5! eligible, 9 barred", Wait, rule, &[0], "Exhausted"),
        ];
        for (text, cold, route, tried, expected) in cases {
            let wish = Wish { cold, route, tried };
            let chosen = said(choose(&rows(text), wish));
            assert_eq!(chosen, expected, "{text} {cold:?} {route:?} {tried:?}");
        }
    }
}
