//! What is said below a timeline: how long, how much longer, what it cost, and whether that is usual.

use chrono::TimeDelta;
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;

use crate::fleet::backend::SelfHosted;
use crate::fleet::estimate::Estimate;
use crate::fleet::money::{Meter, Usd};
use crate::fleet::{Backend, Severity, State};
use crate::tui::app::App;
use crate::tui::text;
use crate::tui::theme::Role;

use super::plan::{Phase, Plan, What};

/// The lines below the stages, most important first; each fits `width` or is cut by the caller.
pub(super) fn lines(
    app: &App,
    backend: &Backend,
    facts: &SelfHosted,
    estimate: Option<&Estimate>,
    plan: &Plan,
    width: u16,
) -> Vec<Line<'static>> {
    match plan.what {
        What::Running => running(app, backend, facts, estimate, plan, width),
        What::Last | What::Failed | What::Expected => {
            ended(app, backend, facts, estimate, plan, width)
        }
    }
}

fn running(
    app: &App,
    backend: &Backend,
    facts: &SelfHosted,
    estimate: Option<&Estimate>,
    plan: &Plan,
    width: u16,
) -> Vec<Line<'static>> {
    let paint = |text: String, role| Span::styled(text, app.theme.of(role));
    let late = plan.elapsed > facts.budget;
    let mut line = Line::default();
    line.push_span(paint(
        text::clock(plan.elapsed),
        if late { Role::Critical } else { Role::Strong },
    ));
    line.push_span(paint(" elapsed   ".into(), Role::Dim));
    if let Some(e) = estimate {
        let dots = app.theme.glyphs.ellipsis;
        line.push_span(paint(
            format!(
                "{} {dots} {}",
                text::clock(e.left_median),
                text::clock(e.left_p95)
            ),
            Role::Waking,
        ));
        let long = " left (median … p95)   ";
        line.push_span(paint(
            if line.width() + long.len() + 6 <= usize::from(width) {
                format!(" left (median {dots} p95)   ")
            } else {
                " left   ".into()
            },
            Role::Dim,
        ));
    }
    let no_machine = backend.place.as_ref().is_some_and(|it| it.nodes.is_empty());
    line.push_span(if no_machine {
        paint("not billed yet".into(), Role::Dim)
    } else {
        cost(app, facts, plan.elapsed)
    });
    let (said, role) = verdict(app, backend, facts, estimate, plan);
    let verdict = paint(said, role);
    if line.width() + 3 + verdict.width() <= usize::from(width) {
        line.push_span("   ");
        line.push_span(verdict);
        vec![line]
    } else {
        let mut lines = vec![line];
        let rows = wrap(&verdict.content, width.into());
        lines.extend(rows.into_iter().map(|row| paint(row, role).into()));
        lines
    }
}

/// Whether a running wake goes as the ones before it did.
fn verdict(
    app: &App,
    backend: &Backend,
    facts: &SelfHosted,
    estimate: Option<&Estimate>,
    plan: &Plan,
) -> (String, Role) {
    let found = app
        .fleet
        .findings
        .iter()
        .find(|f| f.backend.as_ref() == Some(&backend.id));
    if let Some(finding) = found {
        let role = match finding.severity {
            Severity::Critical => Role::Critical,
            Severity::Warning => Role::Warning,
            Severity::Notice => Role::Dim,
        };
        return (format!("{} {}", app.theme.glyphs.alert, finding.what), role);
    }
    if plan.elapsed > facts.budget {
        let over = text::clock(plan.elapsed - facts.budget);
        let left = text::clock(facts.cap - plan.elapsed);
        return (
            format!("late: {over} over budget, fails in {left}"),
            Role::Critical,
        );
    }
    let Some(e) = estimate else {
        return ("nothing known of earlier wakes".into(), Role::Dim);
    };
    if plan.elapsed + e.left_median > facts.cap {
        let said = format!("will not make the cap of {}", text::clock(facts.cap));
        return (said, Role::Critical);
    }
    let slow = plan.rows.iter().find_map(|row| {
        let (median, p95) = e.of(row.stage)?;
        let spent = row.to - row.from;
        (matches!(row.phase, Phase::Running(_)) && spent > p95 && spent > median * 3 / 2)
            .then_some((row.stage, spent, median))
    });
    if let Some((stage, spent, median)) = slow {
        return (
            format!(
                "slow: {} in {}; usually {}",
                text::clock(spent),
                stage.word(),
                text::clock(median)
            ),
            Role::Warning,
        );
    }
    if plan.elapsed + e.left_median > facts.budget {
        return ("will be late".into(), Role::Warning);
    }
    (format!("{} on track", app.theme.glyphs.done), Role::Good)
}

fn ended(
    app: &App,
    backend: &Backend,
    facts: &SelfHosted,
    estimate: Option<&Estimate>,
    plan: &Plan,
    width: u16,
) -> Vec<Line<'static>> {
    let paint = |text: String, role| Span::styled(text, app.theme.of(role));
    let mut lines = Vec::new();
    if let Some(record) = backend
        .wakes
        .back()
        .filter(|_| plan.elapsed > TimeDelta::zero())
    {
        let word = match plan.what {
            What::Failed => "failed after ",
            What::Running | What::Last | What::Expected => "woke in ",
        };
        let ago = text::age(app.fleet.now - record.ended);
        lines.push(Line::from(vec![
            paint(word.into(), Role::Dim),
            paint(text::clock(plan.elapsed), Role::Strong),
            paint(
                format!(", {ago} ago, asked for by {}   ", record.by),
                Role::Dim,
            ),
            cost(app, facts, plan.elapsed),
        ]));
    }
    let reason = match (&backend.state, plan.what) {
        (State::Failed(failure), _) => Some(failure.reason.clone()),
        (_, What::Failed) => backend.wakes.back().and_then(|wake| wake.failure.clone()),
        (_, What::Running | What::Last | What::Expected) => None,
    };
    if let Some(reason) = reason {
        let said = format!("{} {reason}", app.theme.glyphs.failed);
        let rows = wrap(&said, width.into());
        lines.extend(
            rows.into_iter()
                .map(|row| Line::from(paint(row, Role::Critical))),
        );
    }
    let sleeps = matches!(backend.state, State::Asleep { .. } | State::Unknown { .. });
    match (estimate, plan.what) {
        (Some(e), What::Expected) => lines.push(Line::from(vec![
            paint("never woken here; expected about ".into(), Role::Dim),
            paint(text::clock(e.whole()), Role::Text),
            paint("   ".into(), Role::Dim),
            cost(app, facts, e.whole()),
        ])),
        (Some(e), What::Last | What::Failed) if sleeps => lines.push(Line::from(vec![
            paint("a wake now takes about ".into(), Role::Dim),
            paint(text::clock(e.left_median), Role::Waking),
            paint(format!(" (p95 {})   ", text::clock(e.left_p95)), Role::Dim),
            cost(app, facts, e.left_median),
        ])),
        (Some(_), What::Last | What::Failed | What::Running) => {}
        (None, _) => lines.push(
            paint(
                "never woken here; nothing is known of its stages".into(),
                Role::Dim,
            )
            .into(),
        ),
    }
    lines
}

/// What `span` of all replicas costs.
fn cost(app: &App, facts: &SelfHosted, span: TimeDelta) -> Span<'static> {
    match facts.rate {
        Some(rate) => Span::styled(
            format!("${}", spent(rate, facts.replicas, span)),
            app.theme.of(Role::Money),
        ),
        None => Span::styled("price unknown", app.theme.of(Role::Faint)),
    }
}

fn spent(rate: Usd, replicas: u32, span: TimeDelta) -> Usd {
    let mut meter = Meter::default();
    meter.add(rate, replicas, span);
    meter.total()
}

/// A sentence in rows of whole words.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut rows: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match rows.last_mut() {
            Some(row) if row.width() + 1 + word.width() <= width => {
                row.push(' ');
                row.push_str(word);
            }
            // Later rows stand under the words, not under the glyph in front of them.
            Some(_) => rows.push(format!("  {word}")),
            None => rows.push(word.to_owned()),
        }
    }
    rows
}
