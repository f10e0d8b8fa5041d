//! Shares and money of what is concerned: rule by rule, cluster by cluster, whatever else has no price.

use std::sync::Arc;

use chrono::TimeDelta;

use crate::fleet::backend::{Hosted, Kind, Price};
use crate::fleet::cluster::machine::Machine;
use crate::fleet::cluster::place::Phase;
use crate::fleet::cluster::rule::Rule;
use crate::fleet::cluster::{Cluster, Seen, SeenBackend, SeenModel};
use crate::fleet::request::Usage;
use crate::fleet::{BackendId, Command, Fleet, ModelId, Observation, preview};
use crate::tui::app::{App, Screen};
use crate::tui::event::{Effect, Event};
use crate::tui::update::update;

use super::cluster::{self, at, own, place, route};
use super::keys::press;

fn azure(id: &str, weight: u32) -> SeenBackend {
    let price = Price {
        input: "0.15".parse().unwrap(),
        cached: "0.075".parse().unwrap(),
        output: "0.60".parse().unwrap(),
    };
    SeenBackend {
        id: id.into(),
        model: "llama-3.3-70b".into(),
        kind: Kind::Hosted(Hosted {
            provider: "Azure OpenAI".into(),
            price: Some(price),
        }),
        weight,
        place: None,
        down: None,
    }
}

fn cluster_of(name: &str, (llama, other): (u32, u32)) -> Seen {
    let since = at("01:00:00");
    let (own_id, hosted_id) = (format!("{name}:llm/llama"), format!("{name}:llm/azure"));
    let mut rule = Rule {
        cluster: name.into(),
        ..route(&[
            ("llama", llama, own_id.as_str()),
            ("azure", other, hosted_id.as_str()),
        ])
    };
    rule.refs[0].backend = Some(own_id.as_str().into());
    Seen {
        cluster: name.into(),
        facts: Some(Box::new(Cluster {
            name: name.into(),
            ..Cluster::default()
        })),
        models: Some(vec![SeenModel {
            id: "llama-3.3-70b".into(),
            backends: vec![own_id.as_str().into(), hosted_id.as_str().into()],
            routes: vec![rule],
        }]),
        backends: vec![
            own(
                &own_id,
                "llama-3.3-70b",
                llama,
                place(name, "llama", Phase::Ready { since }),
            ),
            azure(&hosted_id, other),
        ],
        whole: true,
    }
}

fn two() -> Fleet {
    let now = at("03:10:00");
    let mut fleet = Fleet::new("prod", now);
    for (name, weights) in [("eu", (70, 30)), ("us", (10, 90))] {
        let seen = Box::new(cluster_of(name, weights));
        fleet.observe(Observation::Cluster { seen, at: now });
    }
    fleet
}

#[test]
fn a_share_is_among_those_of_the_same_rule() {
    let fleet = two();
    let share = |id: &str| {
        let b = fleet.backend(&id.into()).unwrap();
        (fleet.share_asked(b) * 100.0).round() as u32
    };
    let all = [
        "eu:llm/llama",
        "eu:llm/azure",
        "us:llm/llama",
        "us:llm/azure",
    ]
    .map(share);
    assert_eq!(all, [70, 30, 10, 90]);
    let model: ModelId = "llama-3.3-70b".into();
    let met = fleet.expected_shares(&model);
    let sum: f64 = met.iter().map(|(_, share)| share).sum();
    assert!((sum - 2.0).abs() < 1e-9, "each cluster by itself: {met:?}");
    let mut app = App::new(
        Arc::new(fleet),
        crate::tui::theme::choose(None, false, false).unwrap(),
        "olga".into(),
        false,
    );
    cluster::shot("two-clusters", &mut app, (120, 40));
    app.screen = Screen::Routing;
    cluster::shot("two-clusters-routing", &mut app, (120, 40));
}

/// One cluster whose other backend has no price at all.
fn partly_priced() -> Fleet {
    let now = at("03:10:00");
    let mut fleet = Fleet::new("prod", now);
    let mut seen = cluster_of("eu", (70, 30));
    let mut unknown = place(
        "eu",
        "qwen",
        Phase::Ready {
            since: at("01:00:00"),
        },
    );
    unknown.nodes[0].price = None;
    seen.backends
        .push(own("eu:llm/qwen", "qwen3-8b", 0, unknown));
    seen.models.as_mut().unwrap().push(SeenModel {
        id: "qwen3-8b".into(),
        backends: vec!["eu:llm/qwen".into()],
        routes: Vec::new(),
    });
    fleet.observe(Observation::Cluster {
        seen: Box::new(seen),
        at: now,
    });
    for b in &mut fleet.backends {
        Arc::make_mut(b).ledger.uncounted = false;
    }
    fleet
}

#[test]
fn the_effect_on_cost_is_of_what_is_concerned() {
    let fleet = partly_priced();
    assert_eq!(fleet.burn(), None, "somebody has no price");
    let model: ModelId = "llama-3.3-70b".into();
    let flip = preview(&fleet, &Command::Flip { model });
    assert!(flip.partial && flip.burn.is_some(), "{flip:?}");
    let [rule] = &flip.rules[..] else {
        panic!("{flip:?}")
    };
    let shares: Vec<(&str, u32, u32)> = rule
        .shares
        .iter()
        .map(|(name, was, is)| (&**name, (was * 100.0) as u32, (is * 100.0) as u32))
        .collect();
    assert_eq!(shares, [("llama", 70, 30), ("azure", 30, 70)]);
    let backend: BackendId = "eu:llm/qwen".into();
    let sleep = preview(&fleet, &Command::Sleep { backend });
    assert_eq!(sleep.burn, None);
    assert_eq!(
        sleep.unpriced.as_deref(),
        Some("the rate of eu:llm/qwen is unknown")
    );
    let backend: BackendId = "eu:llm/llama".into();
    let drain = preview(&fleet, &Command::Drain { backend });
    let (was, is) = drain.burn.unwrap();
    assert!(is < was, "{drain:?}");
    let wakes = |it: &&String| it.contains("a request may wake it again");
    assert_eq!(drain.warnings.iter().find(wakes), None);
}

fn asking(key: &str) -> App {
    let mut app = cluster::app();
    update(&mut app, Event::Snapshot(Arc::new(partly_priced())));
    app.selected = Some("eu:llm/llama".into());
    update(&mut app, Event::Resize(80, 24));
    press(&mut app, key);
    app
}

#[test]
fn dialogs_say_shares_and_money() {
    for (name, key) in [("flip-placed", "x"), ("drain-placed", "d")] {
        let mut app = asking(key);
        cluster::shot(name, &mut app, (80, 24));
        press(&mut app, "G");
        cluster::shot(&format!("{name}-end"), &mut app, (80, 24));
    }
}

#[test]
fn exact_calls_are_read_in_peace() {
    let mut app = asking("d");
    press(&mut app, "e");
    cluster::shot("calls", &mut app, (80, 24));
    press(&mut app, "G");
    let end = app.read_from;
    assert!(end > 3);
    press(&mut app, "pgdn");
    assert_eq!(app.read_from, end, "not past the end");
    press(&mut app, "g");
    press(&mut app, "pgdn");
    assert!(app.read_from > 1);
    let [Effect::Copy(before), Effect::Expire(_)] = &press(&mut app, "y")[..] else {
        panic!("nothing was copied")
    };
    assert!(app.toasts.last().unwrap().text.starts_with("copied"));
    let mut fleet = Fleet::clone(&app.whole);
    fleet.tick(fleet.now + TimeDelta::seconds(5));
    update(&mut app, Event::Snapshot(Arc::new(fleet)));
    let [Effect::Copy(after), ..] = &press(&mut app, "y")[..] else {
        panic!("nothing was copied")
    };
    assert_eq!(before, after);
}

/// Machines that are paid for are seen, with or without a page that tells of their GPUs.
#[test]
fn machines_without_a_reading_are_tiles_too() {
    let mut fleet = cluster::fleet();
    let up = Phase::Ready {
        since: at("01:00:00"),
    };
    let spare = Machine {
        name: "aks-gpu-21".into(),
        held: 0,
        ..place("eu", "llama", up).nodes[0].clone()
    };
    Arc::make_mut(&mut fleet.clusters[0]).spare.push(spare);
    let mut app = cluster::app();
    update(&mut app, Event::Snapshot(Arc::new(fleet)));
    app.screen = Screen::Gpus;
    for size in [(80, 24), (120, 40)] {
        cluster::shot("gpus-placed", &mut app, size);
    }
    assert_eq!(crate::tui::view::gpus::count(&app), 2 + 4);
}

#[test]
fn beside_one_that_nobody_counts_no_share_is_known() {
    let mut fleet = cluster::fleet();
    let mut answered = |id: &str, time: &str| {
        fleet.observe(Observation::Metered {
            backend: id.into(),
            requests: 5,
            usage: Usage::default(),
            counted: true,
            at: at(time),
        });
        fleet.tick(at(time));
        let own = fleet.backend(&"llm/llama".into()).unwrap().live.share;
        (own, fleet.share_hosted())
    };
    assert_eq!(answered("llm/llama", "03:10:05"), (None, None));
    assert_eq!(
        answered("llm/azure", "03:10:06"),
        (Some(0.5), Some(0.5)),
        "its gateway counts"
    );
}
