//! Spans of time as people write them.

use chrono::TimeDelta;
use serde::{Deserialize, Deserializer};

/// `90s`, `8m`, `1h30m` as a span.
///
/// # Errors
/// Says what is wrong with the text.
pub fn parse_span(text: &str) -> Result<TimeDelta, String> {
    let span = humantime::parse_duration(text)
        .map_err(|e| format!("`{text}` is not a span of time like 90s, 8m or 1h30m: {e}"))?;
    TimeDelta::from_std(span).map_err(|_| format!("`{text}` is too long"))
}

pub(super) fn span<'de, D: Deserializer<'de>>(from: D) -> Result<TimeDelta, D::Error> {
    parse_span(&String::deserialize(from)?).map_err(serde::de::Error::custom)
}

pub(super) fn optional_span<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<TimeDelta>, D::Error> {
    span(from).map(Some)
}
