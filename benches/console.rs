//! What the console costs with a thousand backends: one frame, and the time from a key to the frame that it changes.

#![expect(clippy::expect_used, reason = "a bench that cannot start has failed")]

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use fleetctl::actuator::Actuator;
use fleetctl::clock::Clock;
use fleetctl::fleet::backend::{Capacity, SelfHosted, SleepWay};
use fleetctl::fleet::ledger::Ledger;
use fleetctl::fleet::live::Live;
use fleetctl::fleet::model::{ColdPolicy, DataPath};
use fleetctl::fleet::{Backend, BackendId, Fleet, Kind, Model, Observation, State, Usd};
use fleetctl::source::read_engine;
use fleetctl::tui::app::App;
use fleetctl::tui::event::Event;
use fleetctl::tui::update::update;
use fleetctl::tui::{theme, view};
use ratatui::backend::{CrosstermBackend, TestBackend};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::{Terminal, TerminalOptions, Viewport};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const PAGE: &str = include_str!("../tests/pages/vllm-0.32.0-load.txt");
const AREA: Rect = Rect::new(0, 0, 200, 60);
const BACKENDS: usize = 1000;
const PER_MODEL: usize = 4;
const KEYS: usize = 400;

fn main() {
    divan::main();
    if std::env::args().any(|a| a == "--bench") {
        keys();
    }
}

/// The Fleet screen into an empty buffer.
#[divan::bench]
fn frame(bencher: divan::Bencher) {
    let app = console(reported());
    bencher.bench_local(|| {
        let mut buf = Buffer::empty(AREA);
        view::draw(divan::black_box(&app), AREA, &mut buf);
        buf
    });
}

/// The Fleet screen through the terminal's comparison with what it shows.
#[divan::bench]
fn frame_compared(bencher: divan::Bencher) {
    let mut app = console(reported());
    let mut terminal =
        Terminal::new(TestBackend::new(AREA.width, AREA.height)).expect("a terminal in memory");
    let mut down = true;
    bencher.bench_local(|| {
        press(&mut app, down);
        down = !down;
        terminal
            .draw(|f| view::draw(&app, f.area(), f.buffer_mut()))
            .expect("in memory");
    });
}

/// One key press taken in, without a frame.
#[divan::bench]
fn key(bencher: divan::Bencher) {
    let mut app = console(reported());
    let mut down = true;
    bencher.bench_local(|| {
        press(&mut app, down);
        down = !down;
    });
}

fn press(app: &mut App, down: bool) {
    let code = KeyCode::Char(if down { 'j' } else { 'k' });
    update(app, Event::Key(KeyEvent::new(code, KeyModifiers::NONE)));
}

fn console(fleet: Fleet) -> App {
    let theme = theme::choose(Some("dark"), false, false).expect("a theme of ours");
    let mut app = App::new(Arc::new(fleet), theme, "bench".into(), false);
    update(&mut app, Event::Resize(AREA.width, AREA.height));
    app
}

/// A fleet in which every backend has reported for ten seconds.
fn reported() -> Fleet {
    let start = Utc::now();
    let mut fleet = fleet(start);
    for second in 0..10 {
        let at = start + TimeDelta::seconds(second);
        for i in 0..BACKENDS {
            fleet.observe(report(i, second as f64, at));
        }
        fleet.tick(at);
    }
    fleet
}

fn report(i: usize, second: f64, at: DateTime<Utc>) -> Observation {
    let mut sample = read_engine(PAGE).expect("a real page");
    sample.running = Some(((i + second as usize) % 40) as f64);
    sample.generation_tokens = sample.generation_tokens.map(|n| n + second * 900.0);
    Observation::Engine {
        backend: name(i),
        sample: Box::new(sample),
        at,
    }
}

fn name(i: usize) -> BackendId {
    format!("backend-{i:04}").into()
}

fn fleet(now: DateTime<Utc>) -> Fleet {
    let model = |m: usize| format!("model-{m:03}");
    Fleet {
        clusters: Vec::new(),
        namespace: None,
        past: Arc::default(),
        name: "bench".into(),
        speed: 1,
        started: now,
        now,
        gateway: None,
        fixed_per_month: Usd::ZERO,
        models: (0..BACKENDS / PER_MODEL)
            .map(|m| {
                Arc::new(Model {
                    id: model(m).into(),
                    backends: (0..PER_MODEL).map(|b| name(m * PER_MODEL + b)).collect(),
                    cold: ColdPolicy::Wait,
                    data_path: DataPath::Any,
                    rules: Vec::new(),
                    max_waiting: 10_000,
                    choose_backend: false,
                    evals: Vec::new(),
                    routes: Vec::new(),
                })
            })
            .collect(),
        backends: (0..BACKENDS)
            .map(|i| {
                Arc::new(Backend {
                    id: name(i),
                    model: model(i / PER_MODEL).into(),
                    kind: Kind::SelfHosted(SelfHosted {
                        rate: Some(Usd::from_pico(2_500_000_000_000)),
                        capacity: Capacity::OnDemand,
                        replicas: 1,
                        sleep: SleepWay::Never,
                        startable: true,
                        idle_after: None,
                        schedule: None,
                        budget: TimeDelta::minutes(8),
                        cap: TimeDelta::minutes(20),
                        grace: TimeDelta::minutes(2),
                        group: None,
                        hardware: "1×H100".into(),
                        expected: Vec::new(),
                        ceiling: None,
                    }),
                    state: State::Warm { since: now },
                    max_running: None,
                    weight: 25,
                    pin: None,
                    scheduled: None,
                    drained: None,
                    live: Live::default(),
                    sample: None,
                    gpus: Arc::from([]),
                    ledger: Ledger::default(),
                    wakes: VecDeque::new(),
                    log: VecDeque::new(),
                    place: None,
                    doing: None,
                })
            })
            .collect(),
        requests: VecDeque::new(),
        answered: 0,
        failed: 0,
        audit: VecDeque::new(),
        findings: Vec::new(),
        history: Arc::default(),
        undo: VecDeque::new(),
        not_recorded: None,
        config_refused: None,
        machine: None,
        dropped: 0,
    }
}

/// Keys on their way to a console whose hub takes in a thousand reports a second; each key is timed from
/// where it is sent to the end of the frame that shows it, written out as for a real terminal.
fn keys() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut took = runtime.block_on(timed());
    took.sort_unstable();
    let at = |q: f64| took[((took.len() - 1) as f64 * q) as usize].as_secs_f64() * 1000.0;
    println!(
        "key to changed frame, {BACKENDS} backends reporting every second: p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms (n={})",
        at(0.5),
        at(0.99),
        at(1.0),
        took.len()
    );
}

async fn timed() -> Vec<Duration> {
    let shutdown = CancellationToken::new();
    let clock = Clock::starting_at(Utc::now(), 1);
    let actuator = Actuator::new(
        HashMap::new(),
        fleetctl::web::client().expect("an HTTP client"),
    );
    let hub = fleetctl::hub::start(fleet(clock.now()), actuator, None, clock, shutdown.clone());
    let observations = hub.observations.clone();
    tokio::spawn(async move {
        // Ten backends every 10 ms: each one once a second.
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        for batch in 0_usize.. {
            ticks.tick().await;
            for i in 0..10 {
                let at = batch * 10 + i;
                let said = report(at % BACKENDS, (at / BACKENDS) as f64, clock.now());
                if observations.send(said).await.is_err() {
                    return;
                }
            }
        }
    });
    let (send, mut pressed) = mpsc::channel(1);
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(5));
        for _ in 0..KEYS {
            std::thread::sleep(Duration::from_millis(31));
            if send.blocking_send(Instant::now()).is_err() {
                return;
            }
        }
    });
    let mut snapshots = hub.handle.snapshots.clone();
    let first = snapshots.borrow().as_ref().clone();
    let mut app = console(first);
    let mut terminal = Terminal::with_options(
        CrosstermBackend::new(io::sink()),
        TerminalOptions {
            viewport: Viewport::Fixed(AREA),
        },
    )
    .expect("a terminal that writes nowhere");
    let mut figures = tokio::time::interval(Duration::from_millis(200));
    let (mut took, mut pictures) = (Vec::with_capacity(KEYS), 0_u64);
    loop {
        tokio::select! {
            biased;
            at = pressed.recv() => {
                let Some(at) = at else { break };
                // Down for a while, then up again: each press moves the selection.
                press(&mut app, took.len() % 100 < 50);
                terminal.draw(|f| view::draw(&app, f.area(), f.buffer_mut())).expect("a sink");
                took.push(at.elapsed());
            }
            Ok(()) = snapshots.changed() => {
                pictures += 1;
                let next = snapshots.borrow_and_update().clone();
                update(&mut app, Event::Snapshot(next));
            }
            _ = figures.tick() => { terminal.draw(|f| view::draw(&app, f.area(), f.buffer_mut())).expect("a sink"); }
        }
    }
    println!("pictures taken in meanwhile: {pictures}");
    shutdown.cancel();
    took
}
