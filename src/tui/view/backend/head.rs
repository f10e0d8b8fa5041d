//! The lines on top: which backend, how it is, what it is, what it costs.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;

use crate::fleet::backend::{Capacity, SelfHosted, SleepWay};
use crate::fleet::{Backend, Kind, State};
use crate::tui::app::App;
use crate::tui::text;
use crate::tui::theme::{Role, Theme};
use crate::tui::view::since;
use crate::tui::widget::panel;

/// Draws them and says how many rows they took.
pub(super) fn render(app: &App, backend: &Backend, area: Rect, buf: &mut Buffer) -> u16 {
    if area.height < 5 {
        if area.height > 0 {
            first(app, backend, Rect { height: 1, ..area }, buf);
        }
        return area.height.min(1);
    }
    first(app, backend, Rect { height: 1, ..area }, buf);
    let said = about(app, backend);
    let width = area.width.saturating_sub(2);
    let mut rows = 1;
    let mut x = 0;
    let dot = format!(" {} ", app.theme.glyphs.dot);
    for (text, role) in &said {
        let wide = text.width() as u16;
        if x > 0 && x + 3 + wide > width {
            let most = if area.height < 24 { 1 } else { 2 };
            if rows == most {
                continue;
            }
            rows += 1;
            x = 0;
        }
        let y = area.y + rows;
        if x > 0 {
            buf.set_string(area.x + 1 + x, y, &dot, app.theme.of(Role::Faint));
            x += 3;
        }
        let text = panel::cut(&app.theme, text, width.saturating_sub(x));
        buf.set_string(area.x + 1 + x, y, &text, app.theme.of(*role));
        x += text.width() as u16;
    }
    rows + 1
}

fn first(app: &App, backend: &Backend, area: Rect, buf: &mut Buffer) {
    let theme = &app.theme;
    let (glyph, role) = match backend.unfinished() {
        Some(_) => (theme.glyphs.alert, Role::Warning),
        None => look(theme, &backend.state),
    };
    let mut left = Line::from(vec![
        Span::styled(backend.model.to_string(), theme.of(Role::Dim)),
        Span::styled("/", theme.of(Role::Faint)),
        Span::styled(
            backend.id.to_string(),
            theme.of(Role::Strong).add_modifier(Modifier::BOLD),
        ),
        Span::styled(
            format!("  {glyph} {}", state_words(app, backend)),
            theme.of(role).add_modifier(Modifier::BOLD),
        ),
    ]);
    let since = app.fleet.now - backend.state.since();
    left.push_span(Span::styled(
        format!("  {}", detail(app, backend, since)),
        theme.of(Role::Dim),
    ));
    let right = rate(app, backend);
    let room = area.width.saturating_sub(2);
    let mut x = area.x + 1;
    let end = area.x + 1 + room;
    let keep = right.width() as u16;
    let fits = keep + 30 <= room;
    let limit = if fits { end - keep - 1 } else { end };
    for span in &left.spans {
        let said = panel::cut(theme, &span.content, limit.saturating_sub(x));
        buf.set_string(x, area.y, &said, span.style);
        x += said.width() as u16;
    }
    if fits {
        buf.set_line(end - keep, area.y, &right, keep);
    }
}

/// The icon and colour of a state.
fn look(theme: &Theme, state: &State) -> (&'static str, Role) {
    let glyphs = theme.glyphs;
    match state {
        State::Unknown { .. } => (glyphs.unknown, Role::Faint),
        State::Asleep { .. } => (glyphs.asleep, Role::Asleep),
        State::Waking(_) => (glyphs.waking, Role::Waking),
        State::Warm { .. } => (glyphs.warm, Role::Good),
        State::Draining(_) => (glyphs.draining, Role::Warning),
        State::Failed(_) | State::Down { .. } => (glyphs.failed, Role::Critical),
        State::Ready { .. } => (glyphs.hosted, Role::Hosted),
        State::Limited { .. } => (glyphs.hosted, Role::Warning),
    }
}

fn state_words(app: &App, backend: &Backend) -> String {
    let word = backend.state.word();
    if let Some(mark) = backend.unfinished() {
        if mark.is_fresh(app.fleet.now) {
            return format!("{} under way", mark.op);
        }
        return format!("{} unfinished", mark.op);
    }
    match &backend.state {
        State::Waking(wake) => wake.current().map_or(word.to_owned(), |span| {
            let percent = span.percent.map_or(String::new(), |p| format!(" {p:.0}%"));
            format!("{word}: {}{percent}", span.stage.word())
        }),
        State::Failed(failure) => failure.stage.map_or(word.to_owned(), |stage| {
            format!("{word} in {}", stage.word())
        }),
        State::Limited { until, .. } => format!("{word} {}", text::clock(*until - app.fleet.now)),
        State::Unknown { .. }
        | State::Asleep { .. }
        | State::Warm { .. }
        | State::Draining(_)
        | State::Ready { .. }
        | State::Down { .. } => word.to_owned(),
    }
}

fn detail(app: &App, backend: &Backend, since: chrono::TimeDelta) -> String {
    if let Some(mark) = backend.unfinished() {
        let age = text::age(app.fleet.now - mark.at);
        return format!("begun {age} ago by {}, not from here", mark.by);
    }
    match &backend.state {
        State::Waking(wake) => format!("{}, asked for by {}", text::clock(since), wake.by),
        State::Draining(drain) if backend.place.is_some() => {
            format!("{} by {}", text::clock(since), drain.by)
        }
        State::Draining(drain) => {
            let left = text::clock(drain.deadline - app.fleet.now);
            let n = backend.live.running.unwrap_or(0);
            if drain.stopping {
                format!("{} by {}, engine stops", text::clock(since), drain.by)
            } else {
                format!(
                    "{} by {}, {n} left, cut in {left}",
                    text::clock(since),
                    drain.by
                )
            }
        }
        State::Failed(_) | State::Down { .. } => format!("{} ago", text::age(since)),
        State::Unknown { .. }
        | State::Asleep { .. }
        | State::Warm { .. }
        | State::Ready { .. }
        | State::Limited { .. } => format!("for {}", since::age(app, backend)),
    }
}

fn rate(app: &App, backend: &Backend) -> Line<'static> {
    let theme = &app.theme;
    let Some(facts) = backend.self_hosted() else {
        let cost = backend.ledger.tokens;
        return Line::from(vec![
            if backend.cost_is_partial() {
                Span::styled("price unknown,", theme.of(Role::Warning))
            } else {
                Span::styled(format!("${cost}"), theme.of(Role::Money))
            },
            Span::styled(" so far", theme.of(Role::Dim)),
        ]);
    };
    let now = match backend.rate_now() {
        None => return Line::styled("price unknown", theme.of(Role::Warning)),
        Some(rate) if backend.allocated() == 0 => {
            Span::styled(format!("${rate}"), theme.of(Role::Faint))
        }
        Some(rate) => Span::styled(format!("${rate}"), theme.of(Role::Money)),
    };
    let mut line = Line::from(vec![now, Span::styled("/h", theme.of(Role::Dim))]);
    if backend.allocated() == 0 {
        let awake = facts.rate.map_or("price unknown".to_owned(), |r| {
            format!("${}/h", r.times(i128::from(facts.replicas)))
        });
        line.push_span(Span::styled(
            format!(", {awake} awake"),
            theme.of(Role::Dim),
        ));
    }
    line
}

/// What there is to know, most important first.
fn about(app: &App, backend: &Backend) -> Vec<(String, Role)> {
    let mut said = Vec::new();
    if let Some(mark) = &backend.drained {
        let age = text::age(app.fleet.now - mark.since);
        said.push((
            format!("out of service {age} by {}; u puts it back", mark.by),
            Role::Warning,
        ));
    }
    if let Some(pin) = &backend.pin {
        let until = pin.until.map_or(String::new(), |until| {
            let days = (until.date_naive() - app.fleet.now.date_naive()).num_days();
            let form = if days == 0 { "%H:%M" } else { "%b %-d %H:%M" };
            format!(" to {}", until.format(form))
        });
        said.push((
            format!("pinned{}{until} by {}: {}", pin.exact(), pin.by, pin.reason),
            Role::Accent,
        ));
    }
    match &backend.kind {
        Kind::SelfHosted(facts) => own(facts, backend.place.is_some(), &mut said),
        Kind::Hosted(facts) => said.push((facts.provider.clone(), Role::Hosted)),
    }
    said.push((format!("weight {}", backend.weight), Role::Dim));
    if backend.live.held > 0 {
        said.insert(0, (format!("{} held", backend.live.held), Role::Waking));
    }
    said
}

fn own(facts: &SelfHosted, placed: bool, said: &mut Vec<(String, Role)>) {
    if !facts.hardware.is_empty() {
        said.push((facts.hardware.clone(), Role::SelfHosted));
    }
    let capacity = match facts.capacity {
        Capacity::OnDemand => "on demand",
        Capacity::Spot => "spot",
        Capacity::Reserved => "reserved",
    };
    said.push((capacity.to_owned(), Role::Text));
    if facts.replicas != 1 && !placed {
        said.push((format!("{} replicas", facts.replicas), Role::Text));
    }
    if placed {
        return;
    }
    let sleep = match (facts.sleep, facts.sleep.bills_asleep()) {
        (SleepWay::Never, _) => "cannot sleep",
        (SleepWay::Level1, _) => "sleep level 1: weights in memory, still billed",
        (SleepWay::Level2, _) => "sleep level 2: weights dropped, still billed",
        (SleepWay::Release, _) if facts.capacity == Capacity::Reserved => {
            "sleep releases it, still paid (reserved)"
        }
        (SleepWay::Release, _) => "sleep releases it, not billed",
    };
    said.push((sleep.to_owned(), Role::Dim));
    if let Some(after) = facts.idle_after {
        said.push((format!("sleeps after {} idle", text::age(after)), Role::Dim));
    }
}
