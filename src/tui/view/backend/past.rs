//! Past wakes by stage, newest first, so that a slow pull or a lost weight cache shows as what it is.

use chrono::TimeDelta;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use crate::fleet::wake::WakeRecord;
use crate::fleet::{Backend, Stage};
use crate::tui::app::App;
use crate::tui::text;
use crate::tui::theme::Role;
use crate::tui::widget::columns::{self, Column};
use crate::tui::widget::panel;

/// Rows that show the last few.
pub(super) fn wanted_height(backend: &Backend) -> u16 {
    3 + (backend.wakes.len() as u16).clamp(1, 10)
}

/// Draws the panel.
pub(super) fn render(app: &App, backend: &Backend, area: Rect, buf: &mut Buffer) {
    let theme = &app.theme;
    let budget = backend.self_hosted().map(|facts| facts.budget);
    let late = |wake: &WakeRecord| budget.is_some_and(|budget| wake.took() > budget);
    let bad = backend
        .wakes
        .iter()
        .filter(|w| w.failure.is_some() || late(w))
        .count();
    let summary = if bad > 0 {
        super::aside(theme, format!("{bad} late or failed"), Role::Warning)
    } else {
        super::aside(theme, format!("{} kept", backend.wakes.len()), Role::Faint)
    };
    let inner = panel::render(
        theme,
        area,
        &super::heading(theme, "Past wakes"),
        &summary,
        buf,
    );
    if backend.wakes.is_empty() {
        if inner.height > 0 {
            let said = panel::cut(theme, "none seen yet", inner.width);
            buf.set_string(inner.x, inner.y, said, theme.of(Role::Faint));
        }
        return;
    }
    let seen: Vec<Stage> = Stage::ALL
        .into_iter()
        .filter(|stage| {
            backend
                .wakes
                .iter()
                .any(|w| w.stages.iter().any(|(s, _)| s == stage))
        })
        .collect();
    let mut table = vec![
        Column::figure("AGO", 6, 100),
        Column::figure("TOOK", 5, 100),
    ];
    table.extend(seen.iter().map(|stage| {
        Column::figure(
            stage.word(),
            (stage.word().len() as u16).max(5),
            worth(*stage),
        )
    }));
    table.push(Column::rest("BY", 8, 35));
    let usual = backend.estimate(app.fleet.now);
    let rows = backend.wakes.iter().rev().map(|wake| {
        let slow = late(wake) || wake.failure.is_some();
        let took = if slow { Role::Critical } else { Role::Strong };
        let mut row: Vec<(String, Style)> = vec![
            (text::age(app.fleet.now - wake.ended), theme.of(Role::Dim)),
            (text::clock(wake.took()), theme.of(took)),
        ];
        for stage in &seen {
            let span = wake
                .stages
                .iter()
                .find(|(s, _)| s == stage)
                .map(|(_, span)| *span);
            let median = usual
                .as_ref()
                .and_then(|e| e.of(*stage))
                .map(|(median, _)| median);
            row.push(match span {
                None => (theme.glyphs.none.to_owned(), theme.of(Role::Faint)),
                Some(span) => (text::clock(span), theme.of(pace(span, median))),
            });
        }
        row.push(match &wake.failure {
            Some(why) => (why.clone(), theme.of(Role::Critical)),
            None => (wake.by.clone(), theme.of(Role::Dim)),
        });
        row
    });
    columns::render(theme, &table, rows, inner, buf);
}

/// A stage that took half as long again as usual stands out.
pub(in crate::tui::view) fn pace(span: TimeDelta, median: Option<TimeDelta>) -> Role {
    match median {
        Some(median) if span > median * 3 / 2 && span - median > TimeDelta::seconds(10) => {
            Role::Warning
        }
        _ => Role::Text,
    }
}

/// Which stage's column stays longest.
pub(in crate::tui::view) fn worth(stage: Stage) -> u8 {
    match stage {
        Stage::Load => 90,
        Stage::Node => 80,
        Stage::Image => 70,
        Stage::Compile => 60,
        Stage::Capture => 50,
        Stage::Start => 40,
        Stage::Health => 30,
        // Long only where it waited for others: then it is what was slow.
        Stage::Queued => 85,
    }
}
