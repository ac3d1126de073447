//! Letters written as escapes: `%41`, `=41`, `\x41`, `\101`, `\u0041`, `&#65;`, `&#x41;`.

use super::source::Source;
use super::{Reading, Search, is_text};
use memchr::{memchr_iter, memchr3_iter};
use std::ops::Range;

/// Looks at every word with escapes in it, with the letters in their place.
pub(super) fn search(search: &mut Search<'_>) {
    let text = search.text;
    let mut others = memchr3_iter(b'%', b'\\', b'&', text).peekable();
    let mut at = 0;
    for equals in memchr_iter(b'=', text).chain([text.len()]) {
        let before = std::iter::from_fn(|| others.next_if(|other| *other < equals));
        for found in before.chain([equals]) {
            if found < at || text.get(found..).and_then(escape).is_none() {
                continue;
            }
            // the word begins behind the blank before it, but not in the word before
            let before = text.get(at..found).unwrap_or_default();
            let start = before.iter().rposition(u8::is_ascii_whitespace).map_or(at, |blank| at + blank + 1);
            at = word(search, start);
        }
    }
}

/// Looks at the word that begins at `at`; where it ends.
fn word(search: &mut Search<'_>, mut at: usize) -> usize {
    let (mut bytes, mut each): (Vec<u8>, Vec<Range<usize>>) = (Vec::new(), Vec::new());
    let mut escaped = false;
    while let Some(rest) = search.text.get(at..)
        && let Some(first) = rest.first()
    {
        let (byte, length) = match escape(rest) {
            Some(letter) => {
                escaped = true;
                letter
            }
            // the lines of a dump
            None if escaped && *first == b'\n' && rest.get(1..).and_then(escape).is_some() => {
                at += 1;
                continue;
            }
            None if first.is_ascii_whitespace() => break,
            None => (*first, 1),
        };
        bytes.push(byte);
        each.push(at..at + length);
        at += length;
    }
    if is_text(&bytes) {
        let source = Source::Each(&Source::Text(0), &each);
        search.follow(&Reading { depth: 1, ..Reading::of(&bytes, source) });
    }
    at
}

/// The letter of an escape at the start of `rest`, and how long it is.
fn escape(rest: &[u8]) -> Option<(u8, usize)> {
    let digits = |from: usize, length: usize, radix: u32| {
        let digits =
            rest.get(from..from + length).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
        let digits = std::str::from_utf8(digits).ok()?;
        let plain = digits.chars().all(|c| c.is_digit(radix));
        u8::try_from(u32::from_str_radix(digits, radix).ok().filter(|_| plain)?).ok()
    };
    match rest {
        [b'%' | b'=', ..] => Some((digits(1, 2, 16)?, 3)),
        [b'\\', b'x', ..] => Some((digits(2, 2, 16)?, 4)),
        [b'\\', b'u', ..] => Some((digits(2, 4, 16)?, 6)),
        [b'\\', b'0'..=b'7', ..] => digits(1, 3, 8).map(|byte| (byte, 4)),
        [b'&', b'#', b'x' | b'X', ..] => entity(rest, 3, 16),
        [b'&', b'#', ..] => entity(rest, 2, 10),
        _ => None,
    }
}

fn entity(rest: &[u8], from: usize, radix: u32) -> Option<(u8, usize)> {
    let length = rest.iter().skip(from).take(8).position(|byte| *byte == b';')?;
    let digits = std::str::from_utf8(rest.get(from..from + length)?).ok()?;
    Some((u8::try_from(u32::from_str_radix(digits, radix).ok()?).ok()?, from + length + 1))
}
