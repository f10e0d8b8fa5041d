//! The events of a fleet elsewhere, read one by one.

use std::time::Duration;

use reqwest::Response;
use serde_json::Value;

use crate::fleet::Fleet;
use crate::fleet::change::Change;
use crate::web;

/// A connection on which nothing has come for this long is dead: the other side sends a comment every 15 s.
const SILENCE: Duration = Duration::from_secs(40);
/// The longest event that is read, bytes: a whole picture of thousands of backends.
const LONGEST: usize = 512 << 20;

/// A stream of events.
pub(super) struct Events {
    from: Response,
    /// What has come and is not read yet.
    rest: Vec<u8>,
    /// As much of `rest` holds no end of an event.
    searched: usize,
    /// The number of the newest event.
    pub(super) last_id: Option<String>,
}

/// One event.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Event {
    pub(super) kind: String,
    pub(super) id: Option<String>,
    pub(super) data: String,
}

impl Events {
    pub(super) fn of(from: Response) -> Self {
        Self {
            from,
            rest: Vec::new(),
            searched: 0,
            last_id: None,
        }
    }

    /// The picture with which it begins.
    ///
    /// # Errors
    /// In plain words, where it does not.
    pub(super) async fn first(&mut self) -> Result<Fleet, String> {
        let event = self.event().await?;
        if event.kind != "picture" {
            return Err(format!(
                "it began with `{}` and not with a picture",
                event.kind
            ));
        }
        read(&event.data)
    }

    /// The picture after `now`.
    ///
    /// # Errors
    /// In plain words, where the stream ended or is not what it should be.
    pub(super) async fn next(&mut self, now: &Fleet) -> Result<Fleet, String> {
        let event = self.event().await?;
        match event.kind.as_str() {
            "picture" => read(&event.data),
            "change" => {
                let change: Change = read(&event.data)?;
                change.apply(now).map_err(|misfit| {
                    // What we have is of no use to the other side: begin anew.
                    self.last_id = None;
                    misfit.to_string()
                })
            }
            other => Err(format!(
                "it sent `{other}`, which this version does not know; use the same version on both sides"
            )),
        }
    }

    async fn event(&mut self) -> Result<Event, String> {
        loop {
            if let Some(end) = end_of_event(&self.rest, self.searched) {
                let whole: Vec<u8> = self.rest.drain(..end).collect();
                self.searched = 0;
                if let Some(event) = parse(&whole) {
                    if event.id.is_some() {
                        self.last_id.clone_from(&event.id);
                    }
                    return Ok(event);
                }
                continue;
            }
            self.searched = self.rest.len().saturating_sub(1);
            if self.rest.len() > LONGEST {
                return Err("it sent an event without an end".to_owned());
            }
            let more = tokio::time::timeout(SILENCE, self.from.chunk())
                .await
                .map_err(|_| "nothing has come for a while".to_owned())?
                .map_err(|error| web::explain(&error))?;
            match more {
                Some(more) => self.rest.extend_from_slice(&more),
                None => return Err("it closed the connection".to_owned()),
            }
        }
    }
}

/// Where the first event ends: behind its empty line.
fn end_of_event(text: &[u8], from: usize) -> Option<usize> {
    let found = text
        .get(from..)?
        .windows(2)
        .position(|pair| pair == b"\n\n")?;
    Some(from + found + 2)
}

/// The lines of one event; `None` for a comment.
fn parse(text: &[u8]) -> Option<Event> {
    let text = String::from_utf8_lossy(text);
    let mut event = Event::default();
    for line in text.lines() {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "event" => value.clone_into(&mut event.kind),
            "id" => event.id = Some(value.to_owned()),
            "data" => event.data += value,
            _ => {}
        }
    }
    (!event.data.is_empty()).then_some(event)
}

fn read<T: serde::de::DeserializeOwned>(data: &str) -> Result<T, String> {
    serde_json::from_str(data).map_err(|error| {
        let what = match serde_json::from_str::<Value>(data) {
            Ok(_) => {
                "this version does not understand what it sent; use the same version on both sides"
            }
            Err(_) => "what it sent is no JSON",
        };
        format!("{what}: {error}")
    })
}
