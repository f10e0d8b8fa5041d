//! Small requests: what a gateway adds to one, and what many cost.

use std::fs;
use std::process::Command;

use crate::Options;
use crate::client::{Crowd, Job, Latencies, small};
use crate::peers::{self, Engine, Peer};
use crate::process::Process;
use crate::table::{Bar, Row, Table, median};

/// Requests on one connection before it is the next one's turn.
const REQUESTS: usize = 2000;
/// LiteLLM is slow enough to take the rest's time.
const REQUESTS_WITH_LITELLM: usize = 500;
const CONNECTIONS: usize = 64;

/// One connection, one request after the other.
pub(crate) fn latency(options: &Options, table: &mut Table) {
    let engine = Engine::start("warm 2", 4096);
    let peers = peers::all(options, &engine, true);
    let requests = if options.litellm.is_some() {
        REQUESTS_WITH_LITELLM
    } else {
        REQUESTS
    };
    let job = Job::Latency {
        targets: peers.iter().map(|it| it.address.clone()).collect(),
        rounds: options.rounds,
        requests,
    };
    let mut client = client(&job);
    let rounds: Vec<Vec<Latencies>> = serde_json::from_str(&client.line()).unwrap();
    client.end();
    let of = |at: usize, value: fn(&Latencies) -> f64| {
        (at < peers.len()).then(|| median(rounds.iter().map(|round| value(&round[at])).collect()))
    };
    let added = |at: usize, value: fn(&Latencies) -> f64| {
        (at < peers.len()).then(|| {
            let differences = rounds.iter().map(|it| value(&it[at]) - value(&it[0]));
            median(differences.collect())
        })
    };
    for (name, value, bar) in [
        (
            "p50",
            (|it| it.p50) as fn(&Latencies) -> f64,
            Bar::Times(1.5),
        ),
        ("p99", |it| it.p99, Bar::AtMost(400.0)),
    ] {
        table.add(Row {
            figure: format!("latency: {name}, µs"),
            direct: of(0, value),
            nginx: of(1, value),
            fleetctl: of(2, value),
            litellm: of(3, value),
            bar: Bar::None,
        });
        table.add(Row {
            figure: format!("latency: added to {name}, µs"),
            direct: None,
            nginx: added(1, value),
            fleetctl: added(2, value),
            litellm: added(3, value),
            bar,
        });
    }
}

/// Many connections, each with the next request as soon as the last one is answered.
pub(crate) fn load(options: &Options, table: &mut Table) {
    let engine = Engine::start("warm 2", 4096);
    let peers = peers::all(options, &engine, true);
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("post.lua");
    let lua = format!(
        "wrk.method = 'POST'\nwrk.body = '{}'\nwrk.headers['Content-Type'] = 'application/json'\n",
        small()
    );
    fs::write(&script, lua).unwrap();
    let wrk = Command::new("wrk").arg("-v").output().is_ok();
    let run = |peer: &Peer, seconds: u64| {
        if wrk {
            with_wrk(&peer.address, script.to_str().unwrap(), seconds)
        } else {
            let mut client = client(&Job::Load {
                target: peer.address.clone(),
                connections: CONNECTIONS,
                seconds,
            });
            let crowd: Crowd = serde_json::from_str(&client.line()).unwrap();
            client.end();
            crowd
        }
    };
    for peer in &peers {
        run(peer, 1);
    }
    let mut rates = vec![Vec::new(); peers.len()];
    let mut costs = vec![Vec::new(); peers.len()];
    for _ in 0..options.rounds {
        for (at, peer) in peers.iter().enumerate() {
            let before = peer.cpu();
            let crowd = run(peer, options.seconds);
            let spent = peer.cpu() - before;
            if crowd.failed > 0 {
                table.note(format!(
                    "load: {} of {} requests through {} failed.",
                    crowd.failed,
                    crowd.well + crowd.failed,
                    peer.name
                ));
            }
            rates[at].push(crowd.well as f64 / options.seconds as f64);
            costs[at].push(spent / crowd.well as f64 * 1e6);
        }
    }
    let of = |all: &[Vec<f64>], at: usize| all.get(at).cloned().map(median);
    table.add(Row {
        figure: "load: CPU a request, µs".to_owned(),
        direct: None,
        nginx: of(&costs, 1),
        fleetctl: of(&costs, 2),
        litellm: of(&costs, 3),
        bar: Bar::Times(1.5),
    });
    table.add(Row {
        figure: "load: requests a second".to_owned(),
        direct: of(&rates, 0),
        nginx: of(&rates, 1),
        fleetctl: of(&rates, 2),
        litellm: of(&rates, 3),
        bar: Bar::AtLeastTimes(0.7),
    });
    let with = if wrk { "wrk" } else { "this bench's client" };
    table.note(format!("load is made by {with} on the same cores."));
}

/// wrk leaves more of the machine to what is measured than a client of ours would.
fn with_wrk(address: &str, script: &str, seconds: u64) -> Crowd {
    let said = Command::new("wrk")
        .args(["-t", "1", "-c", &CONNECTIONS.to_string()])
        .args(["-d", &format!("{seconds}s"), "--timeout", "30s"])
        .args(["-s", script])
        .arg(format!("http://{address}/v1/chat/completions"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&said.stdout);
    let all = text.lines().find_map(|it| {
        it.trim()
            .split_once(" requests in ")?
            .0
            .parse::<usize>()
            .ok()
    });
    let all = all.unwrap_or_else(|| panic!("wrk said `{text}`"));
    let bad = text
        .lines()
        .find_map(|it| {
            it.trim()
                .strip_prefix("Non-2xx or 3xx responses: ")?
                .parse()
                .ok()
        })
        .unwrap_or(0);
    Crowd {
        well: all - bad,
        failed: bad,
    }
}

/// Clients with something to do.
pub(crate) fn client(job: &Job) -> Process {
    Process::role("role-client", &serde_json::to_string(job).unwrap())
}
