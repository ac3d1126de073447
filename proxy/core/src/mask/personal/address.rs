//! E-mail and network addresses.

use super::Text;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Longest local part looked at; RFC 5321 allows 64.
const LOCAL_LIMIT: usize = 256;
/// Longest domain, RFC 1035.
const DOMAIN_LIMIT: usize = 253;

/// Finds the e-mail address around the `@` at `at`.
pub(super) fn email(text: Text<'_>, at: usize) -> Option<(usize, usize)> {
    let mut start = at;
    while start > 0 && at - start < LOCAL_LIMIT && is_local(text.at(start - 1)) {
        start -= 1;
    }
    // punctuation around an address is not part of it
    while start < at && matches!(text.at(start), b'.' | b'\'' | b'`' | b'*' | b'~' | b'-') {
        start += 1;
    }
    let end = domain(text, at + 1)?;
    (start < at && text.at(at - 1) != b'.').then_some((start, end))
}

/// Letters and digits of any script, and the marks that are common in local parts.
fn is_local(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'.' | b'_' | b'%' | b'+' | b'-' | b'\'' | b'!' | b'#' | b'$' | b'*' | b'^' | b'`' | b'~'
        )
        || (0x80..0xf5).contains(&byte)
}

/// End of a domain name from `start`: two labels or more, the last one a letter at least and two long.
fn domain(text: Text<'_>, start: usize) -> Option<usize> {
    let mut end = start;
    while end - start < DOMAIN_LIMIT && is_domain(text.at(end)) {
        end += 1;
    }
    // a sentence's full stop and a dash are not part of it
    while end > start && matches!(text.at(end - 1), b'.' | b'-') {
        end -= 1;
    }
    let name = text.bytes.get(start..end)?;
    let mut labels = name.rsplit(|byte| *byte == b'.');
    let top = labels.next()?;
    let is_top = top.len() >= 2 && top.first().is_some_and(|byte| !byte.is_ascii_digit());
    (is_top && labels.clone().next().is_some() && labels.all(|label| !label.is_empty())).then_some(end)
}

fn is_domain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-') || (0x80..0xf5).contains(&byte)
}

/// Finds a dotted quad that starts with the digit at `start`.
pub(super) fn ipv4(text: Text<'_>, start: usize) -> Option<(usize, usize)> {
    let before = text.before(start);
    if before.is_ascii_alphanumeric() || matches!(before, b'.' | b'_') {
        return None;
    }
    let mut end = start;
    while end - start < 16 && (text.at(end).is_ascii_digit() || text.at(end) == b'.') {
        end += 1;
    }
    if text.at(end - 1) == b'.' {
        end -= 1;
    }
    let after = text.at(end);
    if after.is_ascii_alphanumeric() || after == b'_' {
        return None;
    }
    let quad = std::str::from_utf8(text.bytes.get(start..end)?).ok()?;
    quad.parse::<Ipv4Addr>().ok().map(|_| (start, end))
}

/// Finds the IPv6 address around the colon at `colon`, which must be its first.
pub(super) fn ipv6(text: Text<'_>, colon: usize) -> Option<(usize, usize)> {
    let mut start = colon;
    while start > 0 && colon - start < 5 && text.at(start - 1).is_ascii_hexdigit() {
        start -= 1;
    }
    if text.edges.after_length(text.bytes, start + 1) && colon > start {
        // the first of the "digits" may be the end of a length
        return quads(text, start).or_else(|| quads(text, start + 1));
    }
    quads(text, start)
}

fn quads(text: Text<'_>, start: usize) -> Option<(usize, usize)> {
    let before = text.before(start);
    if before.is_ascii_alphanumeric() || matches!(before, b':' | b'.' | b'_') {
        return None;
    }
    let mut end = start;
    while end - start < 46 && (text.at(end).is_ascii_hexdigit() || matches!(text.at(end), b':' | b'.')) {
        end += 1;
    }
    while end > start
        && (text.at(end - 1) == b'.' || (text.at(end - 1) == b':' && text.at(end.saturating_sub(2)) != b':'))
    {
        end -= 1;
    }
    let after = text.at(end);
    if after.is_ascii_alphanumeric() || after == b'_' {
        return None;
    }
    let bytes = text.bytes.get(start..end)?;
    // eight groups, or some left out: what is written as times is neither
    let is_short = bytes.windows(2).any(|pair| pair == b"::");
    if !is_short && bytes.split(|b| *b == b':').count() < 7 {
        return None;
    }
    let written = std::str::from_utf8(bytes).ok()?;
    let address: Ipv6Addr = written.parse().ok()?;
    // `::`, and names joined by `::` that happen to be hexadecimal
    let is_plain = written.bytes().any(|b| b.is_ascii_digit()) && written.len() > 3;
    (is_plain && !address.is_unspecified()).then_some((start, end))
}
