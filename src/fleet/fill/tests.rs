use super::*;

fn at(minute: i64) -> DateTime<Utc> {
    let begin: DateTime<Utc> = "2026-11-20T10:00:00Z".parse().unwrap_or_default();
    begin + TimeDelta::minutes(minute)
}

fn spent(from: i64, to: i64, rate: Option<&str>, busy: Option<bool>) -> Spent {
    Spent {
        backend: "llm/chat".into(),
        from: at(from),
        to: at(to),
        rate: rate.map(|it| it.parse().unwrap()),
        busy,
        requests: 2,
        usage: Usage {
            input: 100,
            output: 10,
            ..Usage::default()
        },
    }
}

/// An account that was last written an hour before now, and goes on now.
fn resumed() -> Ledger {
    let mut ledger = Ledger {
        since: Some(at(-60)),
        ..Ledger::default()
    };
    ledger.miss(at(0), at(60));
    ledger
}

fn fill(ledger: &mut Ledger, watched: &[(i64, i64)], told: &[Spent]) {
    let watched: Vec<Span> = watched.iter().map(|it| (at(it.0), at(it.1))).collect();
    let told: Vec<&Spent> = told.iter().collect();
    ledger.fill(&watched, &told, &|_| None, at(60));
}

#[test]
fn a_gap_is_filled_as_far_as_somebody_looked_and_only_once() {
    let mut ledger = resumed();
    let told = [
        spent(0, 30, Some("20"), Some(true)),
        spent(30, 60, Some("10"), Some(false)),
    ];
    // Nobody looked for ten minutes of it.
    let watched = [(0, 20), (30, 60)];
    fill(&mut ledger, &watched, &told);
    assert_eq!(ledger.gaps, [(at(20), at(30))]);
    assert_eq!(ledger.unobserved_ms, 10 * 60_000);
    assert_eq!(ledger.filled_ms, 50 * 60_000);
    assert_eq!(ledger.awake_ms, 50 * 60_000);
    assert_eq!(ledger.busy_ms, 20 * 60_000);
    // 20 minutes at 20, 30 minutes at 10.
    let whole = Usd::from_pico(20_000_000_000_000).split(3).unwrap() + "5".parse().unwrap();
    assert_eq!(ledger.awake.total(), whole);
    assert_eq!(ledger.idle.total(), "5".parse().unwrap());
    // What was produced belongs to the end of its span, and that of the first was not seen.
    assert_eq!((ledger.requests, ledger.tokens_out), (2, 10));
    let before = ledger.clone();
    fill(&mut ledger, &watched, &told);
    assert_eq!(ledger.awake.total(), before.awake.total());
    assert_eq!(ledger.requests, before.requests);
    let rows: Usd = ledger.minutes.iter().map(|row| row.cost).sum();
    assert_eq!(rows, whole, "rows add up to the account");
}

#[test]
fn what_was_watched_stays_as_it_was() {
    let mut ledger = resumed();
    fill(
        &mut ledger,
        &[(-60, 90)],
        &[
            spent(-60, 0, Some("99"), None),
            spent(60, 90, Some("99"), None),
        ],
    );
    assert_eq!(ledger.awake.total(), Usd::ZERO);
    assert_eq!(ledger.requests, 0);
    assert_eq!(ledger.gaps, [], "nothing ran in the gap, and it was seen");
}

#[test]
fn a_machine_without_a_price_leaves_its_gap() {
    let mut ledger = resumed();
    let told = [spent(0, 15, None, None), spent(15, 60, Some("4"), None)];
    fill(&mut ledger, &[(0, 60)], &told);
    assert_eq!(ledger.gaps, [(at(0), at(15))]);
    assert_eq!(ledger.awake.total(), "3".parse().unwrap());
    assert!(!ledger.is_read(), "nobody knows what it was used for");
    assert_eq!(ledger.per_million_output(), None);
}

#[test]
fn an_account_begins_as_early_as_somebody_knows() {
    let mut ledger = Ledger {
        since: Some(at(0)),
        until: Some(at(5)),
        ..Ledger::default()
    };
    ledger.reach_back(at(-30));
    ledger.reach_back(at(-10));
    assert_eq!(ledger.gaps, [(at(-30), at(0))]);
    assert_eq!(ledger.since, Some(at(-30)));
    fill(
        &mut ledger,
        &[(-30, 0)],
        &[spent(-30, 0, Some("2"), Some(true))],
    );
    assert_eq!(ledger.awake.total(), "1".parse().unwrap());
    assert_eq!((ledger.unobserved_ms, ledger.filled_ms), (0, 1_800_000));
}

#[test]
fn what_is_long_ago_is_written_by_the_day() {
    let mut ledger = Ledger {
        since: Some(at(0)),
        ..Ledger::default()
    };
    let days = 20 * 24 * 60;
    ledger.miss(at(0), at(days));
    let told: Vec<Spent> = (0..days / 5)
        .map(|i| spent(i * 5, i * 5 + 5, Some("1"), Some(true)))
        .collect();
    let all: Vec<&Spent> = told.iter().collect();
    ledger.fill(&[(at(0), at(days))], &all, &|_| None, at(days));
    assert!(ledger.minutes.len() < 70, "{} rows", ledger.minutes.len());
    assert_eq!(ledger.awake.total(), "480".parse().unwrap());
    let rows: Usd = ledger.minutes.iter().map(|row| row.cost).sum();
    assert_eq!(rows, "480".parse().unwrap());
}
