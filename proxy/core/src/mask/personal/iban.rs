//! International bank account numbers: length of the country, ISO 7064 mod 97-10 checksum.

use super::Text;

/// Countries and the whole length of their numbers (SWIFT IBAN registry).
#[rustfmt::skip]
const LENGTHS: &[(&[u8; 2], usize)] = &[
    (b"AD", 24), (b"AE", 23), (b"AL", 28), (b"AT", 20), (b"AZ", 28), (b"BA", 20), (b"BE", 16), (b"BG", 22),
    (b"BH", 22), (b"BI", 27), (b"BR", 29), (b"BY", 28), (b"CH", 21), (b"CR", 22), (b"CY", 28), (b"CZ", 24),
    (b"DE", 22), (b"DJ", 27), (b"DK", 18), (b"DO", 28), (b"EE", 20), (b"EG", 29), (b"ES", 24), (b"FI", 18),
    (b"FK", 18), (b"FO", 18), (b"FR", 27), (b"GB", 22), (b"GE", 22), (b"GI", 23), (b"GL", 18), (b"GR", 27),
    (b"GT", 28), (b"HN", 28), (b"HR", 21), (b"HU", 28), (b"IE", 22), (b"IL", 23), (b"IQ", 23), (b"IS", 26),
    (b"IT", 27), (b"JO", 30), (b"KW", 30), (b"KZ", 20), (b"LB", 28), (b"LC", 32), (b"LI", 21), (b"LT", 20),
    (b"LU", 20), (b"LV", 21), (b"LY", 25), (b"MC", 27), (b"MD", 24), (b"ME", 22), (b"MK", 19), (b"MN", 20),
    (b"MR", 27), (b"MT", 31), (b"MU", 30), (b"NI", 28), (b"NL", 18), (b"NO", 15), (b"OM", 23), (b"PK", 24),
    (b"PL", 28), (b"PS", 29), (b"PT", 25), (b"QA", 29), (b"RO", 24), (b"RS", 22), (b"RU", 33), (b"SA", 24),
    (b"SC", 31), (b"SD", 18), (b"SE", 24), (b"SI", 19), (b"SK", 24), (b"SM", 27), (b"SO", 23), (b"ST", 25),
    (b"SV", 28), (b"TL", 23), (b"TN", 24), (b"TR", 26), (b"UA", 29), (b"VA", 22), (b"VG", 24), (b"XK", 20),
    (b"YE", 30),
];

/// Finds a number whose check digits start at `start`; its country stands in the two bytes before.
pub(super) fn find(text: Text<'_>, start: usize) -> Option<(usize, usize)> {
    let first = start.checked_sub(2)?;
    let country = [text.at(first).to_ascii_uppercase(), text.at(first + 1).to_ascii_uppercase()];
    let (_, length) = LENGTHS.iter().find(|(code, _)| **code == country)?;
    let before = text.before(first);
    let goes_on = before == b'-' && text.before(first - 1).is_ascii_alphanumeric();
    if before.is_ascii_alphanumeric() || goes_on || !text.at(start + 1).is_ascii_digit() {
        return None;
    }
    let (characters, end) = collect(text, first, *length)?;
    is_valid(characters.get(..*length)?).then_some((first, end))
}

/// So many letters and digits from `first`, in groups of four with a space or dash between them or in one piece, and
/// where they end.
fn collect(text: Text<'_>, first: usize, length: usize) -> Option<([u8; 34], usize)> {
    let mut characters = [0; 34];
    let (mut count, mut index) = (0, first);
    let has_dashes = text.at(first + 4) == b'-';
    while count < length {
        let byte = text.at(index);
        // a dash for every group or none: parts of a UUID are no account
        let wants_dash = has_dashes && count > 0 && count % 4 == 0 && text.at(index - 1) != b'-';
        if byte.is_ascii_alphanumeric() && !wants_dash {
            *characters.get_mut(count)? = byte.to_ascii_uppercase();
            count += 1;
        } else {
            // the first group tells whether there are groups
            let is_separator = matches!(byte, b' ' | b'-') && count % 4 == 0 && text.at(first + 4) == byte;
            if !is_separator || !text.at(index + 1).is_ascii_alphanumeric() {
                return None;
            }
        }
        index += 1;
    }
    (!text.at(index).is_ascii_alphanumeric()).then_some((characters, index))
}

/// ISO 13616-1: the first four characters moved to the end, letters as two digits, remainder 1 by 97.
fn is_valid(characters: &[u8]) -> bool {
    let (Some(head), Some(tail)) = (characters.get(..4), characters.get(4..)) else { return false };
    let remainder = tail.iter().chain(head).fold(0_u32, |remainder, character| match character {
        b'0'..=b'9' => (remainder * 10 + u32::from(character - b'0')) % 97,
        _ => (remainder * 100 + u32::from(character.saturating_sub(b'A')) + 10) % 97,
    });
    remainder == 1
}
