//! A wake as a timeline of stages, with budget and cap as marks on the same axis.

mod plan;
mod said;

use chrono::TimeDelta;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;

use crate::fleet::Backend;
use crate::fleet::backend::SelfHosted;
use crate::tui::app::App;
use crate::tui::text;
use crate::tui::theme::{Role, Theme};

use super::panel;
use plan::{Phase, Plan, Row, What};

/// Columns of the stage names, with air.
const NAMES: u16 = 9;

/// Rows that show everything: frame, every stage, what is said below.
pub fn wanted_height(app: &App, backend: &Backend) -> u16 {
    let Some(facts) = backend.self_hosted() else {
        return 0;
    };
    let estimate = backend.estimate(app.fleet.now);
    let plan = Plan::of(backend, facts, estimate.as_ref(), app.fleet.now);
    plan.rows.len() as u16 + 2 + 4
}

/// Draws the stages of `backend`'s wake (running, or the last one) with its panel into `area`.
pub fn render(app: &App, backend: &Backend, area: Rect, buf: &mut Buffer) {
    draw(app, backend, area, true, buf);
}

/// The same without the newest log lines, where the whole log stands beside it.
pub fn render_without_log(app: &App, backend: &Backend, area: Rect, buf: &mut Buffer) {
    draw(app, backend, area, false, buf);
}

fn draw(app: &App, backend: &Backend, area: Rect, with_log: bool, buf: &mut Buffer) {
    let Some(facts) = backend.self_hosted() else {
        return;
    };
    let theme = &app.theme;
    let estimate = backend.estimate(app.fleet.now);
    let plan = Plan::of(backend, facts, estimate.as_ref(), app.fleet.now);
    let inner = panel::render(
        theme,
        area,
        &title(theme, backend, &plan, area.width),
        &marks(theme, facts),
        buf,
    );
    if inner.height == 0 || inner.width < 16 {
        return;
    }
    let mut lines = said::lines(app, backend, facts, estimate.as_ref(), &plan, inner.width);
    let (rows, height) = (plan.rows.len() as u16, inner.height);
    let mut y = inner.y;
    if rows > 0 && height > rows {
        for row in &plan.rows {
            stage(
                theme,
                facts,
                &plan,
                row,
                Rect {
                    y,
                    height: 1,
                    ..inner
                },
                buf,
            );
            y += 1;
        }
    } else if rows > 0 {
        // Too low for a row a stage: as many as fit around the one that matters, the summary stays.
        let fit = height.saturating_sub(lines.len().min(3) as u16).max(1);
        let first = (plan.current() as u16)
            .saturating_sub(fit / 2)
            .min(rows - fit.min(rows));
        for row in plan.rows.iter().skip(first.into()).take(fit.into()) {
            stage(
                theme,
                facts,
                &plan,
                row,
                Rect {
                    y,
                    height: 1,
                    ..inner
                },
                buf,
            );
            y += 1;
        }
    }
    // A blank line between the bars and the words, where there is room to breathe.
    let spare = inner.bottom().saturating_sub(y + lines.len() as u16);
    if spare > 0 && rows > 0 && !(with_log && spare < 2) {
        y += 1;
    }
    if with_log && plan.what != What::Expected {
        lines.extend(newest(
            app,
            backend,
            usize::from(inner.bottom().saturating_sub(y)).saturating_sub(lines.len()),
            inner.width,
        ));
    }
    for line in lines.iter().take(inner.bottom().saturating_sub(y).into()) {
        set_cut(
            theme,
            line,
            Rect {
                y,
                height: 1,
                ..inner
            },
            buf,
        );
        y += 1;
    }
}

/// A line, its last span cut with an ellipsis where it is too long.
fn set_cut(theme: &Theme, line: &Line<'_>, area: Rect, buf: &mut Buffer) {
    let mut x = area.x;
    for span in &line.spans {
        let room = area.right().saturating_sub(x);
        let text = panel::cut(theme, &span.content, room);
        buf.set_string(x, area.y, &text, span.style);
        x += text.width() as u16;
    }
}

fn title(theme: &Theme, backend: &Backend, plan: &Plan, width: u16) -> Line<'static> {
    let (what, role) = match plan.what {
        What::Running | What::Expected => ("Cold start", Role::Accent),
        What::Last => ("Last wake", Role::Accent),
        What::Failed => ("Failed wake", Role::Critical),
    };
    let mut line = Line::from(Span::styled(
        what,
        theme.of(role).add_modifier(Modifier::BOLD),
    ));
    let name = format!("  {}/{}", backend.model, backend.id);
    let summary = "budget 0:00 · cap 00:00".len();
    if what.len() + name.width() + summary + 14 <= usize::from(width) {
        line.push_span(Span::styled(name, theme.of(Role::Text)));
    } else {
        line.push_span(Span::styled(
            format!("  {}", backend.id),
            theme.of(Role::Text),
        ));
    }
    line
}

fn marks(theme: &Theme, facts: &SelfHosted) -> Line<'static> {
    Line::from(vec![
        Span::styled(
            format!("budget {}", text::clock(facts.budget)),
            theme.of(Role::Warning),
        ),
        Span::styled(format!(" {} ", theme.glyphs.dot), theme.of(Role::Faint)),
        Span::styled(
            format!("cap {}", text::clock(facts.cap)),
            theme.of(Role::Critical),
        ),
    ])
}

/// What stands to the right of a stage.
fn figure(theme: &Theme, plan: &Plan, row: &Row) -> (String, Role) {
    let lasted = text::clock(row.to - row.from);
    match row.phase {
        Phase::Done => (format!("{lasted} {}", theme.glyphs.done), Role::Good),
        Phase::Running(Some(percent)) => (format!("{percent:.0}% {lasted}  "), Role::Waking),
        Phase::Running(None) => (format!("{lasted}  "), Role::Waking),
        Phase::ToCome => (format!("~{lasted}  "), Role::Faint),
        Phase::Failed if plan.elapsed > TimeDelta::zero() => {
            (format!("{lasted} {}", theme.glyphs.failed), Role::Critical)
        }
        Phase::Failed => (theme.glyphs.failed.to_owned(), Role::Critical),
    }
}

fn stage(theme: &Theme, facts: &SelfHosted, plan: &Plan, row: &Row, area: Rect, buf: &mut Buffer) {
    let figures = plan
        .rows
        .iter()
        .map(|row| figure(theme, plan, row).0.width() as u16)
        .max()
        .unwrap_or(0);
    let now = matches!(row.phase, Phase::Running(_) | Phase::Failed);
    let name = match row.phase {
        Phase::Running(_) => theme.of(Role::Strong),
        Phase::Failed => theme.of(Role::Critical).add_modifier(Modifier::BOLD),
        Phase::Done => theme.of(Role::Text),
        Phase::ToCome => theme.of(Role::Dim),
    };
    buf.set_stringn(area.x, area.y, row.stage.word(), usize::from(NAMES), name);
    let (said, role) = figure(theme, plan, row);
    let style = if now {
        theme.of(role).add_modifier(Modifier::BOLD)
    } else {
        theme.of(role)
    };
    let x = area.right().saturating_sub(said.width() as u16).max(area.x);
    if x > area.x + NAMES {
        buf.set_string(x, area.y, &said, style);
    }
    let bars = Rect {
        x: area.x + NAMES,
        width: area.width.saturating_sub(NAMES + figures + 1),
        ..area
    };
    if bars.width >= 4 {
        bar(theme, facts, plan, row, bars, buf);
    }
}

fn bar(theme: &Theme, facts: &SelfHosted, plan: &Plan, row: &Row, area: Rect, buf: &mut Buffer) {
    let last = f64::from(area.width - 1);
    let total = plan.total.num_milliseconds() as f64;
    let column = |at: TimeDelta| {
        let share = (at.num_milliseconds() as f64 / total).clamp(0.0, 1.0);
        area.x + (share * last).round() as u16
    };
    let faint = theme.of(Role::Border);
    for x in (area.x..area.right()).step_by(2) {
        buf.set_string(x, area.y, theme.glyphs.dot, faint);
    }
    let mut draw = |from: TimeDelta, to: TimeDelta, glyph: &str, role: Role, at_least: u16| {
        let from = column(from);
        let to = column(to).max((from + at_least).min(area.right()));
        for x in from..to {
            buf.set_string(x, area.y, glyph, theme.of(role));
        }
    };
    let (full, dashed) = (theme.glyphs.bar, theme.glyphs.expected);
    match row.phase {
        Phase::Done => draw(row.from, row.to, full, Role::Good, 1),
        Phase::Running(_) => {
            draw(row.to, row.until, dashed, Role::Waking, 0);
            draw(row.from, row.to, full, Role::Waking, 1);
        }
        Phase::ToCome => draw(row.from, row.to, dashed, Role::Dim, 1),
        Phase::Failed if plan.elapsed > TimeDelta::zero() => {
            draw(row.from, row.to, full, Role::Critical, 1);
        }
        Phase::Failed => draw(row.from, row.to, dashed, Role::Critical, 1),
    }
    for (at, role) in [(facts.budget, Role::Warning), (facts.cap, Role::Critical)] {
        buf.set_string(column(at), area.y, theme.glyphs.mark, theme.of(role));
    }
}

/// The newest log lines, newest first and brightest.
fn newest(app: &App, backend: &Backend, n: usize, width: u16) -> Vec<Line<'static>> {
    backend
        .log
        .iter()
        .rev()
        .take(n)
        .enumerate()
        .map(|(i, line)| {
            let role = if i == 0 { Role::Text } else { Role::Dim };
            let said = panel::cut(&app.theme, &line.text, width.saturating_sub(2));
            Line::from(vec![
                Span::styled(
                    format!("{} ", app.theme.glyphs.dot),
                    app.theme.of(Role::Faint),
                ),
                Span::styled(said, app.theme.of(role)),
            ])
        })
        .collect()
}
