//! One figure of one backend.

use chrono::TimeDelta;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::said;
use crate::fleet::{Backend, Usd};
use crate::tui::app::{App, Column, Link};
use crate::tui::text;
use crate::tui::theme::{Role, Theme};
use crate::tui::widget::panel::cut;

/// Real and asked share may differ by this much before it is worth a colour.
const OFF: f64 = 0.10;
/// Figures older than this on the wall are grey.
const OLD: TimeDelta = TimeDelta::seconds(5);
/// Use above this hurts soon.
const FULL: f64 = 0.85;

pub(super) fn render(app: &App, b: &Backend, column: Column, place: Rect, buf: &mut Buffer) {
    let theme = &app.theme;
    match column {
        Column::Backend => {
            let role = if b.is_hosted() {
                Role::Hosted
            } else {
                Role::Text
            };
            // Its cluster has a column of its own.
            let (_, name) = app.fleet.name_within(&b.id);
            // Nor is the namespace said on every line where there is only one.
            let namespace = app.fleet.namespace.as_deref();
            let short = namespace.and_then(|it| name.strip_prefix(it)?.strip_prefix('/'));
            let name = short.unwrap_or(name);
            left(theme, name, theme.of(role), place, buf);
        }
        Column::Cluster => {
            let (cluster, _) = app.fleet.name_within(&b.id);
            left(theme, cluster, theme.of(Role::Dim), place, buf);
        }
        Column::State => {
            let mut line = said::state(app, b);
            // A time is shown whole or not at all.
            if line.width() > usize::from(place.width) {
                line.spans.truncate(1);
            }
            buf.set_line(place.x, place.y, &line, place.width);
        }
        Column::Weight => weight(app, b, place, buf),
        Column::Requests => figure(
            app,
            b,
            b.live.requests_per_s.map(|r| (format!("{r:.1}"), r)),
            place,
            buf,
        ),
        Column::Running => figure(
            app,
            b,
            b.live.running.map(|n| (n.to_string(), f64::from(n))),
            place,
            buf,
        ),
        Column::Waiting => waiting(app, b, place, buf),
        Column::Ttft => ttft(app, b, place, buf),
        Column::Tokens => figure(
            app,
            b,
            b.live.tokens_per_s.map(|t| (text::count(t), t)),
            place,
            buf,
        ),
        Column::Gpu => gpu(app, b, place, buf),
        Column::Kv => {
            let role = if b.live.kv.is_some_and(|kv| kv > FULL) {
                Role::Warning
            } else {
                Role::Text
            };
            toned(
                app,
                b,
                b.live.kv.map(|kv| (text::percent(kv), kv)),
                role,
                place,
                buf,
            );
        }
        Column::Rate => match b.burn(app.fleet.now) {
            Some(Usd::ZERO) => right("0.00", theme.of(Role::Faint), place, buf),
            Some(rate) => right(&rate.to_string(), theme.of(Role::Text), place, buf),
            None => right("?", theme.of(Role::Warning), place, buf),
        },
        Column::Realised => {
            let value = b.ledger.per_million_output().filter(|v| *v > Usd::ZERO);
            match value {
                Some(v) if v.as_f64() < 1000.0 => {
                    right(&v.to_string(), theme.of(Role::Text), place, buf);
                }
                Some(v) => right(&text::count(v.as_f64()), theme.of(Role::Text), place, buf),
                None => right(theme.glyphs.none, theme.of(Role::Faint), place, buf),
            }
        }
        Column::Pin => {
            let (text, role) = said::pin(app, b);
            left(theme, &text, theme.of(role), place, buf);
        }
    }
}

/// The weight as a bar and a number, and what the traffic really was.
fn weight(app: &App, b: &Backend, place: Rect, buf: &mut Buffer) {
    let theme = &app.theme;
    let asked = app.fleet.share_asked(b);
    let role = if b.is_hosted() {
        Role::Hosted
    } else {
        Role::SelfHosted
    };
    let bar = place.width.saturating_sub(12);
    let filled = (asked * f64::from(bar)).round() as u16;
    for x in 0..bar {
        let (glyph, style) = if x < filled {
            (theme.glyphs.bar, theme.of(role))
        } else {
            (theme.glyphs.track, theme.of(Role::Faint))
        };
        buf.set_string(place.x + x, place.y, glyph, style);
    }
    let number = Rect {
        x: place.right().saturating_sub(9),
        width: 4,
        ..place
    };
    right(
        &format!("{:.0}", asked * 100.0),
        theme.of(if b.weight == 0 {
            Role::Faint
        } else {
            Role::Text
        }),
        number,
        buf,
    );
    let now = Rect {
        x: place.right().saturating_sub(5),
        width: 5,
        ..place
    };
    match b.live.share {
        Some(share) => {
            let role = if (share - asked).abs() > OFF {
                Role::Warning
            } else {
                Role::Dim
            };
            right(
                &format!("{}{:.0}", theme.glyphs.arrow, share * 100.0),
                theme.of(role),
                now,
                buf,
            );
        }
        None => right(theme.glyphs.none, theme.of(Role::Faint), now, buf),
    }
}

fn waiting(app: &App, b: &Backend, place: Rect, buf: &mut Buffer) {
    if b.live.held > 0 {
        return right(
            &b.live.held.to_string(),
            app.theme.of(Role::Critical),
            place,
            buf,
        );
    }
    let role = if b.live.waiting.unwrap_or(0) > 0 {
        Role::Warning
    } else {
        Role::Text
    };
    toned(
        app,
        b,
        b.live.waiting.map(|n| (n.to_string(), f64::from(n))),
        role,
        place,
        buf,
    );
}

fn ttft(app: &App, b: &Backend, place: Rect, buf: &mut Buffer) {
    let theme = &app.theme;
    let value = match (b.live.ttft_p50, b.live.ttft_p95) {
        (Some(p50), Some(p95)) if place.width >= 11 => Some((both(theme, p50, p95), p50)),
        (Some(p50), _) => Some((text::latency(p50), p50)),
        (None, _) => None,
    };
    figure(app, b, value, place, buf);
}

/// Two latencies; the unit stands once where both have the same.
fn both(theme: &Theme, p50: f64, p95: f64) -> String {
    let (a, b) = (text::latency(p50), text::latency(p95));
    match (a.strip_suffix("ms"), b.ends_with("ms")) {
        (Some(short), true) => format!("{short}{}{b}", theme.glyphs.dot),
        _ => format!("{a}{}{b}", theme.glyphs.dot),
    }
}

/// The newest readings as a small chart, and the newest in figures.
fn gpu(app: &App, b: &Backend, place: Rect, buf: &mut Buffer) {
    let theme = &app.theme;
    let Some(now) = b.live.gpu else {
        return right(theme.glyphs.none, theme.of(Role::Faint), place, buf);
    };
    let role = if now > 0.95 {
        Role::Warning
    } else {
        Role::SelfHosted
    };
    let chart = usize::from(place.width.saturating_sub(5));
    let history = &b.live.gpu_history;
    let skip = history.len().saturating_sub(chart);
    let lead = chart.saturating_sub(history.len());
    for (i, value) in history.iter().skip(skip).enumerate() {
        // Anything above nothing is seen.
        let eighth = if *value == 0 {
            0
        } else {
            (usize::from(*value) * 8 / 100).clamp(1, 8)
        };
        buf.set_string(
            place.x + (lead + i) as u16,
            place.y,
            theme.glyphs.eighths[eighth],
            theme.of(role),
        );
    }
    toned(
        app,
        b,
        Some((text::percent(now), now)),
        Role::Text,
        place,
        buf,
    );
}

fn figure(app: &App, b: &Backend, value: Option<(String, f64)>, place: Rect, buf: &mut Buffer) {
    toned(app, b, value, Role::Text, place, buf);
}

/// A figure at the right: zero and unknown faint, old dim.
fn toned(
    app: &App,
    b: &Backend,
    value: Option<(String, f64)>,
    role: Role,
    place: Rect,
    buf: &mut Buffer,
) {
    let theme = &app.theme;
    let unread = !b.is_hosted()
        && b.live
            .age(app.fleet.now)
            .is_none_or(|age| age > OLD * i32::try_from(app.fleet.speed).unwrap_or(1));
    let old = unread || app.link != Link::Live || app.fleet.is_unseen(b);
    match value {
        None => right(theme.glyphs.none, theme.of(Role::Faint), place, buf),
        Some((text, n)) => {
            let role = if n == 0.0 {
                Role::Faint
            } else if old {
                Role::Dim
            } else {
                role
            };
            right(&text, theme.of(role), place, buf);
        }
    }
}

fn right(text: &str, style: Style, place: Rect, buf: &mut Buffer) {
    let width = text.chars().count() as u16;
    if width <= place.width {
        buf.set_string(place.right() - width, place.y, text, style);
    }
}

fn left(theme: &Theme, text: &str, style: Style, place: Rect, buf: &mut Buffer) {
    buf.set_string(place.x, place.y, cut(theme, text, place.width), style);
}
