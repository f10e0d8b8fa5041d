//! What the draft would do, or a flip while there is none.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::fleet::{Command, Model, Preview, Usd, preview};
use crate::tui::app::App;
use crate::tui::text;
use crate::tui::theme::{Role, Theme};
use crate::tui::view::cost::dollars;
use crate::tui::widget::panel;

/// Draws the effect with its panel into `area`.
pub(super) fn render(app: &App, model: &Model, area: Rect, buf: &mut Buffer) {
    let theme = &app.theme;
    let (name, command, key) = match &app.draft {
        Some(draft) => (
            "If applied",
            Command::Weights {
                model: model.id.clone(),
                weights: draft.clone(),
            },
            "enter",
        ),
        None => (
            "If flipped",
            Command::Flip {
                model: model.id.clone(),
            },
            "x",
        ),
    };
    let title = Line::from(vec![
        Span::styled(name, theme.of(Role::Accent)),
        Span::styled(format!("  {}", model.id), theme.of(Role::Text)),
    ]);
    let summary = Line::styled(key, theme.of(Role::Accent));
    let inner = panel::render(theme, area, &title, &summary, buf);
    let effect = preview(&app.fleet, &command);
    let mut y = inner.y;
    for (indent, line) in lines(theme, &effect) {
        for line in wrap(line, indent, inner.width) {
            if y >= inner.bottom() {
                return;
            }
            buf.set_line(inner.x, y, &line, inner.width);
            y += 1;
        }
    }
}

/// What to say, most important first, with the hanging indent of each.
fn lines(theme: &Theme, effect: &Preview) -> Vec<(u16, Line<'static>)> {
    let alert = |text: &str, role: Role| {
        let style = theme.of(role);
        (
            2,
            Line::styled(format!("{} {text}", theme.glyphs.alert), style),
        )
    };
    let mut lines = Vec::new();
    if let Some(why) = &effect.refused {
        lines.push(alert(why, Role::Critical));
    }
    lines.push((10, burn(theme, effect.burn)));
    if let Some((before, after)) = effect.ttft {
        lines.push((
            10,
            Line::from(vec![
                Span::styled("TTFT p50  ", theme.of(Role::Dim)),
                Span::styled(text::latency(before), theme.of(Role::Text)),
                Span::styled(format!(" {} ", theme.glyphs.arrow), theme.of(Role::Dim)),
                Span::styled(text::latency(after), theme.of(Role::Strong)),
            ]),
        ));
    }
    let name = effect
        .shares
        .iter()
        .map(|(id, ..)| id.as_str().chars().count())
        .max()
        .unwrap_or(0);
    for (i, (id, before, after)) in effect.shares.iter().enumerate() {
        let head = if i == 0 { "Shares" } else { "" };
        lines.push((
            10,
            Line::from(vec![
                Span::styled(format!("{head:<10}"), theme.of(Role::Dim)),
                Span::styled(format!("{id:<name$}  "), theme.of(Role::Text)),
                Span::styled(
                    format!("{:>4} {} ", text::percent(*before), theme.glyphs.arrow),
                    theme.of(Role::Dim),
                ),
                Span::styled(
                    format!("{:>4}", text::percent(*after)),
                    theme.of(Role::Strong),
                ),
            ]),
        ));
    }
    lines.extend(effect.warnings.iter().map(|w| alert(w, Role::Warning)));
    lines.extend(effect.what.iter().map(|sentence| {
        let dot = format!("{} ", theme.glyphs.dot);
        let line = Line::from(vec![
            Span::styled(dot, theme.of(Role::Faint)),
            Span::styled(sentence.clone(), theme.of(Role::Dim)),
        ]);
        (2, line)
    }));
    lines
}

fn burn(theme: &Theme, burn: Option<(Usd, Usd)>) -> Line<'static> {
    let head = Span::styled("Burn      ", theme.of(Role::Dim));
    let Some((before, after)) = burn else {
        let unknown = Span::styled("?", theme.of(Role::Warning));
        return Line::from(vec![head, unknown]);
    };
    let (sign, change, role) = if after < before {
        ("-", before - after, Role::Good)
    } else {
        ("+", after - before, Role::Warning)
    };
    let mut line = Line::from(vec![
        head,
        Span::styled(format!("${}", dollars(before)), theme.of(Role::Text)),
        Span::styled(format!(" {} ", theme.glyphs.arrow), theme.of(Role::Dim)),
        Span::styled(format!("${}", dollars(after)), theme.of(Role::Money)),
        Span::styled("/h", theme.of(Role::Dim)),
    ]);
    if before == after {
        line.push_span(Span::styled("  unchanged", theme.of(Role::Dim)));
    } else {
        let change = format!("  {sign}${}/h", dollars(change));
        line.push_span(Span::styled(change, theme.of(role)));
    }
    line
}

/// Breaks `line` between words; what follows starts at `indent`.
fn wrap(line: Line<'static>, indent: u16, width: u16) -> Vec<Line<'static>> {
    let width = usize::from(width);
    if line.width() <= width {
        return vec![line];
    }
    let indent = " ".repeat(usize::from(indent));
    let mut done = Vec::new();
    let mut now = Line::default();
    for span in line.spans {
        for word in span.content.split_inclusive(' ') {
            let word = Span::styled(word.to_owned(), span.style);
            let end = Span::raw(word.content.trim_end().to_owned()).width();
            if now.width() + end > width && now.width() > indent.len() {
                done.push(std::mem::take(&mut now));
                now.push_span(Span::raw(indent.clone()));
            }
            now.push_span(word);
        }
    }
    done.push(now);
    done
}
