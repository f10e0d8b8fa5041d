//! The terminal: taken in one place, given back in one place, whatever ends the program.

use std::io::{self, Write, stdout};
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::cursor;
use crossterm::event::{
    DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture,
};
use crossterm::execute;
use crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use tokio_util::sync::CancellationToken;

/// A frame is some ten kilobytes; it goes out in one write.
const BUFFER: usize = 64 * 1024;

/// Whether the terminal is ours now. A panic hook has no other way to know.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The screen, as ratatui draws on it.
pub type Screen = Terminal<CrosstermBackend<io::BufWriter<io::Stdout>>>;

/// The terminal, ours until dropped.
#[derive(Debug)]
pub struct Taken {
    mouse: bool,
}

impl Taken {
    /// Takes the terminal: alternate screen, raw keys, mouse where wanted.
    ///
    /// # Errors
    /// Where there is no terminal to take.
    pub fn take(mouse: bool) -> io::Result<Self> {
        enable_raw_mode()?;
        TAKEN.store(true, Ordering::SeqCst);
        let taken = Self { mouse };
        execute!(
            stdout(),
            EnterAlternateScreen,
            EnableBracketedPaste,
            cursor::Hide
        )?;
        if mouse {
            execute!(stdout(), EnableMouseCapture)?;
        }
        Ok(taken)
    }

    /// Takes it again after [`give_back`], as it was.
    ///
    /// # Errors
    /// Where the terminal is gone.
    pub fn retake(&self) -> io::Result<()> {
        // The fresh value would give the terminal back when dropped; this one does that already.
        std::mem::forget(Self::take(self.mouse)?);
        Ok(())
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        give_back();
    }
}

/// Gives the terminal back as it was. Harmless when it is not ours.
pub fn give_back() {
    if !TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    // Each for itself: what can still be restored is, also on a terminal that is half gone.
    let _ = execute!(stdout(), DisableMouseCapture);
    let _ = execute!(
        stdout(),
        DisableBracketedPaste,
        LeaveAlternateScreen,
        cursor::Show
    );
    let _ = disable_raw_mode();
    let _ = stdout().flush();
}

/// Whether the terminal is ours: nothing is drawn on a shell's.
pub fn is_ours() -> bool {
    TAKEN.load(Ordering::SeqCst)
}

/// A screen to draw on.
///
/// # Errors
/// Where the terminal does not tell its size.
pub fn screen() -> io::Result<Screen> {
    Terminal::new(CrosstermBackend::new(io::BufWriter::with_capacity(
        BUFFER,
        stdout(),
    )))
}

/// From now on a panic, also one in a background task, gives the terminal back before it prints, and ends the program in order.
pub fn restore_on_panic(shutdown: CancellationToken) {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        give_back();
        before(info);
        PANICKED.store(true, Ordering::SeqCst);
        shutdown.cancel();
    }));
}

/// Whether a task panicked: then the program ended, but not well.
pub fn panicked() -> bool {
    PANICKED.load(Ordering::SeqCst)
}

static PANICKED: AtomicBool = AtomicBool::new(false);
