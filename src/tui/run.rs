//! The console's loop: events in, effects out, frames when they are due.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use crossterm::event::{Event as Input, EventStream, KeyEventKind};
use crossterm::terminal::{BeginSynchronizedUpdate, EndSynchronizedUpdate};
use crossterm::{execute, queue};
use futures_util::StreamExt as _;
use nix::sys::signal::{Signal, raise};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::app::App;
use super::event::{Effect, Event};
use super::frames::Frames;
use super::terminal::{self, Screen, Taken};
use super::theme::Theme;
use super::update::update;
use super::view;
use crate::fleet::message::RefusalKind;
use crate::fleet::{Actor, Fleet, Refusal};
use crate::handle::{FleetHandle, Order, Reach};

/// Answers and timers on their way back to the loop; the operator's fingers bound them.
const RETURNS: usize = 64;
/// A toast is read within this long.
const TOAST: Duration = Duration::from_secs(6);
/// No picture for this long is worth saying.
const QUIET: Duration = Duration::from_secs(3);
/// Figures move on the screen this often: faster than this nobody reads them.
const FIGURES: Duration = Duration::from_millis(200);
/// Ages on the screen move on this often.
const AGING: Duration = Duration::from_secs(1);

/// What the console is started with.
#[derive(Debug)]
pub struct Options {
    /// Colours and glyphs.
    pub theme: Theme,
    /// The name that goes into the audit.
    pub operator: String,
    /// Takes the actions away.
    pub read_only: bool,
    /// The fleet is looked after elsewhere and goes on without this console.
    pub attached: bool,
    /// Takes the mouse.
    pub mouse: bool,
}

/// Runs the console on this terminal until the operator leaves, a signal comes, or `shutdown` is cancelled.
///
/// # Errors
/// Where there is no terminal, or it is lost.
pub async fn run(
    handle: FleetHandle,
    options: Options,
    shutdown: CancellationToken,
) -> io::Result<()> {
    terminal::restore_on_panic(shutdown.clone());
    let taken = Taken::take(options.mouse)?;
    let (back, returns) = mpsc::channel(RETURNS);
    let snapshots = handle.snapshots.clone();
    let first = snapshots.borrow().clone();
    let mut app = App::new(first, options.theme, options.operator, options.read_only);
    app.attached = options.attached;
    let console = Console {
        app,
        screen: terminal::screen()?,
        shown: Buffer::default(),
        taken,
        frames: Frames::default(),
        handle,
        back,
        shutdown,
        heard: Instant::now(),
    };
    console.run(returns).await?;
    if terminal::panicked() {
        return Err(io::Error::other(
            "a part of the program failed; what it said is above",
        ));
    }
    Ok(())
}

struct Console {
    app: App,
    screen: Screen,
    /// What stands on the screen.
    shown: Buffer,
    taken: Taken,
    frames: Frames,
    handle: FleetHandle,
    back: mpsc::Sender<Event>,
    shutdown: CancellationToken,
    /// When the last picture came.
    heard: Instant,
}

impl Console {
    async fn run(mut self, mut returns: mpsc::Receiver<Event>) -> io::Result<()> {
        let mut term = signal(SignalKind::terminate())?;
        let mut hup = signal(SignalKind::hangup())?;
        let mut int = signal(SignalKind::interrupt())?;
        let mut cont = signal(SignalKind::from_raw(Signal::SIGCONT as i32))?;
        let mut snapshots = self.handle.snapshots.clone();
        let mut inputs = EventStream::new();
        let mut quiet = tokio::time::interval(AGING);
        let mut gone = false;
        let mut reach = self.handle.reach.clone();
        let size = self.screen.size()?;
        update(&mut self.app, Event::Resize(size.width, size.height));
        self.frames.request(Instant::now());
        loop {
            let due = self.frames.due();
            let event = tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return Ok(()),
                _ = term.recv() => return Ok(()),
                _ = hup.recv() => return Ok(()),
                _ = int.recv() => return Ok(()),
                _ = cont.recv() => { self.redraw()?; continue }
                input = inputs.next() => match input {
                    Some(Ok(input)) => match translate(input) { Some(event) => event, None => continue },
                    // The terminal is gone.
                    Some(Err(_)) | None => return Ok(()),
                },
                () = sleep_until(due), if due.is_some() => { self.draw()?; continue }
                Some(event) = returns.recv() => event,
                changed = snapshots.changed(), if !gone => if changed.is_ok() {
                    self.heard = Instant::now();
                    Event::Snapshot(snapshots.borrow_and_update().clone())
                } else {
                    gone = true;
                    Event::Closed("nobody tells of this fleet any more; leave with q".into())
                },
                Ok(()) = reach.changed() => match &*reach.borrow_and_update() {
                    Reach::Lost(why) => Event::Lost(why.clone()),
                    Reach::Near => continue,
                },
                _ = quiet.tick(), if !gone => {
                    let silence = self.heard.elapsed();
                    if silence < QUIET { continue }
                    Event::Quiet(silence.as_secs())
                }
            };
            if self.take_in(event)? {
                return Ok(());
            }
        }
    }

    /// Takes in one event; says whether the operator leaves.
    fn take_in(&mut self, event: Event) -> io::Result<bool> {
        let now = Instant::now();
        match &event {
            Event::Key(_) | Event::Mouse(_) | Event::Paste(_) | Event::Resize(..) => {
                self.frames.demand(now);
            }
            Event::Snapshot(next) => self
                .frames
                .request_lazily(now, patience(&self.app.fleet, next)),
            Event::Answer(_)
            | Event::Rehearsed(..)
            | Event::Quiet(_)
            | Event::Closed(_)
            | Event::Lost(_)
            | Event::Expired(_) => {
                self.frames.request(now);
            }
        }
        for effect in update(&mut self.app, event) {
            match effect {
                Effect::Send(command) => self.send(command),
                Effect::Rehearse(command) => self.rehearse(command),
                Effect::Copy(text) => copy(&text)?,
                Effect::Expire(id) => self.later(TOAST, Event::Expired(id)),
                Effect::Redraw => self.redraw()?,
                Effect::Suspend => self.suspend()?,
                Effect::Quit => return Ok(true),
            }
        }
        Ok(false)
    }

    fn send(&self, command: crate::fleet::Command) {
        let (reply, answer) = oneshot::channel();
        let order = Order {
            // What the operator decided by is what the picture showed.
            expects: Some(self.app.whole.version(&command)),
            rehearse: false,
            command,
            by: Actor::Operator(self.app.operator.clone()),
            reply: Some(reply),
        };
        let (orders, back) = (self.handle.orders.clone(), self.back.clone());
        tokio::spawn(async move {
            let sent = orders.send(order).await;
            let answer = match sent {
                Ok(()) => answer.await.ok(),
                Err(_) => None,
            };
            let answer = answer.unwrap_or_else(|| {
                Err(Refusal {
                    kind: RefusalKind::Unanswered,
                    what: "the fleet did not answer".into(),
                    hint: "look at the audit before you try again".into(),
                })
            });
            // The console may have been left meanwhile.
            let _ = back.send(Event::Answer(answer)).await;
        });
    }

    fn rehearse(&self, command: crate::fleet::Command) {
        let (reply, answer) = oneshot::channel();
        let order = Order {
            command: command.clone(),
            by: Actor::Operator(self.app.operator.clone()),
            expects: None,
            rehearse: true,
            reply: Some(reply),
        };
        let (orders, back) = (self.handle.orders.clone(), self.back.clone());
        tokio::spawn(async move {
            // Without an answer the dialog stays as it is: what is applied is answered in any case.
            if orders.send(order).await.is_ok()
                && let Ok(answer) = answer.await
            {
                let _ = back.send(Event::Rehearsed(command, answer)).await;
            }
        });
    }

    fn later(&self, wait: Duration, event: Event) {
        let back = self.back.clone();
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            let _ = back.send(event).await;
        });
    }

    fn draw(&mut self) -> io::Result<()> {
        if !terminal::is_ours() {
            // A panic elsewhere gave it back; the end is on its way, and what was said stays readable.
            self.frames.drawn(Instant::now());
            return Ok(());
        }
        let size = self.screen.size()?;
        let area = Rect::new(0, 0, size.width, size.height);
        let mut next = Buffer::empty(area);
        view::draw(&self.app, area, &mut next);
        if next == self.shown {
            // What came changes nothing that is seen: no frame at all.
            self.frames.drawn(Instant::now());
            return Ok(());
        }
        self.shown = next;
        let shown = &self.shown;
        queue!(self.screen.backend_mut(), BeginSynchronizedUpdate)?;
        self.screen.draw(|frame| {
            // A terminal that was resized since is drawn whole with the event that says so.
            if frame.area() == shown.area {
                frame.buffer_mut().clone_from(shown);
            }
        })?;
        queue!(self.screen.backend_mut(), EndSynchronizedUpdate)?;
        self.screen.backend_mut().flush()?;
        self.frames.drawn(Instant::now());
        Ok(())
    }

    fn redraw(&mut self) -> io::Result<()> {
        // Not `clear`: that asks the terminal where its cursor is, and the answer goes to the event stream instead.
        let size = self.screen.size()?;
        self.screen
            .resize(Rect::new(0, 0, size.width, size.height))?;
        self.shown = Buffer::default();
        self.frames.demand(Instant::now());
        Ok(())
    }

    /// Back to the shell; goes on here when the shell says `fg`.
    fn suspend(&mut self) -> io::Result<()> {
        terminal::give_back();
        // Stops this process here, as the terminal itself would have done.
        raise(Signal::SIGTSTP).map_err(io::Error::from)?;
        self.taken.retake()?;
        let size = crossterm::terminal::size()?;
        update(&mut self.app, Event::Resize(size.0, size.1));
        self.redraw()
    }
}

async fn sleep_until(due: Option<Instant>) {
    if let Some(due) = due {
        tokio::time::sleep_until(due).await;
    }
}

/// Key releases are not key presses.
fn translate(input: Input) -> Option<Event> {
    match input {
        Input::Key(key) if key.kind == KeyEventKind::Release => None,
        Input::Key(key) => Some(Event::Key(key)),
        Input::Mouse(mouse) => Some(Event::Mouse(mouse)),
        Input::Paste(text) => Some(Event::Paste(text)),
        Input::Resize(columns, rows) => Some(Event::Resize(columns, rows)),
        Input::FocusGained | Input::FocusLost => None,
    }
}

/// How long the frame for `next` may wait: not at all where something happened, a little where figures moved, a second where only ages did.
fn patience(before: &Fleet, next: &Fleet) -> Duration {
    let pairs = || before.backends.iter().zip(&next.backends);
    let same_story = before.findings == next.findings
        && before.audit.len() == next.audit.len()
        && before.backends.len() == next.backends.len()
        && pairs().all(|(a, b)| {
            Arc::ptr_eq(a, b)
                || (a.state == b.state
                    && a.log.len() == b.log.len()
                    && a.weight == b.weight
                    && a.pin == b.pin)
        });
    if !same_story {
        return Duration::ZERO;
    }
    let same_figures = before.answered == next.answered
        && pairs()
            .all(|(a, b)| a.live.read_at == b.live.read_at && a.live.in_flight == b.live.in_flight);
    if same_figures { AGING } else { FIGURES }
}

/// Puts `text` on the clipboard of the operator's own terminal, also over ssh (OSC 52).
fn copy(text: &str) -> io::Result<()> {
    let encoded = base64::engine::general_purpose::STANDARD.encode(text);
    let mut out = io::stdout();
    write!(out, "\x1b]52;c;{encoded}\x07")?;
    execute!(out)
}
