//! Numbers that are no integers.

use std::fmt::Write as _;

/// Decimal digits of one digit of a `numeric`.
const DIGITS: usize = 4;

/// Most digits that a `numeric` is shown with beyond those that it has: one may stand for a hundred thousand zeros.
const MOST_ZEROS: usize = 2_000;

/// The shortest text that is this number and no other.
pub(super) fn single(number: f32) -> String {
    let digits = format!("{number:e}");
    special(f64::from(number)).unwrap_or_else(|| shortest(&digits, &number.to_string(), 6))
}

/// The shortest text that is this number and no other.
pub(super) fn double(number: f64) -> String {
    let digits = format!("{number:e}");
    special(number).unwrap_or_else(|| shortest(&digits, &number.to_string(), 15))
}

fn special(number: f64) -> Option<String> {
    let text = match (number.is_nan(), number.is_infinite(), number < 0.0) {
        (true, _, _) => "NaN",
        (_, true, true) => "-Infinity",
        (_, true, false) => "Infinity",
        (_, _, _) => return None,
    };
    Some(text.to_owned())
}

/// The server writes an exponent where C's `%g` would, of two digits at least.
fn shortest(scientific: &str, plain: &str, most: i32) -> String {
    let Some((digits, exponent)) = scientific.split_once('e') else { return plain.to_owned() };
    match exponent.parse::<i32>() {
        Ok(exponent) if !(-4..most).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
        }
        Ok(_) | Err(_) => plain.to_owned(),
    }
}

/// Number of digits, weight of the first one, sign, decimal digits behind the point, and digits to the base 10,000: each
/// of two bytes.
pub(super) fn numeric(value: &[u8]) -> Option<String> {
    let (words, rest) = value.as_chunks::<2>();
    let [count, weight, sign, scale, digits @ ..] = words else { return None };
    let count = usize::from(u16::from_be_bytes(*count));
    if !rest.is_empty() || digits.len() != count {
        return None;
    }
    let sign = match u16::from_be_bytes(*sign) {
        0 => "",
        0x4000 => "-",
        0xc000 => return Some("NaN".to_owned()),
        0xd000 => return Some("Infinity".to_owned()),
        0xf000 => return Some("-Infinity".to_owned()),
        _ => return None,
    };
    let weight = i32::from(i16::from_be_bytes(*weight));
    let scale = usize::from(u16::from_be_bytes(*scale));
    let before = usize::try_from(weight + 1).unwrap_or_default();
    if before * DIGITS + scale > digits.len() * DIGITS + MOST_ZEROS {
        return None;
    }
    // Digit `place` stands for so many times 10,000 to the power of `-place`.
    let digit = |place: i32| {
        let index = usize::try_from(place + weight).ok();
        index.and_then(|index| digits.get(index)).map_or(0, |digit| u16::from_be_bytes(*digit))
    };
    let written = |places: std::ops::RangeInclusive<i32>| {
        let mut text = String::new();
        for place in places {
            write!(text, "{:04}", digit(place)).ok()?;
        }
        Some(text)
    };
    let whole = written(-weight..=0)?;
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let places = i32::try_from(scale.div_ceil(DIGITS)).ok()?;
    let fraction = written(1..=places)?;
    match fraction.get(..scale)? {
        "" => Some(format!("{sign}{whole}")),
        fraction => Some(format!("{sign}{whole}.{fraction}")),
    }
}
