//! The one thing that is wrong, on a line of its own, with the key that helps.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use unicode_width::UnicodeWidthStr;

use crate::fleet::Severity;
use crate::tui::app::App;
use crate::tui::theme::Role;
use crate::tui::widget::panel::cut;

pub(super) fn render(app: &App, area: Rect, buf: &mut Buffer) {
    if area.is_empty() {
        return;
    }
    let theme = &app.theme;
    let Some(worst) = app.fleet.findings.first() else {
        // The row stays, so that nothing jumps when something goes wrong.
        let calm = if app.fleet.backends.is_empty() {
            ""
        } else {
            "nothing needs attention"
        };
        buf.set_stringn(
            area.x + 1,
            area.y,
            calm,
            usize::from(area.width.saturating_sub(1)),
            theme.of(Role::Faint),
        );
        return;
    };
    let role = match worst.severity {
        Severity::Critical => Role::Critical,
        Severity::Warning => Role::Warning,
        Severity::Notice => Role::Dim,
    };
    buf.set_style(area, theme.of(Role::Alert));
    let more = app.fleet.findings.len() - 1;
    let mut keys: Vec<(String, String)> = worst
        .keys
        .iter()
        .filter(|(key, _)| !app.read_only || *key == '\n')
        .map(|(key, word)| {
            (
                if *key == '\n' {
                    "enter".into()
                } else {
                    key.to_string()
                },
                word.clone(),
            )
        })
        .collect();
    if more > 0 {
        keys.insert(0, (format!("+{more}"), "more".into()));
    }
    let width = |keys: &[(String, String)]| {
        keys.iter()
            .map(|(k, w)| k.width() + w.width() + 3)
            .sum::<usize>()
    };
    let room = usize::from(area.width.saturating_sub(2));
    while width(&keys) > room / 2 && keys.pop().is_some() {}
    let mut x = area.right().saturating_sub(width(&keys) as u16);
    let left = room.saturating_sub(width(&keys) + 2);
    for (key, word) in &keys {
        buf.set_string(x, area.y, key, theme.of(Role::Accent));
        buf.set_string(
            x + key.width() as u16 + 1,
            area.y,
            word,
            theme.of(Role::Dim),
        );
        x += (key.width() + word.width() + 3) as u16;
    }
    let name = worst
        .backend
        .as_ref()
        .and_then(|id| app.fleet.backend(id))
        .map(|b| b.full_name())
        .unwrap_or_default();
    let glyph = theme.glyphs.alert;
    let head = if name.is_empty() {
        format!("{glyph} ")
    } else {
        format!("{glyph} {name} ")
    };
    buf.set_stringn(
        area.x + 1,
        area.y,
        &head,
        left,
        theme.of(role).add_modifier(ratatui::style::Modifier::BOLD),
    );
    let rest = left.saturating_sub(head.width());
    buf.set_string(
        area.x + 1 + head.width().min(left) as u16,
        area.y,
        cut(theme, &worst.what, rest as u16),
        theme.of(Role::Text),
    );
}
