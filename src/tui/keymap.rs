//! The one keymap: what each key does. Help, footer and palette are drawn from it.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::app::Screen;

/// What a key asks the console for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// One row up.
    Up,
    /// One row down.
    Down,
    /// A weight down, or the tab before.
    Left,
    /// A weight up, or the next tab.
    Right,
    /// The first row.
    First,
    /// The last row.
    Last,
    /// One page up.
    PageUp,
    /// One page down.
    PageDown,
    /// Into what is selected; on Routing: apply the draft.
    Enter,
    /// Out of here, and first out of a draft, a filter or marks.
    Back,
    /// That screen.
    Show(Screen),
    /// The next screen.
    NextScreen,
    /// The screen before.
    PreviousScreen,
    /// The filter line.
    Filter,
    /// The command palette.
    Palette,
    /// Marks the selected backend.
    Mark,
    /// The next order of the table.
    Sort,
    /// The keys.
    Help,
    /// Wakes.
    Wake,
    /// Puts to sleep.
    Sleep,
    /// Takes out of service.
    Drain,
    /// Puts back in service.
    Undrain,
    /// Pins, or lifts the pin.
    Pin,
    /// Swaps hosted and self-hosted.
    Flip,
    /// Restores what stood before.
    Undo,
    /// To the next thing that needs attention.
    NextFinding,
    /// Everything that needs attention.
    Findings,
    /// The engine's log.
    Logs,
    /// What the cluster told of its pods.
    Events,
    /// The next theme.
    Theme,
    /// Copies.
    Copy,
    /// Freezes the requests tail, or lets it follow again.
    Freeze,
    /// Draws everything anew.
    Refresh,
    /// Back, and at home out.
    Quit,
    /// Out at once.
    Abort,
    /// Gives the terminal back to the shell until `fg`.
    Suspend,
}

/// What a binding belongs to, in help and footer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Getting around.
    Move,
    /// Doing something to the fleet; taken away by `--read-only`.
    Act,
    /// Looking at it another way.
    View,
    /// The program itself.
    Program,
}

/// One row of the keymap.
#[derive(Clone, Copy, Debug)]
pub struct Binding {
    /// What it does.
    pub action: Action,
    /// The keys, the first one shown: a character, or a name such as `enter`, `ctrl-r`, `pgup`.
    pub keys: &'static [&'static str],
    /// The word in the footer and the palette.
    pub word: &'static str,
    /// The sentence in the help.
    pub help: &'static str,
    /// Where it belongs.
    pub group: Group,
    /// Footers that show it; empty: only the help.
    pub footer: &'static [Screen],
}

const fn bind(
    action: Action,
    keys: &'static [&'static str],
    word: &'static str,
    help: &'static str,
    group: Group,
    footer: &'static [Screen],
) -> Binding {
    Binding {
        action,
        keys,
        word,
        help,
        group,
        footer,
    }
}

use Screen::{Audit, Backend, Cost, Fleet, Gpus, Requests, Routing, Wakes};

/// Every key of the console, in the order of the help.
pub const KEYMAP: &[Binding] = &[
    bind(
        Action::Up,
        &["k", "up"],
        "up",
        "one row up",
        Group::Move,
        &[],
    ),
    bind(
        Action::Down,
        &["j", "down"],
        "down",
        "one row down",
        Group::Move,
        &[],
    ),
    bind(
        Action::Left,
        &["left", "h"],
        "less",
        "less weight (Routing)",
        Group::Move,
        &[Routing],
    ),
    bind(
        Action::Right,
        &["right"],
        "more",
        "more weight (Routing)",
        Group::Move,
        &[Routing],
    ),
    bind(
        Action::First,
        &["g", "home"],
        "first",
        "the first row",
        Group::Move,
        &[],
    ),
    bind(
        Action::Last,
        &["G", "end"],
        "last",
        "the last row",
        Group::Move,
        &[],
    ),
    bind(
        Action::PageUp,
        &["pgup", "ctrl-b"],
        "page up",
        "one page up",
        Group::Move,
        &[],
    ),
    bind(
        Action::PageDown,
        &["pgdn", "ctrl-f"],
        "page down",
        "one page down",
        Group::Move,
        &[],
    ),
    bind(
        Action::Enter,
        &["enter"],
        "open",
        "open it; on Routing: apply the weights",
        Group::Move,
        &[Fleet, Routing],
    ),
    bind(
        Action::Back,
        &["esc"],
        "back",
        "out of a draft, filter, marks, the screen",
        Group::Move,
        &[Backend, Routing, Cost, Requests, Wakes, Audit, Gpus],
    ),
    bind(
        Action::Show(Fleet),
        &["1"],
        "fleet",
        "the Fleet screen",
        Group::Move,
        &[],
    ),
    bind(
        Action::Show(Backend),
        &["2"],
        "backend",
        "the Backend screen",
        Group::Move,
        &[],
    ),
    bind(
        Action::Show(Routing),
        &["r", "3"],
        "routing",
        "the Routing screen of its model",
        Group::Move,
        &[Fleet, Backend],
    ),
    bind(
        Action::Show(Cost),
        &["4"],
        "cost",
        "the Cost screen",
        Group::Move,
        &[],
    ),
    bind(
        Action::Show(Requests),
        &["5"],
        "requests",
        "the Requests screen",
        Group::Move,
        &[],
    ),
    bind(
        Action::Show(Wakes),
        &["6"],
        "wakes",
        "the Wakes screen",
        Group::Move,
        &[],
    ),
    bind(
        Action::Show(Audit),
        &["7"],
        "audit",
        "the Audit screen",
        Group::Move,
        &[],
    ),
    bind(
        Action::Show(Gpus),
        &["8"],
        "gpus",
        "the GPUs screen",
        Group::Move,
        &[],
    ),
    bind(
        Action::NextScreen,
        &["tab"],
        "next screen",
        "the next screen",
        Group::Move,
        &[],
    ),
    bind(
        Action::PreviousScreen,
        &["shift-tab"],
        "screen before",
        "the screen before",
        Group::Move,
        &[],
    ),
    bind(
        Action::Wake,
        &["w"],
        "wake",
        "wake the engine",
        Group::Act,
        &[Fleet, Backend],
    ),
    bind(
        Action::Sleep,
        &["s"],
        "sleep",
        "finish, then sleep; requests may wake it",
        Group::Act,
        &[Fleet, Backend],
    ),
    bind(
        Action::Drain,
        &["d"],
        "drain",
        "finish, sleep, and stay out of service",
        Group::Act,
        &[Fleet, Backend],
    ),
    bind(
        Action::Undrain,
        &["u"],
        "undrain",
        "put it back in service",
        Group::Act,
        &[Fleet, Backend],
    ),
    bind(
        Action::Pin,
        &["p"],
        "pin",
        "keep it warm for a while, or lift the pin",
        Group::Act,
        &[Fleet, Backend],
    ),
    bind(
        Action::Flip,
        &["x"],
        "flip",
        "swap hosted and self-hosted shares",
        Group::Act,
        &[Fleet, Backend, Routing],
    ),
    bind(
        Action::Undo,
        &["z"],
        "undo",
        "restore what stood before the last action",
        Group::Act,
        &[Fleet, Backend, Routing, Audit],
    ),
    bind(
        Action::NextFinding,
        &["n"],
        "next finding",
        "to the next thing that needs attention",
        Group::View,
        &[],
    ),
    bind(
        Action::Findings,
        &["!"],
        "findings",
        "all that needs attention, in full",
        Group::View,
        &[],
    ),
    bind(
        Action::Filter,
        &["/"],
        "filter",
        "show only what contains the text",
        Group::View,
        &[Fleet, Requests, Wakes, Audit, Gpus],
    ),
    bind(
        Action::Sort,
        &["o"],
        "sort",
        "the next order of the table",
        Group::View,
        &[Fleet],
    ),
    bind(
        Action::Mark,
        &["space"],
        "mark",
        "mark it; actions go to all marked",
        Group::View,
        &[Fleet],
    ),
    bind(
        Action::Freeze,
        &["f"],
        "pause",
        "hold the requests still, or follow",
        Group::View,
        &[Requests],
    ),
    bind(
        Action::Logs,
        &["l"],
        "log",
        "the engine's log",
        Group::View,
        &[Fleet],
    ),
    bind(
        Action::Events,
        &["e"],
        "events",
        "what its cluster told of its pods, and back to the log",
        Group::View,
        &[],
    ),
    bind(
        Action::Theme,
        &["t"],
        "theme",
        "the next theme",
        Group::View,
        &[],
    ),
    bind(
        Action::Copy,
        &["y"],
        "copy",
        "copy a curl line for the model",
        Group::View,
        &[],
    ),
    bind(
        Action::Refresh,
        &["ctrl-r"],
        "redraw",
        "draw everything anew",
        Group::View,
        &[],
    ),
    bind(
        Action::Palette,
        &[":"],
        "command",
        "type a command, with completion",
        Group::Program,
        &[Fleet, Backend, Routing, Cost, Requests, Wakes, Audit, Gpus],
    ),
    bind(
        Action::Help,
        &["?", "f1"],
        "help",
        "this",
        Group::Program,
        &[Fleet, Backend, Routing, Cost, Requests, Wakes, Audit, Gpus],
    ),
    bind(
        Action::Quit,
        &["q"],
        "quit",
        "back, and at home out",
        Group::Program,
        &[Fleet, Backend, Routing, Cost, Requests, Wakes, Audit, Gpus],
    ),
    bind(
        Action::Abort,
        &["ctrl-c"],
        "leave",
        "out; twice where it asks",
        Group::Program,
        &[],
    ),
    bind(
        Action::Suspend,
        &["ctrl-z"],
        "suspend",
        "back to the shell until fg",
        Group::Program,
        &[],
    ),
];

/// What `key` asks for on `screen`; `None` where it is not bound.
pub fn action(key: KeyEvent, screen: Screen) -> Option<Action> {
    let name = name(key)?;
    // On Routing `l` is vim's right: a weight goes up. Everywhere else it opens the log.
    if screen == Routing && name == "l" {
        return Some(Action::Right);
    }
    KEYMAP
        .iter()
        .find(|b| b.keys.contains(&name.as_str()))
        .map(|b| b.action)
}

/// The first key of an action, as it is shown.
pub fn key_of(action: Action) -> &'static str {
    KEYMAP
        .iter()
        .find(|b| b.action == action)
        .and_then(|b| b.keys.first())
        .copied()
        .unwrap_or_default()
}

/// The keymap's name of a key.
fn name(key: KeyEvent) -> Option<String> {
    let base = match key.code {
        KeyCode::Char(' ') => "space".to_owned(),
        KeyCode::Char(c) => c.to_string(),
        KeyCode::Enter => "enter".to_owned(),
        KeyCode::Esc => "esc".to_owned(),
        KeyCode::Tab => "tab".to_owned(),
        KeyCode::BackTab => "shift-tab".to_owned(),
        KeyCode::Up => "up".to_owned(),
        KeyCode::Down => "down".to_owned(),
        KeyCode::Left => "left".to_owned(),
        KeyCode::Right => "right".to_owned(),
        KeyCode::Home => "home".to_owned(),
        KeyCode::End => "end".to_owned(),
        KeyCode::PageUp => "pgup".to_owned(),
        KeyCode::PageDown => "pgdn".to_owned(),
        KeyCode::F(n) => format!("f{n}"),
        _ => return None,
    };
    Some(if key.modifiers.contains(KeyModifiers::CONTROL) {
        format!("ctrl-{}", base.to_lowercase())
    } else {
        base
    })
}
