//! The GPUs that a backend holds, one a row.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Span;

use crate::fleet::Backend;
use crate::fleet::gpu::{Gpu, Holder};
use crate::tui::app::App;
use crate::tui::theme::{Role, Theme};
use crate::tui::widget::columns::{self, Column};
use crate::tui::widget::panel;

/// Rows that show everything.
pub(super) fn wanted_height(backend: &Backend) -> u16 {
    3 + (backend.gpus.len() as u16).clamp(1, 16)
}

/// Draws the panel.
pub(super) fn render(app: &App, backend: &Backend, area: Rect, buf: &mut Buffer) {
    let theme = &app.theme;
    let mut title = super::heading(theme, "GPUs");
    if let Some(gpu) = backend.gpus.first() {
        let name = gpu.model.trim_start_matches("NVIDIA ");
        title.push_span(Span::styled(
            format!("  {}", backend.gpus.len()),
            theme.of(Role::Text),
        ));
        title.push_span(Span::styled(format!(" {name}"), theme.of(Role::Dim)));
    }
    let faulty = backend
        .gpus
        .iter()
        .filter(|gpu| gpu.xid.is_some_and(|xid| xid > 0.0))
        .count();
    let summary = if faulty > 0 {
        super::aside(theme, format!("{faulty} with errors"), Role::Critical)
    } else {
        super::aside(theme, hosts(backend), Role::Faint)
    };
    let inner = panel::render(theme, area, &title, &summary, buf);
    if backend.gpus.is_empty() {
        if inner.height > 0 {
            let machine = app.fleet.machine.as_ref();
            let said =
                match machine.filter(|_| backend.self_hosted().is_some_and(|it| it.startable)) {
                    Some(machine) => machine
                        .trouble
                        .as_deref()
                        .unwrap_or("none is held by it now"),
                    None => "no reading; set gpu_metrics to a dcgm-exporter page",
                };
            let said = panel::cut(theme, said, inner.width);
            buf.set_string(inner.x, inner.y, said, theme.of(Role::Faint));
        }
        return;
    }
    let limited = backend.gpus.iter().any(|gpu| gpu.power_limit.is_some());
    let table = [
        Column::figure("", 2, 100),
        Column::rest("", 6, 70),
        Column::figure("UTIL", 4, 95),
        Column::figure("MEMORY GiB", 11, 90),
        Column::figure("POWER", if limited { 9 } else { 5 }, 80),
        Column::figure("TEMP", 4, 85),
        Column::word("XID", 4, 88),
        Column::word("HELD BY", 30, 60),
    ];
    // A page does not tell who holds a GPU.
    let told = backend.gpus.iter().any(|gpu| !gpu.holders.is_empty());
    let table = &table[..table.len() - usize::from(!told)];
    let places = columns::fit(table, inner.width);
    let rows = backend.gpus.iter().map(|gpu| cells(theme, backend, gpu));
    columns::render(theme, table, rows, inner, buf);
    if let Some(Some((x, width))) = places.get(1) {
        for (gpu, y) in backend.gpus.iter().zip(inner.y + 1..inner.bottom()) {
            if let Some(util) = gpu.util {
                bar(
                    theme,
                    util / 100.0,
                    Rect {
                        x: inner.x + x,
                        y,
                        width: *width,
                        height: 1,
                    },
                    buf,
                );
            }
        }
    }
}

/// The machine, or the first of them and how many more there are.
fn hosts(backend: &Backend) -> String {
    let mut all: Vec<&str> = backend.gpus.iter().map(|gpu| gpu.host.as_str()).collect();
    all.sort_unstable();
    all.dedup();
    match all.as_slice() {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [one, other] => format!("{one}, {other}"),
        [one, rest @ ..] => format!("{one} and {} more", rest.len()),
    }
}

/// A share as length.
pub(in crate::tui::view) fn bar(theme: &Theme, share: f64, area: Rect, buf: &mut Buffer) {
    let full = (share.clamp(0.0, 1.0) * f64::from(area.width)).round() as u16;
    let role = if share >= 0.95 {
        Role::Warning
    } else {
        Role::SelfHosted
    };
    for i in 0..area.width {
        let (glyph, role) = if i < full {
            (theme.glyphs.bar, role)
        } else {
            (theme.glyphs.track, Role::Border)
        };
        buf.set_string(area.x + i, area.y, glyph, theme.of(role));
    }
}

fn cells(theme: &Theme, backend: &Backend, gpu: &Gpu) -> Vec<(String, ratatui::style::Style)> {
    let none = || (theme.glyphs.none.to_owned(), theme.of(Role::Faint));
    let cell = |text: String, role: Role| (text, theme.of(role));
    let gib = |mib: f64| mib / 1024.0;
    let memory = match (gpu.memory_used, gpu.memory_free) {
        (Some(used), Some(free)) => cell(
            format!("{:.1} / {:.0}", gib(used), gib(used + free)),
            Role::Text,
        ),
        (Some(used), None) => cell(format!("{:.1}", gib(used)), Role::Text),
        (None, _) => none(),
    };
    vec![
        cell(gpu.index.to_string(), Role::Dim),
        cell(String::new(), Role::Faint),
        gpu.util
            .map_or_else(none, |util| cell(format!("{util:.0}%"), Role::Strong)),
        memory,
        match (gpu.power, gpu.power_limit) {
            (Some(watts), Some(limit)) => cell(format!("{watts:.0}/{limit:.0}W"), Role::Text),
            (Some(watts), None) => cell(format!("{watts:.0}W"), Role::Text),
            (None, _) => none(),
        },
        gpu.temperature.map_or_else(none, |t| {
            cell(
                format!("{t:.0}C"),
                if t >= 85.0 { Role::Warning } else { Role::Text },
            )
        }),
        gpu.xid.map_or_else(none, |xid| {
            if xid > 0.0 {
                cell(format!("{xid:.0}"), Role::Critical)
            } else {
                cell("ok".into(), Role::Good)
            }
        }),
        held(theme, backend, gpu),
    ]
}

/// Who holds most of it: of this backend, or somebody else in its way.
fn held(theme: &Theme, backend: &Backend, gpu: &Gpu) -> (String, ratatui::style::Style) {
    let size = |holder: &&Holder| holder.memory.unwrap_or(0.0) as u64;
    let others = |holder: &&Holder| holder.backend.as_ref() != Some(&backend.id);
    let stranger = gpu.holders.iter().filter(others).max_by_key(size);
    let Some(holder) = stranger.or_else(|| gpu.holders.iter().max_by_key(size)) else {
        return (theme.glyphs.none.to_owned(), theme.of(Role::Faint));
    };
    let whose = match &holder.backend {
        Some(id) if *id == backend.id => String::new(),
        Some(id) => format!("{id}: "),
        None => "not ours: ".to_owned(),
    };
    let size = holder
        .memory
        .map_or(String::new(), |mib| format!(" {:.1}", mib / 1024.0));
    let more = match gpu.holders.len() {
        0 | 1 => String::new(),
        n => format!(" +{}", n - 1),
    };
    let text = format!("{whose}{} {}{size}{more}", holder.name, holder.pid);
    let role = if stranger.is_some() {
        Role::Warning
    } else {
        Role::Text
    };
    (text, theme.of(role))
}
