//! Routing, Cost and the charts.

use std::sync::Arc;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::{fixture, picture};
use crate::fleet::money::Meter;
use crate::fleet::{Fleet, Kind};
use crate::tui::app::App;
use crate::tui::theme::ASCII;
use crate::tui::view::{cost, routing};
use crate::tui::widget::mix;

type Draw = fn(&App, Rect, &mut Buffer);

const SIZES: [(u16, u16); 3] = [(80, 20), (120, 36), (200, 56)];

fn over(fleet: Fleet) -> App {
    App::new(
        Arc::new(fleet),
        crate::tui::theme::choose(None, false, false).unwrap(),
        "olga".into(),
        false,
    )
}

fn with_draft() -> App {
    let mut app = over(fixture::fleet());
    app.draft = Some(vec![
        ("a100-ondemand".into(), 40),
        ("a100-spot".into(), 0),
        ("aoai-4o-mini".into(), 60),
    ]);
    app
}

fn without_rate() -> App {
    let mut fleet = fixture::fleet();
    for backend in &mut fleet.backends {
        let backend = Arc::make_mut(backend);
        match (&mut backend.kind, backend.id.as_str()) {
            (Kind::SelfHosted(facts), "h100-a") => {
                facts.rate = None;
                backend.ledger.awake = Meter::default();
                backend.ledger.idle = Meter::default();
            }
            (Kind::Hosted(facts), "aoai-4o-mini") => {
                facts.price = None;
                backend.ledger.unmetered = 12;
            }
            (Kind::SelfHosted(_) | Kind::Hosted(_), _) => {}
        }
    }
    over(fleet)
}

fn snap(name: &str, app: &App, draw: Draw) {
    for (width, height) in SIZES {
        let seen = picture(width, height, |area, buf| draw(app, area, buf));
        insta::assert_snapshot!(format!("{name}-{width}x{height}"), seen);
    }
}

#[test]
fn routing_shows_the_choice() {
    snap("routing", &over(fixture::fleet()), routing::render);
}

#[test]
fn a_draft_is_shown_with_its_effect() {
    snap("routing-draft", &with_draft(), routing::render);
}

#[test]
fn cost_says_what_it_covers() {
    snap("cost", &over(fixture::fleet()), cost::render);
}

#[test]
fn an_unknown_rate_is_never_zero() {
    snap("cost-unknown", &without_rate(), cost::render);
    snap("routing-unknown", &without_rate(), routing::render);
}

#[test]
fn an_empty_fleet_has_empty_screens() {
    let app = over(fixture::empty());
    snap("routing-empty", &app, routing::render);
    snap("cost-empty", &app, cost::render);
}

#[test]
fn the_mix_is_stacked() {
    let mut app = over(fixture::fleet());
    for (width, height) in [(54, 13), (90, 24)] {
        let seen = picture(width, height, |area, buf| mix::render(&app, area, buf));
        insta::assert_snapshot!(format!("mix-{width}x{height}"), seen);
    }
    app.theme.glyphs = &ASCII;
    let seen = picture(54, 13, |area, buf| mix::render(&app, area, buf));
    insta::assert_snapshot!("mix-ascii", seen);
}

#[test]
fn any_size_can_be_drawn() {
    let mut apps = [
        over(fixture::fleet()),
        with_draft(),
        without_rate(),
        over(fixture::empty()),
    ];
    apps[1].theme.glyphs = &ASCII;
    for app in &apps {
        for draw in [cost::render as Draw, routing::render, mix::render] {
            for width in (1..24).chain([40, 76, 77, 110, 179, 180, 300]) {
                for height in (1..16).chain([20, 33, 80]) {
                    picture(width, height, |area, buf| draw(app, area, buf));
                }
            }
        }
    }
}
