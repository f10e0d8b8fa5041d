//! What needs attention, and getting to it: a key acts on what is selected, and on nothing that a banner only speaks of.

use std::sync::Arc;

use crate::fleet::backend::Progress;
use crate::fleet::cluster::mark::Mark;
use crate::fleet::cluster::{Part, PartState};
use crate::fleet::wake::{Drain, State};
use crate::fleet::{Fleet, Severity};
use crate::tui::app::{App, Mode, Screen};
use crate::tui::event::{Effect, Event};
use crate::tui::update::update;
use crate::tui::view;

use super::keys::press;
use super::{cluster, picture};

fn banner(app: &App) -> String {
    let shot = picture(app.size.0, app.size.1, |area, buf| {
        view::draw(app, area, buf);
    });
    shot.lines().nth(2).unwrap().to_owned()
}

fn on(id: &str) -> App {
    let mut app = super::app();
    update(&mut app, Event::Resize(120, 40));
    app.selected = Some(id.into());
    app
}

#[test]
fn a_banner_offers_keys_only_for_what_they_act_on() {
    let mut app = on("t4-a");
    let said = banner(&app);
    assert!(
        said.contains("h100-b") && said.contains("n go to it"),
        "{said}"
    );
    assert!(!said.contains("enter look"), "{said}");
    press(&mut app, "n");
    assert_eq!(app.selected, Some("h100-b".into()));
    let said = banner(&app);
    assert!(
        said.contains("enter look") && said.contains("n next"),
        "{said}"
    );
    // With others marked, keys act on those.
    app.marks.insert("t4-a".into());
    assert!(!banner(&app).contains("enter look"));
}

#[test]
fn every_finding_is_reached_one_after_the_other() {
    let mut app = on("t4-a");
    app.filter = "t4".into();
    let mut seen = Vec::new();
    for _ in 0..4 {
        press(&mut app, "n");
        seen.push(app.selected.as_ref().unwrap().to_string());
        let at = app.shown_finding().unwrap();
        assert_eq!(app.fleet.findings[at].backend, app.selected);
    }
    assert_eq!(seen, ["h100-b", "t4-c", "aoai-gpt-4.1", "h100-b"]);
    assert_eq!(app.filter, "", "what is acted on is seen");
    // Elsewhere the worst is said again.
    press(&mut app, "n");
    app.selected = Some("t4-a".into());
    assert_eq!(app.shown_finding(), Some(0));
}

#[test]
fn all_findings_in_full() {
    let mut app = on("t4-a");
    press(&mut app, "!");
    assert_eq!(app.mode, Mode::Findings { chosen: 0 });
    for size in [(80, 24), (120, 40)] {
        cluster::shot("findings", &mut app, size);
    }
    press(&mut app, "j");
    press(&mut app, "enter");
    assert_eq!(
        (app.mode.clone(), app.selected.clone()),
        (Mode::Normal, Some("t4-c".into()))
    );
    assert!(banner(&app).contains("w wake again"));
    let copied = press(&mut app, "!").is_empty() && !press(&mut app, "y").is_empty();
    assert!(copied);
}

/// A drain that was begun then, and not from here.
fn begun_at(time: &str) -> App {
    let mut app = cluster::app();
    let mut fleet = Fleet::clone(&app.fleet);
    let llama = Arc::make_mut(&mut fleet.backends[0]);
    let place = Arc::make_mut(llama.place.as_mut().unwrap());
    place.mark = Some(Mark {
        op: "drain".into(),
        of: "llm/llama".into(),
        by: "ana".into(),
        at: cluster::at(time),
        ..Mark::default()
    });
    fleet.tick(cluster::at("03:10:01"));
    update(&mut app, Event::Snapshot(Arc::new(fleet)));
    app
}

#[test]
fn what_somebody_else_is_at_is_no_alarm_yet() {
    let mut app = begun_at("03:08:30");
    app.selected = Some("llm/qwen".into());
    cluster::shot("elsewhere", &mut app, (120, 40));
    let mut all = app.fleet.findings.iter();
    let drain = all.find(|it| it.what.starts_with("drain by ana")).unwrap();
    assert_eq!(drain.severity, Severity::Warning);
    assert!(drain.what.contains("goes on elsewhere"), "{}", drain.what);
}

#[test]
fn what_was_left_half_done_does_not_look_healthy() {
    let mut app = begun_at("02:58:00");
    app.selected = Some("llm/qwen".into());
    cluster::shot("unfinished", &mut app, (80, 24));
    let first = &app.fleet.findings[0];
    assert_eq!(first.severity, Severity::Critical);
    assert!(first.what.starts_with("drain by ana"), "{}", first.what);
    assert!(banner(&app).contains("n go to it"), "{}", banner(&app));
    press(&mut app, "n");
    assert!(banner(&app).contains("d take over"), "{}", banner(&app));
    app.screen = Screen::Backend;
    cluster::shot("unfinished-backend", &mut app, (120, 40));
}

#[test]
fn that_nothing_is_true_any_more_leads() {
    let mut app = begun_at("02:58:00");
    let mut fleet = Fleet::clone(&app.fleet);
    Arc::make_mut(&mut fleet.clusters[0]).parts = vec![Part {
        resource: "pods".into(),
        state: PartState::Stale {
            since: cluster::at("03:09:30"),
            why: "the API server does not answer".into(),
        },
        odd: None,
    }];
    fleet.tick(cluster::at("03:10:02"));
    let what: Vec<&str> = fleet.findings.iter().map(|it| &*it.what).collect();
    assert!(what[0].starts_with("eu: pods as of 03:09:30"), "{what:?}");
    assert!(what[1].starts_with("drain by ana"), "{what:?}");
    update(&mut app, Event::Snapshot(Arc::new(fleet)));
    cluster::shot("unanswered", &mut app, (200, 60));
    cluster::shot("unanswered", &mut app, (80, 24));
}

#[test]
fn why_a_wake_does_not_go_on_outlasts_its_budget() {
    let mut app = cluster::app();
    let mut fleet = Fleet::clone(&app.fleet);
    // Over its budget of 8:00, under its cap of 10:00.
    fleet.tick(cluster::at("03:15:10"));
    let mine = fleet
        .findings
        .iter()
        .filter(|it| it.backend == Some("llm/qwen".into()));
    let what: Vec<&str> = mine.map(|it| &*it.what).collect();
    assert!(
        matches!(what[..], [one] if one.starts_with("9:10, over its budget of 8:00: no machine has room")),
        "{what:?}"
    );
    update(&mut app, Event::Snapshot(Arc::new(fleet)));
}

fn draining() -> App {
    let mut app = cluster::app();
    let mut fleet = Fleet::clone(&app.fleet);
    let llama = Arc::make_mut(&mut fleet.backends[0]);
    let since = cluster::at("03:09:10");
    llama.state = State::Draining(Drain {
        since,
        by: "olga".into(),
        deadline: cluster::at("03:14:10"),
        idle_reads: 0,
        stopping: false,
        was_warm: true,
    });
    llama.live.running = Some(3);
    llama.doing = Some("wait for two idle readings of every pod".into());
    llama.progress = Some(Progress {
        op: "drain".into(),
        step: 4,
        of: 9,
        since,
        step_since: cluster::at("03:09:48"),
        asks: false,
    });
    update(&mut app, Event::Snapshot(Arc::new(fleet)));
    app
}

#[test]
fn leaving_in_the_middle_of_an_operation_asks_first() {
    for (keys, leaves) in [
        ("q", false),
        ("q esc", false),
        ("q enter", false),
        ("q q", true),
        ("ctrl-c", false),
        ("ctrl-c ctrl-c", true),
        (": q u i t enter", false),
    ] {
        let mut app = draining();
        let effects: Vec<Effect> = keys
            .split(' ')
            .flat_map(|key| press(&mut app, key))
            .collect();
        assert_eq!(effects == [Effect::Quit], leaves, "{keys}");
    }
    let mut app = draining();
    press(&mut app, "q");
    cluster::shot("leaving", &mut app, (80, 24));
    // Elsewhere it goes on without this console.
    let mut app = draining();
    app.attached = true;
    assert_eq!(press(&mut app, "q"), [Effect::Quit]);
}

#[test]
fn what_waits_for_a_decision() {
    let mut app = draining();
    let mut fleet = Fleet::clone(&app.fleet);
    let llama = Arc::make_mut(&mut fleet.backends[0]);
    llama.doing = Some("3 requests still run after 300 s: taken back in 300 s more".into());
    if let Some(progress) = &mut llama.progress {
        progress.asks = true;
    }
    fleet.tick(cluster::at("03:10:01"));
    update(&mut app, Event::Snapshot(Arc::new(fleet)));
    cluster::shot("asked", &mut app, (80, 24));
    app.screen = Screen::Backend;
    cluster::shot("asked-backend", &mut app, (80, 24));
}

#[test]
fn how_far_an_operation_is() {
    for size in [(80, 24), (120, 40)] {
        let mut app = draining();
        cluster::shot("at-work", &mut app, size);
        app.screen = Screen::Backend;
        cluster::shot("at-work-backend", &mut app, size);
    }
}
