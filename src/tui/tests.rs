//! Screens, drawn from a fixed fleet.

mod attention;
mod cluster;
mod console;
mod divided;
mod fixture;
mod keys;
mod money;
mod returns;
mod screens;

use std::fmt::Write as _;
use std::sync::Arc;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::app::App;

/// A console over the fixed fleet.
fn app() -> App {
    App::new(
        Arc::new(fixture::fleet()),
        super::theme::choose(None, false, false).unwrap(),
        "olga".into(),
        false,
    )
}

/// What `draw` puts on a screen of this size: the text, then the runs of each line's styles.
fn picture(width: u16, height: u16, draw: impl FnOnce(Rect, &mut Buffer)) -> String {
    let area = Rect::new(0, 0, width, height);
    let mut buf = Buffer::empty(area);
    draw(area, &mut buf);
    let mut text = String::new();
    let mut styles = String::new();
    for y in 0..height {
        let mut line = String::new();
        let mut last = None;
        let _ = write!(styles, "{y:>2}");
        for x in 0..width {
            let cell = &buf[(x, y)];
            line.push_str(cell.symbol());
            let style = (cell.fg, cell.bg, cell.modifier);
            if last != Some(style) {
                last = Some(style);
                let _ = write!(
                    styles,
                    " {x}:{}/{}{}",
                    cell.fg,
                    cell.bg,
                    if cell.modifier.is_empty() {
                        String::new()
                    } else {
                        format!("/{:?}", cell.modifier)
                    }
                );
            }
        }
        let _ = writeln!(text, "{}", line.trim_end());
        styles.push('\n');
    }
    format!("{text}--- styles\n{styles}")
}

#[test]
fn the_fixture_is_whole() {
    let fleet = fixture::fleet();
    assert_eq!(fleet.backends.len(), 9);
    assert_eq!(fixture::empty().backends.len(), 0);
}
