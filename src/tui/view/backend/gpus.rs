//! The GPUs that a backend holds, one a row.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Span;

use crate::fleet::Backend;
use crate::fleet::engine::Gpu;
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
        let hosts = backend.gpus.first().map_or("", |gpu| gpu.host.as_str());
        super::aside(theme, hosts.to_owned(), Role::Faint)
    };
    let inner = panel::render(theme, area, &title, &summary, buf);
    if backend.gpus.is_empty() {
        if inner.height > 0 {
            let said = "no reading; set gpu_metrics to a dcgm-exporter page";
            let said = panel::cut(theme, said, inner.width);
            buf.set_string(inner.x, inner.y, said, theme.of(Role::Faint));
        }
        return;
    }
    let table = [
        Column::figure("", 2, 100),
        Column::rest("", 6, 70),
        Column::figure("UTIL", 4, 95),
        Column::figure("MEMORY GiB", 11, 90),
        Column::figure("POWER", 5, 80),
        Column::figure("TEMP", 4, 85),
        Column::word("XID", 4, 88),
    ];
    let places = columns::fit(&table, inner.width);
    let rows = backend.gpus.iter().map(|gpu| cells(theme, gpu));
    columns::render(theme, &table, rows, inner, buf);
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

/// A share as length.
pub(super) fn bar(theme: &Theme, share: f64, area: Rect, buf: &mut Buffer) {
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

fn cells(theme: &Theme, gpu: &Gpu) -> Vec<(String, ratatui::style::Style)> {
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
        gpu.power
            .map_or_else(none, |watts| cell(format!("{watts:.0}W"), Role::Text)),
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
    ]
}
