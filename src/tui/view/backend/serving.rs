//! What an engine is doing now, and how long it makes people wait.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::fleet::Backend;
use crate::fleet::engine::{EngineSample, Histogram};
use crate::tui::app::App;
use crate::tui::text;
use crate::tui::theme::{Role, Theme};
use crate::tui::widget::columns::{self, Column};
use crate::tui::widget::panel;

/// Rows that show everything.
pub(super) const WANTED: u16 = 12;

/// Whether the figures are so old that they say little; five wall seconds.
pub(super) fn old(app: &App, backend: &Backend) -> bool {
    let limit = chrono::TimeDelta::seconds(5 * i64::from(app.fleet.speed));
    backend
        .live
        .age(app.fleet.now)
        .is_some_and(|age| age > limit)
}

/// How old the figures are, where they are old, or why there are none.
pub(super) fn freshness(app: &App, backend: &Backend, otherwise: &str) -> Line<'static> {
    let theme = &app.theme;
    match backend.live.age(app.fleet.now) {
        Some(age) if old(app, backend) => {
            super::aside(theme, format!("read {} ago", text::age(age)), Role::Warning)
        }
        Some(_) => super::aside(theme, otherwise.to_owned(), Role::Faint),
        None => super::aside(theme, "never read".to_owned(), Role::Faint),
    }
}

/// Draws the panel.
pub(super) fn render(app: &App, backend: &Backend, area: Rect, buf: &mut Buffer) {
    let theme = &app.theme;
    let first = backend.live.pages.front().map(|(_, page)| page);
    let window = if first.is_some() {
        "last 5m"
    } else {
        "since its start"
    };
    let summary = freshness(app, backend, window);
    let inner = panel::render(
        theme,
        area,
        &super::heading(theme, "Serving"),
        &summary,
        buf,
    );
    if inner.height == 0 {
        return;
    }
    let shade = |role: Role| if old(app, backend) { Role::Dim } else { role };
    let mut y = inner.y;
    for line in [flow(backend, &shade), speed(backend, &shade)] {
        if y < inner.bottom() {
            spread(
                &line,
                Rect {
                    y,
                    height: 1,
                    ..inner
                },
                theme,
                buf,
            );
            y += 1;
        }
    }
    let bars = [("KV cache", backend.live.kv), ("GPU", backend.live.gpu)];
    let roomy = inner.height >= 10;
    for (label, share) in bars {
        if y < inner.bottom() && (roomy || label == "KV cache" && inner.height >= 8) {
            gauge(
                theme,
                label,
                share,
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
    // Why there is nothing newer stands on the line that is air otherwise.
    let error = backend.live.error.as_ref();
    if let Some(error) = error.filter(|_| y < inner.bottom()) {
        let said = panel::cut(theme, &format!("not read: {error}"), inner.width);
        buf.set_string(inner.x, y, said, theme.of(Role::Warning));
    }
    if roomy || error.is_some() {
        y += 1;
    }
    let below = Rect {
        y,
        height: inner.bottom().saturating_sub(y),
        ..inner
    };
    match &backend.sample {
        Some(sample) => latencies(app, backend, sample, first.map(AsRef::as_ref), below, buf),
        None => gateway_only(app, backend, below, buf),
    }
}

type Figures = Vec<(Option<String>, Role, &'static str)>;

fn flow(backend: &Backend, shade: &dyn Fn(Role) -> Role) -> Figures {
    let live = &backend.live;
    let known = backend.live.read_at.is_some() || live.in_flight > 0;
    let mut said: Figures = vec![
        (
            live.requests_per_s.map(|r| format!("{r:.1}")),
            shade(Role::Strong),
            "req/s",
        ),
        (
            live.running.map(|n| n.to_string()),
            shade(Role::Text),
            "run",
        ),
        (
            live.waiting.map(|n| n.to_string()),
            shade(if live.waiting.unwrap_or(0) > 0 {
                Role::Critical
            } else {
                Role::Dim
            }),
            "wait",
        ),
        (
            known.then(|| match backend.max_running {
                Some(limit) => format!("{}/{limit}", live.in_flight),
                None => live.in_flight.to_string(),
            }),
            shade(Role::Text),
            "in flight",
        ),
    ];
    if live.held > 0 {
        said.push((Some(live.held.to_string()), Role::Waking, "held"));
    }
    said
}

fn speed(backend: &Backend, shade: &dyn Fn(Role) -> Role) -> Figures {
    let live = &backend.live;
    let mut said: Figures = vec![(
        live.tokens_per_s.map(text::count),
        shade(Role::Strong),
        "tok/s",
    )];
    if let Some(best) = live.best_tokens_per_s {
        said.push((Some(text::count(best)), shade(Role::Text), "best"));
    }
    if let Some(ceiling) = backend.self_hosted().and_then(|facts| facts.ceiling) {
        said.push((Some(text::count(ceiling)), shade(Role::Dim), "ceiling"));
    }
    said
}

/// Figures with their words, as many as fit whole.
fn spread(figures: &Figures, area: Rect, theme: &Theme, buf: &mut Buffer) {
    let mut x = area.x;
    for (figure, role, word) in figures {
        let (text, role) = match figure {
            Some(text) => (text.clone(), *role),
            None => (theme.glyphs.none.to_owned(), Role::Faint),
        };
        let line = Line::from(vec![
            Span::styled(text, theme.of(role)),
            Span::styled(format!(" {word}"), theme.of(Role::Dim)),
        ]);
        let width = line.width() as u16;
        if x + width > area.right() {
            break;
        }
        buf.set_line(x, area.y, &line, width);
        x += width + 3;
    }
}

fn gauge(theme: &Theme, label: &str, share: Option<f64>, area: Rect, buf: &mut Buffer) {
    buf.set_stringn(
        area.x,
        area.y,
        label,
        area.width.into(),
        theme.of(Role::Dim),
    );
    let bar = Rect {
        x: area.x + 10,
        width: area.width.saturating_sub(16),
        ..area
    };
    if bar.width < 4 {
        return;
    }
    let (said, role) = match share {
        Some(share) if share >= 0.85 => (text::percent(share), Role::Warning),
        Some(share) => (text::percent(share), Role::Text),
        None => (theme.glyphs.none.to_owned(), Role::Faint),
    };
    super::gpus::bar(theme, share.unwrap_or(0.0), bar, buf);
    let x = area.right() - (said.chars().count() as u16).min(5);
    buf.set_string(x, area.y, said, theme.of(role));
}

fn latencies(
    app: &App,
    backend: &Backend,
    sample: &EngineSample,
    first: Option<&EngineSample>,
    area: Rect,
    buf: &mut Buffer,
) {
    let theme = &app.theme;
    let of = |pick: fn(&EngineSample) -> &Histogram| match first {
        Some(first) => pick(sample).since(pick(first)),
        None => pick(sample).clone(),
    };
    let lines = [
        ("TTFT", of(|s| &s.ttft)),
        ("per token", of(|s| &s.inter_token)),
        ("request", of(|s| &s.e2e)),
        ("in queue", of(|s| &s.queue)),
    ];
    let table = [
        Column::word("LATENCY", 9, 100),
        Column::figure("P50", 5, 95),
        Column::figure("P95", 5, 95),
        Column::rest("SPREAD", 6, 60),
        Column::figure("MEAN", 5, 40),
    ];
    let role = if old(app, backend) {
        Role::Dim
    } else {
        Role::Text
    };
    let none = || (theme.glyphs.none.to_owned(), theme.of(Role::Faint));
    let figure = |seconds: Option<f64>, role| {
        seconds.map_or_else(none, |s| (text::latency(s), theme.of(role)))
    };
    let places = columns::fit(&table, area.width);
    let spread = places
        .get(3)
        .copied()
        .flatten()
        .map_or(0, |(_, width)| width);
    let rows = lines.iter().enumerate().map(|(i, (name, histogram))| {
        let (p50, p95) = if i == 0 && backend.live.ttft_p50.is_some() {
            (backend.live.ttft_p50, backend.live.ttft_p95)
        } else {
            (histogram.quantile(0.5), histogram.quantile(0.95))
        };
        vec![
            ((*name).to_owned(), theme.of(Role::Dim)),
            figure(
                p50,
                if role == Role::Text {
                    Role::Strong
                } else {
                    role
                },
            ),
            figure(p95, role),
            (
                bars(theme, histogram, spread.into()),
                theme.of(Role::SelfHosted),
            ),
            figure(histogram.mean(), Role::Dim),
        ]
    });
    columns::render(theme, &table, rows, area, buf);
}

/// The buckets of a histogram as blocks, those at both ends without observations left out.
fn bars(theme: &Theme, histogram: &Histogram, width: usize) -> String {
    let mut before = 0.0;
    let inside: Vec<f64> = histogram
        .counts
        .iter()
        .map(|count| {
            let n = count - before;
            before = *count;
            n.max(0.0)
        })
        .collect();
    let enough = histogram.count() * 0.001;
    let seen = |n: &f64| *n > enough;
    let (Some(first), Some(last)) = (inside.iter().position(seen), inside.iter().rposition(seen))
    else {
        return theme.glyphs.none.to_owned();
    };
    let inside = &inside[first..=last];
    let merge = inside.len().div_ceil(width.max(1)).max(1);
    let columns: Vec<f64> = inside
        .chunks(merge)
        .map(|chunk| chunk.iter().sum())
        .collect();
    let wide = (width / columns.len().max(1)).clamp(1, 2);
    let most = columns.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    columns
        .iter()
        .map(|n| {
            let level = (n / most * 8.0).ceil().clamp(0.0, 8.0) as usize;
            theme.glyphs.eighths[level].repeat(wide)
        })
        .collect()
}

/// Without an engine page: what the gateway measured.
fn gateway_only(app: &App, backend: &Backend, area: Rect, buf: &mut Buffer) {
    let theme = &app.theme;
    let shade = |role: Role| if old(app, backend) { Role::Dim } else { role };
    let live = &backend.live;
    let figures: Figures = vec![
        (
            live.ttft_p50.map(text::latency),
            shade(Role::Strong),
            "TTFT p50",
        ),
        (live.ttft_p95.map(text::latency), shade(Role::Text), "p95"),
    ];
    if area.height > 0 {
        spread(&figures, Rect { height: 1, ..area }, theme, buf);
    }
    if area.height > 1 && !backend.is_hosted() {
        let said = panel::cut(
            theme,
            "no engine page read yet: no distributions",
            area.width,
        );
        buf.set_string(area.x, area.y + 1, said, theme.of(Role::Faint));
    }
}
