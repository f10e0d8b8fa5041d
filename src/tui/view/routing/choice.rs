//! What the choice is between: money, speed, quality and limits of each backend.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::fleet::backend::Capacity;
use crate::fleet::compare::Origin;
use crate::fleet::model::DataPath;
use crate::fleet::{Backend, Kind, Model};
use crate::tui::app::App;
use crate::tui::text;
use crate::tui::theme::{Role, Theme};
use crate::tui::view::cost::dollars;
use crate::tui::widget::grid::{self, Column};
use crate::tui::widget::panel;

const COLUMNS: [Column; 9] = [
    Column::words("BACKEND", 12, 0),
    Column::words("RUNS ON", 11, 6),
    Column::figures("$/M OUT", 7, 0),
    Column::figures("LIST", 7, 1),
    Column::figures("TTFT 50·95", 11, 0),
    Column::figures("TOK/S", 6, 2),
    Column::figures("CEILING", 7, 4),
    Column::words("EVALUATION", 10, 3),
    Column::words("DATA", 4, 5),
];

/// Draws the choice with its panel into `area`.
pub(super) fn render(app: &App, model: &Model, area: Rect, buf: &mut Buffer) {
    let (fleet, theme) = (&app.fleet, &app.theme);
    let title = Line::from(vec![
        Span::styled("The choice", theme.of(Role::Accent)),
        Span::styled("  TTFT over 5 min", theme.of(Role::Dim)),
    ]);
    let summary = Line::styled(
        format!(
            "realised since {} {} list from the config",
            text::moment(fleet.started, fleet.now),
            theme.glyphs.dot
        ),
        theme.of(Role::Dim),
    );
    let inner = panel::render(theme, area, &title, &summary, buf);
    let own: Vec<&Backend> = fleet.backends_of(&model.id).map(AsRef::as_ref).collect();
    let dated = inner.width >= 100;
    let rows = own.iter().map(|b| row(theme, model, b, dated)).collect();
    let chosen = own
        .iter()
        .position(|b| Some(&b.id) == app.selected.as_ref());
    grid::render(theme, &COLUMNS, &rows, chosen, inner, buf);
}

fn row(theme: &Theme, model: &Model, backend: &Backend, dated: bool) -> Vec<Line<'static>> {
    let none = || Line::styled(theme.glyphs.none, theme.of(Role::Faint));
    let unknown = || Line::styled("?", theme.of(Role::Warning));
    let plain = |text: String| Line::styled(text, theme.of(Role::Text));
    let side = if backend.is_hosted() {
        Role::Hosted
    } else {
        Role::SelfHosted
    };
    let (runs_on, list) = match &backend.kind {
        Kind::SelfHosted(facts) => {
            let bought = match facts.capacity {
                Capacity::OnDemand => "on demand",
                Capacity::Spot => "spot",
                Capacity::Reserved => "reserved",
            };
            let rate = facts.rate.map_or_else(unknown, |rate| {
                Line::from(vec![
                    Span::styled(dollars(rate), theme.of(Role::Text)),
                    Span::styled("/h", theme.of(Role::Dim)),
                ])
            });
            (format!("{} {bought}", facts.hardware), rate)
        }
        Kind::Hosted(facts) => {
            let price = facts
                .price
                .map_or_else(unknown, |price| plain(dollars(price.output)));
            (facts.provider.clone(), price)
        }
    };
    let realised = if backend.cost_is_partial() {
        unknown()
    } else if !backend.is_hosted() && backend.ledger.awake_ms == 0 {
        none()
    } else {
        backend
            .ledger
            .per_million_output()
            .map_or_else(none, |each| {
                Line::styled(dollars(each), theme.of(Role::Money))
            })
    };
    let ceiling = backend.sustained().map_or_else(none, |(per_s, origin)| {
        let mark = match origin {
            Origin::Measured => "",
            Origin::Configured => "~",
        };
        plain(format!("{mark}{}", text::count(per_s)))
    });
    let data = match model.data_path {
        DataPath::SelfHosted if backend.is_hosted() => {
            Line::styled("not allowed", theme.of(Role::Warning))
        }
        DataPath::Any | DataPath::SelfHosted => Line::styled("ok", theme.of(Role::Dim)),
    };
    vec![
        Line::styled(backend.id.to_string(), theme.of(side)),
        Line::styled(runs_on, theme.of(Role::Dim)),
        realised,
        list,
        ttft(theme, backend).map_or_else(none, plain),
        backend
            .live
            .tokens_per_s
            .map_or_else(none, |t| plain(text::count(t))),
        ceiling,
        evaluation(theme, model, backend, dated).unwrap_or_else(none),
        data,
    ]
}

/// Median and 95th percentile: `182·410ms`, `610ms·1.4s`.
fn ttft(theme: &Theme, backend: &Backend) -> Option<String> {
    let (p50, p95) = (backend.live.ttft_p50?, backend.live.ttft_p95?);
    let (p50, p95) = (text::latency(p50), text::latency(p95));
    let p50 = match p50.strip_suffix("ms") {
        Some(figure) if p95.ends_with("ms") => figure.to_owned(),
        Some(_) | None => p50,
    };
    Some(format!("{p50}{}{p95}", theme.glyphs.dot))
}

/// Its evaluations: name and score, with the date of each where there is room.
fn evaluation(
    theme: &Theme,
    model: &Model,
    backend: &Backend,
    dated: bool,
) -> Option<Line<'static>> {
    let mut line = Line::default();
    for eval in model.evals.iter().filter(|e| e.backend == backend.id) {
        let gap = if line.spans.is_empty() { "" } else { "  " };
        let name = format!("{gap}{} ", eval.name);
        line.push_span(Span::styled(name, theme.of(Role::Dim)));
        let score = format!("{:.1}", eval.score);
        line.push_span(Span::styled(score, theme.of(Role::Text)));
        if dated {
            let date = eval.date.format(" %Y-%m-%d").to_string();
            line.push_span(Span::styled(date, theme.of(Role::Faint)));
        }
    }
    (!line.spans.is_empty()).then_some(line)
}
