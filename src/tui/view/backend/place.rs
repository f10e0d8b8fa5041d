//! Where a backend lives on its cluster: what runs it, what scales it, what leads to it, what it holds.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::heading;
use crate::fleet::cluster::machine::Machine;
use crate::fleet::cluster::place::{Autoscaler, Place};
use crate::fleet::cluster::rule::Rule;
use crate::fleet::{Backend, Command, State};
use crate::tui::app::App;
use crate::tui::text;
use crate::tui::theme::Role;
use crate::tui::widget::panel;

/// Columns of the labels.
const LABELS: usize = 12;
/// Machines and rules that are named one by one.
const NAMED: usize = 3;

/// Draws it on top of `area` and says how many rows it took; none for what lives on no cluster.
pub(super) fn render(app: &App, backend: &Backend, area: Rect, buf: &mut Buffer) -> u16 {
    let rules: Vec<&Rule> = match &backend.place {
        Some(place) => app.fleet.rules_to(&backend.id, place),
        None => app.fleet.rules_of(&backend.model).collect(),
    };
    let (lines, cluster) = match &backend.place {
        Some(place) => (lines(app, backend, place, &rules), &*place.cluster),
        // Of what is hosted a cluster only knows what leads there.
        None if app.fleet.is_on_clusters() => {
            let (cluster, _) = app.fleet.name_within(&backend.id);
            (routes(backend, &rules), cluster)
        }
        None => return 0,
    };
    // Half of a small screen at most: the figures below are why one came.
    let most = (area.height / 2).max(4);
    let height = (lines.len() as u16 + 2).min(most).min(area.height);
    if height < 3 {
        return 0;
    }
    let at = Rect { height, ..area };
    let on = Line::from(Span::styled(cluster.to_owned(), app.theme.of(Role::Dim)));
    let inner = panel::render(
        &app.theme,
        at,
        &heading(&app.theme, "On the cluster"),
        &on,
        buf,
    );
    for (y, (label, value, role)) in (inner.y..inner.bottom()).zip(lines) {
        let label = format!("{label:<LABELS$}");
        buf.set_string(inner.x, y, &label, app.theme.of(Role::Dim));
        let room = inner.width.saturating_sub(LABELS as u16);
        let value = panel::cut(&app.theme, &value, room);
        buf.set_string(inner.x + LABELS as u16, y, value, app.theme.of(role));
    }
    height
}

type Said = (&'static str, String, Role);

/// What there is to say, the most important first.
fn lines(app: &App, backend: &Backend, place: &Place, rules: &[&Rule]) -> Vec<Said> {
    let mut out: Vec<Said> = Vec::new();
    if let Some(trouble) = &place.trouble {
        out.push(("trouble", trouble.what.to_string(), Role::Critical));
        out.push(("", trouble.hint.to_string(), Role::Warning));
    }
    if let Some(doing) = &backend.doing {
        out.push(("now", now(app, backend, doing), Role::Waking));
        out.extend(waited_for(backend, place));
    }
    out.extend(may_not(app, backend));
    let ready = format!("{} of {} ready", place.ready, place.wanted);
    let pods = match place.pods {
        1 => "1 pod".to_owned(),
        n => format!("{n} pods"),
    };
    let role = if place.ready < place.wanted {
        Role::Warning
    } else {
        Role::Text
    };
    out.push((
        "runs as",
        format!("{}, {ready}, {pods}", place.workload),
        role,
    ));
    if place.owned_by() != place.workload.to_string() {
        out.push(("owned by", place.owned_by(), Role::Text));
    }
    out.push(scaled_by(place));
    if let (Some(router), true) = (&place.router, place.can_nap) {
        let said = format!("{} tells its engines to sleep and to wake", router.service);
        out.push(("router", said, Role::Text));
    }
    out.extend(routes(backend, rules));
    out.extend(machines(&place.nodes));
    if let Some(tool) = &place.gitops {
        out.push((
            "reverted by",
            format!("{tool} is likely to take back what is edited here"),
            Role::Warning,
        ));
    }
    out.push(if place.ends_gently {
        (
            "ends",
            "lets requests end when its pods are told to".into(),
            Role::Dim,
        )
    } else {
        (
            "ends",
            "aborts what runs when its pods are told to end: a drain waits first".into(),
            Role::Dim,
        )
    });
    if let Some(seconds) = place.probe_allows {
        let said = format!("lets a start take {}:{:02}", seconds / 60, seconds % 60);
        out.push(("probe", said, Role::Dim));
    }
    let unread = app
        .fleet
        .clusters
        .iter()
        .find(|it| it.name == place.cluster);
    match (&place.read_by, unread.and_then(|it| it.unread())) {
        (Some(by), _) => out.push(("read", by.to_string(), Role::Dim)),
        (None, Some(why)) => out.push(("read", format!("not at all: {why}"), Role::Warning)),
        (None, None) => {}
    }
    if let Some(mark) = &place.mark {
        let age = text::age(app.fleet.now - mark.at);
        let (end, role) = match (mark.is_open(), backend.doing.is_some()) {
            (false, _) if mark.undone => (", rolled back", Role::Dim),
            (false, _) => ("", Role::Dim),
            (true, true) => (", under way", Role::Waking),
            (true, false) => (", unfinished", Role::Warning),
        };
        out.push((
            "last",
            format!("{} by {}, {age} ago{end}", mark.op, mark.by),
            role,
        ));
    }
    out
}

/// The step that an operation is at, and how long.
fn now(app: &App, backend: &Backend, doing: &str) -> String {
    let Some(progress) = &backend.progress else {
        return doing.to_owned();
    };
    let (step, of) = (progress.step, progress.of);
    let lasted = text::clock(app.fleet.now - progress.step_since);
    format!("step {step} of {of}: {doing}, {lasted}")
}

/// What a drain still waits for, and how long at most.
fn waited_for(backend: &Backend, place: &Place) -> Option<Said> {
    let State::Draining(drain) = &backend.state else {
        return None;
    };
    if drain.stopping {
        return None;
    }
    if backend.progress.as_ref().is_some_and(|it| it.asks) {
        let said = "d, then f, cuts what runs; u takes the drain back";
        return Some(("", said.into(), Role::Critical));
    }
    let running = match backend.live.running {
        None => "how much still runs is not known".to_owned(),
        Some(1) => "1 request still runs".to_owned(),
        Some(n) => format!("{n} requests still run"),
    };
    let limit = text::clock(place.patience());
    let said = format!("{running}; after {limit} you are asked");
    Some(("", said, Role::Warning))
}

/// What this user may not do to it, and why.
fn may_not(app: &App, backend: &Backend) -> Option<Said> {
    let id = || backend.id.clone();
    let all = [
        Command::Wake { backend: id() },
        Command::Sleep { backend: id() },
        Command::Drain { backend: id() },
    ];
    let denied = all
        .iter()
        .filter_map(|it| Some((it.verb(), app.fleet.forbids(it)?)));
    let denied: Vec<(&str, String)> = denied.collect();
    let (_, why) = denied.first()?;
    let verbs: Vec<&str> = denied.iter().map(|(verb, _)| *verb).collect();
    Some((
        "may not",
        format!("{}: {why}", verbs.join(", ")),
        Role::Warning,
    ))
}

fn scaled_by(place: &Place) -> Said {
    let mut said = place.scaled_by();
    let mut role = Role::Text;
    match &place.autoscaler {
        Autoscaler::Keda { set, .. } => {
            for (name, value) in set {
                said = format!("{said}, {name}={value}");
            }
        }
        Autoscaler::Hpa {
            scaling: Some(Err(why)),
            ..
        } => said = format!("{said}, not active: {why}"),
        Autoscaler::Several(_) => role = Role::Warning,
        Autoscaler::Hpa { .. } | Autoscaler::None => {}
    }
    ("scaled by", said, role)
}

fn routes(backend: &Backend, rules: &[&Rule]) -> Vec<Said> {
    let mine = rules.iter().filter_map(|rule| {
        let all: u32 = rule
            .refs
            .iter()
            .map(crate::fleet::cluster::rule::Ref::share)
            .sum();
        let mine = rule
            .refs
            .iter()
            .filter(|it| it.backend.as_ref() == Some(&backend.id));
        let mine: Vec<u32> = mine.map(crate::fleet::cluster::rule::Ref::share).collect();
        let weight = mine.iter().sum::<u32>();
        (!mine.is_empty()).then_some((rule, weight, all))
    });
    let mut out: Vec<Said> = Vec::new();
    for (i, (rule, weight, all)) in mine.enumerate().take(NAMED) {
        let label = if i == 0 { "routes" } else { "" };
        let matches = if rule.matches.is_empty() {
            String::new()
        } else {
            format!(" ({})", rule.matches)
        };
        let (state, role) = match &rule.programmed {
            Ok(()) => (String::new(), Role::Text),
            Err(why) => (format!("; {why}"), Role::Warning),
        };
        let said = format!(
            "{} rule {}{matches}: weight {weight} of {all}{state}",
            rule.route, rule.at
        );
        out.push((label, said, role));
    }
    if out.is_empty() {
        out.push(("routes", "none leads to it".into(), Role::Dim));
    }
    out
}

fn machines(all: &[Machine]) -> Vec<Said> {
    let mut out: Vec<Said> = Vec::new();
    for (i, one) in all.iter().enumerate().take(NAMED) {
        let label = if i == 0 { "machines" } else { "" };
        let kind = if one.instance.is_empty() {
            "of an unknown kind"
        } else {
            &one.instance
        };
        let spot = if one.spot { " spot" } else { "" };
        let held = match (one.ready, one.idle) {
            (false, _) => "on its way, billed".to_owned(),
            (true, true) => "runs nothing, billed".to_owned(),
            (true, false) => format!("{} of {} GPUs", one.held, one.gpus),
        };
        let cost = one
            .share()
            .map_or_else(|| "price unknown".to_owned(), |it| format!("${it}/h"));
        let region = if one.region.is_empty() {
            String::new()
        } else {
            format!(" {}", one.region)
        };
        out.push((
            label,
            format!("{} {kind}{region}{spot}, {held}, {cost}", one.name),
            Role::Text,
        ));
    }
    if all.len() > NAMED {
        out.push(("", format!("and {} more", all.len() - NAMED), Role::Dim));
    }
    if all.is_empty() {
        out.push(("machines", "none exists for it".into(), Role::Dim));
    }
    out
}
