//! Rules: which requests go where before weights decide.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::fleet::Model;
use crate::tui::app::App;
use crate::tui::theme::Role;
use crate::tui::widget::panel;

/// Rows that the panel wants, frame and all; 0 for a model without rules.
pub(super) fn height(model: &Model) -> u16 {
    if model.rules.is_empty() {
        0
    } else {
        model.rules.len() as u16 + 2
    }
}

/// Draws the rules in their order into `area`.
pub(super) fn render(app: &App, model: &Model, area: Rect, buf: &mut Buffer) {
    let theme = &app.theme;
    let title = Line::from(vec![
        Span::styled("Rules", theme.of(Role::Accent)),
        Span::styled(
            "  before weights, the first that is met",
            theme.of(Role::Faint),
        ),
    ]);
    let inner = panel::render(theme, area, &title, &Line::default(), buf);
    let whens: Vec<String> = model.rules.iter().map(|it| it.when.to_string()).collect();
    let widest = whens.iter().map(|it| it.chars().count()).max().unwrap_or(0);
    for (at, (rule, when)) in model.rules.iter().zip(&whens).enumerate() {
        if at as u16 >= inner.height {
            break;
        }
        let to: Vec<&str> = rule
            .to
            .iter()
            .map(crate::fleet::BackendId::as_str)
            .collect();
        let mut line = vec![
            Span::styled(format!("{:>2}  ", at + 1), theme.of(Role::Faint)),
            Span::styled(format!("{when:widest$}"), theme.of(Role::Text)),
            Span::styled(format!(" {} ", theme.glyphs.arrow), theme.of(Role::Dim)),
            Span::styled(to.join(", "), theme.of(Role::Strong)),
        ];
        let else_what = if rule.fallback {
            "  then any other"
        } else {
            "  and nowhere else"
        };
        line.push(Span::styled(else_what, theme.of(Role::Dim)));
        buf.set_line(inner.x, inner.y + at as u16, &Line::from(line), inner.width);
    }
}
