//! The real program in a real pseudo-terminal: it paints, wakes a backend, and leaves the terminal as it was.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use support::Terminal;

#[test]
fn wakes_a_backend_and_leaves_the_terminal_as_it_was() {
    let mut terminal = Terminal::start(
        120,
        40,
        &["--speed", "60", "--seed", "1", "--listen", "127.0.0.1:0"],
    );
    terminal.wait_for("llama-3.3-70b");
    assert!(
        terminal.alternate_screen(),
        "the console takes the alternate screen"
    );
    terminal.wait_for("asleep");
    terminal.select("a100-spot");
    terminal.press("w");
    terminal.wait_for("Cancel");
    // Having seen what it costs, esc leaves it.
    terminal.press("\x1b");
    terminal.wait_until("the dialog is gone", |screen| !screen.contains("Cancel"));
    assert!(
        terminal.row("a100-spot").contains("asleep"),
        "{}",
        terminal.text()
    );
    terminal.press("w");
    terminal.wait_for("Cancel");
    // It stops nothing: enter applies it.
    terminal.press("\r");
    terminal.wait_until("a100-spot leaves its sleep", |screen| {
        row(screen, "a100-spot").is_some_and(|r| !r.contains("asleep"))
    });
    terminal.wait_until("a100-spot is warm", |screen| {
        row(screen, "a100-spot").is_some_and(|r| r.contains("warm"))
    });
    terminal.press("q");
    assert_eq!(terminal.exit_code(), 0);
    terminal.assert_restored();
}

#[test]
fn a_signal_leaves_the_terminal_as_it_was() {
    for signal in [
        nix::sys::signal::Signal::SIGTERM,
        nix::sys::signal::Signal::SIGHUP,
    ] {
        let mut terminal = Terminal::start(80, 24, &["--speed", "60", "--listen", "127.0.0.1:0"]);
        terminal.wait_for("llama-3.3-70b");
        terminal.signal(signal);
        terminal.exit_code();
        terminal.assert_restored();
    }
}

/// Drawing anew must not ask the terminal anything: the answer would go astray and end the program.
#[test]
fn goes_on_after_a_redraw_and_after_the_shell() {
    let mut terminal = Terminal::start(80, 24, &["--speed", "60", "--listen", "127.0.0.1:0"]);
    terminal.wait_for("llama-3.3-70b");
    terminal.press("\x12j");
    terminal.wait_until("a100-spot is selected", |screen| {
        row(screen, "a100-spot").is_some_and(|r| r.contains('▌'))
    });
    // Without a shell to stop for, ctrl-z gives the terminal back and takes it again.
    terminal.press("\x1aj");
    terminal.wait_until("aoai-4o-mini is selected", |screen| {
        row(screen, "aoai-4o-mini").is_some_and(|r| r.contains('▌'))
    });
    assert!(terminal.alternate_screen());
    terminal.press("q");
    assert_eq!(terminal.exit_code(), 0);
    terminal.assert_restored();
}

fn row<'a>(screen: &'a str, name: &str) -> Option<&'a str> {
    screen
        .lines()
        .find(|line| line.contains(name) && !line.contains('/'))
}
