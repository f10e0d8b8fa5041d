//! Figures as people read them: right-aligned by the caller, never longer than their column.

use chrono::{DateTime, TimeDelta, Utc};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// An age in one or two units: `41s`, `11m`, `2h14m`, `3d4h`.
pub fn age(span: TimeDelta) -> String {
    let s = span.num_seconds().max(0);
    match s {
        0..60 => format!("{s}s"),
        60..3600 => format!("{}m", s / 60),
        3600..86_400 => format!("{}h{:02}m", s / 3600, s / 60 % 60),
        _ => format!("{}d{}h", s / 86_400, s / 3600 % 24),
    }
}

/// A moment of the past, in as few words as tell which: `14:05`, `Thu 14:05`, `Nov 01`.
pub fn moment(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let form = match now - at {
        ago if ago < TimeDelta::hours(24) => "%H:%M",
        ago if ago < TimeDelta::days(6) => "%a %H:%M",
        _ => "%b %d",
    };
    at.format(form).to_string()
}

/// A running time: `0:34`, `6:48`, `1:02:07`.
pub fn clock(span: TimeDelta) -> String {
    let s = span.num_seconds().max(0);
    if s < 3600 {
        format!("{}:{:02}", s / 60, s % 60)
    } else {
        format!("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
    }
}

/// A latency in seconds, three figures: `95ms`, `610ms`, `1.4s`, `12s`.
pub fn latency(seconds: f64) -> String {
    match seconds {
        s if s < 0.9995 => format!("{:.0}ms", s * 1000.0),
        s if s < 9.95 => format!("{s:.1}s"),
        s => format!("{s:.0}s"),
    }
}

/// A count with thousands separated: `1,412`, `2.4M` from ten million on.
pub fn count(n: f64) -> String {
    if n >= 10_000_000.0 {
        return format!("{:.1}M", n / 1e6);
    }
    let digits = format!("{:.0}", n.max(0.0));
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// What the fleet says to both ways of using it, as it is said on the screen: a flag there is a key here.
pub fn on_screen(said: &str) -> String {
    said.replace("--force", "f (force)")
}

/// A sentence in as many lines as it needs, broken between words, and in the middle of one that is longer than a line. All but
/// the first stand in by `indent`.
pub fn wrapped(sentence: &str, width: usize, indent: usize) -> Vec<String> {
    let width = width.max(indent + 1);
    let within = " ".repeat(indent);
    let mut lines = vec![String::new()];
    // Columns of the last line, and whether it has a word.
    let (mut used, mut begun) = (0, false);
    for word in sentence.split(' ') {
        let wide = word.width();
        if begun && used + 1 + wide <= width {
            if let Some(last) = lines.last_mut() {
                last.push(' ');
                last.push_str(word);
            }
            used += 1 + wide;
            continue;
        }
        if std::mem::replace(&mut begun, true) {
            lines.push(within.clone());
            used = indent;
        }
        for c in word.chars() {
            let wide = c.width().unwrap_or(0);
            if used + wide > width {
                lines.push(within.clone());
                used = indent;
            }
            if let Some(last) = lines.last_mut() {
                last.push(c);
            }
            used += wide;
        }
    }
    lines
}

/// A share or use, 0 to 1, in percent: `78%`.
pub fn percent(share: f64) -> String {
    format!("{:.0}%", share * 100.0)
}
