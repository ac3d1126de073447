//! Letters written as escapes: `%41`, `=41`, `\x41`, `\101`, `\u0041`, `&#65;`, `&#x41;`.

use super::Candidate;

/// Adds every word with escapes in it, with the letters in their place.
pub(super) fn collect(text: &[u8], out: &mut Vec<Candidate>) {
    if !text.iter().any(|byte| b"%\\&=".contains(byte)) {
        return;
    }
    let mut at = 0;
    let mut word = Candidate { depth: 1, ..Candidate::default() };
    let mut escaped = 0_usize;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let first = rest.first().copied().unwrap_or_default();
        if let Some((byte, length)) = escape(rest) {
            word.push(byte, (at, at + length));
            escaped += 1;
            at += length;
            continue;
        }
        // the lines of a dump
        let goes_on = escaped > 0 && first == b'\n' && rest.get(1..).and_then(escape).is_some();
        if goes_on {
            at += 1;
            continue;
        }
        if first.is_ascii_whitespace() {
            finish(&mut word, &mut escaped, out);
        } else {
            word.push(first, (at, at + 1));
        }
        at += 1;
    }
    finish(&mut word, &mut escaped, out);
}

fn finish(word: &mut Candidate, escaped: &mut usize, out: &mut Vec<Candidate>) {
    let done = std::mem::replace(word, Candidate { depth: 1, ..Candidate::default() });
    if std::mem::take(escaped) > 0 && done.is_text() {
        out.push(done);
    }
}

/// The letter of an escape at the start of `rest`, and how long it is.
fn escape(rest: &[u8]) -> Option<(u8, usize)> {
    let digits = |from: usize, length: usize, radix: u32| {
        let digits = std::str::from_utf8(rest.get(from..from + length)?).ok()?;
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
