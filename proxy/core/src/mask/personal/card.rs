//! Payment card numbers: 13 to 19 digits, a known issuer range, a valid Luhn digit.

use super::Text;

/// Finds a card number that starts with the digit at `start`.
pub(super) fn find(text: Text<'_>, start: usize) -> Option<(usize, usize)> {
    if !may_start(text, start) {
        return None;
    }
    let separator = text.at(start + 4);
    if matches!(separator, b' ' | b'-') { grouped(text, start, separator) } else { plain(text, start) }
}

/// Not inside a longer number, a word, a decimal fraction or a UUID.
fn may_start(text: Text<'_>, start: usize) -> bool {
    let before = text.before(start);
    if before.is_ascii_alphanumeric() {
        return false;
    }
    match before {
        b'.' => !text.before(start - 1).is_ascii_digit(),
        // a comma stands between the numbers of a list more often than before so long a fraction, but for that of nothing
        b',' => text.before(start - 1) != b'0' || text.before(start - 2).is_ascii_digit(),
        b'-' => !text.before(start - 1).is_ascii_alphanumeric() || !matches!(text.at(start + 4), b'-'),
        _ => true,
    }
}

fn plain(text: Text<'_>, start: usize) -> Option<(usize, usize)> {
    let mut digits = [0_u8; 19];
    let mut count = 0;
    while text.at(start + count).is_ascii_digit() {
        *digits.get_mut(count)? = text.at(start + count) - b'0';
        count += 1;
    }
    let end = start + count;
    (ends(text, end) && is_card(digits.get(..count)?)).then_some((start, end))
}

/// Groups of three to seven digits with one separator, the first of four; the longest valid prefix of groups.
fn grouped(text: Text<'_>, start: usize, separator: u8) -> Option<(usize, usize)> {
    let mut digits = [0_u8; 19];
    let (mut count, mut group, mut index) = (0, 0, start);
    let mut found = None;
    loop {
        let byte = text.at(index);
        if byte.is_ascii_digit() {
            let Some(slot) = digits.get_mut(count) else { return found };
            *slot = byte - b'0';
            count += 1;
            group += 1;
            index += 1;
            continue;
        }
        if !(3..=7).contains(&group) {
            return found;
        }
        if ends(text, index) && digits.get(..count).is_some_and(is_card) {
            found = Some((start, index));
        }
        if byte != separator || !text.at(index + 1).is_ascii_digit() {
            return found;
        }
        group = 0;
        index += 1;
    }
}

/// What follows is no part of the number.
fn ends(text: Text<'_>, end: usize) -> bool {
    let after = text.at(end);
    let goes_on = after == b'.' && text.at(end + 1).is_ascii_digit();
    !after.is_ascii_alphanumeric() && !goes_on
}

/// Issuer range, length and Luhn digit. `digits` are 0 to 9.
fn is_card(digits: &[u8]) -> bool {
    let lengths = match leading(digits) {
        // Visa
        4000..=4999 => [13, 16, 18, 19].as_slice(),
        // American Express, JCB
        3400..=3499 | 3700..=3799 | 1800 | 2131 => &[15],
        // Diners Club
        3000..=3059 | 3095 | 3600..=3699 | 3800..=3999 => &[14, 16, 19],
        // JCB, Mir, Mastercard, RuPay, Troy
        2200..=2204 | 2221..=2720 | 3528..=3589 | 5100..=5599 | 8100..=8299 | 9792 => &[16, 17, 18, 19],
        // Maestro, Discover, UnionPay, RuPay, Elo
        5000..=5099 | 5600..=5899 | 6000..=6999 => &[13, 14, 15, 16, 17, 18, 19],
        _ => return false,
    };
    lengths.contains(&digits.len()) && luhn(digits) && digits.iter().any(|d| Some(d) != digits.first())
}

fn leading(digits: &[u8]) -> u16 {
    digits.iter().take(4).fold(0, |number, digit| number * 10 + u16::from(*digit))
}

/// ISO/IEC 7812-1, annex B.
fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let value = u32::from(*digit) * if place % 2 == 1 { 2 } else { 1 };
            if value > 9 { value - 9 } else { value }
        })
        .sum();
    sum.is_multiple_of(10)
}
