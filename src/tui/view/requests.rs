//! The Requests screen: the live tail, newest first, so that the eye stays on one line.

use std::sync::Arc;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;

use crate::fleet::request::Route;
use crate::fleet::{BackendId, Fleet, RequestRecord, Usd};
use crate::tui::app::App;
use crate::tui::text;
use crate::tui::theme::Role;
use crate::tui::widget::columns::{self, Column};
use crate::tui::widget::panel;

/// Which column says how many tokens came out.
const OUT: usize = 8;
/// Which column says what went wrong.
const ERROR: usize = 11;

/// Draws the Requests screen into `area`.
pub fn render(app: &App, area: Rect, buf: &mut Buffer) {
    let theme = &app.theme;
    let shown: &Fleet = app.frozen.as_deref().unwrap_or(&app.fleet);
    let matching: Vec<_> = shown
        .requests
        .iter()
        .rev()
        .filter(|record| contains_all(&hay(record), &app.filter))
        .collect();
    let inner = panel::render(
        theme,
        area,
        &title(app, shown, matching.len()),
        &summary(app, shown),
        buf,
    );
    if matching.is_empty() {
        let said = if app.filter.is_empty() {
            how_to_send(&app.fleet)
        } else {
            vec![
                format!(
                    "Nothing among the last {} requests matches.",
                    shown.requests.len()
                ),
                "esc clears the filter, / changes it.".to_owned(),
            ]
        };
        for (text, y) in said.iter().zip(inner.top()..inner.bottom()) {
            let role = if text.starts_with(' ') {
                Role::Text
            } else {
                Role::Dim
            };
            buf.set_string(
                inner.x,
                y,
                panel::cut(theme, text, inner.width),
                theme.of(role),
            );
        }
        return;
    }
    let first = app.scroll.min(matching.len() - 1);
    let columns = columns_of(&app.fleet);
    let rows = matching.iter().skip(first).map(|record| cells(app, record));
    columns::render(theme, &columns, rows, inner, buf);
    // Where the last column has left, what went wrong stands where there are no tokens to show.
    let places = columns::fit(&columns, inner.width);
    if let (Some(Some((x, _))), Some(None)) = (places.get(OUT), places.get(ERROR)) {
        let room = inner.width - x;
        for (record, y) in matching.iter().skip(first).zip(inner.y + 1..inner.bottom()) {
            let said = cells(app, record).swap_remove(ERROR);
            if record.usage.is_none() && !said.0.is_empty() {
                let blank = " ".repeat(room.into());
                buf.set_string(inner.x + x, y, blank, theme.of(Role::Faint));
                let text = panel::cut(theme, &said.0, room - 1);
                buf.set_string(inner.x + x + 1, y, text, said.1);
            }
        }
    }
}

/// Draws the newest requests of one backend, without a frame.
pub fn render_of(app: &App, backend: &BackendId, area: Rect, buf: &mut Buffer) {
    let mut newest = app
        .fleet
        .requests
        .iter()
        .rev()
        .filter(|record| record.backend.as_ref() == Some(backend))
        .peekable();
    if newest.peek().is_none() {
        if area.height > 0 {
            let said = panel::cut(&app.theme, "no request yet", area.width);
            buf.set_string(area.x, area.y, said, app.theme.of(Role::Faint));
        }
        return;
    }
    let mut columns = columns_of(&app.fleet);
    // Model and backend are the same on every line here.
    let rows = newest.map(|record| {
        let mut cells = cells(app, record);
        cells.drain(2..4);
        cells
    });
    columns.drain(2..4);
    columns::render(&app.theme, &columns, rows, area, buf);
}

/// Whether every word of `filter` occurs in `hay`, whatever the case.
pub(super) fn contains_all(hay: &str, filter: &str) -> bool {
    if filter.is_empty() {
        return true;
    }
    let hay = hay.to_lowercase();
    filter
        .to_lowercase()
        .split_whitespace()
        .all(|word| hay.contains(word))
}

fn hay(record: &Arc<RequestRecord>) -> String {
    format!(
        "{} {} {} {} {} {}",
        record.id,
        record.model,
        record.backend.as_ref().map_or("", BackendId::as_str),
        record.route.word(),
        record.status,
        record.error.as_deref().unwrap_or(""),
    )
}

fn title(app: &App, shown: &Fleet, matching: usize) -> Line<'static> {
    let theme = &app.theme;
    let answered = text::count(shown.answered as f64);
    let mut line = Line::from(Span::styled("Requests", theme.of(Role::Accent)));
    if app.filter.is_empty() {
        line.push_span(Span::styled(
            format!("  {answered} answered"),
            theme.of(Role::Dim),
        ));
    } else {
        line.push_span(Span::styled(
            format!("  {matching} of {} match ", shown.requests.len()),
            theme.of(Role::Dim),
        ));
        line.push_span(Span::styled(app.filter.clone(), theme.of(Role::Warning)));
    }
    if shown.failed > 0 {
        let dot = theme.glyphs.dot;
        line.push_span(Span::styled(format!(" {dot} "), theme.of(Role::Faint)));
        let failed = format!("{} failed", text::count(shown.failed as f64));
        line.push_span(Span::styled(failed, theme.of(Role::Critical)));
    }
    line
}

fn summary(app: &App, shown: &Fleet) -> Line<'static> {
    let theme = &app.theme;
    let mut line = Line::default();
    if app.frozen.is_some() {
        let came = app.fleet.answered.saturating_sub(shown.answered);
        line.push_span(Span::styled("PAUSED", theme.of(Role::Warning)));
        line.push_span(Span::styled(
            format!(
                " {} {} came since",
                theme.glyphs.dot,
                text::count(came as f64)
            ),
            theme.of(Role::Text),
        ));
    } else if app.scroll > 0 {
        let said = format!("{} newer above", app.scroll);
        line.push_span(Span::styled(said, theme.of(Role::Warning)));
    } else {
        line.push_span(Span::styled("newest first", theme.of(Role::Faint)));
    }
    line
}

/// Widths come from the config's names, so that columns stand still while requests pass.
fn columns_of(fleet: &Fleet) -> Vec<Column> {
    let widest =
        |names: &mut dyn Iterator<Item = usize>| names.max().unwrap_or(0).clamp(7, 24) as u16;
    let model = widest(&mut fleet.models.iter().map(|m| m.id.as_str().width()));
    let backend = widest(&mut fleet.backends.iter().map(|b| b.id.as_str().width()));
    vec![
        Column::word("TIME", 8, 90),
        Column::figure("ST", 3, 100),
        Column::word("MODEL", model, 85),
        Column::word("BACKEND", backend, 95),
        Column::word("ROUTE", 8, 45),
        Column::figure("TTFT", 5, 80),
        Column::figure("TOOK", 5, 75),
        Column::figure("IN", 7, 48),
        Column::figure("OUT", 6, 70),
        Column::figure("HELD", 6, 40),
        Column::figure("COST", 9, 65),
        Column::rest("ERROR", 16, 55),
    ]
}

fn cells(app: &App, record: &RequestRecord) -> Vec<(String, Style)> {
    let theme = &app.theme;
    let none = || (theme.glyphs.none.to_owned(), theme.of(Role::Faint));
    let cell = |text: String, role: Role| (text, theme.of(role));
    let span = |span: chrono::TimeDelta| text::latency(span.num_milliseconds() as f64 / 1000.0);
    let side = record.backend.as_ref().map(|id| {
        let hosted = app.fleet.backend(id).is_some_and(|b| b.is_hosted());
        (
            id.to_string(),
            if hosted {
                Role::Hosted
            } else {
                Role::SelfHosted
            },
        )
    });
    let error = match (&record.error, record.status, record.partial) {
        (Some(error), _, _) => cell(error.clone(), status(record.status)),
        (None, 499, _) => cell("client went away".into(), Role::Warning),
        (None, _, true) => cell("stream cut".into(), Role::Warning),
        (None, 404, _) => cell("no such model".into(), Role::Warning),
        (None, _, false) => cell(String::new(), Role::Faint),
    };
    vec![
        cell(record.at.format("%H:%M:%S").to_string(), Role::Dim),
        cell(record.status.to_string(), status(record.status)),
        cell(record.model.to_string(), Role::Text),
        side.map_or_else(none, |(name, role)| cell(name, role)),
        cell(record.route.word().into(), route(record.route)),
        record.ttft.map_or_else(none, |t| cell(span(t), Role::Text)),
        cell(span(record.took), Role::Text),
        record
            .usage
            .map_or_else(none, |u| cell(text::count(u.input as f64), Role::Dim)),
        record
            .usage
            .map_or_else(none, |u| cell(text::count(u.output as f64), Role::Text)),
        record.held.map_or_else(
            || cell(String::new(), Role::Faint),
            |held| cell(text::clock(held), Role::Waking),
        ),
        cost(record.cost).map_or_else(none, |(text, role)| cell(text, role)),
        error,
    ]
}

/// What its tokens cost; a self-hosted request has no price of its own.
fn cost(cost: Option<Usd>) -> Option<(String, Role)> {
    let cost = cost?;
    Some(if cost == Usd::ZERO {
        ("0".to_owned(), Role::Faint)
    } else {
        (format!("${cost:.6}").chars().take(9).collect(), Role::Text)
    })
}

fn status(status: u16) -> Role {
    match status {
        200..300 => Role::Good,
        500.. => Role::Critical,
        _ => Role::Warning,
    }
}

fn route(route: Route) -> Role {
    match route {
        Route::Weight | Route::Only => Role::Dim,
        Route::Header | Route::Schema | Route::Tools | Route::Length => Role::Text,
        Route::Fallback | Route::Bridge => Role::Warning,
        Route::None => Role::Faint,
    }
}

fn how_to_send(fleet: &Fleet) -> Vec<String> {
    let Some(gateway) = &fleet.gateway else {
        return vec![
            "This fleet is watched without a gateway: its requests are not seen here.".to_owned(),
        ];
    };
    let model = fleet.models.first().map_or("MODEL", |m| m.id.as_str());
    vec![
        "No request yet. Send one:".to_owned(),
        String::new(),
        format!("  curl {gateway}/chat/completions \\"),
        "    -H 'content-type: application/json' \\".to_owned(),
        format!("    -d '{{\"model\": \"{model}\", \"messages\":"),
        "         [{\"role\": \"user\", \"content\": \"Say hello.\"}]}'".to_owned(),
    ]
}
