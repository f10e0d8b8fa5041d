//! The Fleet screen: every model and backend, and below it who answers and what wakes.
//!
//! ```text
//!  ╭─ Fleet  4 models · 8 backends ──── 5 warm · 1 waking ─╮
//!  │ BACKEND      STATE        WEIGHT   NOW  REQ/S  …   $/H │
//!  │ llama-3.3-70b                                          │
//!  │   a100       ● warm 2h14m ━━━━─ 65 →64    4.0  … 23.00 │
//!  ╰────────────────────────────────────────────────────────╯
//!  ╭─ Request mix ────────────╮╭─ Cold start ───────────────╮
//!  ╰──────────────────────────╯╰────────────────────────────╯
//! ```

mod cells;
pub mod order;
mod said;
mod table;

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};

use super::Hit;
use crate::fleet::{Backend, State};
use crate::tui::app::{App, Link};
use crate::tui::theme::Role;
use crate::tui::widget::{mix, panel, timeline};

/// The panels below the table need this many rows to be worth them.
const LOWER_LEAST: u16 = 8;
/// And this many are enough.
const LOWER_MOST: u16 = 20;

/// Draws the Fleet screen into `area`.
pub fn render(app: &App, area: Rect, buf: &mut Buffer) {
    let (upper, lower) = split(app, area);
    let title = title(app);
    // What the frame leaves beside the title.
    let room = usize::from(upper.width.saturating_sub(12)).saturating_sub(title.width());
    let inner = panel::render(&app.theme, upper, &title, &summary(app, room), buf);
    if app.fleet.backends.is_empty() {
        empty(app, inner, buf);
    } else {
        table::render(app, inner, buf);
    }
    let Some(lower) = lower else { return };
    let left = Rect {
        width: lower.width / 2,
        ..lower
    };
    let right = Rect {
        x: left.right(),
        width: lower.width - left.width,
        ..lower
    };
    mix::render(app, left, buf);
    let waking = app
        .fleet
        .backends
        .iter()
        .filter(|b| matches!(b.state, State::Waking(_)))
        .min_by_key(|b| b.state.since());
    let chosen = app
        .backend()
        .filter(|b| matches!(b.state, State::Waking(_)));
    match chosen.or(waking.map(AsRef::as_ref)) {
        Some(backend) => timeline::render(app, backend, right, buf),
        None => super::audit::render_newest(app, right, buf),
    }
}

/// What is under the mouse.
pub(super) fn hit(app: &App, area: Rect, at: Position) -> Option<Hit> {
    let (upper, _) = split(app, area);
    let inner = Rect {
        x: upper.x + 2,
        y: upper.y + 1,
        width: upper.width.saturating_sub(4),
        height: upper.height.saturating_sub(2),
    };
    table::hit(app, inner, at)
}

/// The table gets the rows it needs; what is left goes to the panels below where it is enough for them.
fn split(app: &App, area: Rect) -> (Rect, Option<Rect>) {
    if app.fleet.backends.is_empty() {
        // What to do now needs the room, and there is nothing to chart.
        return (area, None);
    }
    let needed = table::height(app) + 2;
    let spare = area.height.saturating_sub(needed);
    let lower = if spare >= LOWER_LEAST {
        spare.min(LOWER_MOST.max(area.height * 3 / 5))
    } else if area.height >= 26 && app.fleet.backends.len() > 8 {
        // A long fleet scrolls; the charts keep a third.
        area.height / 3
    } else {
        0
    };
    if lower < LOWER_LEAST || area.width < 60 {
        return (area, None);
    }
    let upper = Rect {
        height: area.height - lower,
        ..area
    };
    (
        upper,
        Some(Rect {
            y: upper.bottom(),
            height: lower,
            ..area
        }),
    )
}

fn title(app: &App) -> Line<'static> {
    let theme = &app.theme;
    let plural = |n: usize, word: &str| {
        if n == 1 {
            format!("1 {word}")
        } else {
            format!("{n} {word}s")
        }
    };
    let mut spans = vec![
        Span::styled("Fleet", theme.of(Role::Accent)),
        Span::styled(
            format!(
                "  {} {} {}",
                plural(app.fleet.models.len(), "model"),
                theme.glyphs.dot,
                plural(app.fleet.backends.len(), "backend")
            ),
            theme.of(Role::Dim),
        ),
    ];
    if !app.filter.is_empty() {
        spans.push(Span::styled(
            format!("  /{}", app.filter),
            theme.of(Role::Accent),
        ));
        spans.push(Span::styled(
            format!(
                " {}",
                plural(order::visible_order(app).len(), "match").replace("matchs", "matches")
            ),
            theme.of(Role::Dim),
        ));
    }
    if !app.marks.is_empty() {
        spans.push(Span::styled(
            format!("  {} marked", app.marks.len()),
            theme.of(Role::Waking),
        ));
    }
    Line::from(spans)
}

/// How many are in which state, worst last; what is calm leaves first where there is no room.
fn summary(app: &App, room: usize) -> Line<'static> {
    let theme = &app.theme;
    let words = [
        ("warm", Role::Good),
        ("ready", Role::Hosted),
        ("waking", Role::Waking),
        ("asleep", Role::Asleep),
        ("draining", Role::Warning),
        ("limited", Role::Warning),
        ("unknown", Role::Dim),
        ("down", Role::Critical),
        ("unfinished", Role::Warning),
        ("failed", Role::Critical),
    ];
    // What was left half done is not what it looks like.
    let word = |b: &Backend| match b.unfinished() {
        Some(mark) if !mark.is_fresh(app.fleet.now) => "unfinished",
        Some(_) | None => b.state.word(),
    };
    let mut counts: Vec<(String, Role)> = words
        .into_iter()
        .filter_map(|(wanted, role)| {
            let n = app
                .fleet
                .backends
                .iter()
                .filter(|b| word(b) == wanted)
                .count();
            (n > 0).then(|| (format!("{n} {wanted}"), role))
        })
        .collect();
    let width = |counts: &[(String, Role)]| {
        (counts.iter().map(|(text, _)| text.len() + 3).sum::<usize>()).saturating_sub(3)
    };
    while width(&counts) > room && !counts.is_empty() {
        counts.remove(0);
    }
    let mut spans = Vec::new();
    for (text, role) in counts {
        if !spans.is_empty() {
            spans.push(Span::styled(
                format!(" {} ", theme.glyphs.dot),
                theme.of(Role::Faint),
            ));
        }
        spans.push(Span::styled(text, theme.of(role)));
    }
    Line::from(spans)
}

/// Why nothing of a cluster is there.
fn on_cluster(app: &App) -> (&'static str, Role) {
    use crate::fleet::cluster::PartState;
    let parts = || app.fleet.clusters.iter().flat_map(|it| &it.parts);
    let loading = parts().next().is_none() || parts().any(|it| it.state == PartState::Loading);
    if app.fleet.old_since().is_some() {
        (
            "The cluster does not answer; the line above says why.",
            Role::Critical,
        )
    } else if loading {
        ("Looking at the cluster…", Role::Text)
    } else if parts().any(|it| matches!(it.state, PartState::Forbidden { .. })) {
        (
            "Nothing may be seen here; the line above says what.",
            Role::Critical,
        )
    } else if parts().any(|it| it.odd.is_some()) {
        (
            "What is there is not understood; the line above says why.",
            Role::Critical,
        )
    } else {
        ("Nothing that serves models was found.", Role::Text)
    }
}

/// An empty fleet says why it is empty, and what to do.
fn empty(app: &App, area: Rect, buf: &mut Buffer) {
    let theme = &app.theme;
    let lines: Vec<(&str, Role)> = match &app.link {
        Link::Loading => vec![("Waiting for the first picture of the fleet…", Role::Text)],
        Link::Lost(_) | Link::Away(..) => vec![
            ("The fleet is gone; the header says why.", Role::Critical),
            ("Start it again, or leave with q.", Role::Dim),
        ],
        Link::Live | Link::Stale(_) if app.fleet.is_on_clusters() => vec![
            on_cluster(app),
            (
                "What is not found by itself is named with [[cluster.workload]] in a config.",
                Role::Dim,
            ),
        ],
        Link::Live | Link::Stale(_) => vec![
            ("This fleet has no backends.", Role::Text),
            (
                "Name some in its config, and open it with: fleetctl --config fleet.toml",
                Role::Dim,
            ),
            ("", Role::Dim),
            ("[[model]]", Role::Accent),
            ("name = \"llama\"", Role::Accent),
            ("[[model.backend]]", Role::Accent),
            ("name = \"gpu-box\"", Role::Accent),
            ("url = \"http://127.0.0.1:8000\"", Role::Accent),
            ("rate = \"2.50\"", Role::Accent),
        ],
    };
    for (i, (text, role)) in lines.iter().enumerate().take(usize::from(area.height)) {
        buf.set_string(
            area.x + 1,
            area.y + i as u16,
            panel::cut(theme, text, area.width.saturating_sub(1)),
            theme.of(*role),
        );
    }
}
