//! Counted at the far end: the ledger against what the upstreams themselves count.
//!
//! A real hub and a real gateway, three upstreams that count what they are asked and what they tell, and clients that leave
//! in the middle. `FAR_END_REQUESTS=100000 cargo test --release --test far_end` is the full measure.

#![expect(
    clippy::unwrap_used,
    reason = "what cannot be set up or does not hold has failed"
)]

mod far {
    pub(crate) mod client;
    pub(crate) mod fleet;
    pub(crate) mod upstream;
}

use std::collections::HashMap;
use std::net::SocketAddr;

use fleetctl::actuator::Actuator;
use fleetctl::clock::Clock;
use fleetctl::fleet::{Actor, BackendId, Command};
use fleetctl::gateway::{Door, Settings, Upstream as At, run};
use fleetctl::handle::{FleetHandle, Order};
use fleetctl::hub;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use far::client::Plan;
use far::upstream::{Count, Upstream};

/// Clients that ask at once.
const CLIENTS: usize = 32;
/// Requests in a run of the whole suite.
const REQUESTS: u64 = 4000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ledger_equals_what_the_upstreams_count() {
    let requests = std::env::var("FAR_END_REQUESTS")
        .ok()
        .map_or(REQUESTS, |n| n.parse().unwrap());
    let shutdown = CancellationToken::new();
    // Fast time: a circuit that opened is tried again soon.
    let clock = Clock::starting_at(far::fleet::t0(), 60);
    let http = fleetctl::web::client().unwrap();
    let actuator = Actuator::new(HashMap::new(), http);
    let hub = hub::start(far::fleet::fleet(), actuator, None, clock, shutdown.clone());
    let mut upstreams = Vec::new();
    let mut ways = Vec::new();
    for name in far::fleet::BACKENDS {
        let upstream = Upstream::start(name).await;
        ways.push(At {
            continuous_usage: true,
            ..At::at(name, upstream.url.clone())
        });
        upstreams.push(upstream);
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let door = Door {
        settings: Settings::default(),
        clients: Vec::new(),
        upstreams: ways,
        fleet: hub.handle.snapshots.clone(),
        orders: hub.handle.orders.clone(),
        observations: hub.observations.clone(),
        clock,
    };
    let gateway = tokio::spawn(run(listener, door, shutdown.clone()));

    let mut clients = ask(requests, address);
    let drains = drain_and_undrain(&hub.handle, &upstreams, &mut clients).await;
    assert!(drains > 2, "{drains} drains");

    let mut pictures = hub.handle.snapshots.clone();
    let fleet = pictures
        .wait_for(|fleet| fleet.answered >= requests)
        .await
        .unwrap()
        .clone();
    assert_eq!(fleet.answered, requests, "one record a request");
    let mut answered = 0;
    for upstream in &upstreams {
        let ledger = &fleet
            .backend(&upstream.name.as_str().into())
            .unwrap()
            .ledger;
        let mine = Count {
            requests: ledger.requests,
            unmetered: ledger.unmetered,
            input: ledger.tokens_in,
            cached: ledger.tokens_cached,
            output: ledger.tokens_out,
            pico_dollars: ledger.tokens.pico(),
        };
        assert_eq!(mine, upstream.count(), "{}", upstream.name);
        answered += mine.requests;
    }
    // Whatever was asked twice was answered once: by another backend, after a refusal.
    let (sent, refused) = upstreams
        .iter()
        .map(Upstream::arrivals)
        .fold((0, 0), |(a, b), (c, d)| (a + c, b + d));
    assert_eq!(sent - refused, answered);
    println!(
        "{requests} requests: {answered} answered by a backend, {refused} refusals on the way, {drains} drains and undrains"
    );
    for upstream in &upstreams {
        println!("{}: {:?}", upstream.name, upstream.count());
    }
    shutdown.cancel();
    gateway.await.unwrap();
    hub.task.await.unwrap();
}

/// Clients that ask so many requests in all.
fn ask(requests: u64, address: SocketAddr) -> JoinSet<()> {
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS as u64 {
        clients.spawn(async move {
            let mut luck = fastrand::Rng::with_seed(client);
            let mut line = far::client::Line::default();
            let mut number = client;
            while number < requests {
                let plan = Plan::new(number, &mut luck);
                line.ask(address, &plan).await;
                number += CLIENTS as u64;
            }
        });
    }
    clients
}

/// Takes one backend out of service and puts it back, again and again, until the clients are done. Says how often.
async fn drain_and_undrain(
    handle: &FleetHandle,
    upstreams: &[Upstream],
    clients: &mut JoinSet<()>,
) -> u32 {
    let drained = BackendId::from("own-b");
    let mut drains = 0_u32;
    while !clients.is_empty() {
        for command in [
            Command::Drain {
                backend: drained.clone(),
            },
            Command::Undrain {
                backend: drained.clone(),
            },
        ] {
            let (reply, answer) = oneshot::channel();
            let order = Order {
                command,
                by: Actor::Operator("test".to_owned()),
                expects: None,
                rehearse: false,
                reply: Some(reply),
            };
            handle.orders.send(order).await.unwrap();
            drains += u32::from(answer.await.unwrap().is_ok());
            // Some requests come by, and then the next order.
            tokio::select! {
                done = clients.join_next() => if let Some(done) = done { done.unwrap() },
                () = upstreams[1].some_more(50) => {}
                () = upstreams[0].some_more(200) => {}
            }
        }
    }
    drains
}
