//! Self-hosted against hosted: crossover, ceiling, counterfactual, idle tax and demand gap. Arithmetic only.

use serde::Serialize;

use super::backend::{Backend, Price};
use super::ledger::{self, Ledger};
use super::money::Usd;

/// Seconds of a day.
const DAY_S: f64 = 86_400.0;
/// Days of a year and months of a year: a month is 30.4167 days.
const YEAR: (i128, i128) = (365, 12);
/// Hours of tokens that a demand gap needs: seven days.
pub const GAP_HOURS: usize = 7 * 24;

/// A part of a whole, as counted: 25 % awake is 6 of 24 hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Part {
    /// Counted.
    pub of: u64,
    /// Out of this many; zero makes the part unknown.
    pub whole: u64,
}

impl Part {
    /// All of it.
    pub const WHOLE: Self = Self { of: 1, whole: 1 };

    /// `amount` times this part; `None` where the whole is zero.
    pub fn take(self, amount: Usd) -> Option<Usd> {
        amount
            .times(i128::from(self.of))
            .split(i128::from(self.whole))
    }

    /// For drawing, 0 to 1; `None` where the whole is zero.
    pub fn as_f64(self) -> Option<f64> {
        (self.whole > 0).then(|| self.of as f64 / self.whole as f64)
    }
}

/// What a day of self-hosted capacity costs at `rate` dollars per replica-hour, with the `fixed` dollars a day that come with it.
///
/// `None` where `awake` is unknown.
pub fn per_day(rate: Usd, replicas: u32, awake: Part, fixed: Usd) -> Option<Usd> {
    let full = rate.times(24 * i128::from(replicas));
    Some(awake.take(full)? + fixed)
}

/// Dollars a day of something that costs `month` dollars a month.
pub fn day_of_month(month: Usd) -> Usd {
    month.times(YEAR.1).split(YEAR.0).unwrap_or_default()
}

/// Hosted dollars per million tokens, in and out alike, for this mix of tokens; `None` for no tokens.
pub fn blended(price: &Price, input: u64, cached: u64, output: u64) -> Option<Usd> {
    ledger::per_million(price.of(input, cached, output), input + output)
}

/// Tokens a day at which `per_day` dollars of own capacity cost as much as hosting at `blended` dollars per million.
///
/// `None` against a price of zero: nothing is ever as cheap.
pub fn crossover(per_day: Usd, blended: Usd) -> Option<u64> {
    let tokens = per_day
        .pico()
        .checked_mul(1_000_000)?
        .checked_div(blended.pico())?;
    u64::try_from(tokens).ok()
}

/// Tokens a day that capacity can really serve, from tokens a second sustained and a target utilisation of 0 to 1.
pub fn ceiling(tokens_per_s: f64, utilisation: f64) -> u64 {
    (tokens_per_s.max(0.0) * utilisation.clamp(0.0, 1.0) * DAY_S).round() as u64
}

/// Dollars per million tokens of capacity at `rate` dollars an hour that produces `tokens_per_s`; `None` when it produces none.
pub fn per_million_at(rate: Usd, tokens_per_s: f64) -> Option<Usd> {
    let milli_per_hour = (tokens_per_s * 1000.0).round() as i128 * 3600;
    rate.times(1_000_000 * 1000).split(milli_per_hour)
}

/// Whether self-hosting can pay off on this hardware.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub enum Verdict {
    /// The crossover is within reach, at this part of the ceiling (0 to 1).
    Crosses(f64),
    /// The crossover is this many times the ceiling: never on this hardware.
    Never(f64),
    /// Nobody knows what the hardware can serve: half an answer.
    NoCeiling,
}

/// Holds a crossover against a ceiling, both in tokens a day.
pub fn judge(crossover: u64, ceiling: Option<u64>) -> Verdict {
    match ceiling {
        None | Some(0) => Verdict::NoCeiling,
        Some(ceiling) => {
            let times = crossover as f64 / ceiling as f64;
            if crossover > ceiling {
                Verdict::Never(times)
            } else {
                Verdict::Crosses(times)
            }
        }
    }
}

/// The part of self-hosted cost that bought idle time, 0 to 1; `None` before anything was paid for.
pub fn idle_tax(total: Usd, idle: Usd) -> Option<f64> {
    (total > Usd::ZERO).then(|| idle.as_f64() / total.as_f64())
}

/// Peak hour over median hour of tokens; `None` before [`GAP_HOURS`] hours are known, or when the median hour is empty.
pub fn demand_gap(hours: &[u64]) -> Option<f64> {
    if hours.len() < GAP_HOURS {
        return None;
    }
    let mut sorted = hours.to_vec();
    sorted.sort_unstable();
    let median = sorted[sorted.len() / 2];
    let peak = *sorted.last()?;
    (median > 0).then(|| peak as f64 / median as f64)
}

/// What the tokens of `accounts` would have cost at one hosted `price`.
pub fn all_hosted<'a>(accounts: impl IntoIterator<Item = &'a Ledger>, price: &Price) -> Usd {
    accounts
        .into_iter()
        .map(|a| price.of(a.tokens_in, a.tokens_cached, a.tokens_out))
        .sum()
}

/// What the hosted tokens cost that awake self-hosted capacity had room for: money that need not have been spent.
///
/// `ceiling` is output tokens a second of that capacity, `busy` what it produced in `awake_ms` milliseconds of it.
pub fn absorbed(hosted: &Ledger, ceiling: f64, awake_ms: u64, busy: u64) -> Usd {
    let room = (ceiling.max(0.0) * awake_ms as f64 / 1000.0) as u64;
    let taken = hosted.tokens_out.min(room.saturating_sub(busy));
    let part = Part {
        of: taken,
        whole: hosted.tokens_out,
    };
    part.take(hosted.tokens).unwrap_or_default()
}

/// Where a ceiling comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Origin {
    /// The best that was seen.
    Measured,
    /// The config says so.
    Configured,
}

impl Backend {
    /// Output tokens a second that it can sustain: the larger of what was seen and what is configured. `None` for a hosted backend.
    pub fn sustained(&self) -> Option<(f64, Origin)> {
        let configured = self.self_hosted()?.ceiling;
        match (self.live.best_tokens_per_s, configured) {
            (Some(seen), Some(said)) if seen > said => Some((seen, Origin::Measured)),
            (_, Some(said)) => Some((said, Origin::Configured)),
            (seen, None) => seen.map(|s| (s, Origin::Measured)),
        }
    }

    /// Whether nobody here can say how much of what is paid for was used: its engines are not read.
    pub fn use_is_unknown(&self) -> bool {
        self.place.is_some() && self.ledger.awake_ms > 0 && !self.ledger.is_read()
    }

    /// Whether something of what it has cost is missing, because nobody said its rate or price.
    pub fn cost_is_partial(&self) -> bool {
        match (self.self_hosted(), self.hosted()) {
            (Some(_), _) if self.place.is_some() => self.ledger.unpriced_ms > 0,
            (Some(own), _) => own.rate.is_none() && self.ledger.awake_ms > 0,
            (None, Some(hosted)) => {
                self.ledger.uncounted || (hosted.price.is_none() && self.ledger.requests > 0)
            }
            (None, None) => false,
        }
    }
}

#[cfg(test)]
mod tests;
