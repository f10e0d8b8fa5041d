//! Streams: how late their events come, whether all do, and what each costs.

use crate::Options;
use crate::client::{Job, Streamed};
use crate::engine::PACE;
use crate::peers::{self, Engine};
use crate::small::client;
use crate::table::{Bar, Row, Table, median};

const STREAMS: usize = 64;

/// Everybody's streams in turn, round after round.
pub(crate) fn measure(options: &Options, table: &mut Table) {
    let engine = Engine::start("warm 2", 4096);
    let peers = peers::all(options, &engine, false);
    let events = (options.seconds * 1000 / PACE.as_millis() as u64) as u32;
    let mut seen: Vec<Vec<(Streamed, f64)>> = vec![Vec::new(); peers.len()];
    for _ in 0..options.rounds {
        for (peer, seen) in peers.iter().zip(&mut seen) {
            let before = peer.cpu();
            let mut client = client(&Job::Streams {
                target: peer.address.clone(),
                streams: STREAMS,
                events,
            });
            let streamed: Streamed = serde_json::from_str(&client.line()).unwrap();
            let cost = (peer.cpu() - before) / streamed.events as f64 * 1e6;
            client.end();
            seen.push((streamed, cost));
        }
    }
    let of = |at: usize, value: fn(&Streamed) -> f64| {
        let seen = seen.get(at)?;
        Some(median(seen.iter().map(|(it, _)| value(it)).collect()))
    };
    let added = |at: usize, value: fn(&Streamed) -> f64| {
        let pairs = seen.get(at)?.iter().zip(&seen[0]);
        Some(median(
            pairs
                .map(|((it, _), (direct, _))| value(it) - value(direct))
                .collect(),
        ))
    };
    let cost = |at: usize| {
        let seen = seen.get(at)?;
        Some(median(seen.iter().map(|(_, cost)| *cost).collect()))
    };
    let sum = |at: usize, value: fn(&Streamed) -> u64| {
        let seen = seen.get(at)?;
        Some(seen.iter().map(|(it, _)| value(it)).sum::<u64>() as f64)
    };
    for (name, value, bar) in [
        (
            "p50",
            (|it| it.p50) as fn(&Streamed) -> f64,
            Bar::Times(1.5),
        ),
        ("p99", |it| it.p99, Bar::None),
    ] {
        table.add(Row {
            figure: format!("streams: delay {name}, µs"),
            direct: of(0, value),
            nginx: of(1, value),
            fleetctl: of(2, value),
            litellm: of(3, value),
            bar: Bar::None,
        });
        table.add(Row {
            figure: format!("streams: added to {name}, µs"),
            direct: None,
            nginx: added(1, value),
            fleetctl: added(2, value),
            litellm: added(3, value),
            bar,
        });
    }
    table.add(Row {
        figure: "streams: CPU an event, µs".to_owned(),
        direct: None,
        nginx: cost(1),
        fleetctl: cost(2),
        litellm: cost(3),
        bar: Bar::Times(1.5),
    });
    let none = Bar::AtMost(0.0);
    for (name, value, bar) in [
        (
            "events",
            (|it| it.events) as fn(&Streamed) -> u64,
            Bar::None,
        ),
        ("lost", |it| it.lost, none),
        ("reordered", |it| it.reordered, none),
        ("coalesced", |it| it.coalesced, none),
        ("broken off", |it| it.broken, none),
    ] {
        table.add(Row {
            figure: format!("streams: {name}, all rounds"),
            direct: sum(0, value),
            nginx: sum(1, value),
            fleetctl: sum(2, value),
            litellm: sum(3, value),
            bar,
        });
    }
}
