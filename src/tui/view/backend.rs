//! The Backend screen: its cold start with the log beside it, or its figures once warm.

mod engine;
mod facts;
mod gpus;
mod head;
mod hosted;
mod layout;
mod log;
mod money;
mod past;
mod place;
mod serving;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::fleet::{Backend, State};
use crate::tui::app::{App, Lines};
use crate::tui::theme::{Role, Theme};
use crate::tui::widget::{panel, timeline};

pub(super) use gpus::bar;
use layout::{Part, stack};
pub(super) use past::{pace, worth};

/// From this width on, things stand side by side that are below each other otherwise.
const WIDE: u16 = 110;
/// From this width on, a warm backend has three columns.
const THREE: u16 = 165;
/// The least that shows two columns.
const TWO: u16 = 70;

/// Draws the Backend screen into `area`.
pub fn render(app: &App, area: Rect, buf: &mut Buffer) {
    let Some(backend) = app.backend() else {
        nothing(app, area, buf);
        return;
    };
    let used = head::render(app, backend, area, buf);
    let body = Rect {
        y: area.y + used,
        height: area.height.saturating_sub(used),
        ..area
    };
    let placed = place::render(app, backend, body, buf);
    let body = Rect {
        y: body.y + placed,
        height: body.height - placed,
        ..body
    };
    match &backend.state {
        State::Ready { .. } | State::Limited { .. } | State::Down { .. } => {
            hosted::render(app, backend, body, buf);
        }
        State::Warm { .. } | State::Draining(_) => warm(app, backend, body, buf),
        State::Unknown { .. } if backend.is_hosted() => hosted::render(app, backend, body, buf),
        State::Asleep { .. } | State::Waking(_) | State::Failed(_) | State::Unknown { .. } => {
            cold(app, backend, body, buf);
        }
    }
}

fn nothing(app: &App, area: Rect, buf: &mut Buffer) {
    let title = heading(&app.theme, "Backend");
    let inner = panel::render(&app.theme, area, &title, &Line::default(), buf);
    let said = if app.fleet.backends.is_empty() && app.fleet.is_on_clusters() {
        "Nothing that serves models was found. Name it with [[cluster.workload]] in a config."
    } else if app.fleet.backends.is_empty() {
        "This fleet has no backends. Add a [[model]] with a [[model.backend]] to its config."
    } else {
        "No backend is selected. Go to the Fleet screen with 1 and choose one with enter."
    };
    if inner.height > 0 {
        let said = panel::cut(&app.theme, said, inner.width);
        buf.set_string(inner.x, inner.y, said, app.theme.of(Role::Dim));
    }
}

/// How many lines there are of what is shown: the engine's log, or what its cluster told.
pub fn lines(app: &App, backend: &Backend) -> usize {
    if app.lines == Lines::Events {
        backend.place.as_ref().map_or(0, |it| it.told.len())
    } else {
        backend.log.len()
    }
}

/// Nothing was logged, and nothing will be before something happens.
fn is_quiet(app: &App, backend: &Backend) -> bool {
    app.lines == Lines::Log && backend.log.is_empty() && !matches!(backend.state, State::Waking(_))
}

/// Waking, asleep, failed or not heard of: the timeline first, the log beside or below it.
fn cold(app: &App, backend: &Backend, area: Rect, buf: &mut Buffer) {
    let wanted = timeline::wanted_height(app, backend);
    let past = past::wanted_height(backend);
    if area.width >= WIDE {
        let left = Rect {
            width: area.width * 11 / 20,
            ..area
        };
        let right = Rect {
            x: left.right(),
            width: area.width - left.width,
            ..area
        };
        if is_quiet(app, backend) {
            quiet(app, backend, left, right, buf);
            return;
        }
        let parts = stack(
            left,
            &[
                Part { least: 4, wanted },
                Part {
                    least: 4,
                    wanted: past,
                },
                Part {
                    least: 5,
                    wanted: money::WANTED,
                },
            ],
            1,
        );
        draw(parts.first(), |at| {
            timeline::render_without_log(app, backend, at, buf);
        });
        draw(parts.get(1), |at| past::render(app, backend, at, buf));
        draw(parts.get(2), |at| money::render(app, backend, at, buf));
        log::render(app, backend, right, buf);
        return;
    }
    // The whole timeline comes first; what it leaves is the log's, or past wakes' where nothing was logged.
    let timeline = Part {
        least: wanted.saturating_sub(2).min(area.height.saturating_sub(4)),
        wanted: wanted.saturating_sub(1),
    };
    if is_quiet(app, backend) {
        let rest = Part {
            least: 4,
            wanted: past,
        };
        let money = Part {
            least: 5,
            wanted: money::WANTED,
        };
        let parts = stack(area, &[timeline, rest, money], 1);
        draw(parts.first(), |at| {
            timeline::render_without_log(app, backend, at, buf);
        });
        draw(parts.get(1), |at| past::render(app, backend, at, buf));
        draw(parts.get(2), |at| money::render(app, backend, at, buf));
        return;
    }
    let log = (lines(app, backend) as u16 * 2 + 2).clamp(5, 24);
    let parts = stack(
        area,
        &[
            timeline,
            Part {
                least: 4,
                wanted: log,
            },
            Part {
                least: 5,
                wanted: past,
            },
        ],
        1,
    );
    draw(parts.first(), |at| {
        timeline::render_without_log(app, backend, at, buf);
    });
    draw(parts.get(1), |at| log::render(app, backend, at, buf));
    draw(parts.get(2), |at| past::render(app, backend, at, buf));
}

/// At rest without a log: past wakes and money take its place.
fn quiet(app: &App, backend: &Backend, left: Rect, right: Rect, buf: &mut Buffer) {
    let wanted = timeline::wanted_height(app, backend);
    let part = |least, wanted| Part { least, wanted };
    let parts = stack(left, &[part(4, wanted), part(4, 6)], 1);
    draw(parts.first(), |at| {
        timeline::render_without_log(app, backend, at, buf);
    });
    draw(parts.get(1), |at| hosted::newest(app, backend, at, buf));
    let wakes = past::wanted_height(backend).max(wanted);
    let parts = stack(right, &[part(4, wakes), part(5, money::WANTED)], 1);
    draw(parts.first(), |at| past::render(app, backend, at, buf));
    draw(parts.get(1), |at| money::render(app, backend, at, buf));
}

/// Warm or draining: figures in two or three columns, the log and the newest requests below.
fn warm(app: &App, backend: &Backend, area: Rect, buf: &mut Buffer) {
    let serving = Part {
        least: 9,
        wanted: serving::WANTED,
    };
    let engine = Part {
        least: 9,
        wanted: engine::WANTED,
    };
    let gpus = Part {
        least: gpus::wanted_height(backend).min(7),
        wanted: gpus::wanted_height(backend),
    };
    let money = Part {
        least: 7,
        wanted: money::WANTED,
    };
    let config = Part {
        least: 3,
        wanted: engine::config_height(backend),
    };
    let wakes = Part {
        least: 4,
        wanted: past::wanted_height(backend),
    };
    let count = match area.width {
        0..TWO => 1,
        TWO..THREE => 2,
        _ => 3,
    };
    let columns: [&[Part]; 3] = match count {
        1 => [&[serving, gpus, money, engine], &[], &[]],
        2 => [&[serving, gpus, wakes], &[engine, money, config], &[]],
        _ => [&[serving, gpus], &[engine, config], &[money, wakes]],
    };
    let tallest = columns
        .iter()
        .map(|column| column.iter().map(|p| p.wanted).sum::<u16>())
        .max()
        .unwrap_or(0);
    // What the figures leave goes to the log; without at least a few lines of it they keep it all.
    let spare = area.height.saturating_sub(tallest);
    let log_height = match spare {
        5.. => spare,
        _ if area.height >= 28 || app.lines == Lines::Events => 6.min(area.height / 2),
        _ => 0,
    };
    let top = Rect {
        height: area.height - log_height,
        ..area
    };
    let mut x = top.x;
    for (i, panels) in columns.iter().take(count).enumerate() {
        let width = (top.right() - x) / (count - i) as u16;
        let column = Rect { x, width, ..top };
        x += width;
        let last = panels.len().saturating_sub(1);
        let places = stack(column, panels, last);
        for (n, at) in places.into_iter().enumerate() {
            let Some(at) = at else { continue };
            match (count, i, n) {
                (_, 0, 0) => serving::render(app, backend, at, buf),
                (_, 0, 1) => gpus::render(app, backend, at, buf),
                (1, _, 2) | (2, 1, 1) | (3, 2, 0) => money::render(app, backend, at, buf),
                (1, _, _) | (_, 1, 0) => engine::render(app, backend, at, buf),
                (2, 0, _) | (3, 2, _) => past::render(app, backend, at, buf),
                _ => engine::render_config(app, backend, at, buf),
            }
        }
    }
    if log_height > 0 {
        let logged = app.lines == Lines::Events || !backend.log.is_empty();
        let below = Rect {
            y: top.bottom(),
            height: log_height,
            ..area
        };
        if area.width >= THREE && logged {
            let width = area.width / 2;
            log::render(app, backend, Rect { width, ..below }, buf);
            let right = Rect {
                x: below.x + width,
                width: below.width - width,
                ..below
            };
            hosted::newest(app, backend, right, buf);
        } else if logged {
            log::render(app, backend, below, buf);
        } else {
            hosted::newest(app, backend, below, buf);
        }
    }
}

fn draw(at: Option<&Option<Rect>>, paint: impl FnOnce(Rect)) {
    if let Some(Some(at)) = at {
        paint(*at);
    }
}

/// A panel's title.
fn heading(theme: &Theme, text: &'static str) -> Line<'static> {
    Line::from(Span::styled(text, theme.of(Role::Accent)))
}

/// A summary in one colour.
fn aside(theme: &Theme, text: String, role: Role) -> Line<'static> {
    Line::from(Span::styled(text, theme.of(role)))
}
