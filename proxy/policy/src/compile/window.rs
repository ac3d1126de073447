//! Times of the week at which a rule is in force.

use crds::v1alpha1::{TimeWindow, Weekday};
use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};

const MINUTES_PER_DAY: i32 = 24 * 60;

/// A [`TimeWindow`], compiled: minutes of the local day, and days as bits from Monday.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    days: u8,
    from: i32,
    to: i32,
    zone: TimeZone,
}

impl Window {
    /// Compiles one window; `Err` is the field and what is wrong with it.
    pub(crate) fn compile(window: &TimeWindow) -> Result<Self, (&'static str, String)> {
        let from = window.from.as_deref().map_or(Ok(0), |text| minute_of_day(text, "from"))?;
        let to = window.to.as_deref().map_or(Ok(MINUTES_PER_DAY), |text| minute_of_day(text, "to"))?;
        if from == MINUTES_PER_DAY {
            return Err(("from", "24:00 is no opening time; use 00:00 of the next day".to_owned()));
        }
        if from == to {
            return Err(("to", "the window is empty: `from` and `to` are the same time".to_owned()));
        }
        let days = window.days.iter().fold(0, |bits, day| bits | day_bit(*day));
        let zone = zone(window.time_zone.as_deref().unwrap_or("UTC"))?;
        Ok(Self { days: if days == 0 { 0x7f } else { days }, from, to, zone })
    }

    /// Whether `now` is inside. A window whose end is before its start closes on the day after it opened.
    pub(crate) fn contains(&self, now: Timestamp) -> bool {
        let local = self.zone.to_datetime(now);
        let minute = i32::from(local.hour()) * 60 + i32::from(local.minute());
        let today = 1_u8 << local.weekday().to_monday_zero_offset();
        let yesterday = 1_u8 << local.weekday().wrapping_sub(1).to_monday_zero_offset();
        if self.from < self.to {
            return self.days & today != 0 && (self.from..self.to).contains(&minute);
        }
        (self.days & today != 0 && minute >= self.from) || (self.days & yesterday != 0 && minute < self.to)
    }
}

/// Only the time zones compiled in: an image without `/usr/share/zoneinfo` and one with it must agree.
fn zone(name: &str) -> Result<TimeZone, (&'static str, String)> {
    TimeZoneDatabase::bundled().get(name).map_err(|_unknown| {
        ("timeZone", format!("unknown IANA time zone `{name}`; expected one like Europe/Berlin"))
    })
}

fn minute_of_day(text: &str, field: &'static str) -> Result<i32, (&'static str, String)> {
    let digits = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
    let parsed = text
        .split_once(':')
        .filter(|(hours, minutes)| digits(hours) && digits(minutes))
        .and_then(|(hours, minutes)| Some((hours.parse::<i32>().ok()?, minutes.parse::<i32>().ok()?)))
        .filter(|(hours, minutes)| *minutes < 60 && (*hours < 24 || (*hours == 24 && *minutes == 0)));
    parsed
        .map(|(hours, minutes)| hours * 60 + minutes)
        .ok_or_else(|| (field, format!("`{text}` is no time of day; expected HH:MM from 00:00 to 24:00")))
}

fn day_bit(day: Weekday) -> u8 {
    match day {
        Weekday::Monday => 1,
        Weekday::Tuesday => 1 << 1,
        Weekday::Wednesday => 1 << 2,
        Weekday::Thursday => 1 << 3,
        Weekday::Friday => 1 << 4,
        Weekday::Saturday => 1 << 5,
        Weekday::Sunday => 1 << 6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(days: &[Weekday], from: &str, to: &str, zone: &str) -> Window {
        Window::compile(&TimeWindow {
            days: days.to_vec(),
            from: Some(from.into()),
            to: Some(to.into()),
            time_zone: Some(zone.into()),
        })
        .unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_window_is_open_from_its_start_until_before_its_end_on_its_days() {
        let office = window(&[Weekday::Monday], "09:00", "17:00", "UTC");
        // 2026-11-23 is a Monday.
        assert!(!office.contains(at("2026-11-23T08:59:59Z")));
        assert!(office.contains(at("2026-11-23T09:00:00Z")));
        assert!(office.contains(at("2026-11-23T16:59:59Z")));
        assert!(!office.contains(at("2026-11-23T17:00:00Z")));
        assert!(!office.contains(at("2026-11-24T10:00:00Z")));
    }

    #[test]
    fn a_window_across_midnight_belongs_to_the_day_it_opens_on() {
        let night = window(&[Weekday::Sunday], "22:00", "06:00", "UTC");
        assert!(night.contains(at("2026-11-22T23:00:00Z")));
        assert!(night.contains(at("2026-11-23T05:59:00Z")), "Monday morning, opened on Sunday");
        assert!(!night.contains(at("2026-11-23T23:00:00Z")));
        assert!(!night.contains(at("2026-11-22T05:00:00Z")), "opened on Saturday");
    }

    #[test]
    fn a_window_follows_the_clocks_of_its_zone() {
        let office = window(&[], "09:00", "10:00", "Europe/Berlin");
        assert!(office.contains(at("2026-07-01T07:30:00Z")), "summer time");
        assert!(office.contains(at("2026-12-01T08:30:00Z")), "winter time");
        assert!(!office.contains(at("2026-12-01T07:30:00Z")));
    }

    #[test]
    fn nonsense_is_located() {
        let compile = |from: &str, to: &str, zone: &str| {
            Window::compile(&TimeWindow {
                days: Vec::new(),
                from: Some(from.into()),
                to: Some(to.into()),
                time_zone: Some(zone.into()),
            })
            .unwrap_err()
            .0
        };
        assert_eq!(compile("9:00", "17:00", "UTC"), "from");
        assert_eq!(compile("24:00", "17:00", "UTC"), "from");
        assert_eq!(compile("09:00", "24:01", "UTC"), "to");
        assert_eq!(compile("09:00", "09:00", "UTC"), "to");
        assert_eq!(compile("09:00", "+7:00", "UTC"), "to");
        assert_eq!(compile("09:00", "17:00", "Mars/Olympus"), "timeZone");
    }
}
