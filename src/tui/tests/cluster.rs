//! Fleets on clusters: where a backend lives, what an operation would do there, and what the cluster says of it.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use crate::fleet::backend::{Capacity, Hosted, Kind, SelfHosted, SleepWay};
use crate::fleet::cluster::machine::Machine;
use crate::fleet::cluster::mark::Mark;
use crate::fleet::cluster::object::{self, Object};
use crate::fleet::cluster::place::{Autoscaler, LivePod, Owner, Phase, Place, Told, Trouble};
use crate::fleet::cluster::rule::{Ref, Rule};
use crate::fleet::cluster::{Cluster, Part, PartState, Permit, Seen, SeenBackend, SeenModel};
use crate::fleet::{Command, Fleet, Observation, Receipt, Stage, Usd};
use crate::tui::app::{App, Lines, Mode, Rehearsal, Screen};
use crate::tui::event::{Effect, Event};
use crate::tui::update::update;
use crate::tui::view;

use super::keys::press;
use super::picture;

pub(super) fn at(text: &str) -> DateTime<Utc> {
    format!("2026-11-20T{text}Z").parse().unwrap()
}

fn keda() -> Autoscaler {
    Autoscaler::Keda {
        object: Object::new(object::Kind::ScaledObject, "llm", "llama"),
        min: 0,
        max: 4,
        version: Some((2, 20)),
        set: vec![("paused".into(), "true".into())],
        hpa: Some("keda-hpa-llama".into()),
    }
}

pub(super) fn place(cluster: &str, name: &str, phase: Phase) -> Place {
    let workload = Object::new(object::Kind::Deployment, "llm", name);
    let up = matches!(phase, Phase::Ready { .. });
    Place {
        cluster: cluster.into(),
        scaled: workload.clone(),
        workload,
        wanted: u32::from(!matches!(phase, Phase::Absent)) * 2,
        pods: u32::from(!matches!(phase, Phase::Absent)) * 2,
        ready: u32::from(up),
        pods_a_replica: 1,
        told: Arc::new([]),
        owner: Owner::Itself,
        autoscaler: Autoscaler::None,
        live_pods: if up {
            vec![LivePod {
                left_out: false,
                name: format!("{name}-0").into(),
                ip: "10.244.1.7".into(),
            }]
        } else {
            Vec::new()
        },
        serving: if up {
            vec![format!("{name}-0").into()]
        } else {
            Vec::new()
        },
        port: 8000,
        can_nap: false,
        log: None,
        router: None,
        naps: false,
        uid: "7d1f".into(),
        pin: None,
        nodes: if up {
            vec![Machine {
                name: "aks-gpu-17".into(),
                instance: "Standard_NC96ads_A100_v4".into(),
                region: "eastus".into(),
                spot: true,
                gpus: 4,
                held: 2,
                price: Some("19.108".parse::<Usd>().unwrap()),
                ready: true,
                idle: false,
            }]
        } else {
            Vec::new()
        },
        gitops: None,
        mark: None,
        read_by: Some("through the API's pod proxy".into()),
        phase,
        trouble: None,
        probe_allows: Some(1800),
        ends_gently: false,
    }
}

pub(super) fn own(id: &str, model: &str, weight: u32, place: Place) -> SeenBackend {
    SeenBackend {
        id: id.into(),
        model: model.into(),
        kind: Kind::SelfHosted(SelfHosted {
            rate: Some("9.554".parse().unwrap()),
            capacity: Capacity::Spot,
            replicas: 2,
            sleep: SleepWay::Release,
            startable: false,
            idle_after: None,
            schedule: None,
            budget: TimeDelta::minutes(8),
            cap: TimeDelta::minutes(10),
            grace: TimeDelta::minutes(5),
            group: None,
            hardware: "2 GPUs Standard_NC96ads_A100_v4".into(),
            expected: Vec::new(),
            ceiling: None,
        }),
        weight,
        place: Some(Arc::new(place)),
        down: None,
    }
}

pub(super) fn route(targets: &[(&str, u32, &str)]) -> Rule {
    Rule {
        cluster: "eu".into(),
        route: Object::new(object::Kind::HttpRoute, "llm", "chat"),
        at: 0,
        matches: "/v1".into(),
        resource_version: "4711".into(),
        annotated: true,
        refs: targets
            .iter()
            .map(|(name, weight, backend)| Ref {
                name: (*name).into(),
                weight: Some(*weight),
                backend: Some((*backend).into()),
                fallback: false,
            })
            .collect(),
        programmed: Ok(()),
        refused: false,
        mark: None,
        fixed: None,
        gitops: None,
    }
}

fn told_of_qwen() -> Arc<[Told]> {
    Arc::new([
        Told {
            at: at("03:06:04"),
            of: "qwen-0".into(),
            reason: "FailedScheduling".into(),
            note: "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.".into(),
            warning: true,
        },
        Told {
            at: at("03:06:09"),
            of: "qwen-0".into(),
            reason: "TriggeredScaleUp".into(),
            note: "pod triggered scale-up: [{gpu 0->1 (max: 4)}]".into(),
            warning: false,
        },
    ])
}

/// A fleet of a healthy, a waking and a sleeping backend, and of somebody else's.
pub(super) fn fleet() -> Fleet {
    let now = at("03:10:00");
    let mut fleet = Fleet::new("prod", now);
    let llama = Place {
        autoscaler: keda(),
        gitops: Some("Argo CD (app models)".into()),
        ..place(
            "eu",
            "llama",
            Phase::Ready {
                since: at("01:00:00"),
            },
        )
    };
    let coming = Phase::Coming {
        since: at("03:06:00"),
        stages: vec![
            (Stage::Queued, at("03:06:00")),
            (Stage::Node, at("03:06:09")),
        ],
        new_node: true,
    };
    let qwen = Place {
        mark: Some(Mark {
            op: "wake".into(),
            of: "llm/qwen".into(),
            by: "ana".into(),
            at: at("03:06:00"),
            done: true,
            ..Mark::default()
        }),
        trouble: Some(Trouble {
            what: "no machine has room (FailedScheduling): 0/3 nodes are available".into(),
            hint: "wait for a machine to be made, or free one".into(),
        }),
        told: told_of_qwen(),
        ..place("eu", "qwen", coming)
    };
    let seen = Seen {
        cluster: "eu".into(),
        facts: Some(Box::new(Cluster {
            name: "eu".into(),
            user: Some("olga@example.com".into()),
            parts: vec![
                Part {
                    resource: "pods".into(),
                    state: PartState::Followed,
                    odd: None,
                },
                Part {
                    resource: "nodes".into(),
                    state: PartState::Forbidden {
                        why: "nodes is forbidden".into(),
                    },
                    odd: None,
                },
            ],
            ..Cluster::default()
        })),
        models: Some(vec![
            SeenModel {
                id: "llama-3.3-70b".into(),
                backends: vec!["llm/llama".into(), "llm/azure".into()],
                routes: vec![route(&[
                    ("llama", 90, "llm/llama"),
                    ("azure", 10, "llm/azure"),
                ])],
            },
            SeenModel {
                id: "qwen3-8b".into(),
                backends: vec!["llm/qwen".into()],
                routes: Vec::new(),
            },
        ]),
        backends: vec![
            own("llm/llama", "llama-3.3-70b", 90, llama),
            own("llm/qwen", "qwen3-8b", 0, qwen),
            SeenBackend {
                id: "llm/azure".into(),
                model: "llama-3.3-70b".into(),
                kind: Kind::Hosted(Hosted {
                    provider: "Azure OpenAI".into(),
                    price: None,
                }),
                weight: 10,
                place: None,
                down: None,
            },
        ],
        whole: true,
    };
    fleet.observe(Observation::Cluster {
        seen: Box::new(seen),
        at: now,
    });
    fleet
}

pub(super) fn app() -> App {
    let theme = crate::tui::theme::choose(None, false, false).unwrap();
    let mut app = App::new(Arc::new(fleet()), theme, "olga".into(), false);
    app.selected = Some("llm/llama".into());
    app
}

pub(super) fn shot(name: &str, app: &mut App, (width, height): (u16, u16)) {
    update(app, Event::Resize(width, height));
    let shot = picture(width, height, |area, buf| view::draw(app, area, buf));
    insta::assert_snapshot!(format!("{name}-{width}x{height}"), shot);
}

#[test]
fn a_fleet_on_a_cluster() {
    for size in [(80, 24), (120, 40), (200, 60)] {
        shot("cluster", &mut app(), size);
    }
}

#[test]
fn where_a_backend_lives() {
    for (name, id) in [("placed-warm", "llm/llama"), ("placed-waking", "llm/qwen")] {
        for size in [(80, 24), (120, 40), (200, 60)] {
            let mut app = app();
            app.selected = Some(id.into());
            app.screen = Screen::Backend;
            shot(name, &mut app, size);
        }
    }
}

#[test]
fn what_a_cluster_told_stands_in_the_place_of_the_log() {
    let mut app = app();
    app.selected = Some("llm/qwen".into());
    press(&mut app, "e");
    assert_eq!((app.screen, app.lines), (Screen::Backend, Lines::Events));
    for size in [(80, 24), (120, 40)] {
        shot("placed-events", &mut app, size);
    }
    press(&mut app, "e");
    assert_eq!(app.lines, Lines::Log, "and back");
    press(&mut app, "e");
    press(&mut app, "l");
    assert_eq!((app.screen, app.lines), (Screen::Backend, Lines::Log));
}

#[test]
fn an_operation_is_checked_by_the_cluster_before_it_runs() {
    let mut app = app();
    let effects = press(&mut app, "d");
    let drain = Command::Drain {
        backend: "llm/llama".into(),
    };
    assert_eq!(effects, [Effect::Rehearse(drain.clone())]);
    assert_eq!(app.rehearsal, Rehearsal::Asked);
    shot("placed-drain", &mut app, (120, 40));
    let said = "eu accepts it (dry run of 4 calls)";
    let receipt = Receipt {
        said: said.into(),
        undoable: false,
    };
    update(&mut app, Event::Rehearsed(drain, Ok(receipt)));
    assert_eq!(app.rehearsal, Rehearsal::Accepted(said.into()));
    press(&mut app, "e");
    shot("placed-drain-exact", &mut app, (120, 40));
    let [Effect::Copy(text), ..] = &press(&mut app, "y")[..] else {
        panic!("nothing was copied");
    };
    assert!(
        text.starts_with("PATCH /apis/keda.sh/v1alpha1/namespaces/llm/scaledobjects/llama"),
        "{text}"
    );
}

#[test]
fn what_is_refused_can_be_forced_where_that_is_possible() {
    let mut app = app();
    // It still has weight: a sleep would fail its requests.
    press(&mut app, "s");
    let Mode::Confirm { previews, .. } = &app.mode else {
        panic!("nothing is asked");
    };
    assert!(previews[0].forceable && previews[0].refused.is_some());
    shot("placed-refused", &mut app, (80, 24));
    press(&mut app, "right");
    assert_eq!(press(&mut app, "enter"), [], "what is refused is not sent");
    press(&mut app, "f");
    let Mode::Confirm { commands, .. } = &app.mode else {
        panic!("nothing is asked");
    };
    assert!(matches!(commands[..], [Command::Force { .. }]));
}

#[test]
fn a_part_that_is_old_is_said_with_its_age() {
    let mut app = app();
    let mut fleet = Fleet::clone(&app.fleet);
    let cluster = Arc::make_mut(&mut fleet.clusters[0]);
    cluster.parts[0].state = PartState::Stale {
        since: at("03:08:30"),
        why: "Connection refused".into(),
    };
    fleet.tick(at("03:10:01"));
    update(&mut app, Event::Snapshot(Arc::new(fleet)));
    shot("cluster-old", &mut app, (120, 40));
}

#[test]
fn what_one_may_not_do_is_grey_before_it_is_tried() {
    let mut app = app();
    let mut fleet = Fleet::clone(&app.fleet);
    let cluster = Arc::make_mut(&mut fleet.clusters[0]);
    cluster.permits.push(Permit {
        namespace: "llm".into(),
        verb: "patch".into(),
        resource: "scaledobjects.keda.sh".into(),
        allowed: false,
        why: "".into(),
    });
    update(&mut app, Event::Snapshot(Arc::new(fleet)));
    app.screen = Screen::Backend;
    shot("placed-forbidden", &mut app, (120, 40));
    press(&mut app, "w");
    assert_eq!(app.mode, Mode::Normal, "nothing is asked for");
}

/// What the cluster says of its pods.
fn pods_are(fleet: &mut Fleet, state: PartState, now: DateTime<Utc>) {
    let facts = Cluster {
        name: "eu".into(),
        parts: vec![Part {
            resource: "pods".into(),
            state,
            odd: None,
        }],
        ..Cluster::default()
    };
    let seen = Seen {
        cluster: "eu".into(),
        facts: Some(Box::new(facts)),
        models: None,
        backends: Vec::new(),
        whole: true,
    };
    let seen = Box::new(seen);
    fleet.observe(Observation::Cluster { seen, at: now });
}

#[test]
fn what_is_not_seen_is_not_charged_and_said_to_be_unobserved() {
    let mut fleet = fleet();
    let cost = |fleet: &Fleet| fleet.backend(&"llm/llama".into()).unwrap().ledger.total();
    let pass = |fleet: &mut Fleet, from: DateTime<Utc>, seconds: i64| {
        for second in 1..=seconds {
            fleet.tick(from + TimeDelta::seconds(second));
        }
        from + TimeDelta::seconds(seconds)
    };
    let lost = pass(&mut fleet, at("03:10:00"), 60);
    let why = "the API server does not answer".to_owned();
    pods_are(&mut fleet, PartState::Stale { since: lost, why }, lost);
    let before = cost(&fleet);
    assert!(before > Usd::ZERO);
    let back = pass(&mut fleet, lost, 600);
    pods_are(&mut fleet, PartState::Followed, back);
    assert_eq!(cost(&fleet), before, "nothing is guessed");
    assert_eq!(fleet.unobserved(), TimeDelta::minutes(10));
    pass(&mut fleet, back, 60);
    assert_eq!(cost(&fleet), before + before, "charged again");
    let mut app = app();
    app.fleet = Arc::new(fleet);
    app.screen = Screen::Cost;
    shot("cluster-unobserved", &mut app, (120, 40));
}
