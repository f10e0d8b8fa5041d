//! The GPUs screen: every GPU of the fleet as a tile, with whose it is and what it costs while it does nothing.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::fleet::gpu::Gpu;
use crate::fleet::{Backend, State, Usd};
use crate::tui::app::App;
use crate::tui::theme::Role;
use crate::tui::widget::panel;

/// A tile's size.
const WIDTH: u16 = 36;
const HEIGHT: u16 = 6;
/// Below this it does nothing worth its money, percent.
const IDLE: f64 = 5.0;

/// A GPU, and whose it is.
type Tile<'f> = (&'f Gpu, Option<&'f Backend>);

/// How many tiles there are to scroll through.
pub fn count(app: &App) -> usize {
    tiles(app).len()
}

/// Draws the GPUs screen into `area`.
pub fn render(app: &App, area: Rect, buf: &mut Buffer) {
    let theme = &app.theme;
    let all = tiles(app);
    let inner = panel::render(theme, area, &title(app, &all), &summary(app, &all), buf);
    if all.is_empty() {
        for (line, said) in nothing(app).into_iter().enumerate() {
            if (line as u16) < inner.height {
                let said = panel::cut(theme, &said, inner.width);
                buf.set_string(inner.x, inner.y + line as u16, said, theme.of(Role::Dim));
            }
        }
        return;
    }
    let across = (inner.width / WIDTH).max(1);
    let width = inner.width / across;
    let first = app.scroll.min(all.len() - 1) / usize::from(across) * usize::from(across);
    for (at, tile) in all.iter().skip(first).enumerate() {
        let (row, column) = (at as u16 / across, at as u16 % across);
        let place = Rect {
            x: inner.x + column * width,
            y: inner.y + row * HEIGHT,
            width,
            height: HEIGHT,
        };
        if place.bottom() > inner.bottom() {
            break;
        }
        draw(app, tile, place, buf);
    }
}

/// By machine and index; those of this machine that nobody of the fleet holds as well.
fn tiles(app: &App) -> Vec<Tile<'_>> {
    let owned = app.fleet.backends.iter().flat_map(|b| {
        let gpus = b.gpus.iter();
        gpus.map(move |gpu| (gpu, Some(b.as_ref())))
    });
    let mut all: Vec<Tile<'_>> = owned.collect();
    let machine = app.fleet.machine.iter().flat_map(|it| it.gpus.iter());
    for gpu in machine {
        let known = |(other, _): &Tile<'_>| (&other.host, other.index) == (&gpu.host, gpu.index);
        if !all.iter().any(known) {
            all.push((gpu, None));
        }
    }
    all.retain(|(gpu, owner)| {
        let whose = owner.map_or("nobody", |b| b.id.as_str());
        let hay = format!("{} {} {whose}", gpu.host, gpu.model);
        super::requests::contains_all(&hay, &app.filter)
    });
    // Those that share one: whoever has it now.
    let has = |owner: Option<&Backend>| owner.is_some_and(|b| b.allocated() > 0);
    all.sort_by_key(|(gpu, owner)| (&gpu.host, gpu.index, !has(*owner)));
    all.dedup_by_key(|(gpu, _)| (&gpu.host, gpu.index, &gpu.model));
    all
}

/// Why there is nothing to see.
fn nothing(app: &App) -> Vec<String> {
    if !app.filter.is_empty() {
        return vec!["Nothing matches the filter. esc clears it, / changes it.".to_owned()];
    }
    match app.fleet.machine.as_ref().and_then(|it| it.trouble.as_ref()) {
        Some(trouble) => vec![format!("No GPU figures: {trouble}.")],
        None => vec![
            "No GPU is read now.".to_owned(),
            "Engines of this machine are read through NVIDIA's library while they run; for others set `gpu_metrics` to a"
                .to_owned(),
            "dcgm-exporter page.".to_owned(),
        ],
    }
}

fn title<'a>(app: &App, all: &[Tile<'_>]) -> Line<'a> {
    let theme = &app.theme;
    let mut title = Line::from(vec![
        Span::styled("GPUs", theme.of(Role::Accent)),
        Span::styled(format!("  {}", all.len()), theme.of(Role::Dim)),
    ]);
    if !app.filter.is_empty() {
        let said = format!(" match {}", app.filter);
        title.push_span(Span::styled(said, theme.of(Role::Warning)));
    }
    title
}

/// What is paid for GPUs that do nothing.
fn summary<'a>(app: &App, all: &[Tile<'_>]) -> Line<'a> {
    let theme = &app.theme;
    let idle: Vec<_> = all.iter().filter(|tile| is_idle(tile)).collect();
    if idle.is_empty() {
        return Line::default();
    }
    let known = idle.iter().filter_map(|tile| rate(tile));
    let cost: Usd = known.sum();
    let partial = idle.iter().any(|tile| rate(tile).is_none());
    let cost = super::cost::at_least(theme, cost, partial);
    let said = format!("{} idle, {cost}/h", idle.len());
    Line::from(Span::styled(said, theme.of(Role::Warning)))
}

/// It is paid for and does nothing.
fn is_idle((gpu, owner): &Tile<'_>) -> bool {
    let paid = owner.is_some_and(|b| b.allocated() > 0);
    paid && gpu.util.is_some_and(|util| util < IDLE)
}

/// Its part of what its backend costs an hour.
fn rate((_, owner): &Tile<'_>) -> Option<Usd> {
    let owner = owner.as_ref()?;
    let gpus = i128::try_from(owner.gpus.len().max(1)).ok()?;
    Some(Usd::from_pico(owner.rate_now()?.pico() / gpus))
}

fn draw(app: &App, tile: &Tile<'_>, area: Rect, buf: &mut Buffer) {
    let theme = &app.theme;
    let (gpu, _) = tile;
    let model = gpu.model.trim_start_matches("NVIDIA ");
    let room = area.width.saturating_sub(2);
    let head = format!("{}:{}", gpu.host, gpu.index);
    buf.set_stringn(
        area.x,
        area.y,
        &head,
        usize::from(room),
        theme.of(Role::Strong),
    );
    let x = head.chars().count() as u16 + 1;
    if x < room {
        let model = panel::cut(theme, model, room - x);
        buf.set_string(area.x + x, area.y, model, theme.of(Role::Faint));
    }
    let none = || theme.glyphs.none.to_owned();
    let used = gpu.memory_used.zip(gpu.memory_free);
    let gib = |mib: f64| mib / 1024.0;
    let rows = [
        (
            "util",
            gpu.util.map(|util| util / 100.0),
            gpu.util.map_or_else(none, |util| format!("{util:.0}%")),
        ),
        (
            "mem",
            used.map(|(used, free)| used / (used + free).max(1.0)),
            used.map_or_else(none, |(used, free)| {
                format!("{:.0}/{:.0}G", gib(used), gib(used + free))
            }),
        ),
        (
            "power",
            gpu.power
                .zip(gpu.power_limit)
                .map(|(now, most)| now / most.max(1.0)),
            gpu.power.map_or_else(none, |watts| format!("{watts:.0}W")),
        ),
    ];
    for (at, (word, share, figure)) in rows.into_iter().enumerate() {
        let y = area.y + 1 + at as u16;
        buf.set_stringn(area.x, y, word, 5, theme.of(Role::Dim));
        let bar = Rect {
            x: area.x + 6,
            y,
            width: room.saturating_sub(6 + 8),
            height: 1,
        };
        if let Some(share) = share {
            super::backend::bar(theme, share, bar, buf);
        }
        let text = format!("{figure:>7}");
        buf.set_stringn(bar.right() + 1, y, &text, 7, theme.of(Role::Text));
    }
    foot(app, tile, area, room, buf);
}

/// Temperature, errors, whose it is and what it costs while it does nothing.
fn foot(app: &App, tile: &Tile<'_>, area: Rect, room: u16, buf: &mut Buffer) {
    let theme = &app.theme;
    let (gpu, owner) = tile;
    let mut line = Line::default();
    let mut push = |text: String, role: Role| line.push_span(Span::styled(text, theme.of(role)));
    match owner {
        Some(b) => push(b.id.to_string(), state(b)),
        None => match gpu.holders.first() {
            Some(holder) => push(
                format!("{} {}, not ours", holder.name, holder.pid),
                Role::Warning,
            ),
            None => push("nobody's".to_owned(), Role::Faint),
        },
    }
    if let Some(celsius) = gpu.temperature {
        let role = if celsius >= 85.0 {
            Role::Warning
        } else {
            Role::Dim
        };
        push(format!("  {celsius:.0}C"), role);
    }
    if let Some(xid) = gpu.xid.filter(|xid| *xid > 0.0) {
        push(format!("  XID {xid:.0}"), Role::Critical);
    }
    if is_idle(tile) {
        let cost = rate(tile).map_or("?".to_owned(), super::cost::dollars);
        push(format!("  idle ${cost}/h"), Role::Warning);
    }
    buf.set_line(area.x, area.y + 4, &line, room);
}

fn state(b: &Backend) -> Role {
    match b.state {
        State::Waking(_) => Role::Waking,
        State::Asleep { .. } | State::Unknown { .. } => Role::Asleep,
        State::Failed(_) | State::Down { .. } => Role::Critical,
        State::Draining(_) | State::Limited { .. } => Role::Warning,
        State::Warm { .. } | State::Ready { .. } => Role::SelfHosted,
    }
}
