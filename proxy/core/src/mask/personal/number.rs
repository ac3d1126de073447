//! Telephone and social security numbers: no checksum, so shape, ranges and what is written before them decide.

use super::Text;

/// Finds a United States social security number that starts with the digit at `start`:
/// `123-45-6789` or `123 45 6789`, or nine digits in a row behind a word that says so.
pub(super) fn ssn(text: Text<'_>, start: usize) -> Option<(usize, usize)> {
    let before = text.before(start);
    if before.is_ascii_alphanumeric()
        || (matches!(before, b'-' | b'.') && start > 1 && text.before(start - 1).is_ascii_alphanumeric())
    {
        return None;
    }
    let separator = text.at(start + 3);
    let (places, end) = if matches!(separator, b'-' | b' ') && text.at(start + 6) == separator {
        ([0, 1, 2, 4, 5, 7, 8, 9, 10], start + 11)
    } else {
        ([0, 1, 2, 3, 4, 5, 6, 7, 8], start + 9)
    };
    let number = digits(text, start, &places)?;
    let after = text.at(end);
    if after.is_ascii_alphanumeric() || (after == b'-' && text.at(end + 1).is_ascii_alphanumeric()) {
        return None;
    }
    let (area, group, serial) = (number / 1_000_000, number / 10_000 % 100, number % 10_000);
    if area == 0 || area == 666 || area >= 900 || group == 0 || serial == 0 {
        return None;
    }
    let is_said =
        || text.says_before(start, 40, &[b"ssn", b"social security", b"social_security", b"socialsecurity"]);
    (end == start + 11 && separator == b'-' || is_said()).then_some((start, end))
}

fn digits(text: Text<'_>, start: usize, places: &[usize]) -> Option<u32> {
    places.iter().try_fold(0_u32, |number, place| {
        let byte = text.at(start + place);
        byte.is_ascii_digit().then(|| number * 10 + u32::from(byte - b'0'))
    })
}

/// Finds a telephone number that starts with the digit at `start`: international behind `+`, North American with
/// separators, or any behind a word that says so.
pub(super) fn phone(text: Text<'_>, start: usize) -> Option<(usize, usize)> {
    let before = text.before(start);
    if before == b'+' {
        let first = start - 1;
        let outer = text.before(first);
        if outer.is_ascii_alphanumeric() || text.at(start) == b'0' {
            return None;
        }
        let (count, end) = run(text, start);
        return (8..=15).contains(&count).then_some((first, end));
    }
    let first = if before == b'(' { start - 1 } else { start };
    let outer = text.before(first);
    if outer.is_ascii_alphanumeric() || matches!(outer, b'.' | b'-' | b'_' | b'/' | b':') {
        return None;
    }
    let (count, end) = run(text, start);
    if is_north_american(text, start, end, count) {
        return Some((first, end));
    }
    let says = || text.says_before(first, 24, &[b"phone", b"tel", b"mobile", b"cell", b"fax", b"call"]);
    ((8..=15).contains(&count) && is_dialled(text, start) && says()).then_some((first, end))
}

/// Digits from `start` with at most two separators between them: how many, and where the last one ends.
fn run(text: Text<'_>, start: usize) -> (usize, usize) {
    let (mut count, mut end, mut index, mut gap) = (0, start, start, 0);
    while count < 16 {
        let byte = text.at(index);
        if byte.is_ascii_digit() {
            count += 1;
            gap = 0;
            end = index + 1;
        } else if matches!(byte, b' ' | b'-' | b'.' | b'(' | b')' | b'/') && gap < 2 {
            gap += 1;
        } else {
            break;
        }
        index += 1;
    }
    let after = text.at(end);
    let is_extension = matches!(after, b'x' | b'X') && text.at(end + 1).is_ascii_digit();
    if after.is_ascii_alphanumeric() && !is_extension {
        return (0, end);
    }
    (count, end)
}

/// `ddd-ddd-dddd` with separators, area and exchange not starting with 0 or 1, `1` or `001` before it or not.
fn is_north_american(text: Text<'_>, start: usize, end: usize, count: usize) -> bool {
    if !(10..=13).contains(&count) {
        return false;
    }
    let Some(bytes) = text.bytes.get(start..end) else { return false };
    let mut groups = bytes.split(|b| !b.is_ascii_digit()).filter(|group| !group.is_empty());
    let mut next = || groups.next().unwrap_or_default();
    let mut area = next();
    if (count == 11 && area == b"1") || (count == 13 && area == b"001") {
        area = next();
    }
    let (exchange, line) = (next(), next());
    area.len() == 3
        && exchange.len() == 3
        && line.len() == 4
        && groups.next().is_none()
        && [area, exchange].iter().all(|group| group.first().is_some_and(|digit| *digit >= b'2'))
}

/// Not a date or a time.
fn is_dialled(text: Text<'_>, start: usize) -> bool {
    let year = text.at(start + 4) == b'-' && text.at(start + 7) == b'-';
    let stamp = text.at(start) == b'1' && (0..10).all(|place| text.at(start + place).is_ascii_digit());
    !year && !stamp
}
