//! Whether pieces that were put together may have been one value: a program that cuts one does so evenly.
//!
//! A token is told by its own letters, however it was cut. A value that is told by the name before it may be anything, and
//! so may be words that have nothing to do with it: in `"line": "key = 1", "mode": "0644"` none is the end of another.

use super::Reading;
use std::ops::Range;

/// So many letters before a value are looked at for the beginning of the piece that it begins in.
const NAME_MAX: usize = 64;

/// Up to where what stands in `range` of a reading was one: the same stands between its pieces, and each is as long as the
/// one before, but the last one, which may be shorter. A piece that assigns something itself is of another value.
pub(super) fn whole(text: &[u8], reading: &Reading<'_>, range: Range<usize>) -> usize {
    let mut end = piece(reading, &range);
    if end == range.end {
        return end;
    }
    let reach = range.start.saturating_sub(range.len() + NAME_MAX);
    let begin = (reach + 1..=range.start).rev().find(|at| !is_one(reading, *at)).unwrap_or(reach);
    // the name may have been cut with the value, or not
    let mut lengths = [end - begin, end - range.start];
    let between = gap(text, reading, end);
    while end < range.end && gap(text, reading, end) == between {
        let next = piece(reading, &(end..range.end));
        let length = next - end;
        if assigns(reading.bytes.get(end..=next.min(reading.bytes.len() - 1)).unwrap_or_default()) {
            break;
        }
        if lengths.contains(&length) {
            (lengths, end) = ([length; 2], next);
        } else if lengths.iter().any(|known| length < *known) {
            return next;
        } else {
            break;
        }
    }
    end
}

/// End of the piece that the first letter of `range` is in.
fn piece(reading: &Reading<'_>, range: &Range<usize>) -> usize {
    (range.start + 1..range.end).find(|at| !is_one(reading, *at)).unwrap_or(range.end)
}

/// Where the letter at `at` stands in the text.
fn place(reading: &Reading<'_>, at: usize) -> usize {
    reading.source.range(&(at..at + 1)).start
}

/// Whether the letter at `at` is of the same piece as the one before it.
fn is_one(reading: &Reading<'_>, at: usize) -> bool {
    at.checked_sub(1).is_some_and(|before| place(reading, before).abs_diff(place(reading, at)) == 1)
}

/// What stands before the piece that begins at `at`.
fn gap<'t>(text: &'t [u8], reading: &Reading<'_>, at: usize) -> &'t [u8] {
    let (one, other) = (place(reading, at.saturating_sub(1)), place(reading, at));
    text.get(one.min(other) + 1..one.max(other)).unwrap_or_default()
}

/// Whether something is assigned in a piece: at the end of a value the sign fills it up.
fn assigns(piece: &[u8]) -> bool {
    piece.windows(2).any(|pair| matches!(pair, [b'=', other] if *other != b'='))
}
