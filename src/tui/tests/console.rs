//! The whole console at three sizes, and in every mode and state of the link.

use std::sync::Arc;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Color;

use crate::fleet::{Command, preview};
use crate::tui::app::{App, Link, Mode, Screen, Toast};
use crate::tui::event::Event;
use crate::tui::keymap::{Group, KEYMAP};
use crate::tui::theme::{self, ASCII, Role, Theme, UNICODE};
use crate::tui::update::update;
use crate::tui::view;

use super::keys::press;
use super::{app, fixture, picture};

const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (200, 60)];

fn sized(mut app: App, width: u16, height: u16) -> App {
    update(&mut app, Event::Resize(width, height));
    app
}

fn text_of(app: &App, width: u16, height: u16) -> String {
    let shot = picture(width, height, |area, buf| view::draw(app, area, buf));
    shot.split("--- styles").next().unwrap().to_owned()
}

fn shot(name: &str, app: &App, (width, height): (u16, u16)) {
    let shot = picture(width, height, |area, buf| view::draw(app, area, buf));
    insta::assert_snapshot!(format!("{name}-{width}x{height}"), shot);
}

fn asking(commands: Vec<Command>) -> App {
    let mut app = app();
    let previews = commands.iter().map(|c| preview(&app.fleet, c)).collect();
    app.mode = Mode::Confirm {
        commands,
        previews,
        apply: false,
    };
    app
}

fn typed(app: &mut App, keys: &str) {
    for key in keys.split(' ') {
        press(app, key);
    }
}

/// Every mode and screen that can be on the screen, for checks that must hold on all of them.
fn everything() -> Vec<(String, App)> {
    let mut all: Vec<(String, App)> = Screen::ALL
        .into_iter()
        .map(|screen| {
            let mut app = app();
            app.screen = screen;
            app.selected = Some("h100-b".into());
            (screen.title().to_owned(), app)
        })
        .collect();
    for keys in [
        "?",
        ":",
        ": t h e",
        "/ h 1",
        "d",
        "x",
        "p",
        "space space d",
        "w",
        "o o o",
    ] {
        let mut app = app();
        typed(&mut app, keys);
        all.push((keys.to_owned(), app));
    }
    for link in [
        Link::Loading,
        Link::Stale(9),
        Link::Lost("the hub ended".into()),
    ] {
        let mut app = app();
        app.link = link.clone();
        all.push((format!("{link:?}"), app));
        let mut app = super::app();
        app.link = link.clone();
        app.fleet = Arc::new(fixture::empty());
        all.push((format!("empty {link:?}"), app));
    }
    let mut app = app();
    app.toasts = vec![
        Toast {
            text: "drain of t4-a began".into(),
            bad: false,
            id: 1,
        },
        Toast {
            text: "t4-a is pinned; unpin it first".into(),
            bad: true,
            id: 2,
        },
    ];
    all.push(("toasts".to_owned(), app));
    all
}

#[test]
fn home() {
    for size in SIZES {
        shot("home", &sized(app(), size.0, size.1), size);
    }
}

#[test]
fn nothing_to_look_at() {
    let mut empty = app();
    empty.fleet = Arc::new(fixture::empty());
    empty.selected = None;
    shot("empty", &empty, (80, 24));
    empty.link = Link::Loading;
    shot("loading", &empty, (80, 24));
    let mut app = app();
    app.link = Link::Stale(9);
    shot("stale", &app, (120, 40));
    app.link = Link::Lost("the hub ended".into());
    shot("lost", &app, (120, 40));
}

#[test]
fn read_only_takes_the_actions_away() {
    let mut app = app();
    app.read_only = true;
    shot("read-only", &app, (120, 40));
    let text = text_of(&app, 120, 40);
    assert!(text.contains("read-only"));
    assert!(!text.lines().last().unwrap().contains("drain"));
}

#[test]
fn asking_first() {
    let drain = |id: &str| Command::Drain { backend: id.into() };
    for size in SIZES {
        shot("drain", &asking(vec![drain("a100-ondemand")]), size);
    }
    shot(
        "drain-several",
        &asking(vec![drain("h100-a"), drain("t4-a"), drain("a100-ondemand")]),
        (80, 24),
    );
    shot(
        "flip",
        &asking(vec![Command::Flip {
            model: "qwen3-coder".into(),
        }]),
        (80, 24),
    );
}

#[test]
fn typing() {
    let mut pin = app();
    typed(&mut pin, "j j j p");
    assert!(matches!(pin.mode, Mode::Pin { .. }), "{:?}", pin.mode);
    shot("pin", &pin, (80, 24));
    let mut palette = app();
    typed(&mut palette, ": w a k e");
    shot("palette", &palette, (80, 24));
    let mut filter = app();
    typed(&mut filter, "/ q w e n");
    shot("filter", &filter, (80, 24));
    let mut nothing = app();
    typed(&mut nothing, "/ z z z");
    shot("filter-none", &nothing, (80, 24));
}

#[test]
fn help_has_every_key() {
    let mut app = app();
    typed(&mut app, "?");
    for size in [(80, 24), (120, 40)] {
        shot("help", &app, size);
        let text = text_of(&app, size.0, size.1);
        for binding in KEYMAP {
            // The whole sentence beside its key, or where that has no room the word: never a part.
            let said = |line: &str| {
                line.split_once(&format!(" {} ", binding.keys[0]))
                    .is_some_and(|(_, after)| {
                        let after = after.trim_start();
                        after.contains(binding.help) || after.contains(binding.word)
                    })
            };
            assert!(
                text.lines().any(|line| line.starts_with('│') && said(line)),
                "{:?} at {size:?}:\n{text}",
                binding.action
            );
        }
    }
}

#[test]
fn every_key_is_bound_once() {
    let mut seen = std::collections::BTreeMap::new();
    for binding in KEYMAP {
        assert!(!binding.keys.is_empty() && !binding.word.is_empty() && !binding.help.is_empty());
        for key in binding.keys {
            let before = seen.insert(*key, binding.action);
            assert_eq!(before, None, "`{key}` is bound twice");
        }
    }
    assert!(KEYMAP.iter().any(|b| b.group == Group::Act));
}

/// Glyphs leave nothing to a terminal without UTF-8.
#[test]
fn ascii_is_ascii() {
    for (name, mut app) in everything() {
        app.theme = Theme::named("dark", &ASCII).unwrap();
        let text = text_of(&app, 200, 60);
        let strange: std::collections::BTreeSet<char> =
            text.chars().filter(|c| !c.is_ascii()).collect();
        assert!(strange.is_empty(), "{name}: {strange:?}\n{text}");
    }
}

/// A light theme must be light everywhere, also where nothing is drawn.
#[test]
fn no_cell_is_left_to_the_terminals_own_ground() {
    for theme in ["dark", "light", "colorblind"] {
        for (name, mut app) in everything() {
            app.theme = Theme::named(theme, &UNICODE).unwrap();
            let area = Rect::new(0, 0, 120, 40);
            let mut buf = Buffer::empty(area);
            view::draw(&app, area, &mut buf);
            let bare = buf
                .content
                .iter()
                .filter(|c| c.bg == Color::Reset || c.fg == Color::Reset)
                .count();
            assert_eq!(bare, 0, "{theme}, {name}");
        }
    }
}

/// `NO_COLOR`: what a colour says, a word or a glyph says too, and no cell has a colour.
#[test]
fn monochrome_has_no_colour() {
    for (name, mut app) in everything() {
        app.theme = theme::choose(None, true, false).unwrap();
        let area = Rect::new(0, 0, 120, 40);
        let mut buf = Buffer::empty(area);
        view::draw(&app, area, &mut buf);
        let coloured = buf
            .content
            .iter()
            .filter(|c| c.bg != Color::Reset || c.fg != Color::Reset)
            .count();
        assert_eq!(coloured, 0, "{name}");
    }
}

/// What must fit at 80 columns does, and no figure is cut.
#[test]
fn eighty_columns_hold_what_matters() {
    let text = text_of(&app(), 80, 24);
    for head in ["BACKEND", "STATE", "WEIGHT", "REQ/S", "RUN", "TTFT", "$/H"] {
        assert!(text.contains(head), "{head} is missing:\n{text}");
    }
    for figure in [
        "182ms",
        "610ms",
        "23.00",
        "load 61% 6:48",
        "? help",
        "q quit",
    ] {
        assert!(text.contains(figure), "{figure} is missing:\n{text}");
    }
}

/// Where the frame has no room for every state, the calm ones leave.
#[test]
fn trouble_is_counted_at_eighty_columns() {
    let text = text_of(&app(), 80, 24);
    assert!(text.contains("1 limited · 1 failed"), "{text}");
}

/// A long reason costs neither the name nor what the fleet costs.
#[test]
fn a_long_reason_leaves_the_burn() {
    let mut app = app();
    app.link = Link::Lost("the gateway at 127.0.0.1:4000 ended: ".repeat(4));
    for width in [60, 80, 120] {
        let text = text_of(&app, width, 24);
        let line = text.lines().next().unwrap();
        for part in ["fleetctl demo", "lost", "$43.19/h"] {
            assert!(line.contains(part), "{part} at {width}: {line}");
        }
    }
}

/// However much there is to say, the cost is seen, and that something is not.
#[test]
fn a_low_dialog_keeps_the_cost() {
    let app = asking(vec![
        Command::Drain {
            backend: "a100-ondemand".into(),
        },
        Command::Drain {
            backend: "h100-a".into(),
        },
        Command::Drain {
            backend: "t4-a".into(),
        },
    ]);
    for (width, height) in [(80, 14), (80, 13), (60, 16)] {
        let text = text_of(&app, width, height);
        for part in ["$43.19 →", "j k", "Cancel"] {
            assert!(text.contains(part), "{part} at {width}x{height}:\n{text}");
        }
    }
}

#[test]
fn a_hundred_and_twenty_columns_hold_more() {
    let text = text_of(&app(), 120, 40);
    for word in ["TOK/S", "WAIT", "KV", "182·410ms", "610ms·1.4s", "1,412"] {
        assert!(text.contains(word), "{word} is missing:\n{text}");
    }
}

#[test]
fn old_figures_step_back() {
    let dim = |app: &App| {
        let area = Rect::new(0, 0, 120, 40);
        let mut buf = Buffer::empty(area);
        view::draw(app, area, &mut buf);
        // The figure 1,412 of a100-ondemand.
        let text = text_of(app, 120, 40);
        let (y, line) = text
            .lines()
            .enumerate()
            .find(|(_, l)| l.contains("1,412"))
            .unwrap();
        let x = line[..line.find("1,412").unwrap()].chars().count();
        buf[(x as u16, y as u16)].fg == app.theme.of(Role::Dim).fg.unwrap()
    };
    let mut app = app();
    assert!(!dim(&app));
    app.link = Link::Stale(9);
    assert!(dim(&app));
    app.link = Link::Live;
    let fleet = Arc::make_mut(&mut app.fleet);
    Arc::make_mut(&mut fleet.backends[0]).live.read_at =
        Some(fixture::now() - chrono::TimeDelta::seconds(61));
    assert!(dim(&app), "five wall seconds are sixty at this speed");
}

/// A thousand backends: the selected row is always seen.
#[test]
fn a_long_table_scrolls() {
    let mut app = app();
    let fleet = Arc::make_mut(&mut app.fleet);
    let like = fleet.backends[0].clone();
    for i in 0..1000 {
        let mut b = (*like).clone();
        b.id = format!("b-{i:04}").into();
        fleet.backends.push(Arc::new(b));
    }
    let mut app = sized(app, 120, 40);
    press(&mut app, "G");
    assert!(text_of(&app, 120, 40).contains("b-0999"));
    press(&mut app, "g");
    assert!(text_of(&app, 120, 40).contains("a100-ondemand"));
    for _ in 0..30 {
        press(&mut app, "pgdn");
        let id = app.selected.clone().unwrap();
        assert!(text_of(&app, 120, 40).contains(id.as_str()), "{id}");
    }
}

/// Any keys at any size: no panic, and nothing is sent without the dialog's consent that needs it.
#[test]
fn nothing_breaks_it() {
    let mut dice = fastrand::Rng::with_seed(7);
    let codes = [
        KeyCode::Enter,
        KeyCode::Esc,
        KeyCode::Tab,
        KeyCode::BackTab,
        KeyCode::Up,
        KeyCode::Down,
        KeyCode::Left,
        KeyCode::Right,
        KeyCode::PageUp,
        KeyCode::PageDown,
        KeyCode::Home,
        KeyCode::End,
        KeyCode::Backspace,
        KeyCode::Delete,
        KeyCode::F(1),
    ];
    for round in 0..40 {
        let mut app = app();
        if round % 4 == 3 {
            app.fleet = Arc::new(fixture::empty());
        }
        for _ in 0..60 {
            let (width, height) = match dice.u8(0..4) {
                0 => (dice.u16(1..12), dice.u16(1..8)),
                1 => (dice.u16(1..100), dice.u16(1..30)),
                _ => (dice.u16(1..300), dice.u16(1..90)),
            };
            update(&mut app, Event::Resize(width, height));
            let code = if dice.bool() {
                codes[dice.usize(0..codes.len())]
            } else {
                KeyCode::Char(dice.char('\u{20}'..'\u{7f}'))
            };
            let modifiers = if dice.u8(0..9) == 0 {
                KeyModifiers::CONTROL
            } else {
                KeyModifiers::NONE
            };
            update(&mut app, Event::Key(KeyEvent::new(code, modifiers)));
            update(
                &mut app,
                super::keys::click(dice.u16(0..width), dice.u16(0..height)),
            );
            let area = Rect::new(0, 0, width, height);
            view::draw(&app, area, &mut Buffer::empty(area));
        }
    }
    for mode in everything() {
        for (width, height) in [(1, 1), (2, 1), (1, 2), (3, 4), (10, 3), (20, 5)] {
            let area = Rect::new(0, 0, width, height);
            view::draw(&mode.1, area, &mut Buffer::empty(area));
        }
    }
}
