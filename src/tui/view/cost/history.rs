//! Burn over time, stacked by backend.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use chrono::TimeDelta;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Style};
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;

use crate::fleet::history::Burn;
use crate::fleet::{Backend, BackendId, Fleet};
use crate::tui::app::App;
use crate::tui::text;
use crate::tui::theme::{Role, Theme};
use crate::tui::widget::chart::{self, Chart};
use crate::tui::widget::{mix, panel};

use super::{cut, split};

/// How much of its side's colour each next backend of that side keeps, in percent.
const SHADES: [u16; 4] = [100, 70, 50, 36];

/// Draws the history of burn with its panel into `area`.
pub(super) fn render(app: &App, area: Rect, buf: &mut Buffer) {
    let (fleet, theme) = (&app.fleet, &app.theme);
    let window = window(fleet);
    let title = Line::from(vec![
        Span::styled("Burn by backend", theme.of(Role::Accent)),
        Span::styled(format!("  {}", text::age(window)), theme.of(Role::Dim)),
    ]);
    let summary = Line::styled("$/h, without fixed costs", theme.of(Role::Dim));
    let inner = panel::render(theme, area, &title, &summary, buf);
    if inner.height == 0 {
        return;
    }
    // Hosted above self-hosted, each side in its own colour.
    let mut order: Vec<&Backend> = fleet.backends.iter().map(AsRef::as_ref).collect();
    order.sort_by_key(|b| b.is_hosted());
    let mut burnt: HashSet<&BackendId> = HashSet::new();
    let mut before: Option<&Burn> = None;
    for point in fleet.history.iter() {
        // Most are the same as the one before.
        if before.is_none_or(|it| !Arc::ptr_eq(it, &point.burn)) {
            burnt.extend(point.burn.iter().map(|(id, _)| id));
        }
        before = Some(&point.burn);
    }
    order.retain(|b| burnt.contains(&b.id));
    let styles = shades(theme, &order);
    // Each point is gone through once: there may be thousands of backends.
    let ids = order.iter().enumerate();
    let rank: HashMap<&BackendId, usize> = ids.map(|(at, b)| (&b.id, at)).collect();
    let mut before: Option<(Burn, Vec<f64>)> = None;
    let steps = mix::slots(fleet, window, |point| {
        if let Some((burn, step)) = &before
            && Arc::ptr_eq(burn, &point.burn)
        {
            return step.clone();
        }
        let mut step = vec![0.0; order.len()];
        for (id, burn) in point.burn.iter() {
            if let Some(at) = rank.get(id) {
                step[*at] = *burn;
            }
        }
        before = Some((Arc::clone(&point.burn), step.clone()));
        step
    });
    let name = order.iter().map(|b| b.id.as_str().width()).max();
    // Two columns of air, a block, the name, and a figure of seven.
    let wanted = name.unwrap_or(0) as u16 + 13;
    let (plot, legend) = if inner.width >= wanted + 40 {
        split(inner, inner.width - wanted)
    } else if inner.height >= 9 {
        let (plot, legend) = cut(inner, inner.height - 1);
        draw_names(theme, &order, &styles, legend, buf);
        (plot, Rect::default())
    } else {
        (inner, Rect::default())
    };
    let chart = Chart {
        layers: styles.clone(),
        steps,
        from: fleet.now - window,
        to: fleet.now,
    };
    chart::render(theme, &chart, plot, buf);
    let rows = order.iter().zip(&styles).rev();
    for (row, (backend, style)) in (0..legend.height).zip(rows) {
        let (x, y) = (legend.x + 2, legend.y + row);
        buf.set_string(x, y, theme.glyphs.eighths[8], *style);
        buf.set_string(x + 2, y, backend.id.as_str(), theme.of(Role::Text));
        let burn = backend
            .burn(fleet.now)
            .map_or_else(|| "?".to_owned(), super::dollars);
        let at = legend.right().saturating_sub(burn.chars().count() as u16);
        buf.set_string(at, y, burn, theme.of(Role::Text));
    }
}

/// One line of names with their colours, as many as fit whole, the largest burn first.
fn draw_names(theme: &Theme, order: &[&Backend], styles: &[Style], area: Rect, buf: &mut Buffer) {
    let mut names: Vec<_> = order.iter().zip(styles).collect();
    names.sort_by_key(|(b, _)| std::cmp::Reverse(b.rate_now()));
    let mut x = area.x;
    for (backend, style) in names {
        let width = backend.id.as_str().width() as u16 + 2;
        if x + width > area.right() {
            break;
        }
        buf.set_string(x, area.y, theme.glyphs.eighths[8], *style);
        let name = theme.of(Role::Dim);
        buf.set_string(x + 2, area.y, backend.id.as_str(), name);
        x += width + 2;
    }
}

/// The shortest round window that holds all history.
fn window(fleet: &Fleet) -> TimeDelta {
    let oldest = fleet.history.front().map_or(fleet.now, |p| p.start);
    [15, 30, 60]
        .map(TimeDelta::minutes)
        .into_iter()
        .find(|w| fleet.now - oldest <= *w)
        .unwrap_or(TimeDelta::hours(2))
}

/// One shade of its side's colour for each backend.
pub(in crate::tui) fn shades(theme: &Theme, backends: &[&Backend]) -> Vec<Style> {
    let mut seen = [0_usize; 2];
    backends
        .iter()
        .map(|b| {
            let hosted = b.is_hosted();
            let nth = &mut seen[usize::from(hosted)];
            let part = SHADES[*nth % SHADES.len()];
            *nth += 1;
            let role = if hosted {
                Role::Hosted
            } else {
                Role::SelfHosted
            };
            shade(theme, role, part)
        })
        .collect()
}

/// A role's colour moved towards the ground; as it is where the terminal has no truecolor.
fn shade(theme: &Theme, role: Role, part: u16) -> Style {
    let style = theme.of(role);
    let (Some(Color::Rgb(r, g, b)), Some(Color::Rgb(gr, gg, gb))) =
        (style.fg, theme.of(Role::Ground).bg)
    else {
        return style;
    };
    let mix = |from: u8, to: u8| {
        ((u16::from(from) * part + u16::from(to) * (100 - part)) / 100).min(255) as u8
    };
    style.fg(Color::Rgb(mix(r, gr), mix(g, gg), mix(b, gb)))
}
