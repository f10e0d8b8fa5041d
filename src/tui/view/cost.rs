//! The Cost screen: what burns now, what it came to, what a token really cost, and whether it pays to host it oneself.

mod compare;
mod history;
mod ledger;

use chrono::{NaiveTime, TimeDelta};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::fleet::{Fleet, Usd, compare as arithmetic};
use crate::tui::app::App;
use crate::tui::text;
use crate::tui::theme::{Role, Theme};
use crate::tui::widget::grid::is_ascii;

pub(in crate::tui) use history::shades;

const TILES: u16 = 4;
/// From here on the comparison has room beside the ledger.
const WIDE: u16 = 180;
/// From here on it has room beside the history.
const MIDDLE: u16 = 110;

/// Draws the Cost screen into `area`.
pub fn render(app: &App, area: Rect, buf: &mut Buffer) {
    if area.width < 20 || area.height == 0 {
        return;
    }
    let (head, rest) = cut(area, if area.height > 24 { TILES } else { TILES - 1 });
    draw_tiles(app, head, buf);
    // Heading, fixed costs, total and the frame come with the rows.
    let rows = app.fleet.backends.len() as u16 + 5;
    if area.width >= WIDE {
        let compare = (compare::height(&app.fleet) + 2).max(rows);
        let (top, bottom) = cut(rest, compare.min(rest.height.saturating_sub(8).max(6)));
        let (left, right) = split(top, top.width / 2);
        ledger::render(app, left, buf);
        compare::render(app, right, buf);
        history::render(app, bottom, buf);
    } else if area.width >= MIDDLE {
        let (top, bottom) = cut(rest, rows.min(rest.height.saturating_sub(9).max(6)));
        let (left, right) = split(bottom, bottom.width * 2 / 5);
        ledger::render(app, top, buf);
        history::render(app, left, buf);
        compare::render(app, right, buf);
    } else {
        let wanted = rows.min(rest.height.saturating_sub(6).max(5));
        let (top, bottom) = cut(rest, wanted);
        let (middle, bottom) = cut(bottom, compare::height(&app.fleet) + 2);
        ledger::render(app, top, buf);
        compare::render(app, middle, buf);
        if bottom.height >= 5 {
            history::render(app, bottom, buf);
        }
    }
}

/// The first `rows` rows of `area`, and what is left.
pub(in crate::tui) fn cut(area: Rect, rows: u16) -> (Rect, Rect) {
    let rows = rows.min(area.height);
    let rest = Rect {
        y: area.y + rows,
        height: area.height - rows,
        ..area
    };
    (
        Rect {
            height: rows,
            ..area
        },
        rest,
    )
}

/// The first `columns` columns of `area`, and what is left.
pub(in crate::tui) fn split(area: Rect, columns: u16) -> (Rect, Rect) {
    let columns = columns.min(area.width);
    let rest = Rect {
        x: area.x + columns,
        width: area.width - columns,
        ..area
    };
    (
        Rect {
            width: columns,
            ..area
        },
        rest,
    )
}

/// Dollars with thousands separated: `611.20`, `1,234.56`; `<0.01` for what would read as nothing.
pub(in crate::tui) fn dollars(amount: Usd) -> String {
    if amount > Usd::ZERO && amount < Usd::from_pico(5_000_000_000) {
        return "<0.01".to_owned();
    }
    let plain = amount.to_string();
    let (sign, digits) = plain
        .strip_prefix('-')
        .map_or(("", plain.as_str()), |digits| ("-", digits));
    let (whole, cents) = digits.split_once('.').unwrap_or((digits, "00"));
    let mut out = String::new();
    for (i, digit) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    format!("{sign}{out}.{cents}")
}

/// `$` before the dollars, and `≥` before that where a part of them is unknown.
pub(in crate::tui) fn at_least(theme: &Theme, amount: Usd, partial: bool) -> String {
    let sign = match (partial, is_ascii(theme)) {
        (false, _) => "",
        (true, true) => ">=",
        (true, false) => "≥ ",
    };
    format!("{sign}${}", dollars(amount))
}

/// A big figure with its name above and what it covers below, in falling length.
struct Tile {
    name: &'static str,
    value: String,
    unit: &'static str,
    notes: Vec<Line<'static>>,
}

fn draw_tiles(app: &App, area: Rect, buf: &mut Buffer) {
    let theme = &app.theme;
    let tiles = tiles(app);
    let width = |tile: &Tile, note: usize| {
        let figure = tile.value.chars().count() + tile.unit.len();
        let note = tile.notes.get(note).map_or(0, Line::width);
        figure.max(tile.name.len()).max(note) as u16
    };
    let gaps = tiles.len() as u16 - 1;
    let mut notes: Vec<usize> = tiles.iter().map(|t| t.notes.len() - 1).collect();
    let mut widths: Vec<u16> = tiles
        .iter()
        .zip(&notes)
        .map(|(t, n)| width(t, *n))
        .collect();
    for (i, tile) in tiles.iter().enumerate() {
        let others = widths.iter().sum::<u16>() - widths[i] + 2 + 2 * gaps;
        let longest = (0..tile.notes.len()).find(|n| others + width(tile, *n) <= area.width);
        if let Some(longest) = longest {
            notes[i] = longest;
            widths[i] = width(tile, longest);
        }
    }
    let left = area.width.saturating_sub(2 + widths.iter().sum::<u16>());
    let gap = (left / gaps).clamp(2, 10);
    let mut x = area.x + 2;
    for ((tile, width), note) in tiles.iter().zip(widths).zip(notes) {
        if x + width > area.right() {
            break;
        }
        buf.set_string(x, area.y, tile.name, theme.of(Role::Dim));
        if area.height > 1 {
            let value = Line::from(vec![
                Span::styled(tile.value.clone(), theme.of(Role::Money)),
                Span::styled(tile.unit, theme.of(Role::Dim)),
            ]);
            buf.set_line(x, area.y + 1, &value, width);
        }
        if area.height > 2
            && let Some(note) = tile.notes.get(note)
        {
            buf.set_line(x, area.y + 2, note, width);
        }
        x += width + gap;
    }
}

fn tiles(app: &App) -> Vec<Tile> {
    let (fleet, theme) = (&app.fleet, &app.theme);
    let faint = |text: String| Line::styled(text, theme.of(Role::Dim));
    let partial = fleet.backends.iter().any(|b| b.cost_is_partial());
    let (burn, burn_partial) = fleet.burn_known();
    let watched = fleet.now - fleet.started;
    let midnight = fleet.now.with_time(NaiveTime::MIN).single();
    let today_from = midnight.map_or(fleet.started, |m| m.max(fleet.started));
    let month = fleet.projected_month();
    let (paid, idle) = fleet
        .backends
        .iter()
        .filter(|b| !b.use_is_unknown())
        .map(|b| (b.ledger.awake.total(), b.ledger.idle.total()))
        .fold((Usd::ZERO, Usd::ZERO), |a, b| (a.0 + b.0, a.1 + b.1));
    let tax = arithmetic::idle_tax(paid, idle);
    // What is paid for and not read may idle or not.
    let unread = fleet.backends.iter().any(|b| b.use_is_unknown());
    let of = if unread { "read" } else { "self-hosted" };
    let mut tiles = vec![
        Tile {
            name: "BURN NOW",
            value: at_least(theme, burn, burn_partial),
            unit: "/h",
            notes: vec![
                burn_parts(fleet, theme, false),
                burn_parts(fleet, theme, true),
            ],
        },
        Tile {
            name: "SINCE START",
            value: at_least(theme, fleet.spent(), partial),
            unit: "",
            notes: vec![
                faint(format!(
                    "{} from {}",
                    text::age(watched),
                    text::moment(fleet.started, fleet.now)
                )),
                faint(format!("in {}", text::age(watched))),
            ],
        },
        Tile {
            name: "TODAY",
            value: at_least(theme, fleet.spent_today(), partial),
            unit: "",
            notes: vec![faint(format!("from {}", today_from.format("%H:%M")))],
        },
        Tile {
            // Without a rate there is nothing to project with.
            name: if month.is_some() {
                "MONTH END"
            } else {
                "SO FAR"
            },
            value: month.map_or_else(
                || at_least(theme, fleet.spent(), true),
                |m| at_least(theme, m, partial),
            ),
            unit: "",
            notes: if month.is_some() {
                vec![
                    faint("so far + this burn to the end".into()),
                    faint("at this burn".into()),
                    faint("burn holds".into()),
                ]
            } else {
                vec![
                    faint("no projection: a rate is unknown".into()),
                    faint("a rate is unknown".into()),
                    faint("no forecast".into()),
                ]
            },
        },
        Tile {
            name: "IDLE TAX",
            value: match tax.filter(|_| paid > Usd::ZERO) {
                Some(tax) => text::percent(tax),
                None if unread => "?".to_owned(),
                None => theme.glyphs.none.to_owned(),
            },
            unit: "",
            notes: vec![
                faint(format!("${} of ${} {of}", dollars(idle), dollars(paid))),
                faint(format!("${} idle", dollars(idle))),
                faint(format!("${}", dollars(idle))),
            ],
        },
    ];
    let unmetered: u64 = fleet.backends.iter().map(|b| b.ledger.unmetered).sum();
    tiles.push(Tile {
        name: "UNMETERED",
        value: text::count(unmetered as f64),
        unit: "",
        notes: vec![
            faint("answers without usage".into()),
            faint("requests".into()),
        ],
    });
    tiles
}

fn burn_parts(fleet: &Fleet, theme: &Theme, short: bool) -> Line<'static> {
    let sum = |hosted: bool| -> (Usd, bool) {
        let parts: Vec<_> = fleet
            .backends
            .iter()
            .filter(|b| b.is_hosted() == hosted)
            .map(|b| b.burn(fleet.now))
            .collect();
        let known = parts.iter().flatten().copied().sum();
        (known, parts.iter().any(Option::is_none))
    };
    let (own, own_partial) = sum(false);
    let (hosted, hosted_partial) = sum(true);
    let show = |amount: Usd, partial: bool| at_least(theme, amount, partial).replace('$', "");
    let words = if short {
        ["self ", " api ", " fix "]
    } else {
        ["self ", "  hosted ", "  fixed "]
    };
    Line::from(vec![
        Span::styled(words[0], theme.of(Role::SelfHosted)),
        Span::styled(show(own, own_partial), theme.of(Role::Text)),
        Span::styled(words[1], theme.of(Role::Hosted)),
        Span::styled(show(hosted, hosted_partial), theme.of(Role::Text)),
        Span::styled(words[2], theme.of(Role::Dim)),
        Span::styled(show(fleet.fixed_per_hour(), false), theme.of(Role::Text)),
    ])
}

/// How long the fleet has been watched.
fn watched(fleet: &Fleet) -> TimeDelta {
    fleet.now - fleet.started
}
