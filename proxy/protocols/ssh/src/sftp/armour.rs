//! Values that are longer than what is looked at before a read: a private key of 8,192 bits, a block of PGP, a token with
//! many claims.
//!
//! They are told by how they begin. A read into the middle of one finds letters that may be anything, so what looks like
//! the middle of one is given out only to who has read on from where it began.

use std::ops::Range;

/// Shortest piece of base64 that is a line of one.
const LINE: usize = 32;

/// So many bytes before a part's end are asked whether a beginning may be cut there: longer than any first line.
const TAIL: usize = 80;

/// Where a file has been looked at, without anything in it that began and had not ended.
#[derive(Debug, Default)]
pub(super) struct Seen {
    range: Range<u64>,
}

impl Seen {
    /// Whether what stands right before `start` is known to begin no value.
    pub(super) fn reaches(&self, start: u64) -> bool {
        start == 0 || (self.range.start..=self.range.end).contains(&start)
    }

    /// Nothing that is there is open at its end, nor anywhere within.
    pub(super) fn add(&mut self, range: Range<u64>) {
        if (self.range.start..=self.range.end).contains(&range.start) {
            self.range.end = self.range.end.max(range.end);
        } else {
            self.range = range;
        }
    }
}

/// What begins where the text says that it does, and is no secret.
const PUBLIC: [&[u8]; 3] =
    [b"-----BEGIN CERTIFICATE-----", b"-----BEGIN TRUSTED CERTIFICATE-----", b"-----BEGIN PUBLIC KEY-----"];

/// Whether a text of a file is all lines of base64, and so may be the middle of a value.
pub(super) fn may_be_inside(text: &[u8]) -> bool {
    if text.is_empty() {
        return true;
    }
    if is_public(text) {
        return false;
    }
    let pieces = pieces(text);
    let total: usize = pieces.iter().map(|(length, _)| length).sum();
    let lines: Vec<usize> =
        pieces.iter().filter(|(length, all)| *all && *length >= LINE).map(|(length, _)| *length).collect();
    let has = |is: fn(&u8) -> bool| text.iter().any(is);
    let mixed = has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase) && has(u8::is_ascii_digit);
    // in a list of paths there are lines of base64 letters as well, but each of its own length
    mixed && lines.iter().sum::<usize>().saturating_mul(10) >= total.saturating_mul(9) && are_even(&lines)
}

/// Whether the last beginning that a text tells of is that of something public.
fn is_public(text: &[u8]) -> bool {
    let begin = b"-----BEGIN ";
    let last = text.windows(begin.len()).rposition(|window| window == begin);
    let last = last.and_then(|at| text.get(at..));
    last.is_some_and(|last| PUBLIC.iter().any(|public| last.starts_with(public)))
}

/// The pieces of a text between blanks, quotes and escapes: how long each is, and whether it is all base64.
fn pieces(text: &[u8]) -> Vec<(usize, bool)> {
    let mut found: Vec<(usize, bool)> = Vec::new();
    let mut bytes = text.iter().copied().peekable();
    let mut last = None;
    while let Some(byte) = bytes.next() {
        let is = match byte {
            b'\\' => {
                while bytes.next_if_eq(&b'\\').is_some() {}
                // `\/` is a slash; behind others one letter says which escape it is
                if bytes.peek() == Some(&b'/') {
                    continue;
                }
                bytes.next();
                None
            }
            b'"' | b'\'' | b'`' | b',' => None,
            byte if byte.is_ascii_whitespace() => None,
            byte => Some(is_base64(byte)),
        };
        match (is, last, found.last_mut()) {
            (Some(is), Some(before), Some((length, _))) if is == before => *length += 1,
            (Some(is), _, _) => found.push((1, is)),
            (None, _, _) => {}
        }
        last = is;
    }
    found
}

/// Whether nearly all lines but the first and the last, which may be cut, are of one length.
fn are_even(lines: &[usize]) -> bool {
    let Some((_, rest)) = lines.split_first() else { return false };
    let inner = rest.split_last().map_or(rest, |(_, inner)| inner);
    let most = inner.iter().map(|one| inner.iter().filter(|other| *other == one).count()).max();
    most.is_none_or(|most| most.saturating_mul(10) >= inner.len().saturating_mul(8))
}

/// Whether no value begins in the last bytes of a text and is cut there.
pub(super) fn ends_plainly(text: &[u8]) -> bool {
    let tail = text.get(text.len().saturating_sub(TAIL)..).unwrap_or_default();
    tail.iter().all(|byte| is_base64(*byte) && *byte != b'-' || matches!(byte, b'\n' | b'\r'))
}

const fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'-' | b'_' | b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base64(bytes: usize) -> String {
        let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut state = 7_u32;
        std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from(letters[usize::try_from(state >> 26).unwrap()])
        })
        .take(bytes)
        .collect()
    }

    fn lines(bytes: usize, before: &str, behind: &str) -> String {
        let all = base64(bytes);
        let line = |line: &[u8]| format!("{before}{}{behind}", String::from_utf8_lossy(line));
        all.as_bytes().chunks(64).map(line).collect::<Vec<_>>().concat()
    }

    #[test]
    fn the_middle_of_a_value_is_told_however_it_is_written() {
        for text in [
            lines(4_000, "", "\n"),
            lines(4_000, "", "\r\n"),
            lines(3_500, "        ", "\n"),
            lines(3_500, "\t\t", "\n"),
            lines(4_000, "", "\\n"),
            lines(4_000, "", "\\\\r\\\\n"),
            lines(3_500, "    \"", "\",\n"),
            lines(1_024, "", "\n"),
            base64(4_000).replace('+', "-").replace('/', "_"),
            lines(4_000, "", "\n").replace('/', "\\/"),
        ] {
            assert!(may_be_inside(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn what_only_has_the_letters_of_base64_is_no_middle_of_a_value() {
        let path = |at: usize| format!("/srv/App/releases/2024-01-{at}/lib/{}.jar\n", "x".repeat(at % 23));
        let paths = (0..90).map(path).collect::<Vec<_>>().concat();
        let digest = (0..60).map(|at| format!("{at:064x}\n")).collect::<Vec<_>>().concat();
        let name = "-".repeat(5);
        let certificate = format!("{name}BEGIN CERTIFICATE{name}\n{}", lines(1_800, "", "\n"));
        let bundle = format!("{}{name}END CERTIFICATE{name}\n{certificate}", lines(1_000, "", "\n"));
        for text in [paths, digest.clone(), digest.to_uppercase(), certificate, bundle, "x\n".repeat(2_000)] {
            assert!(!may_be_inside(text.as_bytes()), "{text}");
        }
    }
}
