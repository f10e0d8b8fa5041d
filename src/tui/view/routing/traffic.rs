//! Where the model's tokens really came from, minute by minute.

use chrono::TimeDelta;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::fleet::{Backend, Model};
use crate::tui::app::App;
use crate::tui::theme::Role;
use crate::tui::view::cost::shades;
use crate::tui::widget::chart::{self, Chart};
use crate::tui::widget::panel;

const MINUTES: usize = 60;

/// Draws the model's output tokens a second by backend with their panel into `area`.
pub(super) fn render(app: &App, model: &Model, area: Rect, buf: &mut Buffer) {
    let (fleet, theme) = (&app.fleet, &app.theme);
    let mut own: Vec<&Backend> = fleet.backends_of(&model.id).map(AsRef::as_ref).collect();
    own.sort_by_key(|b| b.is_hosted());
    let layers = shades(theme, &own);
    let title = Line::from(vec![
        Span::styled("Answered by", theme.of(Role::Accent)),
        Span::styled("  60 min", theme.of(Role::Dim)),
        Span::styled("  output tok/s", theme.of(Role::Faint)),
    ]);
    let mut summary = Line::default();
    for (backend, style) in own.iter().zip(&layers) {
        let name = format!(" {}", backend.id);
        summary.push_span(Span::styled(name, *style));
    }
    let inner = panel::render(theme, area, &title, &summary, buf);
    // Whole minutes only: the running one would look like a fall.
    let mut steps = vec![None; MINUTES];
    for (layer, backend) in own.iter().enumerate() {
        for minute in backend.ledger.minutes.iter().rev().take(MINUTES + 2) {
            let age = (fleet.now - minute.start).num_seconds().div_euclid(60);
            if let Ok(back @ 1..=MINUTES) = usize::try_from(age) {
                let step = steps[MINUTES - back].get_or_insert_with(|| vec![0.0; own.len()]);
                step[layer] = minute.tokens_out as f64 / 60.0;
            }
        }
    }
    let chart = Chart {
        layers,
        steps,
        from: fleet.now - TimeDelta::minutes(MINUTES as i64),
        to: fleet.now,
    };
    chart::render(theme, &chart, inner, buf);
}
