//! What is said of a backend in words: its state, and what happens next.

use ratatui::text::{Line, Span};

use crate::fleet::{Backend, State};
use crate::tui::app::App;
use crate::tui::text;
use crate::tui::theme::Role;
use crate::tui::view::since;

/// Icon, word and since when; what is under way says how far it is.
pub(super) fn state(app: &App, b: &Backend) -> Line<'static> {
    let theme = &app.theme;
    let glyphs = theme.glyphs;
    let now = app.fleet.now;
    let age = since::age(app, b);
    if let Some(line) = at_work(app, b) {
        return line;
    }
    let (glyph, word, rest, role) = match &b.state {
        State::Unknown { .. } => (glyphs.unknown, "unknown".to_owned(), age, Role::Dim),
        State::Asleep { .. } => (glyphs.asleep, "asleep".to_owned(), age, Role::Asleep),
        State::Waking(wake) => {
            let stage = wake
                .current()
                .map_or("waking".to_owned(), |s| match s.percent {
                    Some(percent) => format!("{} {percent:.0}%", s.stage.word()),
                    None => s.stage.word().to_owned(),
                });
            (
                glyphs.waking,
                stage,
                text::clock(now - wake.since),
                Role::Waking,
            )
        }
        State::Warm { .. } => (glyphs.warm, "warm".to_owned(), age, Role::Good),
        State::Draining(drain) if drain.stopping => (
            glyphs.draining,
            "stopping".to_owned(),
            text::clock(now - drain.since),
            Role::Warning,
        ),
        State::Draining(drain) => (
            glyphs.draining,
            "draining".to_owned(),
            text::clock(now - drain.since),
            Role::Warning,
        ),
        State::Failed(_) => (glyphs.failed, "failed".to_owned(), age, Role::Critical),
        State::Ready { .. } => (glyphs.hosted, "ready".to_owned(), age, Role::Hosted),
        State::Limited { until, .. } => (
            glyphs.hosted,
            "limited".to_owned(),
            text::clock(*until - now),
            Role::Warning,
        ),
        State::Down { .. } => (glyphs.failed, "down".to_owned(), age, Role::Critical),
    };
    let mut spans = vec![
        Span::styled(format!("{glyph} {word} "), theme.of(role)),
        Span::styled(rest, theme.of(Role::Dim)),
    ];
    if b.drained.is_some() && !matches!(b.state, State::Draining(_)) {
        spans.push(Span::styled(" out", theme.of(Role::Warning)));
    }
    Line::from(spans)
}

/// An operation that was left half done, or how far the one is that is under way.
fn at_work(app: &App, b: &Backend) -> Option<Line<'static>> {
    let (theme, now) = (&app.theme, app.fleet.now);
    let line = |glyph: &str, said: String, rest: String| {
        Some(Line::from(vec![
            Span::styled(format!("{glyph} {said} "), theme.of(Role::Warning)),
            Span::styled(rest, theme.of(Role::Dim)),
        ]))
    };
    if let Some(mark) = b.unfinished() {
        if mark.is_fresh(now) {
            let said = format!("{} by {}", mark.op, mark.by);
            return line(theme.glyphs.draining, said, text::clock(now - mark.at));
        }
        let rest = format!("{} {}", mark.op, text::age(now - mark.at));
        return line(theme.glyphs.alert, "unfinished".to_owned(), rest);
    }
    // A wake's stages say more.
    let progress = b
        .progress
        .as_ref()
        .filter(|_| !matches!(b.state, State::Waking(_)))?;
    let said = format!("{} {}/{}", progress.op, progress.step, progress.of);
    let rest = text::clock(now - progress.since);
    line(theme.glyphs.draining, said, rest)
}

/// The pin, or what happens next by itself.
pub(super) fn pin(app: &App, b: &Backend) -> (String, Role) {
    let now = app.fleet.now;
    if let Some(doing) = &b.doing {
        return (doing.clone(), Role::Waking);
    }
    if let Some(place) = &b.place
        && place.ready != place.wanted
        && place.wanted > 0
    {
        let role = if place.ready < place.wanted {
            Role::Warning
        } else {
            Role::Dim
        };
        return (format!("{}/{} ready", place.ready, place.wanted), role);
    }
    if let Some(pin) = &b.pin {
        let until = pin.until.map_or_else(
            || "pinned".to_owned(),
            |t| format!("pinned to {}", t.format("%H:%M")),
        );
        return (until, Role::Accent);
    }
    match &b.state {
        State::Waking(_) => match b.estimate(now) {
            Some(e) => (format!("eta {}", text::clock(e.left_median)), Role::Waking),
            None => (String::new(), Role::Dim),
        },
        State::Draining(drain) if !drain.stopping && b.place.is_none() => {
            let left = b.live.in_flight.max(b.live.running.unwrap_or(0));
            (
                format!("{left} left, ≤ {}", text::clock(drain.deadline - now)),
                Role::Warning,
            )
        }
        State::Warm { .. } => b.idle_left(now).map_or_else(
            || (String::new(), Role::Dim),
            |left| (format!("idle in {}", text::clock(left)), Role::Dim),
        ),
        State::Asleep { .. } => match b.wakes.len() {
            0 => (String::new(), Role::Dim),
            n => (format!("woke {n}×"), Role::Faint),
        },
        State::Unknown { .. }
        | State::Draining(_)
        | State::Failed(_)
        | State::Ready { .. }
        | State::Limited { .. }
        | State::Down { .. } => (String::new(), Role::Dim),
    }
}
