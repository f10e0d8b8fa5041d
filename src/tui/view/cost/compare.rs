//! What the same traffic would have cost elsewhere, and whether this hardware can ever pay off.

use std::collections::{HashMap, HashSet};

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::fleet::backend::Price;
use crate::fleet::compare::{self, Origin, Part, Verdict};
use crate::fleet::{Backend, Fleet, ModelId, Usd};
use crate::tui::app::App;
use crate::tui::text;
use crate::tui::theme::{Role, Theme};
use crate::tui::widget::grid::{self, Column};
use crate::tui::widget::panel;

use super::{cut, dollars, watched};

const VERDICTS: [Column; 6] = [
    Column::words("BACKEND", 12, 0),
    Column::figures("CROSSOVER", 9, 0),
    Column::figures("CEILING", 8, 0),
    Column::figures("RATIO", 5, 1),
    Column::words("VERDICT", 22, 0),
    Column::words("AGAINST, $/M", 12, 2),
];
const HOSTED: [Column; 5] = [
    Column::words("ALL HOSTED", 12, 0),
    Column::words("ON", 12, 1),
    Column::figures("PAID", 7, 0),
    Column::figures("HOSTED", 7, 0),
    Column::figures("DIFFERENCE", 10, 0),
];

/// The backends of each model, gone through once: there may be thousands of both.
struct Models<'a> {
    fleet: &'a Fleet,
    backends: HashMap<&'a ModelId, Vec<&'a Backend>>,
    /// The hosted backend that would have cost a model's traffic the least, with its price.
    cheapest: HashMap<&'a ModelId, (&'a Backend, Price)>,
    /// Dollars an hour of all that is self-hosted.
    rate: Usd,
}

impl<'a> Models<'a> {
    fn of(fleet: &'a Fleet) -> Self {
        let mut backends: HashMap<&ModelId, Vec<&Backend>> = HashMap::new();
        for b in &fleet.backends {
            backends.entry(&b.model).or_default().push(b);
        }
        let models = fleet.models.iter().map(|it| &it.id);
        let cheapest = models.filter_map(|id| Some((id, cheapest(backends.get(id)?)?)));
        let own = fleet.backends.iter().filter_map(|b| b.self_hosted());
        let rates = own.filter_map(|it| Some(it.rate?.times(i128::from(it.replicas))));
        Self {
            fleet,
            cheapest: cheapest.collect(),
            rate: rates.sum(),
            backends,
        }
    }

    fn backends_of(&self, model: &ModelId) -> &[&'a Backend] {
        self.backends.get(model).map_or(&[], Vec::as_slice)
    }
}

/// Rows that it would fill.
pub(super) fn height(fleet: &Fleet) -> u16 {
    let own = fleet.backends.iter().filter(|b| !b.is_hosted()).count();
    let priced = fleet.backends.iter();
    let priced = priced.filter(|b| b.hosted().is_some_and(|it| it.price.is_some()));
    let priced: HashSet<&ModelId> = priced.map(|b| &b.model).collect();
    let models = fleet.models.iter();
    let compared = models.filter(|it| priced.contains(&it.id)).count();
    (own + 1 + compared + 2 + 3) as u16
}

/// Draws the comparison with its panel into `area`.
pub(super) fn render(app: &App, area: Rect, buf: &mut Buffer) {
    let (fleet, theme) = (&app.fleet, &app.theme);
    let title = Line::from(vec![
        Span::styled("Self-hosted or hosted", theme.of(Role::Accent)),
        Span::styled(
            format!("  M tokens/day, over {}", text::age(watched(fleet))),
            theme.of(Role::Dim),
        ),
    ]);
    let summary = Line::styled("at list prices", theme.of(Role::Dim));
    let inner = panel::render(theme, area, &title, &summary, buf);
    if inner.height == 0 {
        return;
    }
    if fleet.backends.is_empty() {
        let none = "Nothing to compare yet.";
        buf.set_string(inner.x, inner.y, none, theme.of(Role::Dim));
        return;
    }
    let models = Models::of(fleet);
    let verdicts: grid::Rows = fleet
        .backends
        .iter()
        .filter(|b| !b.is_hosted())
        .map(|b| verdict(theme, &models, b))
        .collect();
    let hosted = all_hosted(theme, &models);
    let notes = notes(theme, &models);
    // Where not all fits the verdicts go last: they are what the screen is for.
    let (first, rest) = cut(inner, verdicts.len() as u16 + 1);
    grid::render(theme, &VERDICTS, &verdicts, None, first, buf);
    let (_, rest) = cut(rest, 1);
    let (second, rest) = cut(rest, hosted.len() as u16 + 1);
    if second.height > 1 {
        grid::render(theme, &HOSTED, &hosted, None, second, buf);
    }
    let (_, rest) = cut(rest, 1);
    for (row, note) in (0..rest.height).zip(&notes) {
        if note.width() <= usize::from(rest.width) {
            buf.set_line(rest.x, rest.y + row, note, rest.width);
        }
    }
}

/// Of a model's backends the hosted one that would have cost its traffic the least, with its price.
fn cheapest<'a>(all: &[&'a Backend]) -> Option<(&'a Backend, Price)> {
    let accounts: Vec<_> = all.iter().map(|b| &b.ledger).collect();
    all.iter()
        .filter_map(|b| Some((*b, b.hosted()?.price?)))
        .min_by_key(|(_, price)| compare::all_hosted(accounts.iter().copied(), price))
}

fn verdict(theme: &Theme, models: &Models<'_>, backend: &Backend) -> Vec<Line<'static>> {
    let none = || Line::styled(theme.glyphs.none, theme.of(Role::Faint));
    let word = |text: String, role: Role| Line::styled(text, theme.of(role));
    let name = word(backend.id.to_string(), Role::SelfHosted);
    let ceiling = ceiling(backend);
    let limit = ceiling.map_or_else(none, |(tokens, origin)| {
        let mark = match origin {
            Origin::Measured => "",
            Origin::Configured => "~",
        };
        word(format!("{mark}{}", millions(tokens)), Role::Text)
    });
    let without = |why: &'static str, limit: Line<'static>| {
        vec![
            name.clone(),
            none(),
            limit,
            none(),
            word(why.into(), Role::Dim),
            none(),
        ]
    };
    let Some((hosted, price)) = models.cheapest.get(&backend.model) else {
        return without("no hosted price", limit);
    };
    let Some(per_day) = per_day(models, backend) else {
        let crossing = vec![name, word("?".into(), Role::Warning)];
        let why = word("rate unknown".into(), Role::Warning);
        return [crossing, vec![limit, none(), why, none()]].concat();
    };
    let (input, cached, output) = tokens(models, backend);
    let Some(blended) = compare::blended(price, input, cached, output) else {
        return without("no tokens yet", limit);
    };
    let Some(crossing) = compare::crossover(per_day, blended) else {
        return without("hosting is free", limit);
    };
    let times = if grid::is_ascii(theme) { "x" } else { "×" };
    let (ratio, words, role) = match compare::judge(crossing, ceiling.map(|(tokens, _)| tokens)) {
        Verdict::Never(over) => (
            word(format!("{over:.1}{times}"), Role::Critical),
            "never on this hardware",
            Role::Critical,
        ),
        Verdict::Crosses(part) => (word(text::percent(part), Role::Good), "crosses", Role::Good),
        Verdict::NoCeiling => (none(), "ceiling not known yet", Role::Dim),
    };
    vec![
        name,
        word(millions(crossing), Role::Strong),
        limit,
        ratio,
        word(words.to_owned(), role),
        Line::from(vec![
            Span::styled(hosted.id.to_string(), theme.of(Role::Hosted)),
            Span::styled(format!(" {}", dollars(blended)), theme.of(Role::Dim)),
        ]),
    ]
}

/// Tokens a day that it can serve, in and out in its own mix.
fn ceiling(backend: &Backend) -> Option<(u64, Origin)> {
    let (per_s, origin) = backend.sustained()?;
    let account = &backend.ledger;
    let mix = if account.tokens_out > 0 {
        (account.tokens_in + account.tokens_out) as f64 / account.tokens_out as f64
    } else {
        1.0
    };
    Some((compare::ceiling(per_s * mix, 1.0), origin))
}

/// Its own mix of tokens, or its model's while it has none.
fn tokens(models: &Models<'_>, backend: &Backend) -> (u64, u64, u64) {
    let own = &backend.ledger;
    if own.tokens_out > 0 {
        return (own.tokens_in, own.tokens_cached, own.tokens_out);
    }
    models
        .backends_of(&backend.model)
        .iter()
        .map(|b| &b.ledger)
        .fold((0, 0, 0), |sum, a| {
            (
                sum.0 + a.tokens_in,
                sum.1 + a.tokens_cached,
                sum.2 + a.tokens_out,
            )
        })
}

/// Dollars a day at the part of the time that it was awake, with its part of the fixed costs; `None` without a rate.
fn per_day(models: &Models<'_>, backend: &Backend) -> Option<Usd> {
    let fleet = models.fleet;
    let facts = backend.self_hosted()?;
    let rate = facts.rate?;
    let window = watched(fleet).num_milliseconds().max(0) as u64 * u64::from(facts.replicas);
    // What never woke is judged as if it stood warm all day.
    let awake = if backend.ledger.awake_ms == 0 || window == 0 {
        Part::WHOLE
    } else {
        Part {
            of: backend.ledger.awake_ms.min(window),
            whole: window,
        }
    };
    let fixed = compare::day_of_month(fleet.fixed_per_month);
    let own = rate.times(i128::from(facts.replicas));
    // Nano-dollars keep the product within reach; a part of a cent a day is lost.
    let fixed = Usd::from_pico(fixed.nano() * own.nano() * 1000)
        .split(models.rate.nano())
        .unwrap_or_default();
    compare::per_day(rate, facts.replicas, awake, fixed)
}

fn all_hosted(theme: &Theme, models: &Models<'_>) -> grid::Rows {
    let mut sums = (Usd::ZERO, Usd::ZERO, false);
    let mut rows: grid::Rows = Vec::new();
    let mut left_out = 0;
    for model in &models.fleet.models {
        let Some((hosted, price)) = models.cheapest.get(&model.id) else {
            left_out += 1;
            continue;
        };
        let own = models.backends_of(&model.id);
        let paid: Usd = own.iter().map(|b| b.ledger.total()).sum();
        let partial = own.iter().any(|b| b.cost_is_partial());
        let elsewhere = compare::all_hosted(own.iter().map(|b| &b.ledger), price);
        sums = (sums.0 + paid, sums.1 + elsewhere, sums.2 | partial);
        let name = Line::styled(model.id.to_string(), theme.of(Role::Text));
        let on = Line::styled(hosted.id.to_string(), theme.of(Role::Hosted));
        rows.push(difference(theme, name, on, paid, elsewhere, partial));
    }
    if rows.len() > 1 {
        let name = if left_out > 0 {
            format!("{} of {} models", rows.len(), rows.len() + left_out)
        } else {
            "all models".to_owned()
        };
        let name = Line::styled(name, theme.of(Role::Money));
        let on = Line::default();
        rows.push(difference(theme, name, on, sums.0, sums.1, sums.2));
    }
    rows
}

fn difference(
    theme: &Theme,
    name: Line<'static>,
    on: Line<'static>,
    paid: Usd,
    elsewhere: Usd,
    partial: bool,
) -> Vec<Line<'static>> {
    let (words, role) = if partial {
        ("?".to_owned(), Role::Warning)
    } else if dollars(elsewhere) == dollars(paid) {
        ("0.00".to_owned(), Role::Dim)
    } else if elsewhere < paid {
        (format!("-{}", dollars(paid - elsewhere)), Role::Good)
    } else {
        (format!("+{}", dollars(elsewhere - paid)), Role::Warning)
    };
    let paid = super::at_least(theme, paid, partial).replace('$', "");
    vec![
        name,
        on,
        Line::styled(paid, theme.of(Role::Text)),
        Line::styled(dollars(elsewhere), theme.of(Role::Text)),
        Line::styled(words, theme.of(role)),
    ]
}

/// What was paid for hosting that awake capacity had room for, and how bursty the demand is.
fn notes(theme: &Theme, models: &Models<'_>) -> Vec<Line<'static>> {
    let dim = |text: String| Span::styled(text, theme.of(Role::Dim));
    let mut saved = Usd::ZERO;
    for model in &models.fleet.models {
        let mut room = models.backends_of(&model.id).to_vec();
        let hosted: Vec<_> = room.extract_if(.., |b| b.is_hosted()).collect();
        // One pool of room for a model: what one hosted backend would take is gone for the next.
        let (ceiling, awake, busy) = room.iter().fold((0.0, 0, 0), |sum, b| {
            let per_s = b.sustained().map_or(0.0, |(s, _)| s);
            let ms = b.ledger.awake_ms;
            (
                sum.0 + per_s * ms as f64 / 1000.0,
                sum.1 + ms,
                sum.2 + b.ledger.tokens_out,
            )
        });
        let per_s = if awake > 0 {
            ceiling * 1000.0 / awake as f64
        } else {
            0.0
        };
        let mut used = busy;
        for backend in hosted {
            saved += compare::absorbed(&backend.ledger, per_s, awake, used);
            used += backend.ledger.tokens_out;
        }
    }
    let hours = watched(models.fleet).num_minutes() as f64 / 60.0;
    vec![
        Line::from(vec![
            dim("Room in awake capacity for hosted traffic worth ".into()),
            Span::styled(format!("${}", dollars(saved)), theme.of(Role::Money)),
        ]),
        Line::from(vec![
            dim("Demand gap  ".into()),
            Span::styled(theme.glyphs.none, theme.of(Role::Faint)),
            dim(format!("  needs 7 days of hours, has {hours:.1} h")),
        ]),
        Line::from(dim(
            "Crossover at the awake part so far; fixed costs split by rate; ~ from the config"
                .into(),
        )),
    ]
}

/// Tokens in millions: `172.8`, `1,840.0`.
fn millions(tokens: u64) -> String {
    let tenths = (tokens + 50_000) / 100_000;
    format!("{}.{}", text::count((tenths / 10) as f64), tenths % 10)
}
