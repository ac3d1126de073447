//! Dates, times and intervals, in the style `ISO` (of intervals, `postgres`).

use jiff::Span;
use jiff::civil::{Date, date as civil};
use std::fmt::Write as _;

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// The day from which days are counted.
const EPOCH: Date = civil(2000, 1, 1);

pub(super) fn date(value: &[u8]) -> Option<String> {
    match i32::from_be_bytes(value.try_into().ok()?) {
        i32::MAX => Some("infinity".to_owned()),
        i32::MIN => Some("-infinity".to_owned()),
        days => Some(calendar(days.into(), "")?),
    }
}

/// The day so many days after the epoch, with what is written behind it; before our era that comes last. Nothing where
/// the year is one that the calendar here does not reach.
fn calendar(days: i64, behind: &str) -> Option<String> {
    let span: Span = Span::new().try_days(days).ok()?;
    let day = EPOCH.checked_add(span).ok()?;
    let (year, era) = match day.year() {
        year if year > 0 => (i32::from(year), ""),
        year => (1 - i32::from(year), " BC"),
    };
    Some(format!("{year:04}-{:02}-{:02}{behind}{era}", day.month(), day.day()))
}

/// Microseconds of a day. One that has just ended is written as such.
fn clock(micros: i64) -> Option<String> {
    if !(0..=DAY).contains(&micros) {
        return None;
    }
    Some(hours(micros.unsigned_abs()))
}

fn hours(micros: u64) -> String {
    let [second, minute, hour] = [SECOND, MINUTE, HOUR].map(i64::unsigned_abs);
    let mut text =
        format!("{:02}:{:02}:{:02}", micros / hour, micros % hour / minute, micros % minute / second);
    let fraction = micros % second;
    if fraction > 0 {
        let digits = format!("{fraction:06}");
        text.extend([".", digits.trim_end_matches('0')]);
    }
    text
}

pub(super) fn time(value: &[u8]) -> Option<String> {
    clock(i64::from_be_bytes(value.try_into().ok()?))
}

/// A time, and the seconds that its zone is west of UTC.
pub(super) fn time_with_zone(value: &[u8]) -> Option<String> {
    let (time, zone) = value.split_first_chunk::<8>()?;
    let west = i32::from_be_bytes(zone.try_into().ok()?);
    let sign = if west > 0 { '-' } else { '+' };
    let seconds = west.unsigned_abs();
    let (hours, minutes, seconds) = (seconds / 3_600, seconds % 3_600 / 60, seconds % 60);
    let mut text = format!("{}{sign}{hours:02}", clock(i64::from_be_bytes(*time))?);
    if minutes > 0 || seconds > 0 {
        write!(text, ":{minutes:02}").ok()?;
    }
    if seconds > 0 {
        write!(text, ":{seconds:02}").ok()?;
    }
    Some(text)
}

pub(super) fn timestamp(value: &[u8]) -> Option<String> {
    since_epoch(value, "")
}

pub(super) fn timestamp_with_zone(value: &[u8]) -> Option<String> {
    since_epoch(value, "+00")
}

fn since_epoch(value: &[u8], zone: &str) -> Option<String> {
    match i64::from_be_bytes(value.try_into().ok()?) {
        i64::MAX => Some("infinity".to_owned()),
        i64::MIN => Some("-infinity".to_owned()),
        micros => {
            let time = clock(micros.rem_euclid(DAY))?;
            calendar(micros.div_euclid(DAY), &format!(" {time}{zone}"))
        }
    }
}

/// Microseconds, days and months, each with a sign of its own.
pub(super) fn interval(value: &[u8]) -> Option<String> {
    let (micros, rest) = value.split_first_chunk::<8>()?;
    let (days, months) = rest.split_first_chunk::<4>()?;
    let micros = i64::from_be_bytes(*micros);
    let (days, months) = (i32::from_be_bytes(*days), i32::from_be_bytes(months.try_into().ok()?));
    match (micros, days, months) {
        (i64::MAX, i32::MAX, i32::MAX) => return Some("infinity".to_owned()),
        (i64::MIN, i32::MIN, i32::MIN) => return Some("-infinity".to_owned()),
        (_, _, _) => {}
    }
    let (mut text, mut negative) = (String::new(), false);
    for (number, unit) in [(months / 12, "year"), (months % 12, "mon"), (days, "day")] {
        if number == 0 {
            continue;
        }
        let space = if text.is_empty() { "" } else { " " };
        let plus = if negative && number > 0 { "+" } else { "" };
        let plural = if number == 1 { "" } else { "s" };
        write!(text, "{space}{plus}{number} {unit}{plural}").ok()?;
        negative = number < 0;
    }
    if micros != 0 || text.is_empty() {
        let space = if text.is_empty() { "" } else { " " };
        let sign = match (micros < 0, negative) {
            (true, _) => "-",
            (false, true) => "+",
            (false, false) => "",
        };
        text.extend([space, sign, &hours(micros.unsigned_abs())]);
    }
    Some(text)
}
