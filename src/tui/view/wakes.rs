//! The Wakes screen: every wake that is known, by stage, newest first.

use chrono::TimeDelta;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;

use crate::fleet::wake::WakeRecord;
use crate::fleet::{Backend, Stage};
use crate::tui::app::App;
use crate::tui::text;
use crate::tui::theme::Role;
use crate::tui::widget::columns::{self, Column};
use crate::tui::widget::panel;

/// A wake, and whose it was.
type Row<'f> = (&'f Backend, &'f WakeRecord);

/// How many wakes there are to scroll through.
pub fn count(app: &App) -> usize {
    app.fleet.backends.iter().map(|b| b.wakes.len()).sum()
}

/// Draws the Wakes screen into `area`.
pub fn render(app: &App, area: Rect, buf: &mut Buffer) {
    let theme = &app.theme;
    let all = matching(app);
    let inner = panel::render(theme, area, &title(app, &all), &summary(app, &all), buf);
    if all.is_empty() {
        let said = if app.filter.is_empty() {
            "Nothing has been woken yet. Every wake appears here with what each stage of it took."
        } else {
            "Nothing matches the filter. esc clears it, / changes it."
        };
        if inner.height > 0 {
            let said = panel::cut(theme, said, inner.width);
            buf.set_string(inner.x, inner.y, said, theme.of(Role::Dim));
        }
        return;
    }
    let seen: Vec<Stage> = Stage::ALL
        .into_iter()
        .filter(|stage| all.iter().any(|(_, wake)| took(wake, *stage).is_some()))
        .collect();
    let name = all.iter().map(|(b, _)| b.id.as_str().width()).max();
    let mut table = vec![
        Column::word("WHEN", 9, 45),
        Column::figure("AGO", 6, 80),
        Column::word("BACKEND", name.unwrap_or(0).clamp(7, 24) as u16, 100),
        Column::figure("TOOK", 5, 98),
    ];
    table.extend(seen.iter().map(|stage| {
        let width = (stage.word().len() as u16).max(5);
        Column::figure(stage.word(), width, super::backend::worth(*stage))
    }));
    table.push(Column::word("CACHE", 5, 48));
    table.push(Column::rest("RESULT", 14, 90));
    let first = app.scroll.min(all.len() - 1);
    let rows = all.iter().skip(first).map(|row| cells(app, &seen, row));
    columns::render(theme, &table, rows, inner, buf);
}

/// The newest first.
fn matching(app: &App) -> Vec<Row<'_>> {
    let mut all: Vec<Row<'_>> = app
        .fleet
        .backends
        .iter()
        .flat_map(|b| b.wakes.iter().map(move |wake| (b.as_ref(), wake.as_ref())))
        .filter(|(b, wake)| {
            let why = wake.failure.as_deref().unwrap_or("warm");
            let hay = format!("{} {} {why}", b.full_name(), wake.by);
            super::requests::contains_all(&hay, &app.filter)
        })
        .collect();
    all.sort_by_key(|(_, wake)| std::cmp::Reverse(wake.ended));
    all
}

fn title<'a>(app: &App, all: &[Row<'_>]) -> Line<'a> {
    let theme = &app.theme;
    let mut title = Line::from(vec![
        Span::styled("Wakes", theme.of(Role::Accent)),
        Span::styled(format!("  {} kept", all.len()), theme.of(Role::Dim)),
    ]);
    if !app.filter.is_empty() {
        let said = format!(" match {}", app.filter);
        title.push_span(Span::styled(said, theme.of(Role::Warning)));
    }
    title
}

/// How many were late, and how many failed.
fn summary<'a>(app: &App, all: &[Row<'_>]) -> Line<'a> {
    let theme = &app.theme;
    let failed = all
        .iter()
        .filter(|(_, wake)| wake.failure.is_some())
        .count();
    let late = all.iter().filter(|row| is_late(row)).count();
    if all.is_empty() {
        return Line::default();
    }
    let share = late as f64 / all.len() as f64;
    let (late_role, failed_role) = (
        if late > 0 { Role::Warning } else { Role::Faint },
        if failed > 0 {
            Role::Critical
        } else {
            Role::Faint
        },
    );
    Line::from(vec![
        Span::styled(
            format!("{late} over budget ({})", text::percent(share)),
            theme.of(late_role),
        ),
        Span::styled(format!("  {failed} failed"), theme.of(failed_role)),
    ])
}

fn is_late((b, wake): &Row<'_>) -> bool {
    b.self_hosted()
        .is_some_and(|facts| wake.took() > facts.budget)
}

fn took(wake: &WakeRecord, stage: Stage) -> Option<TimeDelta> {
    let found = wake.stages.iter().find(|(known, _)| *known == stage);
    found.map(|(_, span)| *span)
}

fn cells(app: &App, seen: &[Stage], row: &Row<'_>) -> Vec<(String, Style)> {
    let (theme, (b, wake)) = (&app.theme, row);
    let none = || (theme.glyphs.none.to_owned(), theme.of(Role::Faint));
    let whole = match &wake.failure {
        Some(_) => Role::Critical,
        None if is_late(row) => Role::Warning,
        None => Role::Strong,
    };
    let mut cells = vec![
        (
            wake.ended.format("%a %H:%M").to_string(),
            theme.of(Role::Dim),
        ),
        (text::age(app.fleet.now - wake.ended), theme.of(Role::Faint)),
        (b.id.to_string(), theme.of(Role::Text)),
        (text::clock(wake.took()), theme.of(whole)),
    ];
    let usual = b.estimate(app.fleet.now);
    for stage in seen {
        let median = usual.as_ref().and_then(|it| it.of(*stage)).map(|it| it.0);
        cells.push(match took(wake, *stage) {
            Some(span) => (
                text::clock(span),
                theme.of(super::backend::pace(span, median)),
            ),
            None => none(),
        });
    }
    cells.push(match wake.hot {
        Some(true) => ("hot".to_owned(), theme.of(Role::Dim)),
        Some(false) => ("cold".to_owned(), theme.of(Role::Waking)),
        None => none(),
    });
    cells.push(match &wake.failure {
        Some(why) => (why.clone(), theme.of(Role::Critical)),
        None => (format!("warm ({})", wake.by), theme.of(Role::Dim)),
    });
    cells
}
