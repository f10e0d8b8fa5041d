//! The ledger by backend: what was paid for, what it was used for, what a token came to.

use chrono::TimeDelta;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::fleet::{Backend, Usd};
use crate::tui::app::App;
use crate::tui::text;
use crate::tui::theme::{Role, Theme};
use crate::tui::widget::grid::{self, Column};
use crate::tui::widget::panel;

use super::{at_least, dollars, watched};

const COLUMNS: [Column; 11] = [
    Column::words("BACKEND", 12, 0),
    Column::figures("EACH/H", 6, 7),
    Column::figures("AWAKE", 5, 5),
    Column::figures("BUSY", 4, 3),
    Column::figures("TOK IN", 6, 8),
    Column::figures("TOK OUT", 7, 4),
    Column::figures("COST", 7, 0),
    Column::figures("$/M", 5, 6),
    Column::figures("$/M OUT", 7, 0),
    Column::figures("LIST OUT", 8, 2),
    Column::figures("IDLE $", 6, 1),
];

/// Draws the ledger with its panel into `area`.
pub(super) fn render(app: &App, area: Rect, buf: &mut Buffer) {
    let (fleet, theme) = (&app.fleet, &app.theme);
    let mut title = Line::from(vec![
        Span::styled("Ledger", theme.of(Role::Accent)),
        Span::styled(
            format!(
                "  since {}, {}",
                text::moment(fleet.started, fleet.now),
                text::age(watched(fleet))
            ),
            theme.of(Role::Dim),
        ),
    ]);
    let filled = fleet.filled();
    if filled >= TimeDelta::seconds(1) {
        let filled = format!(", {} of it from Prometheus", text::age(filled));
        title.push_span(Span::styled(filled, theme.of(Role::Dim)));
    }
    let missed = fleet.unobserved();
    if missed >= TimeDelta::seconds(1) {
        let missed = format!(", {} of it unobserved", text::age(missed));
        title.push_span(Span::styled(missed, theme.of(Role::Warning)));
    }
    let summary = Line::styled(
        "hours and tokens measured; EACH/H: what a replica costs an hour",
        theme.of(Role::Dim),
    );
    let inner = panel::render(theme, area, &title, &summary, buf);
    if inner.height == 0 {
        return;
    }
    if fleet.backends.is_empty() {
        let none = "No backend is configured.";
        buf.set_string(inner.x, inner.y, none, theme.of(Role::Dim));
        return;
    }
    let mut rows: grid::Rows = fleet.backends.iter().map(|b| row(theme, b)).collect();
    // Fixed costs and total stay in sight, whatever scrolls above them.
    let gone = fleet.spent_by_past();
    let fixed = fleet.spent() - fleet.spent_by_present() - gone;
    let mut closings = Vec::new();
    if gone > Usd::ZERO {
        closings.push(closing(theme, "no longer here", gone, false, &[]));
    }
    closings.push(closing(theme, "fixed costs", fixed, false, &[]));
    closings.push(total(app));
    let last = closings.len();
    rows.extend(closings);
    let chosen = app
        .selected
        .as_ref()
        .and_then(|id| fleet.backends.iter().position(|b| b.id == *id));
    let shown = usize::from(inner.height.saturating_sub(1));
    if rows.len() > shown && shown > last {
        let hidden = rows.len() - shown;
        let first = chosen
            .unwrap_or(0)
            .saturating_sub((shown - last) / 2)
            .min(hidden);
        rows.drain(first + shown - last..rows.len() - last);
        rows.drain(..first);
        grid::render(
            theme,
            &COLUMNS,
            &rows,
            chosen.map(|c| c - first),
            inner,
            buf,
        );
        let more = format!(" {hidden} more ");
        let x = area.right().saturating_sub(4 + more.len() as u16);
        buf.set_string(x, area.bottom() - 1, more, theme.of(Role::Dim));
    } else {
        grid::render(theme, &COLUMNS, &rows, chosen, inner, buf);
    }
}

fn row(theme: &Theme, backend: &Backend) -> Vec<Line<'static>> {
    let account = &backend.ledger;
    let none = || Line::styled(theme.glyphs.none, theme.of(Role::Faint));
    let plain = |text: String| Line::styled(text, theme.of(Role::Text));
    let unknown = || Line::styled("?", theme.of(Role::Warning));
    let side = if backend.is_hosted() {
        Role::Hosted
    } else {
        Role::SelfHosted
    };
    let partial = backend.cost_is_partial();
    let money = |amount: Option<Usd>, role: Role| match amount {
        _ if partial => unknown(),
        _ if !backend.is_hosted() && account.awake_ms == 0 => none(),
        Some(amount) => Line::styled(dollars(amount), theme.of(role)),
        None => none(),
    };
    let tokens = |n: u64| {
        if n == 0 { none() } else { plain(short(n)) }
    };
    let (rate, awake, busy, idle) = match backend.self_hosted() {
        Some(facts) => {
            let unread = backend.use_is_unknown();
            let busy = (account.awake_ms > 0)
                .then(|| account.busy_ms as f64 / account.awake_ms as f64)
                .filter(|_| !unread)
                .map_or_else(
                    || if unread { unknown() } else { none() },
                    |part| plain(text::percent(part)),
                );
            let rate = facts.rate.map_or_else(unknown, |r| plain(dollars(r)));
            (rate, awake(theme, account.awake_ms), busy, {
                let idle = account.idle.total();
                if partial || unread {
                    unknown()
                } else if idle > Usd::ZERO {
                    Line::styled(dollars(idle), theme.of(Role::Warning))
                } else {
                    none()
                }
            })
        }
        None => (none(), none(), none(), none()),
    };
    let list = match backend.hosted() {
        Some(facts) => facts
            .price
            .map_or_else(unknown, |p| plain(dollars(p.output))),
        None => none(),
    };
    let cost = if partial {
        unknown()
    } else if account.total() == Usd::ZERO {
        Line::styled("0.00", theme.of(Role::Faint))
    } else {
        Line::styled(dollars(account.total()), theme.of(Role::Text))
    };
    vec![
        Line::styled(backend.id.to_string(), theme.of(side)),
        rate,
        awake,
        busy,
        tokens(account.tokens_in),
        tokens(account.tokens_out),
        cost,
        money(account.per_million_blended(), Role::Text),
        money(account.per_million_output(), Role::Strong),
        list,
        idle,
    ]
}

fn awake(theme: &Theme, ms: u64) -> Line<'static> {
    let span = TimeDelta::milliseconds(i64::try_from(ms).unwrap_or(i64::MAX));
    if ms == 0 {
        Line::styled(theme.glyphs.none, theme.of(Role::Faint))
    } else {
        Line::styled(text::age(span), theme.of(Role::Text))
    }
}

fn total(app: &App) -> Vec<Line<'static>> {
    let fleet = &app.fleet;
    let sum = |read: fn(&Backend) -> u64| fleet.backends.iter().map(|b| read(b)).sum::<u64>();
    let idle: Usd = fleet.backends.iter().map(|b| b.ledger.idle.total()).sum();
    let partial = fleet.backends.iter().any(|b| b.cost_is_partial());
    let (tokens_in, tokens_out) = (sum(|b| b.ledger.tokens_in), sum(|b| b.ledger.tokens_out));
    let spent = fleet.spent();
    let per = |tokens: u64| {
        let each = crate::fleet::ledger::per_million(spent, tokens);
        each.map_or_else(
            || app.theme.glyphs.none.to_owned(),
            |each| at_least(&app.theme, each, partial).replace('$', ""),
        )
    };
    closing(
        &app.theme,
        "total",
        spent,
        partial,
        &[
            (4, short(tokens_in)),
            (5, short(tokens_out)),
            (7, per(tokens_in + tokens_out)),
            (8, per(tokens_out)),
            (10, dollars(idle)),
        ],
    )
}

fn closing(
    theme: &Theme,
    name: &'static str,
    cost: Usd,
    partial: bool,
    others: &[(usize, String)],
) -> Vec<Line<'static>> {
    let role = if others.is_empty() {
        Role::Dim
    } else {
        Role::Money
    };
    let mut row: Vec<_> = COLUMNS.iter().map(|_| Line::default()).collect();
    row[0] = Line::styled(name, theme.of(role));
    row[6] = Line::styled(
        at_least(theme, cost, partial).replace('$', ""),
        theme.of(role),
    );
    for (at, text) in others {
        row[*at] = Line::styled(text.clone(), theme.of(role));
    }
    row
}

/// A count of tokens in at most six columns: `950k`, `4.30M`, `1,240M`.
pub(super) fn short(n: u64) -> String {
    match n {
        0..1000 => n.to_string(),
        1000..1_000_000 => format!("{}k", n / 1000),
        1_000_000..100_000_000 => format!("{:.2}M", n as f64 / 1e6),
        _ => format!("{}M", text::count(n as f64 / 1e6)),
    }
}
