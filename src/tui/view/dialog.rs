//! What an action will do, before it runs; and the pin form.

mod cluster;
mod pin;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Widget as _};
use unicode_width::UnicodeWidthStr;

use super::help::centred;
use crate::fleet::{Preview, Usd};
use crate::tui::app::{App, Mode};
use crate::tui::text;
use crate::tui::theme::{Role, Theme};
use crate::tui::widget::panel;

/// The widest dialog: a sentence of this length is still read in one go.
const WIDEST: u16 = 86;
/// Columns of the labels.
const LABELS: usize = 12;
/// Targets that are named one by one.
const NAMED: usize = 4;
/// Over the figures.
const EFFECT: &str = "Effect";

pub(super) fn render(app: &App, area: Rect, buf: &mut Buffer) {
    let theme = &app.theme;
    let place = place(app, area);
    Clear.render(place, buf);
    buf.set_style(place, theme.of(Role::Text).patch(theme.of(Role::Dialog)));
    let on = Line::from(Span::styled(
        format!("on {}", app.fleet.name),
        theme.of(Role::Warning),
    ));
    let inner = panel::render(theme, place, &title(app), &on, buf);
    let below = if matches!(app.mode, Mode::Confirm { .. }) {
        2
    } else {
        0
    };
    let room = usize::from(inner.height.saturating_sub(below));
    let lines = fitted(theme, body(app, inner.width), room);
    for (i, line) in lines.iter().enumerate() {
        buf.set_line(inner.x, inner.y + i as u16, line, inner.width);
    }
    if let Mode::Confirm {
        apply, previews, ..
    } = &app.mode
        && let Some([cancel, go]) = buttons(app, area)
    {
        let hint = cluster::keys(app, previews);
        let room = cancel.x.saturating_sub(inner.x + 1);
        buf.set_line(inner.x, cancel.y, &hint, inner.width.min(room));
        for (rect, label, focused) in [
            (cancel, "Cancel".to_owned(), !apply),
            (go, verb(previews), *apply),
        ] {
            let style = theme.of(if focused {
                Role::Button
            } else {
                Role::ButtonIdle
            });
            buf.set_style(rect, style);
            buf.set_stringn(
                rect.x,
                rect.y,
                format!("{label:^width$}", width = usize::from(rect.width)),
                usize::from(rect.width),
                style,
            );
        }
    }
}

/// As many lines as there is room for. Air goes first, then the last sentences, and a line says so: what it costs stays.
fn fitted(theme: &Theme, mut lines: Vec<Line<'static>>, room: usize) -> Vec<Line<'static>> {
    if lines.len() > room {
        lines.retain(|line| line.width() > 0);
    }
    let over = lines.len().saturating_sub(room);
    let effect = lines.iter().position(|line| line.to_string() == EFFECT);
    if over > 0
        && let Some(effect) = effect
        && effect > over + 1
    {
        let from = effect - over - 1;
        let said = format!("{} {} more lines", theme.glyphs.ellipsis, over + 1);
        let said = Line::from(Span::styled(said, theme.of(Role::Warning)));
        lines.splice(from..effect, [said]);
    }
    lines.truncate(room);
    lines
}

/// The buttons' places: Cancel, then the verb; `None` where no dialog asks or there is no room.
pub(super) fn buttons(app: &App, area: Rect) -> Option<[Rect; 2]> {
    let Mode::Confirm { previews, .. } = &app.mode else {
        return None;
    };
    let place = place(app, area);
    let go = verb(previews).width() as u16 + 4;
    if place.height < 4 || place.width < go + 16 {
        return None;
    }
    let y = place.bottom() - 2;
    let right = place.right() - 3;
    Some([
        Rect::new(right - go - 2 - 10, y, 10, 1),
        Rect::new(right - go, y, go, 1),
    ])
}

fn place(app: &App, area: Rect) -> Rect {
    let width = WIDEST.min(area.width);
    let lines = body(app, width.saturating_sub(4)).len() as u16;
    // Frame, and where there are buttons: theirs with a line of air.
    let around = match app.mode {
        Mode::Pin { .. } => 2,
        Mode::Confirm { .. } | Mode::Normal | Mode::Filter | Mode::Palette { .. } | Mode::Help => 4,
    };
    centred(area, width, lines + around)
}

fn verb(previews: &[Preview]) -> String {
    let word = previews.first().map_or("Apply", |p| p.verb.as_str());
    if previews.len() > 1 {
        format!("{word} all {}", previews.len())
    } else {
        format!("{word} now")
    }
}

fn title(app: &App) -> Line<'static> {
    let theme = &app.theme;
    let (verb, target) = match &app.mode {
        Mode::Confirm { previews, .. } => match previews.as_slice() {
            [one] => (one.verb.clone(), one.target.clone()),
            many => (
                many.first().map(|p| p.verb.clone()).unwrap_or_default(),
                format!("{} backends", many.len()),
            ),
        },
        Mode::Pin { backends, .. } => (
            "Pin".to_owned(),
            backends
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(", "),
        ),
        Mode::Normal | Mode::Filter | Mode::Palette { .. } | Mode::Help => {
            (String::new(), String::new())
        }
    };
    Line::from(vec![
        Span::styled(format!("{verb} "), theme.of(Role::Warning)),
        Span::styled(target, theme.of(Role::Strong)),
    ])
}

fn body(app: &App, width: u16) -> Vec<Line<'static>> {
    match &app.mode {
        Mode::Confirm { previews, .. } if app.exact.is_some() => {
            cluster::calls(app, previews, width)
        }
        Mode::Confirm { previews, .. } => match previews.as_slice() {
            [one] if one.refused.is_some() => cluster::refused(app, one, width),
            [one] => told(app, one, width),
            many => told_all(app, many, width),
        },
        Mode::Pin {
            duration,
            reason,
            field,
            error,
            ..
        } => pin::form(app, duration, reason, *field, error.as_deref()),
        Mode::Normal | Mode::Filter | Mode::Palette { .. } | Mode::Help => Vec::new(),
    }
}

fn told(app: &App, p: &Preview, width: u16) -> Vec<Line<'static>> {
    let theme = &app.theme;
    let mut out = vec![Line::default()];
    if !(p.what.is_empty() && p.warnings.is_empty()) {
        out.push(heading(theme, "What happens"));
    }
    for sentence in &p.what {
        out.extend(wrapped(theme, sentence, Role::Text, width));
    }
    for warning in &p.warnings {
        out.extend(wrapped(
            theme,
            &format!("{} {warning}", theme.glyphs.alert),
            Role::Warning,
            width,
        ));
    }
    if out.len() > 1 {
        out.push(Line::default());
    }
    out.push(heading(theme, EFFECT));
    out.push(cost(theme, p.burn));
    if let Some((was, is)) = p.ttft {
        let value = format!(
            "{} {} {}",
            text::latency(was),
            theme.glyphs.arrow,
            text::latency(is)
        );
        out.push(row(
            theme,
            "TTFT p50",
            value,
            if is > was { Role::Warning } else { Role::Good },
        ));
    }
    for (i, (backend, was, is)) in p.shares.iter().enumerate() {
        let label = if i == 0 { "traffic" } else { "" };
        let hosted = app.fleet.backend(backend).is_some_and(|b| b.is_hosted());
        let value = format!(
            "{:>4} {} {:>4}  {backend}",
            text::percent(*was),
            theme.glyphs.arrow,
            text::percent(*is)
        );
        out.push(row(
            theme,
            label,
            value,
            if hosted {
                Role::Hosted
            } else {
                Role::SelfHosted
            },
        ));
    }
    if let Some(expected) = p.expected.filter(|e| !e.is_zero()) {
        let at_most = if p.affected > 0 { "at most " } else { "about " };
        out.push(row(
            theme,
            "takes",
            format!("{at_most}{}", text::clock(expected)),
            Role::Text,
        ));
    }
    if let Some(eval) = evals(app, p) {
        out.push(row(theme, "evals", eval, Role::Text));
    }
    out.extend(cluster::steps(app, p, width));
    out
}

/// The scores of who loses traffic beside those of who gets it.
fn evals(app: &App, p: &Preview) -> Option<String> {
    let (from, _, _) = p.shares.iter().find(|(_, was, is)| is < was)?;
    let (to, _, _) = p.shares.iter().find(|(_, was, is)| is > was)?;
    let model = app.fleet.model(&app.fleet.backend(from)?.model)?;
    let of = |id: &crate::fleet::BackendId| model.evals.iter().find(|e| e.backend == *id);
    let (a, b) = (of(from)?, of(to)?);
    (a.name == b.name).then(|| {
        format!(
            "{} {} {} {} ({})",
            a.name, a.score, app.theme.glyphs.arrow, b.score, b.date
        )
    })
}

fn told_all(app: &App, all: &[Preview], width: u16) -> Vec<Line<'static>> {
    let theme = &app.theme;
    let mut out = vec![Line::default(), heading(theme, "What happens")];
    for p in all.iter().take(NAMED) {
        let what = p.what.first().cloned().unwrap_or_default();
        out.extend(wrapped(
            theme,
            &format!("{}: {what}", p.target),
            Role::Text,
            width,
        ));
        for warning in &p.warnings {
            out.extend(wrapped(
                theme,
                &format!("  {} {warning}", theme.glyphs.alert),
                Role::Warning,
                width,
            ));
        }
    }
    if all.len() > NAMED {
        out.push(Line::from(Span::styled(
            format!("and {} more", all.len() - NAMED),
            theme.of(Role::Dim),
        )));
    }
    out.push(Line::default());
    out.push(heading(theme, EFFECT));
    // Each preview stands for itself; the fleet's burn moves by the sum of what each moves it.
    let burn = all
        .iter()
        .map(|p| p.burn)
        .collect::<Option<Vec<_>>>()
        .and_then(|burns| {
            let now = burns.first()?.0;
            Some((
                now,
                now + burns.iter().map(|(was, is)| *is - *was).sum::<Usd>(),
            ))
        });
    out.push(cost(theme, burn));
    let affected: u32 = all.iter().map(|p| p.affected).sum();
    if affected > 0 {
        out.push(row(
            theme,
            "requests",
            format!("{affected} running finish first"),
            Role::Text,
        ));
    }
    out
}

fn heading(theme: &Theme, text: &'static str) -> Line<'static> {
    Line::from(Span::styled(text, theme.of(Role::Dim)))
}

fn row(theme: &Theme, label: &str, value: String, role: Role) -> Line<'static> {
    Line::from(vec![
        Span::styled(format!("{label:<LABELS$}"), theme.of(Role::Dim)),
        Span::styled(value, theme.of(role)),
    ])
}

fn cost(theme: &Theme, burn: Option<(Usd, Usd)>) -> Line<'static> {
    let Some((was, is)) = burn else {
        return row(
            theme,
            "cost",
            "? (a rate or a price is unknown)".into(),
            Role::Dim,
        );
    };
    let label = Span::styled(format!("{:<LABELS$}", "cost"), theme.of(Role::Dim));
    let value = Span::styled(
        format!("${was} {} ${is} /h", theme.glyphs.arrow),
        theme.of(Role::Money),
    );
    let (word, role) = match is.cmp(&was) {
        std::cmp::Ordering::Less => (format!("   saves ${}/h", was - is), Role::Good),
        std::cmp::Ordering::Equal => ("   no change".to_owned(), Role::Dim),
        std::cmp::Ordering::Greater => (format!("   +${}/h", is - was), Role::Warning),
    };
    Line::from(vec![label, value, Span::styled(word, theme.of(role))])
}

/// A sentence in as many lines as it needs, broken between words.
fn wrapped(theme: &Theme, sentence: &str, role: Role, width: u16) -> Vec<Line<'static>> {
    let mut lines = vec![String::new()];
    for word in sentence.split(' ') {
        let last = lines.len() - 1;
        if !lines[last].is_empty() && lines[last].width() + 1 + word.width() > usize::from(width) {
            lines.push(format!("  {word}"));
        } else {
            if !lines[last].is_empty() {
                lines[last].push(' ');
            }
            lines[last].push_str(word);
        }
    }
    lines
        .into_iter()
        .map(|line| Line::from(Span::styled(line, theme.of(role))))
        .collect()
}
