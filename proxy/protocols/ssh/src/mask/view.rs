//! Output as a person sees it: without escape sequences, overstruck and invisible characters, wide letters narrowed.

use memchr::memchr;
use std::borrow::Cow;
use std::ops::Range;

/// The visible text, and where its bytes come from.
#[derive(Debug)]
pub(super) struct Text<'a> {
    bytes: Cow<'a, [u8]>,
    /// Stretches that are seen as they stand; none where all of the text is.
    stretches: Vec<Stretch>,
}

/// Bytes that are seen in a row, each from as many bytes of the source.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    seen: usize,
    source: usize,
    each: usize,
}

impl<'a> Text<'a> {
    /// What of `raw` is seen.
    pub(super) fn of(raw: &'a [u8]) -> Self {
        if raw.chunks(64).all(|chunk| is_ascii_text(chunk) || chunk.iter().all(|byte| is_plain(*byte))) {
            return Self { bytes: Cow::Borrowed(raw), stretches: Vec::new() };
        }
        let mut seen = Seen { bytes: Vec::with_capacity(raw.len()), stretches: Vec::new() };
        let mut at = 0;
        while let Some(rest) = raw.get(at..).filter(|rest| !rest.is_empty()) {
            at += seen.take(rest, at);
        }
        Self { bytes: Cow::Owned(seen.bytes), stretches: seen.stretches }
    }

    /// Whether all of it is seen as it stands.
    pub(super) const fn is_raw(&self) -> bool {
        matches!(self.bytes, Cow::Borrowed(_))
    }

    /// What is seen.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where the visible bytes of `range` stand in the source.
    pub(super) fn source(&self, range: &Range<usize>) -> Range<usize> {
        if self.stretches.is_empty() || range.is_empty() {
            return range.clone();
        }
        self.place(range.start).start..self.place(range.end - 1).end
    }

    fn place(&self, at: usize) -> Range<usize> {
        let index = self.stretches.partition_point(|stretch| stretch.seen <= at).saturating_sub(1);
        let Some(Stretch { seen, source, each }) = self.stretches.get(index).copied() else {
            return at..at + 1;
        };
        let start = source + at.saturating_sub(seen) * each;
        start..start + each
    }
}

/// Letters of ASCII and ends of lines only. Looks at all of it, which the processor does for many bytes at once.
fn is_ascii_text(bytes: &[u8]) -> bool {
    bytes.iter().fold(true, |plain, byte| {
        plain & ((byte.wrapping_sub(b' ') < 0x5f) | matches!(byte, b'\n' | b'\r' | b'\t'))
    })
}

/// Which bytes are seen as they stand, whatever is around them.
const PLAIN: [bool; 256] = plain();

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
const fn plain() -> [bool; 256] {
    let mut plain = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        // what `Seen::take` knows nothing else about
        plain[byte] = !matches!(byte, 0 | 7 | 8 | 0x0e | 0x0f | 0x1b | 0x7f | 0xc2 | 0xcd | 0xe2 | 0xef);
        byte += 1;
    }
    plain
}

fn is_plain(byte: u8) -> bool {
    PLAIN.get(usize::from(byte)).copied().unwrap_or_default()
}

/// Bytes that values are made of.
pub(super) fn is_value(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/=_-.~".contains(&byte)
}

#[derive(Debug)]
struct Seen {
    bytes: Vec<u8>,
    stretches: Vec<Stretch>,
}

impl Seen {
    /// Sees one byte, which `length` bytes at `at` stand for.
    fn push(&mut self, byte: u8, at: usize, length: usize) {
        self.stretch(at, length);
        self.bytes.push(byte);
    }

    /// What is seen next stands at `at`, each byte for `each`.
    fn stretch(&mut self, at: usize, each: usize) {
        let next = Stretch { seen: self.bytes.len(), source: at, each };
        match self.stretches.last_mut() {
            Some(last) if last.each == each && last.source + (next.seen - last.seen) * each == at => {}
            Some(last) if last.seen == next.seen => *last = next,
            Some(_) | None => self.stretches.push(next),
        }
    }

    /// What is struck over is not seen. A terminal goes back one column, and never to another line: nothing of what is
    /// before the line, or a tab, is struck over.
    fn strike(&mut self) {
        if matches!(self.bytes.last(), None | Some(b'\n' | b'\r' | b'\t')) {
            return;
        }
        self.bytes.pop();
        while self.stretches.last().is_some_and(|last| last.seen > self.bytes.len()) {
            self.stretches.pop();
        }
    }

    /// Takes what stands at the start of `rest`; how long it is.
    fn take(&mut self, rest: &[u8], at: usize) -> usize {
        let plain = rest.iter().position(|byte| !is_plain(*byte)).unwrap_or(rest.len());
        if plain > 0 {
            self.stretch(at, 1);
            self.bytes.extend_from_slice(rest.get(..plain).unwrap_or_default());
            return plain;
        }
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
            [8, ..] => {
                self.strike();
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
        if !matches!(rest.get(1), Some(b']' | b'P' | b'X' | b'^' | b'_')) {
            return sequence(rest);
        }
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
}

/// How long the escape sequence at the start of `rest` is, without what it carries.
fn sequence(rest: &[u8]) -> usize {
    match rest.get(1) {
        Some(b'[') => {
            let end = rest.iter().skip(2).position(|byte| matches!(byte, 0x40..=0x7e));
            end.map_or(rest.len(), |end| end + 3)
        }
        Some(b'(' | b')' | b'*' | b'+' | b'#' | b'%') => 3.min(rest.len()),
        Some(_) => 2,
        None => 1,
    }
}

/// `raw` with nothing but borders of words in the place of its escape sequences. `None`: there are none.
pub(super) fn bordered(raw: &[u8]) -> Option<Vec<u8>> {
    let mut at = memchr(ESCAPE, raw)?;
    let mut bytes = raw.to_vec();
    loop {
        let end = at + sequence(raw.get(at..).unwrap_or_default());
        bytes.get_mut(at..end).unwrap_or_default().fill(ESCAPE);
        let Some(next) = raw.get(end..).and_then(|rest| memchr(ESCAPE, rest)) else { return Some(bytes) };
        at = end + next;
    }
}

const ESCAPE: u8 = 0x1b;

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
