//! The table of models and backends. Only rows that are seen are built.

use std::sync::Arc;

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::Modifier;

use super::cells;
use super::order::{grouped, visible};
use crate::fleet::model::{ColdPolicy, DataPath};
use crate::fleet::{Backend, ModelId};
use crate::tui::app::{App, Column};
use crate::tui::theme::Role;
use crate::tui::view::Hit;
use crate::tui::widget::panel::cut;

/// Columns between two columns.
const GAP: u16 = 2;

/// One column: heading, width, worth (what is worth least leaves first), and whether its heading stands at the right.
struct Spec {
    column: Column,
    head: &'static str,
    width: u16,
    worth: u8,
    right: bool,
}

const fn spec(column: Column, head: &'static str, width: u16, worth: u8, right: bool) -> Spec {
    Spec {
        column,
        head,
        width,
        worth,
        right,
    }
}

static COLUMNS: [Spec; 14] = [
    spec(Column::Backend, "BACKEND", 15, 100, false),
    spec(Column::Cluster, "CLUSTER", 10, 94, false),
    spec(Column::State, "STATE", 16, 99, false),
    spec(Column::Weight, "WEIGHT  NOW", 11, 90, true),
    spec(Column::Requests, "REQ/S", 5, 88, true),
    spec(Column::Running, "RUN", 4, 80, true),
    spec(Column::Waiting, "WAIT", 4, 79, true),
    spec(Column::Ttft, "TTFT", 5, 85, true),
    spec(Column::Tokens, "TOK/S", 6, 60, true),
    spec(Column::Gpu, "GPU", 9, 65, true),
    spec(Column::Kv, "KV", 4, 62, true),
    spec(Column::Rate, "$/H", 6, 95, true),
    spec(Column::Realised, "$/M OUT", 7, 50, true),
    spec(Column::Pin, "PIN / IDLE", 16, 45, false),
];

/// How much a column can use beyond its least width: nothing below `least`, nothing above `most`.
struct More {
    least: u16,
    most: u16,
}

/// Columns worth less than this come last.
const NICE: u8 = 60;
/// What TTFT and the state can use beyond their least widths: the first two of [`WIDER`].
const WHOLE: u16 = 9;

/// Who gets what is left over, first come first served: both latencies, the longest state, the weight's bar, then air.
const WIDER: [(Column, More); 8] = [
    (Column::Ttft, More { least: 6, most: 6 }),
    (Column::State, More { least: 3, most: 3 }),
    (Column::Weight, More { least: 4, most: 8 }),
    (Column::Backend, More { least: 1, most: 11 }),
    (Column::Gpu, More { least: 2, most: 6 }),
    (Column::State, More { least: 1, most: 4 }),
    (Column::Weight, More { least: 1, most: 8 }),
    (Column::Pin, More { least: 1, most: 8 }),
];

/// The columns that fit: column, start, width.
fn fit(app: &App, width: u16) -> Vec<(&'static Spec, u16, u16)> {
    let several = app.fleet.clusters.len() > 1;
    let shown = |it: &&Spec| several || it.column != Column::Cluster;
    let mut kept: Vec<&Spec> = COLUMNS.iter().filter(shown).collect();
    let needed = |kept: &[&Spec]| {
        kept.iter()
            .map(|s| s.width + GAP)
            .sum::<u16>()
            .saturating_sub(GAP)
            + 2
    };
    // A column that is merely nice to have comes when both latencies and the longest state are whole.
    let whole = |kept: &[&Spec]| {
        let nice = kept.iter().any(|s| s.worth < NICE);
        needed(kept) + if nice { WHOLE } else { 0 }
    };
    while whole(&kept) > width && kept.len() > 1 {
        let least = kept.iter().map(|s| s.worth).min().unwrap_or_default();
        kept.retain(|s| s.worth != least);
    }
    // What is left over widens the columns that can use it, in this order.
    let mut spare = width.saturating_sub(needed(&kept));
    let mut widths: Vec<u16> = kept.iter().map(|s| s.width).collect();
    for (column, more) in WIDER {
        if let Some(at) = kept.iter().position(|s| s.column == column)
            && spare >= more.least
        {
            let more = more.most.min(spare);
            widths[at] += more;
            spare -= more;
        }
    }
    let mut out = Vec::new();
    let mut x = 2;
    for (s, wide) in kept.into_iter().zip(widths) {
        out.push((s, x, wide.min(width.saturating_sub(x))));
        x += wide + GAP;
    }
    out
}

/// A line of the table.
enum Row<'a> {
    Group(&'a ModelId),
    Backend(&'a Arc<Backend>),
}

fn rows(app: &App) -> Vec<Row<'_>> {
    let mut out = Vec::new();
    let mut model = None;
    for backend in visible(app) {
        if grouped(app) && model != Some(&backend.model) {
            model = Some(&backend.model);
            out.push(Row::Group(&backend.model));
        }
        out.push(Row::Backend(backend));
    }
    out
}

/// Rows that show the whole table, heading included.
pub(super) fn height(app: &App) -> u16 {
    let groups = if grouped(app) {
        app.fleet.models.len()
    } else {
        0
    };
    u16::try_from(app.fleet.backends.len() + groups + 1).unwrap_or(u16::MAX)
}

/// The first row that is drawn, so that the selected one is seen.
fn first(rows: &[Row<'_>], app: &App, room: usize) -> usize {
    let at = rows
        .iter()
        .position(|r| matches!(r, Row::Backend(b) if Some(&b.id) == app.selected.as_ref()))
        .unwrap_or(0);
    if rows.len() <= room {
        0
    } else {
        at.saturating_sub(room / 2).min(rows.len() - room)
    }
}

pub(super) fn render(app: &App, area: Rect, buf: &mut Buffer) {
    if area.height < 2 {
        return;
    }
    let theme = &app.theme;
    let columns = fit(app, area.width);
    heading(app, &columns, area, buf);
    let rows = rows(app);
    let room = usize::from(area.height - 1);
    let start = first(&rows, app, room);
    if rows.is_empty() {
        let text = format!("nothing contains `{}`; esc shows everything", app.filter);
        buf.set_string(
            area.x + 2,
            area.y + 1,
            cut(theme, &text, area.width.saturating_sub(2)),
            theme.of(Role::Dim),
        );
    }
    for (i, row) in rows.iter().skip(start).take(room).enumerate() {
        let line = Rect {
            y: area.y + 1 + i as u16,
            height: 1,
            ..area
        };
        match row {
            Row::Group(model) => group(app, model, line, buf),
            Row::Backend(backend) => one(app, backend, &columns, line, buf),
        }
    }
    let below = rows.len().saturating_sub(start + room);
    if below > 0 || start > 0 {
        let said = format!(
            " {}–{} of {} rows ",
            start + 1,
            rows.len() - below,
            rows.len()
        );
        let x = area.right().saturating_sub(said.chars().count() as u16 + 1);
        buf.set_string(x, area.bottom(), said, theme.of(Role::Dim));
    }
}

fn heading(app: &App, columns: &[(&Spec, u16, u16)], area: Rect, buf: &mut Buffer) {
    let theme = &app.theme;
    for (s, x, width) in columns {
        let home = s.column == Column::Backend && grouped(app);
        let sorted = if app.sort.column == s.column && !home {
            theme.glyphs.sorted[usize::from(!app.sort.descending)]
        } else {
            ""
        };
        let head = if s.column == Column::Ttft && *width >= 11 {
            format!("TTFT 50{}95", theme.glyphs.dot)
        } else {
            s.head.to_owned()
        };
        // The sort mark takes a column of the gap, so that no heading moves.
        let style = if sorted.is_empty() {
            theme.of(Role::Dim)
        } else {
            theme.of(Role::Accent)
        };
        let at = if s.right {
            area.x + x + width.saturating_sub(head.chars().count() as u16)
        } else {
            area.x + x
        };
        let end = buf.set_stringn(at, area.y, &head, usize::from(*width), style);
        if end.0 < area.right() {
            buf.set_string(end.0, area.y, sorted, style);
        }
    }
}

fn group(app: &App, model: &ModelId, line: Rect, buf: &mut Buffer) {
    let theme = &app.theme;
    let (x, _) = buf.set_stringn(
        line.x + 1,
        line.y,
        model.as_str(),
        usize::from(line.width.saturating_sub(1)),
        theme.of(Role::Text).add_modifier(Modifier::BOLD),
    );
    let Some(facts) = app.fleet.model(model) else {
        return;
    };
    let mut notes: Vec<String> = Vec::new();
    match facts.cold {
        ColdPolicy::Wait => {}
        ColdPolicy::Overflow => notes.push("overflow when cold".into()),
        ColdPolicy::Reject => notes.push("rejects when cold".into()),
        ColdPolicy::Bridge { .. } => {
            let cost = app.fleet.bridged_cost(model);
            notes.push(format!("bridged when cold, ${cost} so far"));
        }
    }
    if facts.data_path == DataPath::SelfHosted {
        notes.push("self-hosted only".into());
    }
    match facts.rules.len() {
        0 => {}
        1 => notes.push("1 rule".into()),
        n => notes.push(format!("{n} rules")),
    }
    let held: u32 = app.fleet.backends_of(model).map(|b| b.live.held).sum();
    let note = notes.join(&format!(" {} ", theme.glyphs.dot));
    let room = usize::from(line.right().saturating_sub(x + 2));
    let (x, _) = buf.set_stringn(x + 2, line.y, note, room, theme.of(Role::Dim));
    if held > 0 {
        buf.set_stringn(
            x + 2,
            line.y,
            format!("{held} held"),
            usize::from(line.right().saturating_sub(x + 2)),
            theme.of(Role::Waking),
        );
    }
}

fn one(app: &App, backend: &Backend, columns: &[(&Spec, u16, u16)], line: Rect, buf: &mut Buffer) {
    let theme = &app.theme;
    let selected = app.selected.as_ref() == Some(&backend.id);
    if selected {
        buf.set_style(line, theme.of(Role::Selection));
        buf.set_string(line.x, line.y, theme.glyphs.edge, theme.of(Role::Accent));
    }
    if app.marks.contains(&backend.id) {
        buf.set_string(
            line.x + 1,
            line.y,
            theme.glyphs.marked,
            theme.of(Role::Waking),
        );
    }
    for (s, x, width) in columns {
        let place = Rect::new(line.x + x, line.y, *width, 1).intersection(line);
        cells::render(app, backend, s.column, place, buf);
    }
}

/// What is under the mouse.
pub(super) fn hit(app: &App, area: Rect, at: Position) -> Option<Hit> {
    if !area.contains(at) {
        return None;
    }
    if at.y == area.y {
        let column = at.x - area.x;
        return fit(app, area.width)
            .into_iter()
            .find(|(_, x, width)| (*x..x + width + GAP).contains(&column))
            .map(|(s, ..)| Hit::Header(s.column));
    }
    let rows = rows(app);
    let start = first(&rows, app, usize::from(area.height - 1));
    match rows.get(start + usize::from(at.y - area.y - 1))? {
        Row::Group(_) => None,
        Row::Backend(backend) => Some(Hit::Row(backend.id.clone())),
    }
}
