//! What an action will do, before it runs; and the pin form.

mod cluster;
mod pin;
mod told;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Widget as _};
use unicode_width::UnicodeWidthStr;

use super::help::centred;
use crate::fleet::Preview;
use crate::tui::app::{App, Mode};
use crate::tui::text;
use crate::tui::theme::{Role, Theme};
use crate::tui::widget::grid::is_ascii;
use crate::tui::widget::panel;

/// The widest dialog: a sentence of this length is still read in one go.
const WIDEST: u16 = 86;
/// Columns of the labels.
const LABELS: usize = 12;
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
    let (lines, room) = read(app, area);
    let from = app.read_from.min(lines.len().saturating_sub(room));
    for (i, line) in lines.iter().skip(from).take(room).enumerate() {
        buf.set_line(inner.x, inner.y + i as u16, line, inner.width);
    }
    if lines.len() > room {
        let last = (from + room).min(lines.len());
        let dash = if is_ascii(theme) { "-" } else { "–" };
        let said = format!(" {}{dash}{last} of {}, j k ", from + 1, lines.len());
        let x = place.right().saturating_sub(said.width() as u16 + 2);
        buf.set_string(x, place.bottom() - 1, said, theme.of(Role::Accent));
    }
    if let Mode::Confirm {
        apply,
        commands,
        previews,
    } = &app.mode
        && let Some([cancel, go]) = buttons(app, area)
    {
        let room = cancel.x.saturating_sub(inner.x + 1).min(inner.width);
        let hint = cluster::keys(app, commands, previews, *apply, room);
        buf.set_line(inner.x, cancel.y, &hint, room);
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

/// Rows that the frame takes, and where there are buttons: theirs with a line of air.
fn around(app: &App) -> u16 {
    match app.mode {
        Mode::Pin { .. } => 2,
        Mode::Confirm { .. }
        | Mode::Normal
        | Mode::Filter
        | Mode::Palette { .. }
        | Mode::Help
        | Mode::Findings { .. }
        | Mode::Leave => 4,
    }
}

/// What there is to read, and how many lines of it are seen at once. Where it is too much, air goes first, and what it
/// costs and where the traffic goes come before the sentences.
fn read(app: &App, area: Rect) -> (Vec<Line<'static>>, usize) {
    let width = WIDEST.min(area.width).saturating_sub(4);
    let room = usize::from(area.height.saturating_sub(around(app)));
    let mut lines = body(app, width);
    if lines.len() > room && !app.exact {
        lines.retain(|line| line.width() > 0);
    }
    if lines.len() > room
        && !app.exact
        && let Some(effect) = heads(&lines, EFFECT)
        && let end = heads(&lines, cluster::STEPS_HEAD).unwrap_or(lines.len())
        && end > room
    {
        lines[..end].rotate_left(effect);
    }
    (lines, room)
}

fn heads(lines: &[Line<'static>], text: &str) -> Option<usize> {
    lines.iter().position(|line| line.to_string() == text)
}

/// How many lines there are to read, and how many are seen at once.
pub(super) fn reading(app: &App, area: Rect) -> (usize, usize) {
    let (lines, room) = read(app, area);
    (lines.len(), room)
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
    let (lines, room) = read(app, area);
    centred(area, width, lines.len().min(room) as u16 + around(app))
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
        Mode::Normal
        | Mode::Filter
        | Mode::Palette { .. }
        | Mode::Help
        | Mode::Findings { .. }
        | Mode::Leave => (String::new(), String::new()),
    };
    Line::from(vec![
        Span::styled(format!("{verb} "), theme.of(Role::Warning)),
        Span::styled(target, theme.of(Role::Strong)),
    ])
}

fn body(app: &App, width: u16) -> Vec<Line<'static>> {
    match &app.mode {
        Mode::Confirm { previews, .. } if app.exact => cluster::calls(app, previews, width),
        Mode::Confirm { previews, .. } => match previews.as_slice() {
            [one] if one.refused.is_some() => cluster::refused(app, one, width),
            [one] => told::one(app, one, width),
            many => told::all(app, many, width),
        },
        Mode::Pin { form, .. } => pin::form(app, form),
        Mode::Normal
        | Mode::Filter
        | Mode::Palette { .. }
        | Mode::Help
        | Mode::Findings { .. }
        | Mode::Leave => Vec::new(),
    }
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

/// A sentence in as many lines as it needs, broken between words.
fn wrapped(theme: &Theme, sentence: &str, role: Role, width: u16) -> Vec<Line<'static>> {
    let said = text::on_screen(sentence);
    // What goes on stands a little in, so that sentences are told apart.
    text::wrapped(&said, usize::from(width), 2)
        .into_iter()
        .map(|line| Line::from(Span::styled(line, theme.of(role))))
        .collect()
}
