//! The backend, its cold start, requests, wakes, audit and GPUs, at three sizes.

use std::collections::VecDeque;
use std::sync::Arc;

use chrono::TimeDelta;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::fleet::gpu::{Gpu, Holder, Machine};
use crate::fleet::wake::WakeRecord;
use crate::fleet::{Backend, Fleet, Stage, State};
use crate::tui::app::App;
use crate::tui::theme::{ASCII, Theme};
use crate::tui::view::{audit, backend, gpus, requests, wakes};
use crate::tui::widget::columns::{self, Column};
use crate::tui::widget::timeline;

use super::{app, fixture, picture};

/// What is left of 80×24 and 120×40 without header and footer, and a large one.
const SIZES: [(u16, u16); 3] = [(80, 20), (120, 36), (200, 56)];

type Screen = fn(&App, Rect, &mut Buffer);

fn shots(name: &str, app: &App, screen: Screen) {
    for (width, height) in SIZES {
        let shot = picture(width, height, |area, buf| screen(app, area, buf));
        insta::assert_snapshot!(format!("{name}-{width}x{height}"), shot);
    }
}

fn at(id: &str) -> App {
    let mut app = app();
    app.selected = Some(id.into());
    app
}

/// The fixed fleet with one backend changed.
fn with(id: &str, change: impl FnOnce(&mut Backend)) -> App {
    let mut app = at(id);
    change_backend(Arc::make_mut(&mut app.fleet), id, change);
    app
}

fn change_backend(fleet: &mut Fleet, id: &str, change: impl FnOnce(&mut Backend)) {
    let slot = fleet
        .backends
        .iter_mut()
        .find(|b| b.id == id.into())
        .unwrap();
    change(Arc::make_mut(slot));
}

fn failed_wake() -> Arc<WakeRecord> {
    let stages = [
        (Stage::Node, 21),
        (Stage::Image, 8),
        (Stage::Start, 12),
        (Stage::Load, 29),
    ];
    Arc::new(WakeRecord {
        since: fixture::now() - TimeDelta::seconds(200),
        ended: fixture::now() - TimeDelta::seconds(130),
        by: "request".into(),
        stages: stages
            .map(|(stage, s)| (stage, TimeDelta::seconds(s)))
            .into(),
        hot: None,
        failure: Some("CUDA out of memory while loading".into()),
    })
}

#[test]
fn a_waking_backend() {
    shots("waking", &at("h100-b"), backend::render);
}

#[test]
fn a_waking_backend_that_is_on_track() {
    let mut app = at("h100-b");
    let fleet = Arc::make_mut(&mut app.fleet);
    fleet.findings.clear();
    fleet.now -= TimeDelta::seconds(150);
    shots("waking-on-track", &app, backend::render);
}

#[test]
fn a_waking_backend_that_is_late() {
    let mut app = at("h100-b");
    let fleet = Arc::make_mut(&mut app.fleet);
    fleet.findings.clear();
    fleet.now += TimeDelta::seconds(100);
    shots("waking-late", &app, backend::render);
}

#[test]
fn a_warm_backend() {
    shots("warm", &at("a100-ondemand"), backend::render);
}

#[test]
fn a_warm_backend_that_was_last_read_long_ago() {
    let app = with("a100-ondemand", |b| {
        b.live.read_at = Some(fixture::now() - TimeDelta::minutes(4));
        b.live.error = Some("connection refused".into());
    });
    shots("warm-stale", &app, backend::render);
}

#[test]
fn a_draining_backend() {
    shots("draining", &at("t4-b"), backend::render);
}

#[test]
fn a_failed_backend() {
    let app = with("t4-c", |b| b.wakes.push_back(failed_wake()));
    shots("failed", &app, backend::render);
}

#[test]
fn a_failed_backend_without_a_record() {
    shots("failed-unrecorded", &at("t4-c"), backend::render);
}

#[test]
fn an_asleep_backend() {
    shots("asleep", &at("a100-spot"), backend::render);
}

#[test]
fn an_asleep_backend_that_never_woke() {
    let app = with("a100-spot", |b| b.wakes.clear());
    shots("asleep-never-woken", &app, backend::render);
}

#[test]
fn a_limited_hosted_backend() {
    shots("limited", &at("aoai-gpt-4.1"), backend::render);
}

#[test]
fn no_backend() {
    let mut app = app();
    app.fleet = Arc::new(fixture::empty());
    app.selected = None;
    shots("no-backend", &app, backend::render);
}

#[test]
fn requests_live() {
    shots("requests", &app(), requests::render);
}

#[test]
fn requests_paused() {
    let mut app = app();
    app.frozen = Some(app.fleet.clone());
    Arc::make_mut(&mut app.fleet).answered += 12;
    shots("requests-paused", &app, requests::render);
}

#[test]
fn requests_filtered() {
    let mut app = app();
    app.filter = "qwen3 fallback".into();
    shots("requests-filtered", &app, requests::render);
}

#[test]
fn requests_filtered_to_nothing() {
    let mut app = app();
    app.filter = "gemma".into();
    shots("requests-none-match", &app, requests::render);
}

#[test]
fn no_requests() {
    let mut app = app();
    Arc::make_mut(&mut app.fleet).requests = VecDeque::new();
    shots("requests-empty", &app, requests::render);
}

#[test]
fn audit_entries() {
    shots("audit", &app(), audit::render);
}

#[test]
fn no_audit_entries() {
    let mut app = app();
    app.fleet = Arc::new(fixture::empty());
    shots("audit-empty", &app, audit::render);
}

#[test]
fn wakes_of_all() {
    let mut app = with("t4-c", |b| b.wakes.push_back(failed_wake()));
    change_backend(Arc::make_mut(&mut app.fleet), "h100-b", |b| {
        for (n, wake) in b.wakes.iter_mut().enumerate() {
            Arc::make_mut(wake).hot = [Some(false), Some(true), None][n % 3];
        }
    });
    shots("wakes", &app, wakes::render);
}

#[test]
fn wakes_filtered() {
    let mut app = app();
    app.filter = "h100".into();
    shots("wakes-filtered", &app, wakes::render);
}

#[test]
fn no_wakes() {
    let mut app = app();
    app.fleet = Arc::new(fixture::empty());
    shots("wakes-empty", &app, wakes::render);
}

#[test]
fn gpus_of_all() {
    let mut app = app();
    let fleet = Arc::make_mut(&mut app.fleet);
    change_backend(fleet, "h100-a", |b| {
        let mut gpus = b.gpus.to_vec();
        gpus[0].host = "gpu-node-2".into();
        gpus[0].model = "NVIDIA H100 80GB HBM3".into();
        b.gpus = gpus.into();
    });
    change_backend(fleet, "a100-ondemand", |b| {
        let mut gpus = b.gpus.to_vec();
        gpus[0].util = Some(0.0);
        gpus[0].power_limit = Some(400.0);
        gpus[1].xid = Some(79.0);
        b.gpus = gpus.into();
    });
    let stranger = Gpu {
        host: "zz-box".into(),
        index: 3,
        model: "NVIDIA L4".into(),
        util: Some(99.0),
        holders: vec![Holder {
            backend: None,
            pid: 4711,
            name: "python3".into(),
            memory: Some(20_000.0),
        }],
        ..Gpu::default()
    };
    fleet.machine = Some(Arc::new(Machine {
        gpus: [stranger].into(),
        trouble: None,
    }));
    shots("gpus", &app, gpus::render);
}

#[test]
fn no_gpus() {
    let mut app = app();
    app.fleet = Arc::new(Fleet {
        machine: Some(Arc::new(Machine {
            trouble: Some(
                "no NVIDIA driver on this machine (libnvidia-ml.so.1 is not there)".into(),
            ),
            ..Machine::default()
        })),
        ..fixture::empty()
    });
    shots("gpus-none", &app, gpus::render);
}

#[test]
fn a_log_that_is_scrolled_back() {
    let mut app = at("h100-b");
    app.scroll = 2;
    shots("log-scrolled", &app, backend::render);
}

#[test]
fn what_is_worth_least_leaves_first_and_the_rest_grows() {
    let table = [
        Column::figure("A", 4, 3),
        Column::word("B", 6, 1),
        Column::rest("C", 5, 2),
    ];
    let at = |width| columns::fit(&table, width);
    assert_eq!(at(30), [Some((0, 4)), Some((6, 6)), Some((14, 16))]);
    assert_eq!(at(19), [Some((0, 4)), Some((6, 6)), Some((14, 5))]);
    assert_eq!(at(18), [Some((0, 4)), None, Some((6, 12))]);
    assert_eq!(at(10), [Some((0, 4)), None, None]);
    assert_eq!(at(3), [None, None, None]);
}

/// Draws the timeline of the selected backend, as the Fleet screen does.
fn timeline_alone(app: &App, area: Rect, buf: &mut Buffer) {
    timeline::render(app, app.backend().unwrap(), area, buf);
}

#[test]
fn the_timeline_in_a_corner() {
    for (width, height) in [(38, 6), (58, 12), (76, 14)] {
        let shot = picture(width, height, |area, buf| {
            timeline_alone(&at("h100-b"), area, buf);
        });
        insta::assert_snapshot!(format!("timeline-{width}x{height}"), shot);
    }
}

/// No size may panic, whatever is shown, and an ASCII theme stays ASCII in its glyphs.
#[test]
fn every_size_is_survived() {
    let mut apps: Vec<App> = app()
        .fleet
        .backends
        .iter()
        .map(|b| at(b.id.as_str()))
        .collect();
    apps.push(with("t4-c", |b| b.wakes.push_back(failed_wake())));
    apps.push(with("t4-a", |b| {
        b.state = State::Unknown {
            since: fixture::now(),
        }
    }));
    let mut ascii = at("h100-b");
    ascii.theme = Theme {
        glyphs: &ASCII,
        ..crate::tui::theme::choose(None, false, false).unwrap()
    };
    apps.push(ascii);
    for app in &apps {
        for width in [
            0, 1, 2, 3, 4, 5, 7, 9, 16, 20, 33, 40, 69, 76, 109, 110, 164, 165, 300,
        ] {
            for height in [0, 1, 2, 3, 4, 5, 6, 8, 11, 20, 29, 30, 80] {
                for screen in [
                    backend::render as Screen,
                    requests::render,
                    audit::render,
                    wakes::render,
                    gpus::render,
                ] {
                    picture(width, height, |area, buf| screen(app, area, buf));
                }
                if !app.backend().unwrap().is_hosted() {
                    picture(width, height, |area, buf| timeline_alone(app, area, buf));
                }
            }
        }
    }
}
