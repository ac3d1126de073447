//! What detectors read of a value in the binary format beside its bytes: the text that the server would write.
//!
//! Of a type that is not known (a binary copy of what is computed, rows that nobody asked to be described, types of the
//! database's own) the values in it are told by their form.

use super::{Kind, Shape};
use crate::messages::Body;
use crate::value;
use postgres_types::{Kind as Family, Type};

/// The text of a value, or the texts of the values in it, a line each. None where detectors find nothing that they do not
/// find in the bytes; `patterns`: some of them are the author's own, which may find anything.
pub(super) fn text(shape: Shape, value: &[u8], patterns: bool) -> Option<String> {
    let described = shape.type_oid != 0;
    if described && (shape.format == 0 || matches!(Kind::of(shape.type_oid), Kind::Text | Kind::Json)) {
        return None;
    }
    let Some(kind) = Type::from_oid(shape.type_oid) else {
        return guessed(value, patterns).or_else(|| within(value, patterns));
    };
    if kind == Type::BYTEA || !(patterns || may_tell(&kind, value)) {
        return None;
    }
    value::text(shape.type_oid, value).or_else(|| within(value, patterns))
}

/// Whether detectors, but for patterns, may find something in the text of a value: in no number of fewer than
/// [`DIGITS`] digits, and in no date, time or identifier.
fn may_tell(kind: &Type, value: &[u8]) -> bool {
    match *kind {
        Type::INT8 => value.try_into().is_ok_and(|bytes| is_long(i64::from_be_bytes(bytes))),
        Type::FLOAT8 => value.try_into().is_ok_and(|bytes| f64::from_be_bytes(bytes).abs() >= 1e12),
        Type::NUMERIC => is_long_numeric(value),
        _ if Kind::of(kind.oid()) == Kind::Fixed => false,
        _ => {
            let (Family::Array(element) | Family::Range(element) | Family::Multirange(element)) = kind.kind()
            else {
                return true;
            };
            matches!(*element, Type::INT8 | Type::FLOAT8 | Type::NUMERIC)
                || Kind::of(element.oid()) != Kind::Fixed
        }
    }
}

/// No detector but a pattern finds fewer digits without a word beside them.
const DIGITS: u32 = 13;

fn is_long(number: i64) -> bool {
    number.unsigned_abs() >= 10_u64.pow(DIGITS - 1)
}

/// Digits are to the base 10,000: the first one counts how many follow before the point.
fn is_long_numeric(value: &[u8]) -> bool {
    let weight = value.get(2..4).and_then(|weight| weight.try_into().ok()).map(i16::from_be_bytes);
    weight.is_some_and(|weight| weight >= 3)
}

/// What a value of a type that is not known is as a number or an address, if it has the form of one and is no text.
fn guessed(value: &[u8], patterns: bool) -> Option<String> {
    if is_text(value) {
        return None;
    }
    let written = |kind: &Type| value::text(kind.oid(), value);
    if matches!(value, [2, _, 0 | 1, 4, _, _, _, _]) || (value.starts_with(&[3]) && value.len() == 20) {
        return written(&Type::INET);
    }
    match <[u8; 8]>::try_from(value).map(i64::from_be_bytes) {
        // A number of more digits is most likely a float.
        Ok(number) if patterns || (is_long(number) && number.unsigned_abs() < 10_u64.pow(18)) => {
            written(&Type::INT8)
        }
        Err(_) if patterns || is_long_numeric(value) => {
            written(&Type::NUMERIC).or_else(|| written(&Type::INT4))
        }
        Ok(_) | Err(_) => None,
    }
}

/// A text of the server's holds no NUL; numbers of the length that is looked for begin with one, or are negative.
fn is_text(value: &[u8]) -> bool {
    memchr::memchr(0, value).is_none() && std::str::from_utf8(value).is_ok()
}

/// The texts of the values that stand in one: its fields if it is a row, else whatever has its length before it, as in
/// lists and ranges.
fn within(value: &[u8], patterns: bool) -> Option<String> {
    // Each has a length before it that begins with a NUL.
    memchr::memchr(0, value)?;
    let mut texts = String::new();
    if fields(value, patterns, &mut texts).is_none() {
        texts.clear();
        lengths(value, patterns, &mut texts);
    }
    (!texts.is_empty()).then_some(texts)
}

/// A row: the number of fields, of each its type and its value with the length before it.
fn fields(value: &[u8], patterns: bool, texts: &mut String) -> Option<()> {
    let mut body = Body::new(value);
    for _ in 0..body.u32().ok()? {
        let type_oid = body.u32().ok()?;
        let Some(field) = body.value().ok()? else { continue };
        match value::text(type_oid, field).or_else(|| shown(field, patterns)) {
            Some(text) => push(texts, &text),
            // A row in a row, or a list of them.
            None => lengths(field, patterns, texts),
        }
    }
    body.end().ok()
}

/// Longest value that is looked for by its length. Of longer ones the length is no letter or digit that could be taken
/// for the beginning of a word in what follows.
const LONGEST: u8 = 127;

fn lengths(value: &[u8], patterns: bool, texts: &mut String) {
    for (at, length) in value.windows(4).enumerate() {
        let &[0, 0, 0, length @ 8..=LONGEST] = length else { continue };
        let start = at.saturating_add(4);
        let Some(field) = value.get(start..start.saturating_add(usize::from(length))) else { continue };
        if let Some(text) = shown(field, patterns) {
            push(texts, &text);
        }
    }
}

/// A value in another one, of a type that is not known: a text, or what it has the form of.
fn shown(value: &[u8], patterns: bool) -> Option<String> {
    if is_text(value) { std::str::from_utf8(value).ok().map(str::to_owned) } else { guessed(value, patterns) }
}

fn push(texts: &mut String, text: &str) {
    texts.push_str(text);
    texts.push('\n');
}

#[cfg(test)]
mod tests;
