//! Exact money.
//!
//! Amounts are whole pico-dollars: a price of $0.0125 per million tokens is 12.5 nano-dollars a token,
//! so nano-dollars would already round. No amount passes through a float on its way in or while it adds up.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Neg, Sub};
use std::str::FromStr;

use chrono::TimeDelta;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const PICO: i128 = 1_000_000_000_000;
const MILLIS_PER_HOUR: i128 = 3_600_000;
/// Digits after the point that a price may have: finer ones would not divide into whole pico-dollars a token.
const MAX_DECIMALS: usize = 6;
/// Digits after the point that an amount of ours may have.
const PICO_DECIMALS: usize = 12;

/// An amount of US dollars, exact to the pico-dollar.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Usd(i128);

/// Why a text is not an amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Not digits with at most one point.
    #[error("`{0}` is not an amount of dollars; write it like 23.00")]
    NotANumber(String),
    /// More digits after the point than money here can hold exactly.
    #[error("`{0}` has more than 6 digits after the point")]
    TooFine(String),
}

impl Usd {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// Whole pico-dollars.
    pub const fn from_pico(pico: i128) -> Self {
        Self(pico)
    }

    /// Whole pico-dollars.
    pub const fn pico(self) -> i128 {
        self.0
    }

    /// Nano-dollars, rounded half away from zero: the unit of records and of the wire.
    pub const fn nano(self) -> i128 {
        let half = if self.0 < 0 { -500 } else { 500 };
        (self.0 + half) / 1000
    }

    /// For drawing and for ratios only; never added up.
    pub fn as_f64(self) -> f64 {
        self.0 as f64 / PICO as f64
    }

    /// The price of `tokens` where `self` is dollars per million tokens. Exact: prices have at most six decimals.
    #[must_use]
    pub const fn per_million(self, tokens: u64) -> Self {
        Self(self.0 * tokens as i128 / 1_000_000)
    }

    /// `self` taken `n` times.
    #[must_use]
    pub const fn times(self, n: i128) -> Self {
        Self(self.0 * n)
    }

    /// `self` divided by `n`, rounded toward zero; `None` when `n` is zero.
    pub const fn split(self, n: i128) -> Option<Self> {
        match self.0.checked_div(n) {
            Some(part) => Some(Self(part)),
            None => None,
        }
    }
}

/// What an hourly rate has cost so far, exact whatever the lengths of the intervals.
///
/// Holds rate × milliseconds, so that no interval is ever rounded; only reading the total rounds.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Meter(i128);

impl Meter {
    /// Adds `span` of `replicas` at `rate` dollars an hour. A negative span adds nothing.
    pub fn add(&mut self, rate: Usd, replicas: u32, span: TimeDelta) {
        self.0 += rate.0 * i128::from(replicas) * i128::from(span.num_milliseconds().max(0));
    }

    /// The total, rounded toward zero to the pico-dollar.
    pub const fn total(self) -> Usd {
        Usd(self.0 / MILLIS_PER_HOUR)
    }
}

impl Add for Usd {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl AddAssign for Usd {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}

impl Sub for Usd {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

impl Neg for Usd {
    type Output = Self;
    fn neg(self) -> Self {
        Self(-self.0)
    }
}

impl Sum for Usd {
    fn sum<I: Iterator<Item = Self>>(items: I) -> Self {
        items.fold(Self::ZERO, Add::add)
    }
}

impl FromStr for Usd {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        parse(text, MAX_DECIMALS)
    }
}

/// An amount with at most so many digits after the point.
fn parse(text: &str, decimals: usize) -> Result<Usd, MoneyError> {
    let bad = || MoneyError::NotANumber(text.to_owned());
    let digits = text.strip_prefix('$').unwrap_or(text);
    let (sign, digits) = match digits.strip_prefix('-') {
        // Only what we wrote ourselves is ever below zero.
        Some(rest) if decimals > MAX_DECIMALS => (-1, rest),
        _ => (1, digits),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let fraction = fraction.trim_end_matches('0');
    if whole.is_empty()
        || whole.len() > 15
        || !(whole.bytes().chain(fraction.bytes())).all(|b| b.is_ascii_digit())
    {
        return Err(bad());
    }
    if fraction.len() > decimals {
        return Err(MoneyError::TooFine(text.to_owned()));
    }
    let whole: i128 = whole.parse().map_err(|_| bad())?;
    let fraction: i128 = format!("{fraction:0<12}").parse().map_err(|_| bad())?;
    Ok(Usd(sign * (whole * PICO + fraction)))
}

/// Dollars with the precision asked for (two digits unless told), rounded half away from zero: `23.00`, `{:.4}` gives `0.0004`.
impl fmt::Display for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(2).min(12);
        let unit = 10_i128.pow(12 - digits as u32);
        let rounded = (self.0.abs() + unit / 2) / unit;
        let scale = 10_i128.pow(digits as u32);
        let sign = if self.0 < 0 && rounded > 0 { "-" } else { "" };
        let text = if digits == 0 {
            format!("{sign}{rounded}")
        } else {
            format!("{sign}{}.{:0digits$}", rounded / scale, rounded % scale)
        };
        match f.width() {
            Some(width) => write!(f, "{text:>width$}"),
            None => f.write_str(&text),
        }
    }
}

impl fmt::Debug for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "${self:.12}")
    }
}

/// Decimal text, to the nano-dollar, or to the pico-dollar where there are some: `"23.000000000"`.
impl Serialize for Usd {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let digits = if self.0 % 1000 == 0 { 9 } else { 12 };
        to.serialize_str(&format!("{self:.digits$}"))
    }
}

/// Its rate × milliseconds as text: more digits than a number of JSON is sure to keep.
impl Serialize for Meter {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Meter {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Usd {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        parse(&text, PICO_DECIMALS).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
