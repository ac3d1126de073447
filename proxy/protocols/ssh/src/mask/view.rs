//! Output as a person sees it: without escape sequences, overstruck and invisible characters, wide letters narrowed.

use std::borrow::Cow;
use std::ops::Range;

/// The visible text, and where its bytes come from.
#[derive(Debug)]
pub(super) struct Text<'a> {
    bytes: Cow<'a, [u8]>,
    /// Start and end of each byte's source; `None` where the text is its source.
    map: Option<Vec<(usize, usize)>>,
}

impl<'a> Text<'a> {
    /// What of `raw` is seen.
    pub(super) fn of(raw: &'a [u8]) -> Self {
        let plain = |byte: &u8| matches!(*byte, 0x20..=0x7e | b'\n' | b'\r' | b'\t');
        if raw.iter().all(plain) {
            return Self { bytes: Cow::Borrowed(raw), map: None };
        }
        let mut seen = Seen { bytes: Vec::with_capacity(raw.len()), map: Vec::with_capacity(raw.len()) };
        let mut at = 0;
        while let Some(rest) = raw.get(at..).filter(|rest| !rest.is_empty()) {
            at += seen.take(rest, at);
        }
        Self { bytes: Cow::Owned(seen.bytes), map: Some(seen.map) }
    }

    /// What is seen.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where the visible bytes of `range` stand in the source.
    pub(super) fn source(&self, range: &Range<usize>) -> Range<usize> {
        match &self.map {
            None => range.clone(),
            Some(map) => sources(map, range),
        }
    }
}

/// From the first source to the last one of the bytes of `range`.
pub(super) fn sources(map: &[(usize, usize)], range: &Range<usize>) -> Range<usize> {
    let parts = map.get(range.clone()).unwrap_or_default();
    let start = parts.iter().map(|(start, _)| *start).min().unwrap_or(0);
    let end = parts.iter().map(|(_, end)| *end).max().unwrap_or(0);
    start..end
}

/// Bytes that values are made of.
pub(super) fn is_value(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/=_-.~".contains(&byte)
}

#[derive(Debug)]
struct Seen {
    bytes: Vec<u8>,
    map: Vec<(usize, usize)>,
}

impl Seen {
    fn push(&mut self, byte: u8, at: usize, length: usize) {
        self.bytes.push(byte);
        self.map.push((at, at + length));
    }

    /// Takes what stands at the start of `rest`; how long it is.
    fn take(&mut self, rest: &[u8], at: usize) -> usize {
        match rest {
            [0x1b, ..] => self.escape(rest, at),
            // invisible: what a terminal ignores, zero-width characters, marks of order, soft hyphens
            [0 | 7 | 0x0e | 0x0f | 0x7f, ..] | [] => 1,
            [0xe2, 0x80, 0x8b..=0x8f | 0xaa..=0xae, ..]
            | [0xe2, 0x81, 0xa0..=0xa4, ..]
            | [0xef, 0xbb, 0xbf, ..]
            | [0xef, 0xb8, 0x80..=0x8f, ..] => 3,
            [0xc2, 0xad, ..] | [0xcd, 0x8f, ..] => 2,
            // wide letters stand for plain ones
            [0xef, 0xbc, low @ 0x81..=0xbf, ..] => {
                self.push(low - 0x81 + b'!', at, 3);
                3
            }
            [0xef, 0xbd, low @ 0x80..=0x9e, ..] => {
                self.push(low - 0x80 + b'`', at, 3);
                3
            }
            // what is struck over is not seen
            [8, ..] => {
                self.bytes.pop();
                self.map.pop();
                1
            }
            [byte, ..] => {
                self.push(*byte, at, 1);
                1
            }
        }
    }

    /// An escape sequence; what a sequence for the window or the clipboard carries is seen by somebody.
    fn escape(&mut self, rest: &[u8], at: usize) -> usize {
        match rest.get(1) {
            Some(b'[') => {
                let end = rest.iter().skip(2).position(|byte| matches!(byte, 0x40..=0x7e));
                end.map_or(rest.len(), |end| end + 3)
            }
            Some(b']' | b'P' | b'X' | b'^' | b'_') => {
                let body = rest.get(2..).unwrap_or_default();
                let end = body.iter().position(|byte| matches!(byte, 7 | 0x1b | b'\n')).unwrap_or(body.len());
                self.push(b' ', at, 2);
                for (index, byte) in body.iter().take(end).enumerate() {
                    // its fields are words of their own
                    self.push(if *byte == b';' { b' ' } else { *byte }, at + 2 + index, 1);
                }
                self.push(b' ', at + 1 + end, 1);
                2 + end
            }
            Some(b'(' | b')' | b'*' | b'+' | b'#' | b'%') => 3.min(rest.len()),
            Some(_) => 2,
            None => 1,
        }
    }
}

/// Whether an escape sequence has not come to its end.
pub(super) fn is_unfinished(sequence: &[u8]) -> bool {
    match sequence.get(1) {
        None => true,
        Some(b'[') => !sequence.iter().skip(2).any(|byte| matches!(byte, 0x40..=0x7e)),
        Some(b']' | b'P' | b'X' | b'^' | b'_') => {
            !sequence.iter().skip(2).any(|byte| matches!(byte, 7 | b'\n'))
        }
        Some(b'(' | b')' | b'*' | b'+' | b'#' | b'%') => sequence.len() < 3,
        Some(_) => false,
    }
}
