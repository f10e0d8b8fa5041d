//! What keys, clicks and pictures do to the console, as data.

use std::sync::Arc;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};

use crate::fleet::message::RefusalKind;
use crate::fleet::{Command, Receipt, Refusal};
use crate::tui::app::{App, Column, Link, Mode, Screen};
use crate::tui::event::{Effect, Event};
use crate::tui::pin_form::PinField;
use crate::tui::update::update;

use super::{app, fixture};

/// A key by its name in the keymap.
pub(super) fn key(name: &str) -> KeyEvent {
    let (modifiers, name) = match name.split_once('-') {
        Some(("ctrl", rest)) => (KeyModifiers::CONTROL, rest),
        Some(("alt", rest)) => (KeyModifiers::ALT, rest),
        _ => (KeyModifiers::NONE, name),
    };
    let code = match name {
        "enter" => KeyCode::Enter,
        "esc" => KeyCode::Esc,
        "tab" => KeyCode::Tab,
        "btab" => KeyCode::BackTab,
        "up" => KeyCode::Up,
        "down" => KeyCode::Down,
        "left" => KeyCode::Left,
        "right" => KeyCode::Right,
        "pgup" => KeyCode::PageUp,
        "pgdn" => KeyCode::PageDown,
        "backspace" => KeyCode::Backspace,
        "space" => KeyCode::Char(' '),
        one => KeyCode::Char(one.chars().next().unwrap()),
    };
    KeyEvent::new(code, modifiers)
}

pub(super) fn press(app: &mut App, name: &str) -> Vec<Effect> {
    update(app, Event::Key(key(name)))
}

pub(super) fn click(column: u16, row: u16) -> Event {
    Event::Mouse(MouseEvent {
        kind: MouseEventKind::Down(MouseButton::Left),
        column,
        row,
        modifiers: KeyModifiers::NONE,
    })
}

/// Presses keys, separated by spaces; the effects of all of them, without toasts' timers.
fn keys(app: &mut App, line: &str) -> Vec<Effect> {
    line.split(' ')
        .flat_map(|name| press(app, name))
        .filter(|e| !matches!(e, Effect::Expire(_)))
        .collect()
}

fn on(id: &str) -> App {
    let mut app = app();
    update(&mut app, Event::Resize(120, 40));
    app.selected = Some(id.into());
    app
}

fn selected(app: &App) -> &str {
    app.selected.as_ref().map_or("", |id| id.as_str())
}

#[test]
fn the_selection_moves_over_backends_only() {
    for (line, lands) in [
        ("j", "a100-spot"),
        ("down down", "aoai-4o-mini"),
        ("j j j", "h100-a"),
        ("G", "t4-c"),
        ("G k", "t4-b"),
        ("G g", "a100-ondemand"),
        ("k", "a100-ondemand"),
        ("pgdn", "t4-c"),
        ("pgdn pgup", "a100-ondemand"),
        ("/ h 1 0 0 enter", "h100-a"),
        ("/ h 1 0 0 enter j j", "h100-b"),
        ("/ l o a d enter", "h100-b"),
        ("/ h 1 esc", "h100-a"),
    ] {
        let mut app = on("a100-ondemand");
        keys(&mut app, line);
        assert_eq!(selected(&app), lands, "{line}");
    }
}

#[test]
fn screens_and_the_way_back() {
    for (line, lands) in [
        ("2", Screen::Backend),
        ("enter", Screen::Backend),
        ("l", Screen::Backend),
        ("r", Screen::Routing),
        ("4", Screen::Cost),
        ("5", Screen::Requests),
        ("6", Screen::Wakes),
        ("7", Screen::Audit),
        ("8", Screen::Gpus),
        ("tab", Screen::Backend),
        ("btab", Screen::Gpus),
        ("8 tab", Screen::Fleet),
        ("enter r esc", Screen::Backend),
        ("enter r esc esc", Screen::Fleet),
        ("enter q", Screen::Fleet),
        // Home is home: out of it leads nowhere.
        ("2 1 esc", Screen::Fleet),
        ("4 5 1 esc esc", Screen::Fleet),
    ] {
        let mut app = on("h100-a");
        assert_eq!(keys(&mut app, line), [], "{line}");
        assert_eq!(app.screen, lands, "{line}");
    }
}

#[test]
fn leaving() {
    for (line, effect) in [
        ("q", Effect::Quit),
        ("ctrl-c", Effect::Quit),
        ("p ctrl-c", Effect::Quit),
        (": q u i t enter", Effect::Quit),
        ("ctrl-z", Effect::Suspend),
        ("/ ctrl-z", Effect::Suspend),
        ("ctrl-r", Effect::Redraw),
    ] {
        assert_eq!(keys(&mut on("h100-a"), line), [effect], "{line}");
    }
}

#[test]
fn a_drain_asks_first_and_cancel_has_the_focus() {
    let drain = |id: &str| Effect::Send(Command::Drain { backend: id.into() });
    for (line, effects) in [
        ("d", vec![]),
        ("d enter", vec![]),
        ("d esc", vec![]),
        ("d q", vec![]),
        ("d right enter", vec![drain("a100-ondemand")]),
        ("d tab enter", vec![drain("a100-ondemand")]),
        ("d tab tab enter", vec![]),
        ("d left right enter", vec![]),
        ("space j d tab enter", vec![drain("a100-ondemand")]),
    ] {
        let mut app = on("a100-ondemand");
        assert_eq!(keys(&mut app, line), effects, "{line}");
        assert_eq!(app.mode == Mode::Normal, line != "d", "{line}");
    }
}

#[test]
fn an_action_goes_to_all_that_are_marked() {
    let mut app = on("h100-a");
    app.marks = ["h100-a", "t4-a"].map(Into::into).into();
    keys(&mut app, "d");
    let Mode::Confirm { commands, .. } = &app.mode else {
        panic!("{:?}", app.mode)
    };
    assert_eq!(commands.len(), 2);
    assert_eq!(keys(&mut app, "tab enter").len(), 2);
    assert!(app.marks.is_empty(), "marks are spent");
}

#[test]
fn what_cannot_be_is_said_at_once() {
    for (id, line) in [
        ("aoai-4o-mini", "w"),
        ("aoai-4o-mini", "s"),
        ("aoai-4o-mini", "p"),
        ("t4-a", "u"),
    ] {
        let mut app = on(id);
        assert_eq!(keys(&mut app, line), [], "{id} {line}");
        assert_eq!(app.mode, Mode::Normal, "{id} {line}");
        assert!(
            app.toasts
                .last()
                .is_some_and(|t| t.bad && !t.text.is_empty()),
            "{id} {line}"
        );
    }
}

#[test]
fn read_only_sends_nothing() {
    for line in [
        "w",
        "s",
        "d",
        "u",
        "p",
        "x",
        "z",
        ": d r a i n space t 4 - a enter",
        "r right",
        "r right enter",
    ] {
        let mut app = on("t4-a");
        app.read_only = true;
        assert_eq!(keys(&mut app, line), [], "{line}");
        assert!(
            !matches!(app.mode, Mode::Confirm { .. } | Mode::Pin { .. }),
            "{line}"
        );
        assert!(
            app.toasts
                .last()
                .is_some_and(|t| t.text.starts_with("read-only")),
            "{line}: {:?}",
            app.toasts
        );
    }
}

#[test]
fn a_pin_wants_a_span_and_a_reason() {
    let mut app = on("h100-a");
    keys(&mut app, "p");
    keys(&mut app, "backspace backspace 9 0 x enter");
    let Mode::Pin { form, .. } = &app.mode else {
        panic!("{:?}", app.mode)
    };
    assert_eq!(
        (form.duration.as_str(), form.field, form.error.is_some()),
        ("90x", PinField::Duration, true)
    );
    keys(&mut app, "backspace m tab enter");
    let Mode::Pin { form, .. } = &app.mode else {
        panic!("{:?}", app.mode)
    };
    assert_eq!((form.field, form.error.is_some()), (PinField::Reason, true));
    keys(&mut app, "l o a d enter");
    let sent = keys(&mut app, "enter");
    let until = fixture::now() + chrono::TimeDelta::minutes(90);
    assert_eq!(
        sent,
        [Effect::Send(Command::Pin {
            backend: "h100-a".into(),
            until: Some(until),
            exactly: None,
            reason: "load".into()
        })]
    );
    // On a pinned one `p` offers to lift it.
    let mut app = on("a100-ondemand");
    let sent = keys(&mut app, "p");
    let asks = matches!(&app.mode, Mode::Confirm { commands, .. } if matches!(commands[..], [Command::Unpin { .. }]));
    assert!(
        asks || matches!(sent[..], [Effect::Send(Command::Unpin { .. })]),
        "{:?} {sent:?}",
        app.mode
    );
}

#[test]
fn the_palette_runs_what_is_chosen() {
    // The highlighted line is what runs, not the word that was typed to find it.
    let mut app = on("t4-a");
    keys(&mut app, ": d r a i n down enter");
    let Mode::Confirm { commands, .. } = &app.mode else {
        panic!("{:?}", app.mode)
    };
    assert_ne!(
        commands[..],
        [Command::Drain {
            backend: "t4-a".into()
        }]
    );
    for (line, theme) in [
        (": t h e m e space l i g h t enter", "light"),
        (": t h e m e space l i enter", "light"),
        (": t h e m e space l i tab enter", "light"),
        (": t h e m e enter", "light"),
        ("t", "light"),
        ("t t t t t", "dark"),
        (": esc", "dark"),
        (": backspace", "dark"),
    ] {
        let mut app = on("t4-a");
        keys(&mut app, line);
        assert_eq!(app.theme.name, theme, "{line}");
        assert_eq!(app.mode, Mode::Normal, "{line}");
    }
    let mut app = on("t4-a");
    keys(&mut app, ": s c r e e n space c o s t enter");
    assert_eq!(app.screen, Screen::Cost);
    keys(&mut app, ": s o r t space r a t e enter");
    assert_eq!(app.sort.column, Column::Rate);
    keys(&mut app, ": n o n s e n s e enter");
    assert!(app.toasts.last().unwrap().bad);
}

#[test]
fn control_and_alt_are_not_letters() {
    let mut app = on("t4-a");
    assert_eq!(keys(&mut app, "alt-w alt-d alt-q ctrl-d"), []);
    assert_eq!(app.mode, Mode::Normal);
    keys(&mut app, "/ a ctrl-d alt-x b");
    assert_eq!(app.filter, "ab");
    keys(&mut app, "ctrl-u");
    assert_eq!(app.filter, "");
    keys(&mut app, "esc : w a ctrl-u t");
    assert!(
        matches!(&app.mode, Mode::Palette { input, .. } if input == "t"),
        "{:?}",
        app.mode
    );
}

#[test]
fn the_table_sorts_as_it_reads() {
    let mut app = on("h100-a");
    for (column, first) in [
        (Column::Rate, "a100-ondemand"),
        (Column::Waiting, "h100-b"),
        (Column::Running, "h100-a"),
    ] {
        app.sort = crate::tui::app::Sort {
            column,
            descending: true,
        };
        let order = crate::tui::view::fleet::order::visible_order(&app);
        assert_eq!(order[0], first.into(), "{column:?}");
    }
    assert_eq!(
        selected(&app),
        "h100-a",
        "the selection stays on its backend"
    );
}

#[test]
fn the_mouse_selects_opens_sorts_and_switches() {
    let mut app = on("a100-ondemand");
    let text = super::picture(120, 40, |area, buf| crate::tui::view::draw(&app, area, buf));
    let find = |word: &str| {
        let (y, line) = text
            .lines()
            .enumerate()
            .find(|(_, l)| l.contains(word))
            .unwrap();
        (
            line[..line.find(word).unwrap()].chars().count() as u16,
            y as u16,
        )
    };
    let (x, y) = find(" t4-a ");
    update(&mut app, click(x + 2, y));
    assert_eq!((selected(&app), app.screen), ("t4-a", Screen::Fleet));
    update(&mut app, click(x + 2, y));
    assert_eq!(app.screen, Screen::Backend);
    let (x, y) = find("Fleet");
    update(&mut app, click(x, y));
    assert_eq!(app.screen, Screen::Fleet);
    let (x, y) = find("$/H");
    update(&mut app, click(x, y));
    assert_eq!((app.sort.column, app.sort.descending), (Column::Rate, true));
    update(&mut app, click(x, y));
    assert!(!app.sort.descending);
}

#[test]
fn pictures_answers_and_silence() {
    let mut app = on("t4-a");
    update(&mut app, Event::Quiet(4));
    assert_eq!(app.link, Link::Stale(4));
    let mut next = fixture::fleet();
    next.backends.reverse();
    update(&mut app, Event::Snapshot(Arc::new(next)));
    assert_eq!(
        (&app.link, selected(&app)),
        (&Link::Live, "t4-a"),
        "followed by id"
    );
    let mut next = fixture::fleet();
    next.backends.retain(|b| b.id != "t4-a".into());
    app.marks.insert("t4-a".into());
    update(&mut app, Event::Snapshot(Arc::new(next)));
    assert!(
        app.backend().is_some() && app.marks.is_empty(),
        "a backend that left is let go"
    );
    update(
        &mut app,
        Event::Answer(Ok(Receipt {
            said: "wake of t4-a began".into(),
            undoable: true,
        })),
    );
    let effects = update(
        &mut app,
        Event::Answer(Err(Refusal {
            kind: RefusalKind::Refused,
            what: "it is drained".into(),
            hint: "undrain it first".into(),
        })),
    );
    assert_eq!(effects.len(), 1);
    assert_eq!(
        app.toasts.iter().map(|t| t.bad).collect::<Vec<_>>(),
        [false, true]
    );
    let id = app.toasts[0].id;
    update(&mut app, Event::Expired(id));
    assert_eq!(app.toasts.len(), 1);
    update(&mut app, Event::Closed("the hub ended".into()));
    assert_eq!(app.link, Link::Lost("the hub ended".into()));
}

/// What a dialog says is true of the fleet as it is now, not as it was when it opened.
#[test]
fn an_open_dialog_follows_the_fleet() {
    let mut app = on("h100-a");
    keys(&mut app, "d");
    let mut next = fixture::fleet();
    Arc::make_mut(
        next.backends
            .iter_mut()
            .find(|b| b.id == "h100-a".into())
            .unwrap(),
    )
    .live
    .running = Some(77);
    Arc::make_mut(
        next.backends
            .iter_mut()
            .find(|b| b.id == "h100-a".into())
            .unwrap(),
    )
    .live
    .in_flight = 77;
    update(&mut app, Event::Snapshot(Arc::new(next)));
    let Mode::Confirm { previews, .. } = &app.mode else {
        panic!("{:?}", app.mode)
    };
    assert!(
        previews[0].what.iter().any(|w| w.contains("77")),
        "{previews:?}"
    );
}

#[test]
fn copying_gives_a_line_that_can_be_pasted() {
    let effects = keys(&mut on("h100-a"), "y");
    let [Effect::Copy(line)] = &effects[..] else {
        panic!("{effects:?}")
    };
    assert!(
        line.starts_with("curl http://127.0.0.1:4000/v1/chat/completions")
            && line.contains("\"model\":\"qwen3-coder\""),
        "{line}"
    );
}

#[test]
fn pasted_text_is_text() {
    let mut app = on("h100-a");
    update(&mut app, Event::Paste("d\n\x1b[31mq".into()));
    assert_eq!(
        app.mode,
        Mode::Normal,
        "outside a field a paste presses no keys"
    );
    keys(&mut app, "/");
    update(&mut app, Event::Paste("h1\n\x1b00".into()));
    assert_eq!(app.filter, "h100");
}

#[test]
fn what_somebody_changed_meanwhile_is_asked_again() {
    let mut app = app();
    let sent = |effects: Vec<Effect>| effects.iter().any(|it| matches!(it, Effect::Send(_)));
    keys(&mut app, "x");
    assert!(matches!(app.mode, Mode::Confirm { apply: true, .. }));
    let Mode::Confirm { commands, .. } = &app.mode else {
        unreachable!()
    };
    let Command::Flip { model } = commands[0].clone() else {
        panic!("{commands:?}")
    };
    // A picture in which nothing of it has changed changes nothing here.
    update(&mut app, Event::Snapshot(Arc::new(fixture::fleet())));
    assert!(matches!(app.mode, Mode::Confirm { apply: true, .. }));
    let mut other = fixture::fleet();
    let theirs = other.backends.iter_mut().find(|b| b.model == model);
    Arc::make_mut(theirs.unwrap()).weight += 1;
    update(&mut app, Event::Snapshot(Arc::new(other)));
    let said = app.toasts.last().map(|it| it.text.clone());
    let said = said.unwrap_or_default();
    assert!(said.contains("changed while you looked"), "{said}");
    // Enter, on its way already, does not apply it.
    assert!(!sent(keys(&mut app, "enter")));
    keys(&mut app, "x");
    assert!(sent(keys(&mut app, "enter")));
}
