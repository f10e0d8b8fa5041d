use chrono::TimeDelta;
use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Examples {
    blended: Vec<Blended>,
    crossover: Vec<Crossover>,
    idle: Vec<Idle>,
    throughput: Vec<Throughput>,
}

#[derive(Deserialize)]
struct Blended {
    name: String,
    input: Usd,
    output: Usd,
    tokens: (u64, u64),
    request: Usd,
    per_million: Usd,
    million_a_year: Usd,
}

#[derive(Deserialize)]
struct Crossover {
    name: String,
    rate: Usd,
    blended: Usd,
    awake: Option<(u64, u64)>,
    #[serde(default)]
    fixed_per_month: Usd,
    per_day: Usd,
    per_year: Option<Usd>,
    millions: f64,
    ceiling_tokens_per_s: Option<f64>,
    ceiling_millions: Option<f64>,
    never: Option<f64>,
    crosses: Option<f64>,
}

#[derive(Deserialize)]
struct Idle {
    name: String,
    rate: Usd,
    hours: i64,
    busy_hours: i64,
    tokens_out: u64,
    realised: Usd,
    when_busy: Usd,
    tax: f64,
}

#[derive(Deserialize)]
struct Throughput {
    name: String,
    rate: Usd,
    tokens_per_s: f64,
    per_million: Usd,
}

fn examples() -> Examples {
    toml::from_str(include_str!("../../../tests/scenarios/cost/examples.toml")).unwrap()
}

fn price(input: Usd, output: Usd) -> Price {
    Price {
        input,
        cached: input,
        output,
    }
}

fn near(a: f64, b: f64, within: f64, name: &str) {
    assert!((a - b).abs() <= within, "{name}: {a} is not {b}");
}

#[test]
fn a_hosted_mix_has_one_price() {
    for e in examples().blended {
        let price = price(e.input, e.output);
        let (input, output) = e.tokens;
        assert_eq!(price.of(input, 0, output), e.request, "{}", e.name);
        let blended = blended(&price, input, 0, output).unwrap();
        assert_eq!(blended, e.per_million, "{}", e.name);
        let year = blended.per_million(1_000_000).times(365);
        assert_eq!(year, e.million_a_year, "{}", e.name);
    }
}

#[test]
fn crossovers_are_held_against_ceilings() {
    for e in examples().crossover {
        let awake = e
            .awake
            .map_or(Part::WHOLE, |(of, whole)| Part { of, whole });
        let day = per_day(e.rate, 1, awake, day_of_month(e.fixed_per_month)).unwrap();
        assert_eq!(format!("{day}"), format!("{}", e.per_day), "{}", e.name);
        if let Some(year) = e.per_year {
            assert_eq!(day.times(365), year, "{}", e.name);
        }
        let tokens = crossover(day, e.blended).unwrap();
        near(tokens as f64 / 1e6, e.millions, 0.05, &e.name);
        let ceiling = e.ceiling_tokens_per_s.map(|s| ceiling(s, 1.0));
        if let (Some(found), Some(want)) = (ceiling, e.ceiling_millions) {
            near(found as f64 / 1e6, want, 1e-9, &e.name);
        }
        match judge(tokens, ceiling) {
            Verdict::Never(times) => near(times, e.never.unwrap(), 0.06, &e.name),
            Verdict::Crosses(part) => near(part, e.crosses.unwrap(), 0.005, &e.name),
            Verdict::NoCeiling => assert!(e.never.is_none() && e.crosses.is_none(), "{}", e.name),
        }
    }
}

#[test]
fn idle_time_is_a_tax() {
    for e in examples().idle {
        let mut account = Ledger {
            tokens_out: e.tokens_out,
            ..Ledger::default()
        };
        account.awake.add(e.rate, 1, TimeDelta::hours(e.hours));
        account
            .idle
            .add(e.rate, 1, TimeDelta::hours(e.hours - e.busy_hours));
        assert_eq!(account.per_million_output(), Some(e.realised), "{}", e.name);
        let busy = account.awake.total() - account.idle.total();
        assert_eq!(
            ledger::per_million(busy, e.tokens_out),
            Some(e.when_busy),
            "{}",
            e.name
        );
        let tax = idle_tax(account.awake.total(), account.idle.total()).unwrap();
        near(tax, e.tax, 1e-12, &e.name);
    }
}

#[test]
fn batching_divides_the_price() {
    for e in examples().throughput {
        let found = per_million_at(e.rate, e.tokens_per_s).unwrap();
        assert_eq!(
            format!("{found}"),
            format!("{}", e.per_million),
            "{}",
            e.name
        );
    }
}

#[test]
fn nothing_is_made_up_where_nothing_is_known() {
    assert_eq!(crossover("552".parse().unwrap(), Usd::ZERO), None);
    assert_eq!(judge(1, None), Verdict::NoCeiling);
    assert_eq!(idle_tax(Usd::ZERO, Usd::ZERO), None);
    assert_eq!(per_million_at("5".parse().unwrap(), 0.0), None);
    assert_eq!(blended(&price(Usd::ZERO, Usd::ZERO), 0, 0, 0), None);
    assert_eq!(demand_gap(&[5; GAP_HOURS - 1]), None);
    assert_eq!(demand_gap(&[0; GAP_HOURS]), None);
    let unknown = Part { of: 1, whole: 0 };
    assert_eq!(per_day(Usd::ZERO, 1, unknown, Usd::ZERO), None);
}

#[test]
fn a_demand_gap_is_peak_over_median() {
    let mut hours = [4; GAP_HOURS];
    hours[20] = 26;
    assert_eq!(demand_gap(&hours), Some(6.5));
}

#[test]
fn counterfactuals_use_the_same_tokens() {
    let own = Ledger {
        tokens_in: 2_000_000,
        tokens_out: 1_000_000,
        ..Ledger::default()
    };
    let hosted = Ledger {
        tokens_in: 800_000,
        tokens_out: 400_000,
        tokens: "0.36".parse().unwrap(),
        ..Ledger::default()
    };
    let price = price("0.15".parse().unwrap(), "0.60".parse().unwrap());
    assert_eq!(all_hosted([&own, &hosted], &price), "1.26".parse().unwrap());
    // 1,000 s awake at 1,200 tokens/s leave room for 200,000 of the 400,000 hosted ones.
    assert_eq!(
        absorbed(&hosted, 1200.0, 1_000_000, 1_000_000),
        "0.18".parse().unwrap()
    );
}
