//! What a dialog says of a command: what happens, what it costs, where the traffic goes.

use ratatui::text::{Line, Span};

use super::{EFFECT, LABELS, cluster, heading, row, wrapped};
use crate::fleet::{Preview, Usd};
use crate::tui::app::App;
use crate::tui::text;
use crate::tui::theme::{Role, Theme};
use crate::tui::widget::grid::is_ascii;

/// Targets that are named one by one.
const NAMED: usize = 4;

pub(super) fn one(app: &App, p: &Preview, width: u16) -> Vec<Line<'static>> {
    let theme = &app.theme;
    let mut out = vec![Line::default()];
    if !(p.what.is_empty() && p.warnings.is_empty()) {
        out.push(heading(theme, "What happens"));
    }
    for sentence in &p.what {
        out.extend(wrapped(theme, sentence, Role::Text, width));
    }
    for warning in &p.warnings {
        out.extend(warned(theme, "", warning, width));
    }
    if out.len() > 1 {
        out.push(Line::default());
    }
    out.push(heading(theme, EFFECT));
    out.push(cost(theme, p));
    if let Some((was, is)) = p.ttft {
        let value = format!(
            "{} {} {}",
            text::latency(was),
            theme.glyphs.arrow,
            text::latency(is)
        );
        out.push(row(
            theme,
            "TTFT p50",
            value,
            if is > was { Role::Warning } else { Role::Good },
        ));
    }
    out.extend(traffic(app, p));
    if let Some(expected) = p.expected.filter(|e| !e.is_zero()) {
        let at_most = if p.affected > 0 { "at most " } else { "about " };
        out.push(row(
            theme,
            "takes",
            format!("{at_most}{}", text::clock(expected)),
            Role::Text,
        ));
    }
    if let Some(eval) = evals(app, p) {
        out.push(row(theme, "evals", eval, Role::Text));
    }
    out.extend(cluster::steps(app, p, width));
    out
}

/// What to mind.
fn warned(theme: &Theme, indent: &str, warning: &str, width: u16) -> Vec<Line<'static>> {
    let sentence = format!("{indent}{} {warning}", theme.glyphs.alert);
    wrapped(theme, &sentence, Role::Warning, width)
}

/// The scores of who loses traffic beside those of who gets it.
fn evals(app: &App, p: &Preview) -> Option<String> {
    let (from, _, _) = p.shares.iter().find(|(_, was, is)| is < was)?;
    let (to, _, _) = p.shares.iter().find(|(_, was, is)| is > was)?;
    let model = app.fleet.model(&app.fleet.backend(from)?.model)?;
    let of = |id: &crate::fleet::BackendId| model.evals.iter().find(|e| e.backend == *id);
    let (a, b) = (of(from)?, of(to)?);
    (a.name == b.name).then(|| {
        format!(
            "{} {} {} {} ({})",
            a.name, a.score, app.theme.glyphs.arrow, b.score, b.date
        )
    })
}

pub(super) fn all(app: &App, all: &[Preview], width: u16) -> Vec<Line<'static>> {
    let theme = &app.theme;
    let mut out = vec![Line::default(), heading(theme, "What happens")];
    for p in all.iter().take(NAMED) {
        let what = p.what.first().cloned().unwrap_or_default();
        out.extend(wrapped(
            theme,
            &format!("{}: {what}", p.target),
            Role::Text,
            width,
        ));
        for warning in &p.warnings {
            out.extend(warned(theme, "  ", warning, width));
        }
    }
    if all.len() > NAMED {
        out.push(Line::from(Span::styled(
            format!("and {} more", all.len() - NAMED),
            theme.of(Role::Dim),
        )));
    }
    out.push(Line::default());
    out.push(heading(theme, EFFECT));
    out.push(cost(theme, &sum(all)));
    let affected: u32 = all.iter().map(|p| p.affected).sum();
    if affected > 0 {
        out.push(row(
            theme,
            "requests",
            format!("{affected} running finish first"),
            Role::Text,
        ));
    }
    out
}

/// The cost of all of them: each preview stands for itself, and the burn moves by the sum of what each moves it.
fn sum(all: &[Preview]) -> Preview {
    let burns = all.iter().map(|p| p.burn).collect::<Option<Vec<_>>>();
    Preview {
        burn: burns.and_then(|burns| {
            let now = burns.first()?.0;
            let moved = burns.iter().map(|(was, is)| *is - *was).sum::<Usd>();
            Some((now, now + moved))
        }),
        partial: all.iter().any(|p| p.partial),
        unpriced: all.iter().find_map(|p| p.unpriced.clone()),
        ..Preview::default()
    }
}

/// Who gets which share, before and after; rule by rule where routes divide the requests.
fn traffic(app: &App, p: &Preview) -> Vec<Line<'static>> {
    let theme = &app.theme;
    let share = |was: f64, is: f64, name: &str| {
        format!(
            "{:>4} {} {:>4}  {name}",
            text::percent(was),
            theme.glyphs.arrow,
            text::percent(is)
        )
    };
    if p.rules.is_empty() {
        let each = p.shares.iter().enumerate();
        let lines = each.map(|(i, (backend, was, is))| {
            let hosted = app.fleet.backend(backend).is_some_and(|b| b.is_hosted());
            let role = if hosted {
                Role::Hosted
            } else {
                Role::SelfHosted
            };
            let label = if i == 0 { "traffic" } else { "" };
            row(theme, label, share(*was, *is, backend.as_str()), role)
        });
        return lines.collect();
    }
    let mut out = Vec::new();
    for (i, rule) in p.rules.iter().enumerate() {
        let label = if i == 0 { "traffic" } else { "" };
        // The rule is named where there are several to tell apart.
        if p.rules.len() > 1 {
            out.push(row(theme, label, rule.rule.clone(), Role::Dim));
        }
        for (j, (name, was, is)) in rule.shares.iter().enumerate() {
            let label = if p.rules.len() == 1 && j == 0 {
                label
            } else {
                ""
            };
            let role = if (was - is).abs() < 0.0005 {
                Role::Dim
            } else {
                Role::Text
            };
            out.push(row(theme, label, share(*was, *is, name), role));
        }
    }
    out
}

fn cost(theme: &Theme, p: &Preview) -> Line<'static> {
    let Some((was, is)) = p.burn else {
        let why = p
            .unpriced
            .as_deref()
            .unwrap_or("a rate or a price is unknown");
        return row(theme, "cost", format!("? ({why})"), Role::Dim);
    };
    let label = Span::styled(format!("{:<LABELS$}", "cost"), theme.of(Role::Dim));
    // What else costs in the fleet may have no price; the difference is of what is concerned, and exact.
    let least = match (p.partial, is_ascii(theme)) {
        (false, _) => "",
        (true, true) => ">=",
        (true, false) => "≥ ",
    };
    let value = Span::styled(
        format!("{least}${was} {} {least}${is} /h", theme.glyphs.arrow),
        theme.of(Role::Money),
    );
    let (word, role) = match is.cmp(&was) {
        std::cmp::Ordering::Less => (format!("   saves ${}/h", was - is), Role::Good),
        std::cmp::Ordering::Equal => ("   no change".to_owned(), Role::Dim),
        std::cmp::Ordering::Greater => (format!("   +${}/h", is - was), Role::Warning),
    };
    Line::from(vec![label, value, Span::styled(word, theme.of(role))])
}
