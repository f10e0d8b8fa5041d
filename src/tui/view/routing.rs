//! The Routing screen: a model's weights as sliders, what the choice is between, and what a change would do.

mod choice;
mod effect;
mod rules;
mod traffic;
mod weights;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::fleet::{Backend, Fleet, Model, ModelId};
use crate::tui::app::App;
use crate::tui::theme::{Role, Theme};

use super::cost::{cut, split};
use crate::tui::widget::grid::is_ascii;

/// From here on the effect has room beside the weights.
const WIDE: u16 = 110;
/// Cells of a model's split bar on the strip, and where there is less room.
const BARS: [usize; 2] = [8, 4];

/// Draws the Routing screen into `area`.
pub fn render(app: &App, area: Rect, buf: &mut Buffer) {
    if area.width < 20 || area.height == 0 {
        return;
    }
    let Some(model) = app.model() else {
        let none = "No model is configured: there is nothing to route.";
        buf.set_string(area.x + 2, area.y, none, app.theme.of(Role::Dim));
        return;
    };
    let (tabs, rest) = cut(area, u16::from(area.height > 8));
    strip(app, model, tabs, buf);
    let (rest, hints) = cut(rest, rest.height.saturating_sub(u16::from(area.height > 5)));
    hint(app, hints, buf);
    // Heading and frame come with the rows.
    let rows = app.fleet.backends_of(&model.id).count() as u16 + 3;
    if area.width >= WIDE {
        let columns = area.width * 3 / 5;
        let wanted = effect::height(app, model, area.width - columns).min(14);
        let (top, bottom) = cut(rest, rows.max(wanted));
        let (left, right) = split(top, columns);
        weights::render(app, model, left, buf);
        effect::render(app, model, right, buf);
        let (middle, bottom) = cut(bottom, rows);
        choice::render(app, model, middle, buf);
        let (known, bottom) = cut(bottom, rules::height(model));
        if known.height > 2 {
            rules::render(app, model, known, buf);
        }
        if bottom.height >= 5 {
            traffic::render(app, model, bottom, buf);
        }
    } else {
        let (top, bottom) = cut(rest, rows);
        weights::render(app, model, top, buf);
        let (middle, bottom) = cut(bottom, if bottom.height >= rows + 4 { rows } else { 0 });
        choice::render(app, model, middle, buf);
        let (known, bottom) = cut(bottom, rules::height(model));
        if known.height > 2 {
            rules::render(app, model, known, buf);
        }
        let room = bottom.height;
        let (effect, traffic) = cut(bottom, if room >= 18 { 11 } else { room });
        effect::render(app, model, effect, buf);
        if traffic.height >= 5 {
            traffic::render(app, model, traffic, buf);
        }
    }
}

/// Every model with its split, the shown one first among equals.
fn strip(app: &App, shown: &Model, area: Rect, buf: &mut Buffer) {
    if area.height == 0 {
        return;
    }
    let theme = &app.theme;
    let room = usize::from(area.width.saturating_sub(4));
    let width = |tabs: &[Line<'_>]| tabs.iter().map(|t| t.width() + 3).sum::<usize>();
    let tabs = |bar: usize| -> Vec<Line<'static>> {
        app.fleet
            .models
            .iter()
            .map(|model| {
                let active = model.id == shown.id;
                let name = theme.of(if active { Role::Accent } else { Role::Dim });
                let mut tab = vec![Span::styled(format!("{} ", model.id), name)];
                tab.extend(split_bar(theme, hosted_share(&app.fleet, &model.id), bar));
                Line::from(tab)
            })
            .collect()
    };
    let tabs = match tabs(BARS[0]) {
        wide if width(&wide) <= room + 3 => wide,
        _ => tabs(BARS[1]),
    };
    let at = app
        .fleet
        .models
        .iter()
        .position(|m| m.id == shown.id)
        .unwrap_or(0);
    let mut first = 0;
    while first < at && width(&tabs[first..=at]) > room {
        first += 1;
    }
    let mut x = area.x + 2;
    if first > 0 {
        buf.set_string(area.x, area.y, theme.glyphs.ellipsis, theme.of(Role::Dim));
    }
    for tab in &tabs[first..] {
        let width = tab.width() as u16;
        if x + width > area.right() {
            let edge = area.right() - 1;
            buf.set_string(edge, area.y, theme.glyphs.ellipsis, theme.of(Role::Dim));
            break;
        }
        buf.set_line(x, area.y, tab, width);
        x += width + 3;
    }
}

fn split_bar(theme: &Theme, hosted: Option<f64>, bar: usize) -> Vec<Span<'static>> {
    let Some(hosted) = hosted else {
        let track = theme.glyphs.track.repeat(bar);
        return vec![Span::styled(track, theme.of(Role::Faint))];
    };
    let own = ((1.0 - hosted) * bar as f64).round() as usize;
    vec![
        Span::styled(theme.glyphs.bar.repeat(own), theme.of(Role::SelfHosted)),
        Span::styled(
            theme.glyphs.bar.repeat(bar.saturating_sub(own)),
            theme.of(Role::Hosted),
        ),
    ]
}

/// The part of a model's answers that hosted backends gave, or by its weights before the first; `None` where neither says.
fn hosted_share(fleet: &Fleet, model: &ModelId) -> Option<f64> {
    let side = |read: &dyn Fn(&Backend) -> f64| {
        let parts: Vec<_> = fleet
            .backends_of(model)
            .map(|b| (b.is_hosted(), read(b)))
            .collect();
        let all: f64 = parts.iter().map(|p| p.1).sum();
        let hosted: f64 = parts.iter().filter(|p| p.0).map(|p| p.1).sum();
        (all > 0.0).then(|| hosted / all)
    };
    side(&|b| b.live.share.unwrap_or(0.0)).or_else(|| side(&|b| f64::from(b.weight)))
}

/// The weight of `backend` on the screen: the draft's, or the real one.
fn drafted(app: &App, backend: &Backend) -> u32 {
    app.draft
        .iter()
        .flatten()
        .find(|(id, _)| *id == backend.id)
        .map_or(backend.weight, |(_, weight)| *weight)
}

fn hint(app: &App, area: Rect, buf: &mut Buffer) {
    if area.height == 0 {
        return;
    }
    let theme = &app.theme;
    let arrows = if is_ascii(theme) { "</>" } else { "←→" };
    let mut hints = vec![(arrows, "change"), ("enter", "apply"), ("esc", "discard")];
    if app.draft.is_none() {
        hints = vec![(arrows, "change")];
    }
    hints.extend([("x", "flip"), ("z", "undo")]);
    let mut line = Line::default();
    for (key, what) in hints {
        if !line.spans.is_empty() {
            let dot = format!(" {} ", theme.glyphs.dot);
            line.push_span(Span::styled(dot, theme.of(Role::Faint)));
        }
        line.push_span(Span::styled(key, theme.of(Role::Accent)));
        line.push_span(Span::styled(format!(" {what}"), theme.of(Role::Dim)));
    }
    if app.read_only {
        line = Line::styled(
            "read-only: weights cannot be changed here",
            theme.of(Role::Dim),
        );
    }
    buf.set_line(area.x + 2, area.y, &line, area.width - 2);
}
