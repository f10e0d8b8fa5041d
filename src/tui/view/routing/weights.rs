//! The sliders: what was asked for, and what really happens.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::fleet::model::{ColdPolicy, DataPath};
use crate::fleet::{Backend, Model, State};
use crate::tui::app::App;
use crate::tui::text;
use crate::tui::theme::{Role, Theme};
use crate::tui::view::since;
use crate::tui::widget::grid::{self, Column};
use crate::tui::widget::panel;

use super::drafted;

const COLUMNS: [Column; 7] = [
    Column::words("BACKEND", 12, 0),
    Column::words("STATE", 14, 2),
    Column::drawn("SHARE", 8),
    Column::figures("WEIGHT", 6, 0),
    Column::figures("ASKED", 5, 0),
    Column::figures("NOW", 6, 0),
    Column::figures("REQ/S", 5, 3),
];
const SLIDER: usize = 2;

/// Draws the sliders with their panel into `area`.
pub(super) fn render(app: &App, model: &Model, area: Rect, buf: &mut Buffer) {
    let theme = &app.theme;
    let mut title = vec![
        Span::styled("Routing", theme.of(Role::Accent)),
        Span::styled(format!("  {}", model.id), theme.of(Role::Text)),
    ];
    if app.draft.is_some() {
        title.push(Span::styled(
            "  draft, not applied",
            theme.of(Role::Warning),
        ));
    }
    let title = Line::from(title);
    let inner = panel::render(theme, area, &title, &policies(app, model), buf);
    let own: Vec<&Backend> = app
        .fleet
        .backends_of(&model.id)
        .map(AsRef::as_ref)
        .collect();
    let share = |b: &Backend| app.fleet.share_by(b, |it| drafted(app, it));
    let rows = own.iter().map(|b| row(app, b, share(b))).collect();
    let chosen = own
        .iter()
        .position(|b| Some(&b.id) == app.selected.as_ref());
    for (at, cells) in grid::render(theme, &COLUMNS, &rows, chosen, inner, buf) {
        let backend = own[at];
        let now = share(backend);
        let before = app.draft.as_ref().map(|_| app.fleet.share_asked(backend));
        slide(theme, backend, now, before, cells[SLIDER], buf);
    }
}

fn row(app: &App, backend: &Backend, share: f64) -> Vec<Line<'static>> {
    let theme = &app.theme;
    let none = || Line::styled(theme.glyphs.none, theme.of(Role::Faint));
    let drafted = drafted(app, backend);
    let weight = if drafted == backend.weight {
        Line::styled(drafted.to_string(), theme.of(Role::Text))
    } else {
        Line::from(vec![
            Span::styled(
                format!("{}{}", backend.weight, theme.glyphs.arrow),
                theme.of(Role::Dim),
            ),
            Span::styled(drafted.to_string(), theme.of(Role::Warning)),
        ])
    };
    let side = if backend.is_hosted() {
        Role::Hosted
    } else {
        Role::SelfHosted
    };
    let zero_or = |value: f64, role: Role| if value > 0.0 { role } else { Role::Faint };
    let now = backend.live.share.map_or_else(none, |now| {
        // Ten points beside what was asked for is worth a look.
        let role = if app.draft.is_none() && (now - share).abs() >= 0.1 {
            Role::Warning
        } else {
            zero_or(now, Role::Text)
        };
        let text = format!("{} {}", theme.glyphs.arrow, text::percent(now));
        Line::styled(text, theme.of(role))
    });
    vec![
        Line::styled(backend.id.to_string(), theme.of(side)),
        state(app, backend),
        Line::default(),
        weight,
        Line::styled(text::percent(share), theme.of(zero_or(share, Role::Strong))),
        now,
        backend.live.requests_per_s.map_or_else(none, |r| {
            Line::styled(format!("{r:.1}"), theme.of(zero_or(r, Role::Text)))
        }),
    ]
}

/// The share as a bar; a mark where it stood before the draft.
fn slide(
    theme: &Theme,
    backend: &Backend,
    share: f64,
    before: Option<f64>,
    cell: Rect,
    buf: &mut Buffer,
) {
    let side = if backend.is_hosted() {
        Role::Hosted
    } else {
        Role::SelfHosted
    };
    let cells = |share: f64| (share * f64::from(cell.width)).round() as u16;
    let filled = cells(share);
    for x in 0..cell.width {
        let (glyph, role) = if x < filled {
            (theme.glyphs.bar, side)
        } else {
            (theme.glyphs.track, Role::Faint)
        };
        buf.set_string(cell.x + x, cell.y, glyph, theme.of(role));
    }
    if let Some(before) = before.map(cells)
        && before != filled
        && cell.width > 0
    {
        let x = cell.x + before.min(cell.width - 1);
        buf.set_string(x, cell.y, theme.glyphs.mark, theme.of(Role::Warning));
    }
}

/// Glyph, word and since when.
fn state(app: &App, backend: &Backend) -> Line<'static> {
    let theme = &app.theme;
    let glyphs = theme.glyphs;
    let (glyph, role) = match &backend.state {
        State::Unknown { .. } => (glyphs.unknown, Role::Dim),
        State::Asleep { .. } => (glyphs.asleep, Role::Asleep),
        State::Waking(_) => (glyphs.waking, Role::Waking),
        State::Warm { .. } => (glyphs.warm, Role::Good),
        State::Draining(_) => (glyphs.draining, Role::Warning),
        State::Failed(_) | State::Down { .. } => (glyphs.failed, Role::Critical),
        State::Ready { .. } => (glyphs.hosted, Role::Hosted),
        State::Limited { .. } => (glyphs.hosted, Role::Warning),
    };
    let since = since::age(app, backend);
    Line::from(vec![
        Span::styled(format!("{glyph} {} ", backend.state.word()), theme.of(role)),
        Span::styled(since, theme.of(Role::Dim)),
    ])
}

/// What a request meets when nothing is ready, and where the model's traffic may go.
fn policies(app: &App, model: &Model) -> Line<'static> {
    let theme = &app.theme;
    let cold = match model.cold {
        ColdPolicy::Wait => "cold: wait".to_owned(),
        ColdPolicy::Overflow => "cold: overflow".to_owned(),
        ColdPolicy::Reject => "cold: reject".to_owned(),
        ColdPolicy::Bridge { over } => {
            let cost = app.fleet.bridged_cost(&model.id);
            format!("cold: bridge over {}, ${cost} so far", text::age(over))
        }
    };
    let path = match model.data_path {
        DataPath::Any => "data: anywhere",
        DataPath::SelfHosted => "data: self-hosted only",
    };
    let text = format!("{cold} {} {path}", theme.glyphs.dot);
    Line::styled(text, theme.of(Role::Dim))
}
