//! The engine's own counters exactly as its `/metrics` says them, and the configuration it states.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use unicode_width::UnicodeWidthStr;

use crate::fleet::Backend;
use crate::fleet::engine::EngineSample;
use crate::tui::app::App;
use crate::tui::text;
use crate::tui::theme::Role;
use crate::tui::widget::panel;

use super::facts::{self, Fact, exact};
use super::serving;

/// Rows that show everything.
pub(super) const WANTED: u16 = 12;

/// Draws the counters since the engine's start, each with the name it has on the page.
pub(super) fn render(app: &App, backend: &Backend, area: Rect, buf: &mut Buffer) {
    let theme = &app.theme;
    let summary = serving::freshness(app, backend, "since its start");
    let inner = panel::render(
        theme,
        area,
        &super::heading(theme, "Engine totals"),
        &summary,
        buf,
    );
    let Some(sample) = &backend.sample else {
        if inner.height > 0 {
            let said = panel::cut(theme, "its /metrics has not been read yet", inner.width);
            buf.set_string(inner.x, inner.y, said, theme.of(Role::Faint));
        }
        return;
    };
    let lines = lines(sample);
    facts::render(theme, &lines, serving::old(app, backend), inner, buf);
}

fn lines(sample: &EngineSample) -> Vec<Fact> {
    let hits = match (sample.prefix_hits, sample.prefix_queries) {
        (Some(hits), Some(queries)) if queries > 0.0 => Some(hits / queries),
        _ => None,
    };
    let percent = |share: f64| format!("{:.1}%", share * 100.0);
    let of = match (sample.prefix_hits, sample.prefix_queries) {
        (Some(hits), Some(queries)) => format!("{} of {}", exact(hits), exact(queries)),
        _ => String::new(),
    };
    let ttft = &sample.ttft;
    vec![
        Fact::new("requests finished", sample.finished.map(exact))
            .role(Role::Strong)
            .note("request_success_total"),
        Fact::new("prompt tokens", sample.prompt_tokens.map(exact)).note("prompt_tokens_total"),
        Fact::new("generation tokens", sample.generation_tokens.map(exact))
            .role(Role::Strong)
            .note("generation_tokens_total"),
        Fact::new("preemptions", sample.preemptions.map(exact))
            .role(if sample.preemptions > Some(0.0) {
                Role::Warning
            } else {
                Role::Dim
            })
            .note("num_preemptions_total"),
        Fact::new("prefix hit rate", hits.map(percent)).note(of),
        Fact::new("KV cache use", sample.kv.map(percent)).note("kv_cache_usage_perc"),
        Fact::new(
            "TTFT count",
            (!ttft.counts.is_empty()).then(|| exact(ttft.count())),
        )
        .note("time_to_first_token_seconds"),
        Fact::new("TTFT mean", ttft.mean().map(seconds)).note("sum / count"),
        Fact::new("TTFT p50", ttft.quantile(0.5).map(text::latency)).note("from its buckets"),
        Fact::new("TTFT p95", ttft.quantile(0.95).map(text::latency)).note("from its buckets"),
    ]
}

/// Seconds with the milliseconds that a comparison needs.
fn seconds(s: f64) -> String {
    format!("{s:.3}s")
}

/// Rows that show the whole configuration.
pub(super) fn config_height(backend: &Backend) -> u16 {
    let known = backend
        .sample
        .as_ref()
        .map_or(0, |sample| sample.config.len());
    2 + (known as u16).clamp(1, 14)
}

/// Draws what the engine states of its configuration.
pub(super) fn render_config(app: &App, backend: &Backend, area: Rect, buf: &mut Buffer) {
    let theme = &app.theme;
    let empty = Vec::new();
    let config = backend
        .sample
        .as_ref()
        .map_or(&empty, |sample| &sample.config);
    let rows = usize::from(area.height.saturating_sub(2));
    let hidden = config.len().saturating_sub(rows);
    let summary = if hidden > 0 {
        super::aside(theme, format!("{hidden} more"), Role::Dim)
    } else {
        super::aside(theme, String::new(), Role::Dim)
    };
    let inner = panel::render(
        theme,
        area,
        &super::heading(theme, "Configuration"),
        &summary,
        buf,
    );
    if config.is_empty() && inner.height > 0 {
        let said = panel::cut(theme, "the engine states none", inner.width);
        buf.set_string(inner.x, inner.y, said, theme.of(Role::Faint));
    }
    let names = config
        .iter()
        .map(|(name, _)| name.width())
        .max()
        .unwrap_or(0) as u16;
    let names = names.min(inner.width / 2);
    for ((name, value), y) in config.iter().zip(inner.top()..inner.bottom()) {
        buf.set_string(
            inner.x,
            y,
            panel::cut(theme, name, names),
            theme.of(Role::Dim),
        );
        let room = inner.width.saturating_sub(names + 2);
        let value = panel::cut(theme, value, room);
        buf.set_string(inner.x + names + 2, y, value, theme.of(Role::Text));
    }
}
