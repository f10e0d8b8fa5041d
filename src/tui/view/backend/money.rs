//! What a self-hosted backend costs.

use chrono::TimeDelta;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::fleet::{Backend, Usd};
use crate::tui::app::App;
use crate::tui::text;
use crate::tui::theme::Role;
use crate::tui::widget::panel;

use super::facts::{self, Fact};

/// Rows that show everything.
pub(super) const WANTED: u16 = 9;

/// Draws the panel.
pub(super) fn render(app: &App, backend: &Backend, area: Rect, buf: &mut Buffer) {
    let theme = &app.theme;
    let ledger = &backend.ledger;
    let watched = text::age(app.fleet.now - app.fleet.started);
    let inner = panel::render(
        theme,
        area,
        &super::heading(theme, "Money"),
        &super::aside(theme, format!("last {watched}"), Role::Faint),
        buf,
    );
    let span = |ms: u64| TimeDelta::milliseconds(i64::try_from(ms).unwrap_or(i64::MAX));
    let awake = ledger.awake.total();
    let idle = ledger.idle.total();
    let share = |part: f64, whole: f64| {
        if whole > 0.0 {
            text::percent(part / whole)
        } else {
            String::new()
        }
    };
    let money = |usd: Usd| Some(format!("${usd}"));
    let known = backend
        .self_hosted()
        .is_some_and(|facts| facts.rate.is_some());
    let busy = share(ledger.busy_ms as f64, ledger.awake_ms as f64);
    let taxed = share(idle.as_f64(), awake.as_f64());
    let lines = [
        Fact::new("cost", money(ledger.total()).filter(|_| known)).role(Role::Money),
        Fact::new("idle tax", money(idle).filter(|_| known))
            .role(
                if idle.as_f64() * 2.0 > awake.as_f64() && idle > Usd::ZERO {
                    Role::Warning
                } else {
                    Role::Text
                },
            )
            .note(if taxed.is_empty() {
                taxed
            } else {
                format!("{taxed} of cost")
            }),
        Fact::new(
            "$/M out",
            ledger
                .per_million_output()
                .and_then(money)
                .filter(|_| known),
        )
        .role(Role::Strong)
        .note(
            ledger
                .per_million_blended()
                .filter(|_| known)
                .map_or(String::new(), |b| format!("${b} in and out")),
        ),
        Fact::new("awake", Some(text::age(span(ledger.awake_ms)))),
        Fact::new("busy", Some(text::age(span(ledger.busy_ms)))).note(if busy.is_empty() {
            busy
        } else {
            format!("{busy} of awake")
        }),
        Fact::new("requests", Some(facts::exact(ledger.requests as f64))).note(
            if ledger.unmetered > 0 {
                format!("{} without usage", ledger.unmetered)
            } else {
                String::new()
            },
        ),
        Fact::new("tokens out", Some(facts::exact(ledger.tokens_out as f64)))
            .note(format!("{} in", facts::exact(ledger.tokens_in as f64))),
    ];
    facts::render(theme, &lines, false, inner, buf);
}
