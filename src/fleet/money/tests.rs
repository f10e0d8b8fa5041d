use super::*;
use proptest::prelude::*;

fn usd(text: &str) -> Usd {
    text.parse().unwrap()
}

#[test]
fn text_round_trips() {
    for text in ["0.00", "23.00", "0.15", "201480.00"] {
        assert_eq!(usd(text).to_string(), text);
    }
    assert_eq!(format!("{:.6}", usd("0.000360")), "0.000360");
    assert_eq!(usd("$8.5").to_string(), "8.50");
    assert_eq!(format!("{:>9}", usd("1.5")), "     1.50");
    assert_eq!((-usd("0.001")).to_string(), "0.00");
}

#[test]
fn bad_text_is_refused_with_what_was_wrong() {
    assert_eq!(
        "".parse::<Usd>(),
        Err(MoneyError::NotANumber(String::new()))
    );
    assert!(matches!(
        "1,5".parse::<Usd>(),
        Err(MoneyError::NotANumber(_))
    ));
    assert!(matches!(
        "-1".parse::<Usd>(),
        Err(MoneyError::NotANumber(_))
    ));
    assert!(matches!(
        "0.0000001".parse::<Usd>(),
        Err(MoneyError::TooFine(_))
    ));
}

#[test]
fn a_token_price_is_exact() {
    // $0.0125 per million is 12.5 nano-dollars a token.
    assert_eq!(usd("0.0125").per_million(1).pico(), 12_500);
    assert_eq!(
        usd("0.15").per_million(800) + usd("0.60").per_million(400),
        usd("0.000360")
    );
}

proptest! {
    #[test]
    fn a_meter_does_not_care_how_time_is_cut(cuts in prop::collection::vec(1_i64..100_000, 1..200)) {
        let rate = usd("23.01");
        let mut cut = Meter::default();
        for ms in &cuts {
            cut.add(rate, 1, TimeDelta::milliseconds(*ms));
        }
        let mut whole = Meter::default();
        whole.add(rate, 1, TimeDelta::milliseconds(cuts.iter().sum()));
        prop_assert_eq!(cut, whole);
    }

    #[test]
    fn small_charges_add_up_the_same_in_any_order(mut tokens in prop::collection::vec(0_u64..5_000, 0..300)) {
        let price = usd("0.0375");
        let forward: Usd = tokens.iter().map(|t| price.per_million(*t)).sum();
        tokens.reverse();
        let backward: Usd = tokens.iter().map(|t| price.per_million(*t)).sum();
        prop_assert_eq!(forward, backward);
        prop_assert_eq!(forward, price.per_million(tokens.iter().sum()));
    }
}
