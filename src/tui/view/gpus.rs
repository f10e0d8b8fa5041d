//! The GPUs screen: every GPU of the fleet as a tile, with whose it is and what it costs while it does nothing.

use std::borrow::Cow;
use std::collections::HashMap;

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
struct Tile<'f> {
    gpu: Cow<'f, Gpu>,
    owner: Option<&'f Backend>,
    /// One of a cluster's machine of which no page tells.
    unread: Option<Unread>,
}

/// What is known of a GPU by its machine alone.
#[derive(Clone, Copy)]
struct Unread {
    /// Nothing of this fleet runs on it.
    idle: bool,
    /// Dollars an hour of it; `None` where nobody said.
    price: Option<Usd>,
}

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

/// By machine and index; those of this machine that nobody of the fleet holds as well, and those of a cluster's machines
/// that no page tells of.
fn tiles(app: &App) -> Vec<Tile<'_>> {
    let owned = app.fleet.backends.iter().flat_map(|b| {
        let gpus = b.gpus.iter();
        gpus.map(move |gpu| told(gpu, Some(b.as_ref())))
    });
    let mut all: Vec<Tile<'_>> = owned.collect();
    let machine = app.fleet.machine.iter().flat_map(|it| it.gpus.iter());
    for gpu in machine {
        let known = |it: &Tile<'_>| (&it.gpu.host, it.gpu.index) == (&gpu.host, gpu.index);
        if !all.iter().any(known) {
            all.push(told(gpu, None));
        }
    }
    // Those that share one: whoever has it now.
    let has = |owner: Option<&Backend>| owner.is_some_and(|b| b.allocated() > 0);
    all.sort_by(|a, b| {
        let key = |it: &Tile<'_>| (it.gpu.index, !has(it.owner));
        (&a.gpu.host, key(a)).cmp(&(&b.gpu.host, key(b)))
    });
    all.dedup_by(|a, b| {
        (&a.gpu.host, a.gpu.index, &a.gpu.model) == (&b.gpu.host, b.gpu.index, &b.gpu.model)
    });
    unread(app, &mut all);
    all.retain(|it| {
        let whose = it.owner.map_or("nobody", |b| b.id.as_str());
        let hay = format!("{} {} {whose}", it.gpu.host, it.gpu.model);
        super::requests::contains_all(&hay, &app.filter)
    });
    all.sort_by(|a, b| (&a.gpu.host, a.gpu.index).cmp(&(&b.gpu.host, b.gpu.index)));
    all
}

fn told<'f>(gpu: &'f Gpu, owner: Option<&'f Backend>) -> Tile<'f> {
    Tile {
        gpu: Cow::Borrowed(gpu),
        owner,
        unread: None,
    }
}

/// Adds the GPUs of machines that exist, and are paid for, without a page that tells of them.
fn unread<'f>(app: &'f App, all: &mut Vec<Tile<'f>>) {
    let mut known: HashMap<String, u32> = HashMap::new();
    for it in all.iter() {
        *known.entry(it.gpu.host.clone()).or_default() += 1;
    }
    let placed = app.fleet.backends.iter().filter_map(|b| {
        let place = b.place.as_ref()?;
        Some((Some(b.as_ref()), &place.nodes))
    });
    let placed = placed.flat_map(|(owner, nodes)| nodes.iter().map(move |it| (owner, it)));
    let spare = app.fleet.clusters.iter().flat_map(|it| &it.spare);
    // How many of a machine were gone through so far: a second backend's come after the first one's.
    let mut seen: HashMap<&str, u32> = HashMap::new();
    for (owner, node) in placed.chain(spare.map(|it| (None, it))) {
        let idle = node.idle || owner.is_none();
        let n = if idle { node.gpus } else { node.held };
        let told = known.get(&*node.name).copied().unwrap_or(0);
        let from = seen.entry(&node.name).or_default();
        let price = node
            .price
            .and_then(|it| it.split(i128::from(node.gpus.max(1))));
        for index in (*from..*from + n).filter(|index| *index >= told) {
            let gpu = Gpu {
                index,
                host: node.name.to_string(),
                model: node.instance.to_string(),
                ..Gpu::default()
            };
            all.push(Tile {
                gpu: Cow::Owned(gpu),
                owner,
                unread: Some(Unread { idle, price }),
            });
        }
        *from += n;
    }
}

/// Why there is nothing to see.
fn nothing(app: &App) -> Vec<String> {
    if !app.filter.is_empty() {
        return vec!["Nothing matches the filter. esc clears it, / changes it.".to_owned()];
    }
    match app.fleet.machine.as_ref().and_then(|it| it.trouble.as_ref()) {
        Some(trouble) => vec![format!("No GPU figures: {trouble}.")],
        None => vec![
            "No GPU is read now, and no machine with one is known.".to_owned(),
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

/// It is paid for and does nothing; one that is not read is not known to.
fn is_idle(tile: &Tile<'_>) -> bool {
    if let Some(unread) = tile.unread {
        return unread.idle;
    }
    let paid = tile.owner.is_some_and(|b| b.allocated() > 0);
    paid && tile.gpu.util.is_some_and(|util| util < IDLE)
}

/// Its part of what its machine or its backend costs an hour.
fn rate(tile: &Tile<'_>) -> Option<Usd> {
    if let Some(unread) = tile.unread {
        return unread.price;
    }
    let owner = tile.owner.as_ref()?;
    let gpus = i128::try_from(owner.gpus.len().max(1)).ok()?;
    Some(Usd::from_pico(owner.rate_now()?.pico() / gpus))
}

fn draw(app: &App, tile: &Tile<'_>, area: Rect, buf: &mut Buffer) {
    let theme = &app.theme;
    let gpu = &tile.gpu;
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
    if tile.unread.is_some() {
        let y = area.y + 1;
        buf.set_stringn(
            area.x,
            y,
            "no reading",
            usize::from(room),
            theme.of(Role::Faint),
        );
        foot(app, tile, area, room, buf);
        return;
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
    let gpu = &tile.gpu;
    let mut line = Line::default();
    let mut push = |text: String, role: Role| line.push_span(Span::styled(text, theme.of(role)));
    match tile.owner {
        Some(b) => push(b.id.to_string(), state(b)),
        None => match gpu.holders.first() {
            Some(holder) => push(
                format!("{} {}, not ours", holder.name, holder.pid),
                Role::Warning,
            ),
            None if tile.unread.is_some() => push("runs nothing".to_owned(), Role::Warning),
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
        let cost = rate(tile).map_or("price unknown".to_owned(), |it| {
            format!("${}/h", super::cost::dollars(it))
        });
        push(format!("  idle {cost}"), Role::Warning);
    } else if let Some(cost) = tile.unread.and_then(|it| it.price) {
        let cost = super::cost::dollars(cost);
        push(format!("  ${cost}/h, use ?"), Role::Dim);
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
