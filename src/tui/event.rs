//! What reaches the console, and what it asks for in return.

use std::sync::Arc;

use crossterm::event::{KeyEvent, MouseEvent};

use crate::fleet::{Command, Fleet, Receipt, Refusal};

/// Something that reaches the console.
#[derive(Clone, Debug)]
pub enum Event {
    /// A key was pressed (releases never get here).
    Key(KeyEvent),
    /// Text was pasted.
    Paste(String),
    /// The mouse.
    Mouse(MouseEvent),
    /// The terminal has this many columns and rows.
    Resize(u16, u16),
    /// A new picture.
    Snapshot(Arc<Fleet>),
    /// What came of a command.
    Answer(Result<Receipt, Refusal>),
    /// What a cluster says of a command that was only tried.
    Rehearsed(Command, Result<Receipt, Refusal>),
    /// No picture for this many wall seconds.
    Quiet(u64),
    /// The fleet is gone, and why.
    Closed(String),
    /// The fleet is out of reach, and why; somebody tries again.
    Lost(String),
    /// The toast of this number has been shown long enough.
    Expired(u64),
}

/// What the console asks the loop to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send this to the fleet.
    Send(Command),
    /// Have a cluster check it, and change nothing.
    Rehearse(Command),
    /// Put this on the clipboard (OSC 52).
    Copy(String),
    /// Send [`Event::Expired`] with this number after a few seconds.
    Expire(u64),
    /// Draw everything anew.
    Redraw,
    /// Give the terminal back to the shell until `fg`.
    Suspend,
    /// End.
    Quit,
}
