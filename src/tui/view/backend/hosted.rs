//! A hosted backend: who runs it, how it answers, what it has cost.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::fleet::{Backend, State, Usd};
use crate::tui::app::App;
use crate::tui::text;
use crate::tui::theme::Role;
use crate::tui::view::requests;
use crate::tui::widget::panel;

use super::facts::{self, Fact, exact};
use super::layout::{Part, stack};
use super::serving;

/// Draws the panels into `area`.
pub(super) fn render(app: &App, backend: &Backend, area: Rect, buf: &mut Buffer) {
    let part = |least, wanted| Part { least, wanted };
    if area.width < super::TWO {
        let places = stack(area, &[part(5, 10), part(4, 10), part(4, 9)], 2);
        let draws = [state, money, newest];
        for (at, draw) in places.into_iter().zip(draws) {
            if let Some(at) = at {
                draw(app, backend, at, buf);
            }
        }
        return;
    }
    let places = stack(area, &[part(6, 10), part(4, 6)], 1);
    if let Some(Some(at)) = places.first() {
        let left = Rect {
            width: at.width / 2,
            ..*at
        };
        let right = Rect {
            x: left.right(),
            width: at.width - left.width,
            ..*at
        };
        state(app, backend, left, buf);
        money(app, backend, right, buf);
    }
    if let Some(Some(at)) = places.get(1) {
        newest(app, backend, *at, buf);
    }
}

fn state(app: &App, backend: &Backend, area: Rect, buf: &mut Buffer) {
    let theme = &app.theme;
    let live = &backend.live;
    let summary = serving::freshness(app, backend, "last 5m");
    let inner = panel::render(
        theme,
        area,
        &super::heading(theme, "Answering"),
        &summary,
        buf,
    );
    let (now, role, note) = match &backend.state {
        State::Limited { until, .. } => (
            "limited (429)".to_owned(),
            Role::Warning,
            format!("asked again in {}", text::clock(*until - app.fleet.now)),
        ),
        State::Down { reason, .. } => ("down".to_owned(), Role::Critical, reason.clone()),
        State::Ready { .. } => ("ready".to_owned(), Role::Hosted, String::new()),
        State::Unknown { .. }
        | State::Asleep { .. }
        | State::Waking(_)
        | State::Warm { .. }
        | State::Draining(_)
        | State::Failed(_) => (backend.state.word().to_owned(), Role::Dim, String::new()),
    };
    // What runs through a cluster's gateway does not run through here.
    let from_here = !app.fleet.is_on_clusters();
    let lines = [
        Fact::new("state", Some(now)).role(role).note(note),
        Fact::new("req/s", live.requests_per_s.map(|r| format!("{r:.1}"))).role(Role::Strong),
        Fact::new("in flight", from_here.then(|| live.in_flight.to_string())).note(limit(backend)),
        Fact::new("TTFT p50", live.ttft_p50.map(text::latency)).role(Role::Strong),
        Fact::new("TTFT p95", live.ttft_p95.map(text::latency)),
        Fact::new("tok/s", live.tokens_per_s.map(text::count)),
        Fact::new("share", live.share.map(text::percent))
            .note(format!("weight {}", backend.weight)),
    ];
    let mut lines = lines.to_vec();
    if let Some(headroom) = live.headroom {
        let age = text::age(app.fleet.now - headroom.at);
        for (label, left) in [
            ("requests left", headroom.requests),
            ("tokens left", headroom.tokens),
        ] {
            let Some(left) = left else { continue };
            let of = left.limit.map_or(String::new(), |limit| {
                format!(" of {}", exact(limit as f64))
            });
            lines.push(
                Fact::new(label, Some(format!("{}{of}", exact(left.left as f64))))
                    .note(format!("as it said {age} ago")),
            );
        }
    }
    if live.error.is_some() {
        lines.push(Fact::new("last error", live.error.clone()).role(Role::Warning));
    }
    facts::render(theme, &lines, serving::old(app, backend), inner, buf);
}

/// The requests that it is sent at once at most.
fn limit(backend: &Backend) -> String {
    backend
        .max_running
        .map_or(String::new(), |limit| format!("of {limit} at most"))
}

fn money(app: &App, backend: &Backend, area: Rect, buf: &mut Buffer) {
    let theme = &app.theme;
    let ledger = &backend.ledger;
    let watched = text::age(app.fleet.now - app.fleet.started);
    let summary = super::aside(theme, format!("last {watched}"), Role::Faint);
    let mut title = super::heading(theme, "Money");
    if let Some(facts) = backend.hosted() {
        title.push_span(Span::styled(
            format!("  {}", facts.provider),
            theme.of(Role::Hosted),
        ));
    }
    let inner = panel::render(theme, area, &title, &summary, buf);
    let price = backend.hosted().and_then(|facts| facts.price);
    let list = |usd: Usd| format!("${usd}/M");
    let at = |pick: fn(&crate::fleet::backend::Price) -> Usd| {
        price
            .as_ref()
            .map_or("at an unknown price".to_owned(), |p| {
                format!("at {}", list(pick(p)))
            })
    };
    let known = |n: u64| (!ledger.uncounted).then(|| exact(n as f64));
    let cost = if ledger.uncounted {
        Fact::new("cost", Some("?".into()))
            .role(Role::Warning)
            .note("no gateway here counts its tokens")
    } else {
        Fact::new("cost", price.map(|_| format!("${}", ledger.tokens))).role(Role::Money)
    };
    let lines = [
        cost,
        Fact::new(
            "$/M out",
            ledger
                .per_million_output()
                .filter(|_| price.is_some())
                .map(|usd| format!("${usd}")),
        )
        .role(Role::Strong)
        .note("prompt tokens included"),
        Fact::new("tokens in", known(ledger.tokens_in)).note(at(|p| p.input)),
        Fact::new("cached", known(ledger.tokens_cached)).note(at(|p| p.cached)),
        Fact::new("tokens out", known(ledger.tokens_out)).note(at(|p| p.output)),
        Fact::new("requests", known(ledger.requests)),
        Fact::new("bridging", Some(format!("${}", ledger.bridged_cost)))
            .role(Role::Money)
            .note(format!(
                "{} requests answered while another woke",
                exact(ledger.bridged as f64)
            )),
        Fact::new("without usage", known(ledger.unmetered))
            .role(if ledger.unmetered > 0 {
                Role::Warning
            } else {
                Role::Dim
            })
            .note("counted, not priced"),
    ];
    let lines: Vec<Fact> = lines
        .into_iter()
        .filter(|fact| fact.label != "bridging" || ledger.bridged > 0)
        .collect();
    facts::render(theme, &lines, false, inner, buf);
}

/// The newest requests that this backend answered.
pub(super) fn newest(app: &App, backend: &Backend, area: Rect, buf: &mut Buffer) {
    let theme = &app.theme;
    let title = super::heading(theme, "Newest requests");
    let summary = Line::from(Span::styled("newest first", theme.of(Role::Faint)));
    let inner = panel::render(theme, area, &title, &summary, buf);
    requests::render_of(app, &backend.id, inner, buf);
}
