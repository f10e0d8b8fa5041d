//! The request mix over the last minutes as a stacked chart: self-hosted, hosted, held.

use chrono::TimeDelta;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::fleet::Fleet;
use crate::fleet::history::STEP;
use crate::tui::app::App;
use crate::tui::theme::Role;

use super::chart::{self, Chart};
use super::panel;

const WINDOW: TimeDelta = TimeDelta::minutes(15);

/// Draws the chart with its panel into `area`.
pub fn render(app: &App, area: Rect, buf: &mut Buffer) {
    let theme = &app.theme;
    let title = Line::from(vec![
        Span::styled("Request mix", theme.of(Role::Accent)),
        Span::styled("  15 min", theme.of(Role::Dim)),
        Span::styled("  req/s", theme.of(Role::Faint)),
    ]);
    let summary = Line::from(vec![
        Span::styled("self", theme.of(Role::SelfHosted)),
        Span::raw(" "),
        Span::styled("hosted", theme.of(Role::Hosted)),
        Span::raw(" "),
        Span::styled("held", theme.of(Role::Waking)),
    ]);
    let inner = panel::render(theme, area, &title, &summary, buf);
    let chart = Chart {
        layers: [Role::SelfHosted, Role::Hosted, Role::Waking]
            .map(|role| theme.of(role))
            .to_vec(),
        steps: steps(&app.fleet),
        from: app.fleet.now - WINDOW,
        to: app.fleet.now,
    };
    chart::render(theme, &chart, inner, buf);
}

/// Requests a second by step; what is held counts as if it had been answered within its step.
fn steps(fleet: &Fleet) -> Vec<Option<Vec<f64>>> {
    slots(fleet, WINDOW, |point| {
        [point.to_self, point.to_hosted, point.held]
            .map(|n| f64::from(n) / STEP.num_seconds() as f64)
            .to_vec()
    })
}

/// The finished points of the last `window`, each in its own place; the running one would look like a fall.
pub(in crate::tui) fn slots(
    fleet: &Fleet,
    window: TimeDelta,
    mut read: impl FnMut(&crate::fleet::history::Point) -> Vec<f64>,
) -> Vec<Option<Vec<f64>>> {
    let count = (window.num_seconds() / STEP.num_seconds()).max(1) as usize;
    let mut slots = vec![None; count];
    for point in fleet.history.iter() {
        let age = (fleet.now - point.start).num_seconds();
        let back = age.div_euclid(STEP.num_seconds());
        if let Ok(back @ 1..) = usize::try_from(back)
            && let Some(slot) = count.checked_sub(back)
        {
            slots[slot] = Some(read(point));
        }
    }
    slots
}
