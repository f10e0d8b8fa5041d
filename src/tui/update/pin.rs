//! The pin form: for how long, and why.

use chrono::TimeDelta;
use crossterm::event::{KeyCode, KeyEvent};

use super::super::app::{App, Mode, PinField};
use super::super::event::Effect;
use super::confirm;
use crate::fleet::Command;

pub(super) fn press(app: &mut App, key: KeyEvent) -> Vec<Effect> {
    let Mode::Pin {
        duration,
        reason,
        field,
        error,
        ..
    } = &mut app.mode
    else {
        return Vec::new();
    };
    let text = match field {
        PinField::Duration => duration,
        PinField::Reason => reason,
    };
    match key.code {
        KeyCode::Tab | KeyCode::BackTab | KeyCode::Up | KeyCode::Down => {
            *field = if *field == PinField::Duration {
                PinField::Reason
            } else {
                PinField::Duration
            };
        }
        KeyCode::Char(c) => {
            text.push(c);
            *error = None;
        }
        KeyCode::Backspace => {
            text.pop();
            *error = None;
        }
        KeyCode::Esc => app.mode = Mode::Normal,
        KeyCode::Enter => return submit(app),
        _ => {}
    }
    Vec::new()
}

pub(super) fn type_in(app: &mut App, pasted: &str) {
    if let Mode::Pin {
        duration,
        reason,
        field,
        ..
    } = &mut app.mode
    {
        match field {
            PinField::Duration => duration.push_str(pasted),
            PinField::Reason => reason.push_str(pasted),
        }
    }
}

pub(super) fn clear_field(app: &mut App) {
    if let Mode::Pin {
        duration,
        reason,
        field,
        error,
        ..
    } = &mut app.mode
    {
        match field {
            PinField::Duration => duration.clear(),
            PinField::Reason => reason.clear(),
        }
        *error = None;
    }
}

/// Nothing typed is lost on bad input: the form stays and says what is wrong.
fn submit(app: &mut App) -> Vec<Effect> {
    let now = app.fleet.now;
    let Mode::Pin {
        backends,
        duration,
        reason,
        field,
        error,
    } = &mut app.mode
    else {
        return Vec::new();
    };
    let until = match span(duration) {
        Ok(span) => span.map(|s| now + s),
        Err(what) => {
            *field = PinField::Duration;
            *error = Some(what);
            return Vec::new();
        }
    };
    if reason.trim().is_empty() {
        // The first enter moves on to the reason; the second one asks for it.
        *error = (*field == PinField::Reason).then(|| "say why: the others will read it".into());
        *field = PinField::Reason;
        return Vec::new();
    }
    let commands = backends
        .iter()
        .map(|backend| Command::Pin {
            backend: backend.clone(),
            until,
            reason: reason.trim().to_owned(),
        })
        .collect();
    confirm::always(app, commands)
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
