//! Many connections: what an idle one and a held request weigh, and how the held ones are let go.

use std::thread::sleep;
use std::time::Duration;

use crate::Options;
use crate::client::{Crowd, Job, Released};
use crate::engine::Seen;
use crate::peers::{self, Engine, Peer};
use crate::process::Process;
use crate::small::client;
use crate::table::{Bar, Row, Table, median, percentile};

/// Descriptors that a process needs beside its connections.
const OTHER_FILES: u64 = 200;
/// The connections to the engine that stood idle are given up within this time.
const SETTLE: Duration = Duration::from_secs(6);
/// Long enough for 10,000 requests to be taken in and nothing else.
const TAKEN_IN: Duration = Duration::from_secs(2);

/// What each connection that made one request, and now waits, weighs.
pub(crate) fn idle(options: &Options, files: u64, table: &mut Table) {
    let connections = fit(options, files, 1, "idle", table);
    let engine = Engine::start("warm 2", 4096);
    let measure = |peer: &Peer| {
        warm_up(peer);
        let before = peer.memory();
        let mut client = client(&Job::Idle {
            target: peer.address.clone(),
            connections,
        });
        let crowd = crowd(&mut client);
        sleep(SETTLE);
        let weight = (peer.memory() - before) / crowd.well as f64;
        (weight, crowd.failed)
    };
    let (nginx, nginx_failed) = measure(&peers::nginx(&engine.address, true, true));
    let (ours, failed) = measure(&peers::fleetctl(&options.fleetctl, &engine.address, false));
    table.add(Row {
        figure: "idle: KiB a connection".to_owned(),
        nginx: Some(nginx),
        fleetctl: Some(ours),
        bar: Bar::AtMost(12.0),
        ..Row::default()
    });
    table.note(format!(
        "idle: {connections} connections; failed: nginx {nginx_failed}, fleetctl {failed}."
    ));
}

/// What each request weighs whose engine does not answer yet.
pub(crate) fn held(options: &Options, files: u64, table: &mut Table) {
    let connections = fit(options, files, 1, "held", table);
    let measure = |peer: &Peer| {
        let before = peer.memory();
        let mut client = client(&Job::Hold {
            target: peer.address.clone(),
            connections,
        });
        crowd(&mut client);
        let opened = peer.memory();
        client.tell("send");
        let early = released(&mut client);
        sleep(TAKEN_IN);
        let all = peer.memory();
        if peer.name == "fleetctl" && options.linger > 0 {
            let pid = peer.process.as_ref().map_or(0, Process::pid);
            eprintln!("  {connections} are held by process {pid} …");
            sleep(Duration::from_secs(options.linger));
        }
        let each = |kib: f64| kib / connections as f64;
        (
            each(all - before),
            each(opened - before),
            early.well + early.failed,
        )
    };
    // nginx has a connection to the engine for each, so that its two workers need twice as many descriptors.
    let engine = Engine::start("cold 2", 4096);
    let nginx = measure(&peers::nginx(&engine.address, true, true));
    drop(engine);
    let engine = Engine::start("cold 2", 4096);
    let ours = measure(&peers::fleetctl(&options.fleetctl, &engine.address, true));
    table.add(Row {
        figure: "held: KiB a request with its connection".to_owned(),
        nginx: Some(nginx.0),
        fleetctl: Some(ours.0),
        bar: Bar::AtMost(15.0),
        ..Row::default()
    });
    table.add(Row {
        figure: "held: of that, the connection before its request".to_owned(),
        nginx: Some(nginx.1),
        fleetctl: Some(ours.1),
        ..Row::default()
    });
    table.note(format!(
        "held: {connections} requests; answered too early: nginx {}, fleetctl {}.",
        nginx.2, ours.2
    ));
}

/// How soon and in which order the held ones reach the engine.
pub(crate) fn release(options: &Options, files: u64, table: &mut Table) {
    let connections = fit(options, files, 2, "release", table);
    let mut runs = Vec::new();
    for _ in 0..options.rounds.min(3) {
        let mut engine =
            Engine::start(&format!("cold {}", options.engine_threads), options.backlog);
        let peer = peers::fleetctl(&options.fleetctl, &engine.address, true);
        let mut client = client(&Job::Hold {
            target: peer.address.clone(),
            connections,
        });
        crowd(&mut client);
        client.tell("send");
        let early = released(&mut client);
        sleep(TAKEN_IN);
        engine.process.tell("up");
        client.tell("wait");
        let after = released(&mut client);
        engine.process.tell("report");
        let seen: Seen = serde_json::from_str(&engine.process.line()).unwrap();
        let run = Run::of(&seen, seen.well.unwrap_or_default(), &after);
        table.note(format!(
            "release: {connections} held; {} reached the engine; answered: {} well, {} not, {} too early; out of order: {} \
             (the farthest by {} places).",
            run.came,
            after.well,
            after.failed,
            early.well + early.failed,
            run.out_of_order,
            run.farthest,
        ));
        runs.push(run);
    }
    let bursts: Vec<Run> = (0..options.rounds.min(3))
        .map(|_| burst(options, connections))
        .collect();
    table.note(
        "release: direct is a client that has as many requests ready and sends them at once, each on a new connection."
            .to_owned(),
    );
    let direct = |value: fn(&Run) -> f64| Some(median(bursts.iter().map(value).collect()));
    let of = |value: fn(&Run) -> f64| Some(median(runs.iter().map(value).collect()));
    table.add(Row {
        figure: "release: last let go by the gateway after the engine is well, ms".to_owned(),
        fleetctl: of(|it| it.let_go),
        bar: Bar::AtMost(50.0),
        ..Row::default()
    });
    for (name, value, bar) in [
        ("first", (|it| it.first) as fn(&Run) -> f64, Bar::None),
        ("half", |it| it.half, Bar::None),
        ("99 %", |it| it.most, Bar::None),
        ("last", |it| it.last, Bar::AtMost(50.0)),
    ] {
        table.add(Row {
            figure: format!("release: {name} at the engine after it is well, ms"),
            direct: direct(value),
            fleetctl: of(value),
            bar,
            ..Row::default()
        });
    }
    table.add(Row {
        figure: "release: out of order at the engine".to_owned(),
        direct: direct(|it| it.out_of_order as f64),
        fleetctl: of(|it| it.out_of_order as f64),
        bar: Bar::AtMost(0.0),
        ..Row::default()
    });
}

/// How many are in order if the fewest that are not are left out.
fn longest_in_order(numbers: &[u32]) -> usize {
    // The lowest number at which so many in order can end.
    let mut ends: Vec<u32> = Vec::new();
    for number in numbers {
        let at = ends.partition_point(|end| end < number);
        if at < ends.len() {
            ends[at] = *number;
        } else {
            ends.push(*number);
        }
    }
    ends.len()
}

/// As many requests from a client that has them ready, straight to the engine: what this machine can do at all.
fn burst(options: &Options, connections: usize) -> Run {
    let state = format!("warm {}", options.engine_threads);
    let mut engine = Engine::start(&state, options.backlog);
    let mut client = client(&Job::Burst {
        target: engine.address.clone(),
        connections,
    });
    let done = released(&mut client);
    engine.process.tell("report");
    let seen: Seen = serde_json::from_str(&engine.process.line()).unwrap();
    Run::of(&seen, done.let_go[0], &done)
}

/// One release. Times are milliseconds after `well`: the first healthy answer, or the beginning of a burst.
struct Run {
    came: usize,
    /// The last one, by the gateway's account.
    let_go: f64,
    first: f64,
    half: f64,
    most: f64,
    last: f64,
    out_of_order: usize,
    farthest: usize,
}

impl Run {
    fn of(seen: &Seen, well: u64, released: &Released) -> Self {
        let mut came = seen.came.clone();
        came.sort_unstable();
        let mut after: Vec<f64> = came
            .iter()
            .map(|(at, _)| (*at as f64 - well as f64) / 1e6)
            .collect();
        let mut let_go: Vec<f64> = released
            .let_go
            .iter()
            .map(|at| (*at as f64 - well as f64) / 1e6)
            .collect();
        let farthest = came.iter().enumerate();
        let farthest = farthest.map(|(place, (_, number))| place.abs_diff(*number as usize));
        let farthest = farthest.max().unwrap_or(0);
        let numbers: Vec<u32> = came.iter().map(|(_, number)| *number).collect();
        let out_of_order = numbers.len() - longest_in_order(&numbers);
        Self {
            came: came.len(),
            let_go: percentile(&mut let_go, 100.0),
            first: percentile(&mut after, 0.0),
            half: percentile(&mut after, 50.0),
            most: percentile(&mut after, 99.0),
            last: percentile(&mut after, 100.0),
            out_of_order,
            farthest,
        }
    }
}

/// As many connections as were asked for, or as the open files of one process allow.
fn fit(options: &Options, files: u64, each: u64, part: &str, table: &mut Table) -> usize {
    let most = (files.saturating_sub(OTHER_FILES) / each) as usize;
    if most < options.connections {
        table.note(format!(
            "{part}: {most} connections instead of {}, because a process may have {files} open files here.",
            options.connections
        ));
    }
    options.connections.min(most)
}

fn released(client: &mut Process) -> Released {
    serde_json::from_str(&client.line()).unwrap()
}

fn crowd(client: &mut Process) -> Crowd {
    serde_json::from_str(&client.line()).unwrap()
}

/// A little of everything, so that what is there once and for all is there.
fn warm_up(peer: &Peer) {
    let mut client = client(&Job::Load {
        target: peer.address.clone(),
        connections: 32,
        seconds: 1,
    });
    client.line();
    client.end();
    sleep(SETTLE);
}
