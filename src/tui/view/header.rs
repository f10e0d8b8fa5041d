//! The fleet in one line: is it live, what it costs, who answers.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr as _;

use crate::fleet::Usd;
use crate::tui::app::{App, Link};
use crate::tui::text;
use crate::tui::theme::Role;
use crate::tui::widget::panel;

/// Columns of the bar that splits self-hosted from hosted, and the fewest that still show a tenth.
const SPLIT: usize = 16;
const SPLIT_LEAST: usize = 10;
/// The name, the link and the burn are worth this much or more: they never leave.
const STAYS: i32 = 8;
/// `✖ lost…`: what is left of the longest reason.
const LINK_LEAST: usize = 7;

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
            format!("since {} ", text::moment(fleet.started, fleet.now)),
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
        (link(app, usize::MAX), 9),
        (burn, 8),
        (since, 5),
        (month, 3),
    ]
    .map(|(spans, worth)| (Line::from(spans), worth))
    .to_vec();
    let mut right = [
        (split(app, SPLIT), 4),
        (
            vec![
                span(
                    format!("{:.1}", fleet.requests_per_s().max(0.0) + 0.0),
                    // What stands still is not what happens now.
                    if app.is_old() {
                        Role::Dim
                    } else {
                        Role::Strong
                    },
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
    let room = usize::from(area.width) + 2;
    say_why(app, &mut parts, width(&right), room);
    fit(app, &mut parts, &mut right, room);
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

/// Since when what is shown is old, of what and why, as far as there is room beside everything else.
fn say_why(app: &App, parts: &mut [Part], right: usize, room: usize) {
    let (Link::Live, Some(since), Some((what, why))) =
        (&app.link, app.fleet.old_since(), app.fleet.old_for())
    else {
        return;
    };
    let glyph = app.theme.glyphs.failed;
    let at = since.format("%H:%M:%S");
    let taken = width(parts) + right;
    let Some(said) = parts.iter_mut().find(|(_, worth)| *worth == 9) else {
        return;
    };
    let free = (room + said.0.width()).saturating_sub(taken);
    let longer = [
        format!("{glyph} {what} old since {at}: {why}"),
        format!("{glyph} {what} old since {at}"),
        format!("{glyph} old since {at}"),
    ];
    if let Some(text) = longer.into_iter().find(|it| it.width() <= free) {
        said.0 = Line::from(Span::styled(text, app.theme.of(Role::Critical)));
    }
}

/// A part of the line, with its worth.
type Part = (Line<'static>, i32);

fn width(parts: &[Part]) -> usize {
    parts.iter().map(|(line, _)| line.width() + 3).sum()
}

/// What is worth least gives way until the rest has room.
fn fit(app: &App, parts: &mut Vec<Part>, right: &mut Vec<Part>, room: usize) {
    // The bar gives way before a figure leaves.
    let over = (width(parts) + width(right)).saturating_sub(room);
    if over > 0
        && over <= SPLIT - SPLIT_LEAST
        && let Some(bar) = right.iter_mut().find(|(_, worth)| *worth == 4)
    {
        bar.0 = Line::from(split(app, SPLIT - over));
    }
    while width(parts) + width(right) > room {
        let least = parts
            .iter()
            .chain(right.iter())
            .map(|(_, worth)| *worth)
            .min();
        let Some(least) = least.filter(|worth| *worth < STAYS) else {
            break;
        };
        parts.retain(|(_, worth)| *worth != least);
        right.retain(|(_, worth)| *worth != least);
    }
    // A long reason is cut; what the fleet costs stays.
    let over = (width(parts) + width(right)).saturating_sub(room);
    if over > 0
        && let Some(said) = parts.iter_mut().find(|(_, worth)| *worth == 9)
    {
        let most = said.0.width().saturating_sub(over).max(LINK_LEAST);
        said.0 = Line::from(link(app, most));
    }
}

/// Whether what stands here is true now, in at most this many columns.
fn link(app: &App, most: usize) -> Vec<Span<'static>> {
    let (glyph, text, role) = match &app.link {
        Link::Loading => (app.theme.glyphs.unknown, "loading".to_owned(), Role::Waking),
        Link::Live => match app.fleet.old_since() {
            Some(since) => {
                let age = text::age(app.fleet.now - since);
                (
                    app.theme.glyphs.failed,
                    format!("{age} old"),
                    Role::Critical,
                )
            }
            None => (app.theme.glyphs.warm, "live".to_owned(), Role::Good),
        },
        Link::Stale(seconds) => (
            app.theme.glyphs.asleep,
            format!("stale {seconds}s"),
            Role::Warning,
        ),
        Link::Away(seconds, reason) => (
            app.theme.glyphs.failed,
            format!("away {seconds}s: {reason}"),
            Role::Critical,
        ),
        Link::Lost(reason) => (
            app.theme.glyphs.failed,
            format!("lost: {reason}"),
            Role::Critical,
        ),
    };
    let said = format!("{glyph} {text}");
    let most = u16::try_from(most).unwrap_or(u16::MAX);
    vec![Span::styled(
        panel::cut(&app.theme, &said, most),
        app.theme.of(role),
    )]
}

/// Who answered over the last five minutes, as a bar of this many columns.
fn split(app: &App, columns: usize) -> Vec<Span<'static>> {
    let theme = &app.theme;
    let Some(hosted) = app.fleet.share_hosted() else {
        return Vec::new();
    };
    let percent = (hosted * 100.0).round();
    let right = ((hosted * columns as f64).round() as usize).min(columns);
    vec![
        Span::styled(
            format!("self {:.0} ", 100.0 - percent),
            theme.of(Role::SelfHosted),
        ),
        Span::styled(
            theme.glyphs.bar.repeat(columns - right),
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
