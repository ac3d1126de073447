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

/// Whether a text of a file is all lines of base64, and so may be the middle of a value.
pub(super) fn may_be_inside(text: &[u8]) -> bool {
    let in_lines: usize =
        text.split(|byte| !is_base64(*byte)).map(<[u8]>::len).filter(|line| *line >= LINE).sum();
    in_lines.saturating_mul(10) >= text.len().saturating_mul(9)
}

/// Whether no value begins in the last bytes of a text and is cut there.
pub(super) fn ends_plainly(text: &[u8]) -> bool {
    let tail = text.get(text.len().saturating_sub(TAIL)..).unwrap_or_default();
    tail.iter().all(|byte| is_base64(*byte) && *byte != b'-' || matches!(byte, b'\n' | b'\r'))
}

const fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'-' | b'_' | b'.')
}
