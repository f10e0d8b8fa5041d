//! What the draft would do, or a flip while there is none.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::fleet::{Command, Model, Preview, Usd, preview};
use crate::tui::app::App;
use crate::tui::text;
use crate::tui::theme::{Role, Theme};
use crate::tui::view::cost::{at_least, dollars};
use crate::tui::widget::panel;

/// Rows that it fills with its frame in so many columns.
pub(super) fn height(app: &App, model: &Model, width: u16) -> u16 {
    let effect = preview(&app.fleet, &command(app, model));
    let rows = lines(&app.theme, &effect)
        .into_iter()
        .map(|(indent, line)| wrap(line, indent, width.saturating_sub(4)).len())
        .sum::<usize>();
    rows as u16 + 2
}

/// The draft, or a flip without one.
fn command(app: &App, model: &Model) -> Command {
    let model = model.id.clone();
    match &app.draft {
        Some(draft) => Command::Weights {
            model,
            weights: draft.clone(),
        },
        None => Command::Flip { model },
    }
}

/// Draws the effect with its panel into `area`.
pub(super) fn render(app: &App, model: &Model, area: Rect, buf: &mut Buffer) {
    let theme = &app.theme;
    let (name, key) = if app.draft.is_some() {
        ("If applied", "enter")
    } else {
        ("If flipped", "x")
    };
    let title = Line::from(vec![
        Span::styled(name, theme.of(Role::Accent)),
        Span::styled(format!("  {}", model.id), theme.of(Role::Text)),
    ]);
    let summary = Line::styled(key, theme.of(Role::Accent));
    let inner = panel::render(theme, area, &title, &summary, buf);
    let effect = preview(&app.fleet, &command(app, model));
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
        lines.push(alert(&text::on_screen(why), Role::Critical));
    }
    lines.push((10, burn(theme, effect)));
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
    let warnings = effect.warnings.iter().map(|it| text::on_screen(it));
    lines.extend(warnings.map(|it| alert(&it, Role::Warning)));
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

fn burn(theme: &Theme, effect: &Preview) -> Line<'static> {
    let head = Span::styled("Burn      ", theme.of(Role::Dim));
    let Some((before, after)) = effect.burn else {
        let unknown = Span::styled("?", theme.of(Role::Warning));
        let why = effect.unpriced.as_deref();
        let why = format!("  {}", why.unwrap_or("a rate or price is unknown"));
        let why = Span::styled(why, theme.of(Role::Dim));
        return Line::from(vec![head, unknown, why]);
    };
    let (sign, change, role) = if after < before {
        ("-", before - after, Role::Good)
    } else {
        ("+", after - before, Role::Warning)
    };
    let mut line = Line::from(vec![
        head,
        Span::styled(
            at_least(theme, before, effect.partial),
            theme.of(Role::Text),
        ),
        Span::styled(format!(" {} ", theme.glyphs.arrow), theme.of(Role::Dim)),
        Span::styled(
            at_least(theme, after, effect.partial),
            theme.of(Role::Money),
        ),
        Span::styled("/h", theme.of(Role::Dim)),
    ]);
    if before == after {
        line.push_span(Span::styled("  unchanged", theme.of(Role::Dim)));
    } else {
        let change = format!("  {sign}${}/h", dollars(change));
        line.push_span(Span::styled(change, theme.of(role)));
        let day = (after - before).times(24);
        let day = if day < Usd::ZERO { -day } else { day };
        let day = format!("  {sign}${}/day", dollars(day));
        line.push_span(Span::styled(day, theme.of(Role::Dim)));
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
