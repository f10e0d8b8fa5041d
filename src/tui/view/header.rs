//! The fleet in one line: is it live, what it costs, who answers.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::fleet::Usd;
use crate::tui::app::{App, Link};
use crate::tui::theme::Role;

/// Columns of the bar that splits self-hosted from hosted.
const SPLIT: usize = 16;

pub(super) fn render(app: &App, area: Rect, buf: &mut Buffer) {
    if area.is_empty() {
        return;
    }
    let theme = &app.theme;
    let fleet = &app.fleet;
    let span = |text: String, role: Role| Span::styled(text, theme.of(role));
    let mut name = vec![
        span("fleetctl ".into(), Role::Accent),
        span(fleet.name.clone(), Role::Strong),
    ];
    if fleet.speed > 1 {
        name.push(span(format!(" ×{}", fleet.speed), Role::Dim));
    }
    let burn = match fleet.burn() {
        Some(burn) => vec![
            span(format!("${}", grouped(burn)), Role::Money),
            span("/h".into(), Role::Dim),
        ],
        None => vec![
            span(format!("≥ ${}", grouped(fleet.burn_known().0)), Role::Money),
            span("/h".into(), Role::Dim),
        ],
    };
    let since = vec![
        span(
            format!("since {} ", fleet.started.format("%H:%M")),
            Role::Dim,
        ),
        span(format!("${}", grouped(fleet.spent())), Role::Text),
    ];
    let month = fleet.projected_month().map_or_else(Vec::new, |p| {
        vec![
            span(
                format!("{} {} ", fleet.now.format("%b"), theme.glyphs.arrow),
                Role::Dim,
            ),
            span(format!("${}", short(p)), Role::Text),
        ]
    });
    // In the order of the line, each with its worth: what is worth least leaves first.
    let mut parts = [
        (name, 10),
        (link(app), 9),
        (burn, 8),
        (since, 5),
        (month, 3),
    ]
    .map(|(spans, worth)| (Line::from(spans), worth))
    .to_vec();
    let mut right = [
        (split(app), 4),
        (
            vec![
                span(
                    format!("{:.1}", fleet.requests_per_s().max(0.0) + 0.0),
                    Role::Strong,
                ),
                span(" r/s".into(), Role::Dim),
            ],
            6,
        ),
    ]
    .map(|(spans, worth)| (Line::from(spans), worth))
    .to_vec();
    parts.retain(|(line, _)| line.width() > 0);
    right.retain(|(line, _)| line.width() > 0);
    let width = |parts: &[(Line<'_>, i32)]| {
        parts
            .iter()
            .map(|(line, _)| line.width() + 3)
            .sum::<usize>()
    };
    while width(&parts) + width(&right) > usize::from(area.width) + 2
        && parts.len() + right.len() > 1
    {
        let least = parts
            .iter()
            .chain(&right)
            .map(|(_, worth)| *worth)
            .min()
            .unwrap_or_default();
        parts.retain(|(_, worth)| *worth != least);
        right.retain(|(_, worth)| *worth != least);
    }
    let mut x = area.x + 1;
    for (line, _) in &parts {
        buf.set_line(x, area.y, line, area.right().saturating_sub(x));
        x += line.width() as u16 + 3;
    }
    let mut x = area
        .right()
        .saturating_sub(width(&right).saturating_sub(2) as u16);
    for (line, _) in &right {
        buf.set_line(x, area.y, line, area.right().saturating_sub(x));
        x += line.width() as u16 + 3;
    }
}

/// Whether what stands here is true now.
fn link(app: &App) -> Vec<Span<'static>> {
    let (glyph, text, role) = match &app.link {
        Link::Loading => (app.theme.glyphs.unknown, "loading".to_owned(), Role::Waking),
        Link::Live => (app.theme.glyphs.warm, "live".to_owned(), Role::Good),
        Link::Stale(seconds) => (
            app.theme.glyphs.asleep,
            format!("stale {seconds}s"),
            Role::Warning,
        ),
        Link::Lost(reason) => (
            app.theme.glyphs.failed,
            format!("lost: {reason}"),
            Role::Critical,
        ),
    };
    vec![Span::styled(format!("{glyph} {text}"), app.theme.of(role))]
}

/// Who answered over the last five minutes, as a bar.
fn split(app: &App) -> Vec<Span<'static>> {
    let theme = &app.theme;
    let Some(hosted) = app.fleet.share_hosted() else {
        return Vec::new();
    };
    let percent = (hosted * 100.0).round();
    let right = ((hosted * SPLIT as f64).round() as usize).min(SPLIT);
    vec![
        Span::styled(
            format!("self {:.0} ", 100.0 - percent),
            theme.of(Role::SelfHosted),
        ),
        Span::styled(
            theme.glyphs.bar.repeat(SPLIT - right),
            theme.of(Role::SelfHosted),
        ),
        Span::styled(theme.glyphs.bar.repeat(right), theme.of(Role::Hosted)),
        Span::styled(format!(" {percent:.0} hosted"), theme.of(Role::Hosted)),
    ]
}

/// Dollars and cents with thousands separated.
fn grouped(amount: Usd) -> String {
    let text = amount.to_string();
    let (whole, cents) = text.split_once('.').unwrap_or((&text, "00"));
    let mut out = String::new();
    for (i, digit) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    format!("{out}.{cents}")
}

/// A large amount in short: `27.9k`.
fn short(amount: Usd) -> String {
    match amount.as_f64() {
        a if a >= 1e6 => format!("{:.1}M", a / 1e6),
        a if a >= 1e4 => format!("{:.1}k", a / 1e3),
        _ => grouped(amount),
    }
}
