//! Spans of time as people write them.

use chrono::TimeDelta;
use serde::{Deserialize, Deserializer, Serializer};

/// `90s`, `8m`, `1h30m` as a span.
///
/// # Errors
/// Says what is wrong with the text.
pub fn parse_span(text: &str) -> Result<TimeDelta, String> {
    let span = humantime::parse_duration(text)
        .map_err(|e| format!("`{text}` is not a span of time like 90s, 8m or 1h30m: {e}"))?;
    TimeDelta::from_std(span).map_err(|_| format!("`{text}` is too long"))
}

/// A span as `parse_span` reads it.
fn written(span: TimeDelta) -> String {
    humantime::format_duration(span.to_std().unwrap_or_default())
        .to_string()
        .replace(' ', "")
}

/// For fields that are spans.
pub(super) mod text {
    use super::{Deserialize as _, Deserializer, Serializer, TimeDelta, parse_span, written};

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<TimeDelta, D::Error> {
        parse_span(&String::deserialize(from)?).map_err(serde::de::Error::custom)
    }

    pub(in crate::config) fn serialize<S: Serializer>(
        span: &TimeDelta,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_str(&written(*span))
    }
}

/// For fields that are spans or nothing.
pub(super) mod optional {
    use super::{Deserializer, Serializer, TimeDelta, text};

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<TimeDelta>, D::Error> {
        text::deserialize(from).map(Some)
    }

    #[expect(clippy::ref_option, reason = "serde hands a field so")]
    pub(in crate::config) fn serialize<S: Serializer>(
        span: &Option<TimeDelta>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match span {
            Some(span) => text::serialize(span, to),
            None => to.serialize_none(),
        }
    }
}
