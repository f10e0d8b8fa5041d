//! Keys of the screens.

use crossterm::event::KeyEvent;

use super::super::app::{App, Column, Lines, Mode, Screen};
use super::super::event::Effect;
use super::super::keymap::{self, Action};
use super::super::view;
use super::super::view::fleet::order::visible_order;
use super::{confirm, findings, keep_selection_visible, leave, routing, toast};
use crate::fleet::cluster::holds_exactly;
use crate::fleet::{BackendId, Command};
use crate::tui::pin_form::PinForm;

/// The orders that `o` goes through.
const SORTS: [Column; 7] = [
    Column::Backend,
    Column::State,
    Column::Requests,
    Column::Ttft,
    Column::Tokens,
    Column::Gpu,
    Column::Rate,
];

pub(super) fn press(app: &mut App, key: KeyEvent) -> Vec<Effect> {
    match keymap::action(key, app.screen) {
        Some(action) => act(app, action),
        None => Vec::new(),
    }
}

/// Does what a key, a click or the palette asks for.
pub(super) fn act(app: &mut App, action: Action) -> Vec<Effect> {
    match action {
        Action::Up => step(app, -1),
        Action::Down => step(app, 1),
        Action::PageUp => step(app, -(view::page(app) as isize)),
        Action::PageDown => step(app, view::page(app) as isize),
        Action::First => step(app, isize::MIN / 2),
        Action::Last => step(app, isize::MAX / 2),
        Action::Left if app.screen == Screen::Routing => return routing::change(app, -1),
        Action::Right if app.screen == Screen::Routing => return routing::change(app, 1),
        Action::Right | Action::NextScreen => show(app, neighbour(app.screen, 1)),
        Action::Left | Action::PreviousScreen => show(app, neighbour(app.screen, -1)),
        Action::Enter => match app.screen {
            Screen::Routing => return routing::apply(app),
            Screen::Fleet | Screen::Cost => show(app, Screen::Backend),
            Screen::Backend | Screen::Requests | Screen::Wakes | Screen::Audit | Screen::Gpus => {}
        },
        Action::Back => back(app),
        Action::Show(screen) => show(app, screen),
        Action::Logs => {
            app.lines = Lines::Log;
            show(app, Screen::Backend);
        }
        Action::Events => {
            let there = app.screen == Screen::Backend && app.lines == Lines::Events;
            app.lines = if !there && app.fleet.is_on_clusters() {
                Lines::Events
            } else {
                Lines::Log
            };
            app.scroll = 0;
            show(app, Screen::Backend);
        }
        Action::Filter => {
            if matches!(app.screen, Screen::Backend | Screen::Routing | Screen::Cost) {
                show(app, Screen::Fleet);
            }
            app.mode = Mode::Filter;
        }
        Action::Palette => {
            app.mode = Mode::Palette {
                input: String::new(),
                chosen: 0,
            }
        }
        Action::Help => app.mode = Mode::Help,
        Action::NextFinding => return findings::next(app),
        Action::Findings => return findings::open(app),
        Action::Mark => {
            if let Some(id) = app.selected.clone() {
                if !app.marks.remove(&id) {
                    app.marks.insert(id);
                }
                step(app, 1);
            }
        }
        Action::Sort => {
            let at = SORTS
                .iter()
                .position(|c| *c == app.sort.column)
                .map_or(0, |at| (at + 1) % SORTS.len());
            sort(app, SORTS[at]);
        }
        Action::Theme => app.theme = app.theme.next(),
        Action::Copy => return copy(app),
        Action::Freeze => {
            app.frozen = if app.frozen.is_some() {
                None
            } else {
                Some(app.fleet.clone())
            }
        }
        Action::Refresh => return vec![Effect::Redraw],
        Action::Quit if app.screen == Screen::Fleet => return leave::quit(app),
        Action::Quit => back_to(app),
        Action::Abort => return leave::quit(app),
        Action::Suspend => return vec![Effect::Suspend],
        Action::Wake => return each(app, |backend| Command::Wake { backend }),
        Action::Sleep => return each(app, |backend| Command::Sleep { backend }),
        Action::Drain => return each(app, |backend| Command::Drain { backend }),
        Action::Undrain => return each(app, |backend| Command::Undrain { backend }),
        Action::Pin => return pin(app),
        Action::Flip => {
            let Some(model) = app.model().map(|m| m.id.clone()) else {
                return nothing(app);
            };
            return confirm::ask(app, vec![Command::Flip { model }]);
        }
        Action::Undo => return confirm::ask(app, vec![Command::Undo]),
    }
    Vec::new()
}

/// Orders the table by `column`; again: the other way round.
pub(super) fn sort(app: &mut App, column: Column) {
    let again = app.sort.column == column;
    app.sort.descending = if again {
        !app.sort.descending
    } else {
        !matches!(column, Column::Backend | Column::State)
    };
    app.sort.column = column;
}

/// Goes to `screen`, and remembers where from.
pub(super) fn show(app: &mut App, screen: Screen) {
    if app.screen == screen {
        return;
    }
    app.back.retain(|s| *s != screen);
    if screen == Screen::Fleet {
        // Home: no way leads out of it but the end.
        app.back.clear();
    } else {
        app.back.push(app.screen);
    }
    app.screen = screen;
    app.scroll = 0;
    app.draft = None;
}

fn neighbour(screen: Screen, by: isize) -> Screen {
    let all = Screen::ALL;
    let at = all.iter().position(|s| *s == screen).unwrap_or(0) as isize;
    all[(at + by).rem_euclid(all.len() as isize) as usize]
}

/// Out of the innermost thing: a draft, a filter, marks, the screen.
fn back(app: &mut App) {
    if app.draft.take().is_some() {
        return;
    }
    if !app.filter.is_empty() {
        app.filter.clear();
    } else if !app.marks.is_empty() {
        app.marks.clear();
    } else {
        back_to(app);
    }
}

fn back_to(app: &mut App) {
    app.screen = app.back.pop().unwrap_or(Screen::Fleet);
    app.scroll = 0;
    app.draft = None;
}

/// Moves the selection where a screen has one, else scrolls; positive is down.
pub(super) fn step(app: &mut App, by: isize) {
    let order = match app.screen {
        Screen::Fleet => visible_order(app),
        Screen::Cost => app.fleet.backends.iter().map(|b| b.id.clone()).collect(),
        Screen::Routing => app.model().map(|m| m.backends.clone()).unwrap_or_default(),
        Screen::Requests | Screen::Wakes | Screen::Audit | Screen::Gpus => {
            // The newest stands on top: down is back in time.
            app.scroll = app.scroll.saturating_add_signed(by).min(most_scroll(app));
            return;
        }
        Screen::Backend => {
            // The log's newest stands at the bottom: up is back in time.
            app.scroll = app
                .scroll
                .saturating_add_signed(-by.clamp(-100_000, 100_000))
                .min(most_scroll(app));
            return;
        }
    };
    let Some(last) = order.len().checked_sub(1) else {
        return;
    };
    let at = app
        .selected
        .as_ref()
        .and_then(|id| order.iter().position(|o| o == id));
    let to = at.map_or(0, |at| at.saturating_add_signed(by).min(last));
    app.selected = Some(order[to].clone());
    keep_selection_visible_on_fleet(app);
}

fn keep_selection_visible_on_fleet(app: &mut App) {
    if app.screen == Screen::Fleet {
        keep_selection_visible(app);
    }
}

fn most_scroll(app: &App) -> usize {
    let lines = match app.screen {
        Screen::Requests => app.frozen.as_ref().unwrap_or(&app.fleet).requests.len(),
        Screen::Wakes => view::wakes::count(app),
        Screen::Audit => app.fleet.audit.len(),
        Screen::Gpus => view::gpus::count(app),
        Screen::Backend => app.backend().map_or(0, |b| view::backend::lines(app, b)),
        Screen::Fleet | Screen::Routing | Screen::Cost => 0,
    };
    lines.saturating_sub(1)
}

/// The marked backends, or else the selected one; never one that a filter hides.
fn targets(app: &App) -> Vec<BackendId> {
    if app.marks.is_empty() {
        let filtered = app.screen == Screen::Fleet && !app.filter.is_empty();
        let seen = filtered.then(|| visible_order(app));
        app.selected
            .iter()
            .filter(|id| seen.as_ref().is_none_or(|seen| seen.contains(id)))
            .cloned()
            .collect()
    } else {
        app.marks.iter().cloned().collect()
    }
}

fn each(app: &mut App, command: impl Fn(BackendId) -> Command) -> Vec<Effect> {
    let commands: Vec<_> = targets(app).into_iter().map(command).collect();
    if commands.is_empty() {
        nothing(app)
    } else {
        confirm::ask(app, commands)
    }
}

fn pin(app: &mut App) -> Vec<Effect> {
    let backends = targets(app);
    if backends.is_empty() {
        return nothing(app);
    }
    if app.read_only {
        return confirm::read_only(app);
    }
    if backends
        .iter()
        .all(|id| app.fleet.backend(id).is_some_and(|b| b.pin.is_some()))
    {
        return confirm::ask(
            app,
            backends
                .into_iter()
                .map(|backend| Command::Unpin { backend })
                .collect(),
        );
    }
    let refused = backends.iter().find_map(|id| {
        app.fleet.refusal(&Command::Pin {
            backend: id.clone(),
            until: None,
            exactly: None,
            // It is asked for next.
            reason: "?".to_owned(),
        })
    });
    if let Some(refusal) = refused {
        return toast(app, refusal.to_string(), true);
    }
    let exact = |id| {
        let place = app.fleet.backend(id).and_then(|b| b.place.as_deref());
        place.is_some_and(holds_exactly)
    };
    app.mode = Mode::Pin {
        form: PinForm::new(backends.iter().all(exact)),
        backends,
    };
    Vec::new()
}

fn nothing(app: &mut App) -> Vec<Effect> {
    toast(
        app,
        "nothing is selected; the Fleet screen has the list".into(),
        true,
    )
}

/// A request for the selected model, ready to paste into a shell.
fn copy(app: &mut App) -> Vec<Effect> {
    let (Some(gateway), Some(model)) =
        (app.fleet.gateway.clone(), app.model().map(|m| m.id.clone()))
    else {
        return toast(app, "there is nothing to copy here".into(), true);
    };
    let line = format!(
        "curl {gateway}/chat/completions -H 'content-type: application/json' -d '{{\"model\":\"{model}\",\"messages\":[{{\"role\":\"user\",\"content\":\"hello\"}}]}}'"
    );
    let mut effects = toast(app, format!("copied a request for {model}"), false);
    effects.push(Effect::Copy(line));
    effects
}
