//! A terminal for tests: the program runs in a pseudo-terminal, and waiting is for what the screen shows.

use std::io::{Read as _, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

/// Nothing here takes this long; a wait that does has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// The program in a pseudo-terminal.
pub(crate) struct Terminal {
    child: Box<dyn Child + Send + Sync>,
    writer: Box<dyn Write + Send>,
    // Kept open: closing it hangs the program up.
    _master: Box<dyn MasterPty + Send>,
    output: Receiver<Vec<u8>>,
    screen: vt100::Parser,
}

impl Terminal {
    pub(crate) fn start(columns: u16, rows: u16, args: &[&str]) -> Self {
        let pair = native_pty_system()
            .openpty(PtySize {
                rows,
                cols: columns,
                pixel_width: 0,
                pixel_height: 0,
            })
            .unwrap();
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_fleetctl"));
        command.args(args);
        command.env("TERM", "xterm-256color");
        command.env("LANG", "C.UTF-8");
        command.env_remove("NO_COLOR");
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let mut reader = pair.master.try_clone_reader().unwrap();
        let (send, output) = channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 16 * 1024];
            while let Ok(n) = reader.read(&mut bytes) {
                if n == 0 || send.send(bytes[..n].to_vec()).is_err() {
                    break;
                }
            }
        });
        let writer = pair.master.take_writer().unwrap();
        Self {
            child,
            writer,
            _master: pair.master,
            output,
            screen: vt100::Parser::new(rows.try_into().unwrap(), columns.try_into().unwrap(), 0),
        }
    }

    pub(crate) fn text(&self) -> String {
        self.screen.screen().contents()
    }

    pub(crate) fn row(&self, name: &str) -> String {
        self.text()
            .lines()
            .find(|line| line.contains(name) && !line.contains('/'))
            .unwrap_or_default()
            .to_owned()
    }

    pub(crate) fn alternate_screen(&self) -> bool {
        self.screen.screen().alternate_screen()
    }

    pub(crate) fn press(&mut self, keys: &str) {
        self.writer.write_all(keys.as_bytes()).unwrap();
        self.writer.flush().unwrap();
    }

    /// Moves the selection down until the row of `name` carries its mark.
    pub(crate) fn select(&mut self, name: &str) {
        self.press("g");
        for _ in 0..30 {
            if self.row(name).contains('▌') {
                return;
            }
            let before = self.text();
            self.press("j");
            self.wait_until("the selection moves", |screen| {
                selected(screen) != selected(&before)
            });
        }
        panic!("{name} cannot be selected:\n{}", self.text());
    }

    pub(crate) fn wait_for(&mut self, text: &str) {
        self.wait_until(&format!("`{text}` shows"), |screen| screen.contains(text));
    }

    pub(crate) fn wait_until(&mut self, what: &str, done: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(&self.text()) {
            match self
                .output
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                Ok(bytes) => self.screen.process(&bytes),
                Err(RecvTimeoutError::Timeout) => panic!(
                    "not within {PATIENCE:?}: {what}; the screen:\n{}",
                    self.text()
                ),
                Err(RecvTimeoutError::Disconnected) => panic!(
                    "the program ended before: {what}; the screen:\n{}",
                    self.text()
                ),
            }
        }
    }

    pub(crate) fn signal(&mut self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(self.child.process_id().unwrap().cast_signed());
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    /// Waits for the program to end, taking in all it still writes.
    pub(crate) fn exit_code(&mut self) -> u32 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Ok(bytes) = self.output.recv_timeout(Duration::from_millis(50)) {
                self.screen.process(&bytes);
            } else {
                if let Some(status) = self.child.try_wait().unwrap() {
                    return status.exit_code();
                }
                assert!(
                    Instant::now() < deadline,
                    "the program still runs; the screen:\n{}",
                    self.text()
                );
            }
        }
    }

    pub(crate) fn assert_restored(&mut self) {
        while let Ok(bytes) = self.output.try_recv() {
            self.screen.process(&bytes);
        }
        let screen = self.screen.screen();
        assert!(!screen.alternate_screen(), "the alternate screen is left");
        assert!(!screen.hide_cursor(), "the cursor is back");
        assert_eq!(
            screen.mouse_protocol_mode(),
            vt100::MouseProtocolMode::None,
            "the mouse is given back"
        );
        assert!(!screen.bracketed_paste(), "paste is given back");
    }
}

fn selected(screen: &str) -> Option<&str> {
    screen.lines().find(|line| line.contains('▌'))
}
