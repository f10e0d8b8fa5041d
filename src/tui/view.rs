//! One picture of the console.
//!
//! ```text
//!  fleetctl demo ×12  ● live  $38.16/h …                     header
//!  1 Fleet  2 Backend  3 Routing …                           tabs
//!  ▲ what is wrong, and the key that helps                   alert
//!  ╭─ Fleet ───────────────────────────────────────────────╮
//!  │                                                       │ the screen
//!  ╰───────────────────────────────────────────────────────╯
//!  w wake  s sleep  d drain …                                footer
//! ```

mod alert;
pub mod audit;
pub mod backend;
pub mod cost;
mod dialog;
mod findings;
pub mod fleet;
mod footer;
pub mod gpus;
mod header;
mod help;
mod leave;
mod palette;
pub mod requests;
pub mod routing;
mod since;
mod tabs;
mod toasts;
pub mod wakes;

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::Modifier;

use super::app::{App, Column, Mode, Screen};
use super::theme::{ASCII, Role, Theme};
use crate::fleet::BackendId;

/// Draws everything into `area`.
pub fn draw(app: &App, area: Rect, buf: &mut Buffer) {
    buf.set_style(
        area,
        app.theme.of(Role::Text).patch(app.theme.of(Role::Ground)),
    );
    let rooms = Rooms::of(area);
    header::render(app, rooms.header, buf);
    tabs::render(app, rooms.tabs, buf);
    alert::render(app, rooms.alert, buf);
    match app.screen {
        Screen::Fleet => fleet::render(app, rooms.body, buf),
        Screen::Backend => backend::render(app, rooms.body, buf),
        Screen::Routing => routing::render(app, rooms.body, buf),
        Screen::Cost => cost::render(app, rooms.body, buf),
        Screen::Requests => requests::render(app, rooms.body, buf),
        Screen::Wakes => wakes::render(app, rooms.body, buf),
        Screen::Audit => audit::render(app, rooms.body, buf),
        Screen::Gpus => gpus::render(app, rooms.body, buf),
    }
    footer::render(app, rooms.footer, buf);
    match &app.mode {
        Mode::Normal | Mode::Filter => {}
        Mode::Palette { input, chosen } => palette::render(app, input, *chosen, rooms.footer, buf),
        Mode::Confirm { .. }
        | Mode::Pin { .. }
        | Mode::Help
        | Mode::Findings { .. }
        | Mode::Leave => {
            dim(&app.theme, area, buf);
            match &app.mode {
                Mode::Help => help::render(app, area, buf),
                Mode::Leave => leave::render(app, area, buf),
                Mode::Findings { chosen } => findings::render(app, *chosen, area, buf),
                _ => dialog::render(app, area, buf),
            }
        }
    }
    toasts::render(app, rooms.body, buf);
    if app.theme.glyphs == &ASCII {
        spell_in_ascii(buf);
    }
}

/// Whatever a view or the fleet itself says, a terminal without UTF-8 gets no byte that it would garble.
fn spell_in_ascii(buf: &mut Buffer) {
    for cell in &mut buf.content {
        if !cell.symbol().is_ascii() {
            let plain = match cell.symbol() {
                "×" => "x",
                "≥" | "→" | "›" => ">",
                "≤" => "<",
                "–" | "—" => "-",
                "…" => "~",
                "·" => ".",
                "’" => "'",
                _ => "?",
            };
            cell.set_symbol(plain);
        }
    }
}

/// What is under the mouse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hit {
    /// A backend's row of the Fleet table.
    Row(BackendId),
    /// A column's heading.
    Header(Column),
    /// A tab.
    Tab(Screen),
    /// A button of the dialog: true applies.
    Button(bool),
}

/// What is under the mouse at this column and row.
pub fn hit(app: &App, column: u16, row: u16) -> Option<Hit> {
    let area = Rect::new(0, 0, app.size.0, app.size.1);
    let at = Position::new(column, row);
    if let Mode::Confirm { .. } = app.mode {
        let buttons = dialog::buttons(app, area)?;
        return buttons
            .iter()
            .position(|b| b.contains(at))
            .map(|i| Hit::Button(i == 1));
    }
    let rooms = Rooms::of(area);
    if rooms.tabs.contains(at) {
        return tabs::at(rooms.tabs, column).map(Hit::Tab);
    }
    if app.screen == Screen::Fleet && rooms.body.contains(at) {
        return fleet::hit(app, rooms.body, at);
    }
    None
}

/// How many lines the open dialog has, and how many of them are seen at once.
pub fn reading(app: &App) -> (usize, usize) {
    dialog::reading(app, Rect::new(0, 0, app.size.0, app.size.1))
}

/// Rows that PgUp and PgDn move by.
pub fn page(app: &App) -> usize {
    usize::from(
        Rooms::of(Rect::new(0, 0, app.size.0, app.size.1))
            .body
            .height
            .saturating_sub(4)
            .max(1),
    )
}

struct Rooms {
    header: Rect,
    tabs: Rect,
    alert: Rect,
    body: Rect,
    footer: Rect,
}

impl Rooms {
    /// The rows of the screen; on a very low one the body goes first, then footer, alert and tabs.
    fn of(area: Rect) -> Self {
        let line = |y: u16| Rect {
            y: area.y + y.min(area.height),
            height: u16::from(y < area.height),
            ..area
        };
        let body = area.height.saturating_sub(4);
        Self {
            header: line(0),
            tabs: line(1),
            alert: line(2),
            body: Rect {
                y: area.y + 3.min(area.height),
                height: body,
                ..area
            },
            footer: if area.height > 3 {
                line(area.height - 1)
            } else {
                line(area.height)
            },
        }
    }
}

/// What stands behind a dialog steps back.
fn dim(theme: &Theme, area: Rect, buf: &mut Buffer) {
    let style = theme
        .of(Role::Faint)
        .patch(theme.of(Role::Ground))
        .remove_modifier(Modifier::BOLD | Modifier::REVERSED | Modifier::UNDERLINED);
    buf.set_style(area, style);
}
