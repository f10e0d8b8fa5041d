//! Hours at which a backend is kept warm: a pin that comes and goes by the clock.

use std::str::FromStr;

use chrono::{DateTime, Datelike as _, Days, NaiveDate, NaiveTime, TimeDelta, Utc, Weekday};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::backend::Pin;
use super::message::{Actor, AuditEntry};
use super::{BackendId, Fleet};

/// When a backend is kept warm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// Whose hours they are.
    pub zone: Tz,
    /// The hours.
    pub windows: Vec<Window>,
}

/// Hours on some days of the week: `mon-fri 08:00-18:00`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// As it was written.
    pub text: String,
    days: Vec<Weekday>,
    from: NaiveTime,
    /// How long it lasts; longer than to midnight, where it ends on the next day.
    lasts: TimeDelta,
}

impl FromStr for Window {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` are no hours; write them like mon-fri 08:00-18:00 or sat,sun 22:00-02:00"
            )
        };
        let (days, hours) = text.trim().split_once(' ').ok_or_else(wrong)?;
        let (from, to) = hours.trim().split_once('-').ok_or_else(wrong)?;
        let from = minutes(from).filter(|from| *from < DAY).ok_or_else(wrong)?;
        let to = minutes(to).ok_or_else(wrong)?;
        if from == to {
            return Err(format!(
                "`{text}` ends when it begins; for whole days write 00:00-24:00"
            ));
        }
        Ok(Self {
            text: text.trim().to_owned(),
            days: weekdays(days).ok_or_else(wrong)?,
            from: NaiveTime::MIN + TimeDelta::minutes(from),
            lasts: TimeDelta::minutes((to - from).rem_euclid(DAY)).max(if to - from == DAY {
                TimeDelta::minutes(DAY)
            } else {
                TimeDelta::zero()
            }),
        })
    }
}

/// Minutes of a day.
const DAY: i64 = 24 * 60;

/// `8:00` or `08:00` as minutes since midnight, up to 24:00.
fn minutes(text: &str) -> Option<i64> {
    let (hours, minutes) = text.trim().split_once(':')?;
    let (hours, minutes): (i64, i64) = (hours.parse().ok()?, minutes.parse().ok()?);
    let all = hours * 60 + minutes;
    ((0..60).contains(&minutes) && (0..=DAY).contains(&all)).then_some(all)
}

/// `mon-fri`, `sat,sun`, `fri-mon`.
fn weekdays(text: &str) -> Option<Vec<Weekday>> {
    let mut days = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (mut day, last): (Weekday, Weekday) = (first.parse().ok()?, last.parse().ok()?);
        days.push(day);
        while day != last {
            day = day.succ();
            days.push(day);
        }
    }
    Some(days)
}

impl Schedule {
    /// The hours that run now: their beginning, their end, and how they were written. Of several, those that end last.
    pub fn running(&self, now: DateTime<Utc>) -> Option<(DateTime<Utc>, DateTime<Utc>, &str)> {
        let today = now.with_timezone(&self.zone).date_naive();
        let yesterday = today.checked_sub_days(Days::new(1))?;
        let on = |date: NaiveDate| {
            self.windows
                .iter()
                .filter(move |window| window.days.contains(&date.weekday()))
                .filter_map(move |window| {
                    let from = date.and_time(window.from);
                    let (from, to) = (self.at(from)?, self.at(from + window.lasts)?);
                    (from <= now && now < to).then_some((from, to, window.text.as_str()))
                })
        };
        on(yesterday).chain(on(today)).max_by_key(|(_, to, _)| *to)
    }

    /// A time of the zone's own clocks. One that they skip is the first one after; of two, the first.
    fn at(&self, local: chrono::NaiveDateTime) -> Option<DateTime<Utc>> {
        let skipped = [0, 30, 60, 90, 120].into_iter().find_map(|minutes| {
            let local = local + TimeDelta::minutes(minutes);
            local.and_local_timezone(self.zone).earliest()
        });
        Some(skipped?.with_timezone(&Utc))
    }
}

impl Fleet {
    /// Pins one whose hours have begun, once each time: an operator may lift that pin.
    pub(super) fn keep_hours(&mut self, id: &BackendId, now: DateTime<Utc>) {
        let Some(b) = self.backend(id) else { return };
        let schedule = b.self_hosted().and_then(|facts| facts.schedule.as_ref());
        let Some((from, until, hours)) = schedule.and_then(|it| it.running(now)) else {
            return;
        };
        if b.scheduled == Some(from) || b.pin.is_some() {
            return;
        }
        let reason = format!("hours {hours}");
        let entry = AuditEntry {
            at: now,
            by: Actor::Policy("schedule".into()),
            verb: "pin".into(),
            target: b.full_name(),
            result: format!("kept warm: {reason}"),
            bad: false,
        };
        self.change(id, |b| {
            b.scheduled = Some(from);
            b.pin = Some(Pin {
                until: Some(until),
                exactly: None,
                reason,
                by: "schedule".into(),
            });
        });
        self.write(entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running(zone: &str, hours: &[&str], now: &str) -> Option<(String, String)> {
        let schedule = Schedule {
            zone: zone.parse().unwrap(),
            windows: hours.iter().map(|it| it.parse().unwrap()).collect(),
        };
        let (from, to, _) = schedule.running(now.parse().unwrap())?;
        Some((from.to_rfc3339(), to.to_rfc3339()))
    }

    #[test]
    fn hours_of_a_week() {
        let office = ["mon-fri 8:00-18:00"];
        let berlin = |now| running("Europe/Berlin", &office, now);
        let some = |from: &str, to: &str| {
            let whole = |it: &str| format!("{it}:00+00:00");
            Some((whole(from), whole(to)))
        };
        // 2026-11-23 is a Monday; Berlin is an hour ahead of UTC then.
        assert_eq!(berlin("2026-11-23T06:59:59Z"), None);
        let monday = some("2026-11-23T07:00", "2026-11-23T17:00");
        assert_eq!(berlin("2026-11-23T07:00:00Z"), monday);
        assert_eq!(berlin("2026-11-23T16:59:59Z"), monday);
        assert_eq!(berlin("2026-11-23T17:00:00Z"), None);
        assert_eq!(berlin("2026-11-22T12:00:00Z"), None);

        // Over midnight, with the day on which it begins.
        let night = |now| running("UTC", &["fri-sat 22:00-02:00"], now);
        let friday = some("2026-11-27T22:00", "2026-11-28T02:00");
        assert_eq!(night("2026-11-28T01:00:00Z"), friday);
        assert_eq!(night("2026-11-27T01:00:00Z"), None);
        assert_eq!(night("2026-11-29T03:00:00Z"), None);

        // All day, and the longest of several.
        let whole = ["sun 00:00-24:00", "sat,sun 10:00-12:00"];
        let sunday = some("2026-11-22T00:00", "2026-11-23T00:00");
        assert_eq!(running("UTC", &whole, "2026-11-22T11:00:00Z"), sunday);

        // 02:30 is skipped on 2026-03-29 in Berlin, and comes twice on 2026-10-25.
        let early = |now| running("Europe/Berlin", &["sun 2:30-4:00"], now);
        let spring = some("2026-03-29T01:00", "2026-03-29T02:00");
        assert_eq!(early("2026-03-29T01:30:00Z"), spring);
        let autumn = some("2026-10-25T00:30", "2026-10-25T03:00");
        assert_eq!(early("2026-10-25T01:30:00Z"), autumn);
    }

    #[test]
    fn what_are_no_hours_is_said() {
        for wrong in [
            "",
            "mon",
            "8:00-18:00",
            "mon 8-18",
            "xyz 8:00-18:00",
            "mon 8:00-25:00",
            "mon 24:00-8:00",
            "mon 8:61-9:00",
            "mon-fri 8:00-8:00",
        ] {
            assert!(wrong.parse::<Window>().is_err(), "{wrong}");
        }
    }
}
