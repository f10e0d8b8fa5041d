//! The pin form: for how long, at how many, and why.

use chrono::TimeDelta;
use crossterm::event::{KeyCode, KeyEvent};

use super::super::app::{App, Mode};
use super::super::event::Effect;
use super::confirm;
use crate::fleet::Command;
use crate::tui::pin_form::PinField;

pub(super) fn press(app: &mut App, key: KeyEvent) -> Vec<Effect> {
    let Mode::Pin { form, .. } = &mut app.mode else {
        return Vec::new();
    };
    match key.code {
        KeyCode::Tab | KeyCode::Down => form.turn(true),
        KeyCode::BackTab | KeyCode::Up => form.turn(false),
        KeyCode::Char(c) => form.text().push(c),
        KeyCode::Backspace => {
            form.text().pop();
        }
        KeyCode::Esc => app.mode = Mode::Normal,
        KeyCode::Enter => return submit(app),
        _ => {}
    }
    Vec::new()
}

pub(super) fn type_in(app: &mut App, pasted: &str) {
    if let Mode::Pin { form, .. } = &mut app.mode {
        form.text().push_str(pasted);
    }
}

pub(super) fn clear_field(app: &mut App) {
    if let Mode::Pin { form, .. } = &mut app.mode {
        form.text().clear();
    }
}

/// Nothing typed is lost on bad input: the form stays and says what is wrong.
fn submit(app: &mut App) -> Vec<Effect> {
    let now = app.fleet.now;
    let Mode::Pin { backends, form } = &mut app.mode else {
        return Vec::new();
    };
    let until = match span(&form.duration) {
        Ok(span) => span.map(|s| now + s),
        Err(what) => {
            form.field = PinField::Duration;
            form.error = Some(what);
            return Vec::new();
        }
    };
    let exactly = match form.exactly.as_deref().map(replicas).transpose() {
        Ok(n) => n.flatten(),
        Err(what) => {
            form.field = PinField::Exactly;
            form.error = Some(what);
            return Vec::new();
        }
    };
    let reason = form.reason.trim().to_owned();
    if reason.is_empty() {
        // The first enter moves on to the reason; the second one asks for it.
        let asked = form.field == PinField::Reason;
        form.error = asked.then(|| "say why: the others will read it".into());
        form.field = PinField::Reason;
        return Vec::new();
    }
    let commands = backends
        .iter()
        .map(|backend| Command::Pin {
            backend: backend.clone(),
            until,
            exactly,
            reason: reason.clone(),
        })
        .collect();
    confirm::always(app, commands)
}

/// A number of replicas; empty is none.
pub(super) fn replicas(text: &str) -> Result<Option<u32>, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let n = text.parse().ok().filter(|n| *n > 0);
    let said = || {
        format!(
            "`{text}` is no number of replicas; leave it empty for as many as there are, or more"
        )
    };
    n.map(Some).ok_or_else(said)
}

/// A span such as `90m`, `4h` or `1d 12h`; empty is for good.
pub(super) fn span(text: &str) -> Result<Option<TimeDelta>, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let said = || {
        format!(
            "`{text}` is no span of time; write it like 90m, 4h or 2d, or leave it empty for good"
        )
    };
    let span = humantime::parse_duration(text).map_err(|_| said())?;
    match TimeDelta::from_std(span) {
        Ok(span) if span > TimeDelta::zero() && span < TimeDelta::days(3650) => Ok(Some(span)),
        Ok(_) | Err(_) => Err(said()),
    }
}
